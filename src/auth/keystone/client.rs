//! The two calls of Keystone's API v3 that we make: log in, validate a token.

use std::error::Error;
use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;

use crate::auth::AuthSetupError;
use crate::config::{self, Secret};
use crate::ids::{ProjectId, UserId};

/// A machine that does not answer a SYN, nor the next one a second later, is down.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1500);

/// Without the catalogue a token's description is 1 to 2 KiB; a hundred roles more.
const MAX_ANSWER: usize = 256 * 1024;

/// Shorter than the 5 s of Apache's keep-alive, so that we do not write into a connection that is being closed.
const IDLE: Duration = Duration::from_secs(4);

type HttpsClient = hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Keystone, as our service user sees it.
pub(super) struct Client {
    http: HttpsClient,
    tokens_url: String,
    login: Secret,
}

/// A token of our own.
pub(super) struct ServiceToken(HeaderValue);

/// What Keystone says of a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is good, for this.
    Good(Scope),
    /// It is good, but for no project.
    Unscoped,
    /// There is no such token, or it has expired or was revoked.
    Unknown,
    /// Our own token was not taken.
    ServiceTokenRefused,
}

/// What a token is good for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) user: UserId,
    pub(super) project: ProjectId,
    pub(super) roles: Vec<String>,
    pub(super) expires: SystemTime,
}

/// Why there is no verdict. For the log; callers learn only that there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("not reached: {0}")]
    Http(String),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("unexpected status {0}")]
    Status(u16),
    #[error("the answer is not a token's description")]
    Malformed,
    #[error("our login was refused ({0}): check auth.keystone.username, password, project and the domains")]
    LoginRefused(u16),
    #[error("our login was refused a moment ago")]
    LoginPaused,
    #[error("our user may not validate tokens: give it the role service (or admin) on auth.keystone.project")]
    MayNotValidate,
    #[error("shutting down")]
    Closed,
}

impl Client {
    pub(super) fn new(settings: &config::Keystone) -> Result<Self, AuthSetupError> {
        let mut http = HttpConnector::new();
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        http.set_nodelay(true);
        http.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(settings)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let mut client = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
        client.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE);
        let login = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": {
                "name": settings.username,
                "domain": {"name": settings.user_domain},
                "password": settings.password.expose_secret(),
            }}},
            "scope": {"project": {
                "name": settings.project,
                "domain": {"name": settings.project_domain},
            }},
        }});
        Ok(Self {
            http: client.build(connector),
            tokens_url: format!("{}/auth/tokens?nocatalog", settings.url),
            login: login.to_string().into(),
        })
    }

    /// A new token of our own.
    pub(super) async fn log_in(&self) -> Result<ServiceToken, Failure> {
        let body = Bytes::copy_from_slice(self.login.expose_secret().as_bytes());
        let request = |()| {
            let head = self.request(Method::POST).header(CONTENT_TYPE, "application/json");
            head.body(Full::new(body.clone()))
        };
        let (head, _) = self.call(request).await?.into_parts();
        match head.status {
            StatusCode::CREATED => {
                let token = head.headers.get("x-subject-token").cloned().ok_or(Failure::Malformed)?;
                Ok(ServiceToken(sensitive(token)))
            }
            // 400 and 404: no such domain, in some versions.
            status if matches!(status.as_u16(), 400 | 401 | 403 | 404) => {
                Err(Failure::LoginRefused(status.as_u16()))
            }
            status => Err(Failure::Status(status.as_u16())),
        }
    }

    /// What Keystone knows of `token`, which is visible ASCII.
    pub(super) async fn validate(&self, token: &str, ours: &ServiceToken) -> Result<Verdict, Failure> {
        let subject = HeaderValue::from_str(token).map(sensitive).map_err(|_| Failure::Malformed)?;
        let request = |()| {
            let head = self.request(Method::GET).header("x-auth-token", ours.0.clone());
            head.header("x-subject-token", subject.clone()).body(Full::default())
        };
        let (head, body) = self.call(request).await?.into_parts();
        match head.status {
            StatusCode::OK => verdict(&body),
            StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => Ok(Verdict::Unknown),
            StatusCode::UNAUTHORIZED => Ok(Verdict::ServiceTokenRefused),
            StatusCode::FORBIDDEN => Err(Failure::MayNotValidate),
            status => Err(Failure::Status(status.as_u16())),
        }
    }

    fn request(&self, method: Method) -> http::request::Builder {
        let head = Request::builder().method(method).uri(&self.tokens_url);
        head.header(ACCEPT, "application/json").header(USER_AGENT, "consolegate")
    }

    /// One exchange; a second one if a kept connection turned out to be closed. Both calls may be repeated.
    async fn call(
        &self,
        request: impl Fn(()) -> Result<Request<Full<Bytes>>, http::Error>,
    ) -> Result<Response<Bytes>, Failure> {
        let make = || request(()).map_err(|error| Failure::Http(error.to_string()));
        let response = match self.http.request(make()?).await {
            Err(error) if !error.is_connect() => self.http.request(make()?).await,
            first => first,
        };
        let (head, body) = response.map_err(|error| Failure::Http(chain(&error)))?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|error| Failure::Http(chain(&*error)))?.to_bytes();
        Ok(Response::from_parts(head, body))
    }
}

/// The system's authorities and the configured ones.
fn tls(settings: &config::Keystone) -> Result<ClientConfig, AuthSetupError> {
    let mut roots = RootCertStore::empty();
    if settings.url.starts_with("https:") {
        // An authority of the system's that cannot be read is one less; that none can shows in the handshake.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if let Some(file) = &settings.ca {
        let pem = std::fs::read(file).map_err(AuthSetupError::Roots)?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate =
                certificate.map_err(|error| AuthSetupError::Roots(std::io::Error::other(error)))?;
            roots.add(certificate)?;
        }
    }
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let config =
        ClientConfig::builder_with_provider(provider.into()).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn sensitive(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

/// An error and its causes: hyper says the kind first and the reason last.
fn chain(error: &(dyn Error + 'static)) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// <https://docs.openstack.org/api-ref/identity/v3/#validate-and-show-information-for-token>
fn verdict(body: &[u8]) -> Result<Verdict, Failure> {
    #[derive(Deserialize)]
    struct Answer {
        token: Token,
    }
    #[derive(Deserialize)]
    struct Token {
        expires_at: String,
        user: Named,
        project: Option<Named>,
        #[serde(default)]
        roles: Vec<Role>,
    }
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    #[derive(Deserialize)]
    struct Role {
        name: String,
    }

    let Answer { token } = serde_json::from_slice(body).map_err(|_| Failure::Malformed)?;
    let expires = humantime::parse_rfc3339(&token.expires_at).map_err(|_| Failure::Malformed)?;
    let Some(project) = token.project else { return Ok(Verdict::Unscoped) };
    let roles = token.roles.into_iter().map(|role| role.name).collect();
    Ok(Verdict::Good(Scope { user: token.user.id.into(), project: project.id.into(), roles, expires }))
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.tokens_url).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As Keystone 30 answers.
    const ANSWER: &str = r#"{"token": {"methods": ["password"], "user": {"domain": {"id": "default", "name": "Default"},
        "id": "423f19a4ac1e4f48bbb4180756e6eb6c", "name": "demo", "password_expires_at": null},
        "audit_ids": ["ZzZwkUflQfygX7pdYDBCQQ"], "expires_at": "2026-11-05T17:41:21.000000Z",
        "issued_at": "2026-11-05T16:41:21.000000Z", "project": {"domain": {"id": "default", "name": "Default"},
        "id": "a6944d763bf64ee6a275f1263fae0352", "name": "demo"}, "is_domain": false,
        "roles": [{"id": "51cc68287d524c759f47c811e6463340", "name": "member"}, {"id": "x", "name": "reader"}]}}"#;

    #[test]
    fn a_description_is_read() {
        let Ok(Verdict::Good(scope)) = verdict(ANSWER.as_bytes()) else { panic!() };
        assert_eq!(scope.user.as_str(), "423f19a4ac1e4f48bbb4180756e6eb6c");
        assert_eq!(scope.project.as_str(), "a6944d763bf64ee6a275f1263fae0352");
        assert_eq!(scope.roles, ["member", "reader"]);
        assert_eq!(scope.expires, humantime::parse_rfc3339("2026-11-05T17:41:21Z").unwrap());
        let unscoped = ANSWER.replace("\"project\"", "\"other\"");
        assert!(matches!(verdict(unscoped.as_bytes()), Ok(Verdict::Unscoped)));
        for (from, to) in [("\"user\"", "\"usr\""), ("2026-11-05T17", "soon"), ("{\"token\"", "{\"tkn\"")] {
            assert!(verdict(ANSWER.replacen(from, to, 1).as_bytes()).is_err(), "{to}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_panics(body in proptest::collection::vec(any::<u8>(), 0..200), cut in 0..ANSWER.len()) {
            let _ = verdict(&body);
            prop_assert!(verdict(&ANSWER.as_bytes()[..cut]).is_err());
        }
    }
}
