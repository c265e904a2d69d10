//! An issuer, ours or nova, asked as any client asks it: who we are, which server, a console URL.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::ids::Protocol;

mod clouds;
mod environment;
mod keystone;
pub(super) mod tls;

use clouds::Cloud;
use environment::{Environment, Login, Version};

/// The issuer answers in milliseconds; behind a slow identity service in seconds.
const DEADLINE: Duration = Duration::from_secs(30);

/// A URL is little JSON; the catalogue of a large cloud some hundred KiB.
const MAX_ANSWER: usize = 2 * 1024 * 1024;

/// Why an API did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// There was no answer.
    #[error("cannot ask {at} (is it running?): {reason}")]
    Unreached {
        /// Scheme, host and port.
        at: String,
        reason: String,
    },
    /// There was one, and it was no.
    #[error("{what}: {status}: {message}")]
    Refused { what: &'static str, status: StatusCode, message: String },
}

/// An issuer, and how we show who we are there.
pub(super) struct Issuer {
    http: Http,
    environment: Environment,
    state: tokio::sync::Mutex<Option<Session>>,
}

/// Where the compute API is, and the header that opens it.
#[derive(Clone)]
struct Session {
    base: String,
    name: &'static str,
    value: SecretString,
}

/// The issuer's answer; the URL in it is a bearer secret.
pub(super) struct Console {
    answer: Value,
}

impl Console {
    /// As the issuer sent it.
    pub(super) fn json(&self) -> &Value {
        &self.answer
    }

    pub(super) fn url(&self) -> &str {
        let url = self.answer.pointer("/remote_console/url").or_else(|| self.answer.pointer("/console/url"));
        url.and_then(Value::as_str).unwrap_or_default()
    }
}

impl Issuer {
    /// The issuer at `api`, else where the environment says, or the cloud that it names; with the credential of those.
    pub(super) fn new(api: Option<&str>, ca: Option<&Path>) -> anyhow::Result<Self> {
        let variable = |name: &str| std::env::var(name).ok();
        let cloud = Cloud::find(&variable)?;
        let environment = Environment::read(api, &|name| {
            variable(name).filter(|value| !value.is_empty()).or_else(|| cloud.get(name))
        })?;
        let trusted = cloud.get("OS_CACERT").map(PathBuf::from);
        let ca = ca.or(trusted.as_deref());
        Ok(Self { http: Http::new(ca)?, environment, state: tokio::sync::Mutex::default() })
    }

    /// Which issuer this is, for people.
    pub(super) fn describe(&self) -> String {
        match (&self.environment.base, &self.environment.login) {
            (Some(base), _) => base.clone(),
            (None, login) => format!("the compute API by {login}"),
        }
    }

    /// Asks for a console of the server with this id.
    pub(super) async fn console(&self, id: &str, protocol: Protocol) -> anyhow::Result<Console> {
        let serial = protocol == Protocol::Serial;
        let kind = if serial { "serial" } else { "novnc" };
        let (path, body) = match &self.environment.version {
            Version::Remote(_) => {
                ("remote-consoles", json!({"remote_console": {"protocol": protocol.as_str(), "type": kind}}))
            }
            Version::Actions(_) if serial => ("action", json!({"os-getSerialConsole": {"type": kind}})),
            Version::Actions(_) => ("action", json!({"os-getVNCConsole": {"type": kind}})),
        };
        let path = format!("/servers/{id}/{path}");
        let console = Console { answer: self.call(Method::POST, &path, Some(&body)).await? };
        if console.url().is_empty() {
            bail!("the issuer answered without a URL");
        }
        Ok(console)
    }

    /// The server's id: the argument itself, or that of the one server of this name.
    pub(super) async fn server_id(&self, server: &str) -> anyhow::Result<String> {
        let encoded = percent_encoding::utf8_percent_encode(server, percent_encoding::NON_ALPHANUMERIC);
        let answer = self.call(Method::GET, &format!("/servers?name=^{encoded}$"), None).await?;
        let found: Vec<&str> = answer["servers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|one| one["name"] == server)
            .filter_map(|one| one["id"].as_str())
            .collect();
        match found.as_slice() {
            [] => Ok(encoded.to_string()),
            [id] => Ok((*id).to_owned()),
            several => bail!("{} servers are named {server:?}: use an id, one of {several:?}", several.len()),
        }
    }

    /// A call of the compute API. A token that has expired meanwhile is replaced once.
    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let mut fresh = false;
        loop {
            let session = self.session(&mut fresh).await?;
            let version = self.environment.version.header();
            let headers =
                [(session.name, session.value.expose_secret()), ("OpenStack-API-Version", version.as_str())];
            let url = format!("{}{path}", session.base);
            let answer = self.http.call(method.clone(), &url, &headers, body.map(Value::to_string)).await?;
            if answer.status == StatusCode::UNAUTHORIZED && !fresh {
                *self.state.lock().await = None;
                continue;
            }
            answer.success("the issuer refused")?;
            return Ok(answer.json());
        }
    }

    /// Who we are; `fresh` becomes true if it was found out just now.
    async fn session(&self, fresh: &mut bool) -> anyhow::Result<Session> {
        let mut state = self.state.lock().await;
        if let Some(session) = &*state {
            return Ok(session.clone());
        }
        *fresh = true;
        let base = self.environment.base.clone();
        let session = match &self.environment.login {
            Login::Token(token) => {
                Session { base: base.unwrap_or_default(), name: "X-Auth-Token", value: token.clone() }
            }
            Login::Basic { user, password } => {
                let pair = STANDARD.encode(format!("{user}:{}", password.expose_secret()));
                let value = format!("Basic {pair}").into();
                Session { base: base.unwrap_or_default(), name: "Authorization", value }
            }
            Login::Keystone(keystone) => {
                let ticket = keystone::log_in(&self.http, keystone, base.is_none()).await?;
                let base = base.or(ticket.compute).context("no compute API")?;
                Session { base, name: "X-Auth-Token", value: ticket.token }
            }
        };
        Ok(state.insert(session).clone())
    }
}

/// A client for small JSON calls.
struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// What an API said.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Http {
    fn new(ca: Option<&Path>) -> anyhow::Result<Self> {
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls::client(ca)?).https_or_http();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector.enable_http1().build()) })
    }

    /// One exchange. Header values are secrets as far as hyper is concerned.
    async fn call(
        &self,
        method: Method,
        url: &str,
        headers: &[(&'static str, &str)],
        body: Option<String>,
    ) -> anyhow::Result<Answer> {
        let mut request = Request::builder().method(method).uri(url).header("Accept", "application/json");
        request = request.header("User-Agent", concat!("consolegate/", env!("CARGO_PKG_VERSION")));
        for (name, value) in headers {
            let mut value =
                HeaderValue::from_str(value).with_context(|| format!("{name}: not a header's value"))?;
            value.set_sensitive(true);
            request = request.header(*name, value);
        }
        if body.is_some() {
            request = request.header("Content-Type", "application/json");
        }
        let request = request
            .body(Full::from(body.unwrap_or_default()))
            .with_context(|| format!("{url:?} is no URL"))?;
        let exchange = async {
            let response = self.client.request(request).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(anyhow::Error::from_boxed)?;
            anyhow::Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
        };
        let answered = tokio::time::timeout(DEADLINE, exchange).await;
        let answered = answered.with_context(|| format!("no answer within {DEADLINE:?}")).flatten();
        answered.map_err(|error| {
            let at = url.split('/').take(3).collect::<Vec<_>>().join("/");
            ApiError::Unreached { at, reason: format!("{error:#}") }.into()
        })
    }
}

impl Answer {
    /// An error, with the API's own words, unless it said yes.
    fn success(&self, what: &'static str) -> Result<(), ApiError> {
        if self.status.is_success() {
            return Ok(());
        }
        let answer = self.json();
        let fault = answer.as_object().and_then(|fault| fault.values().next());
        let message = fault.and_then(|fault| fault["message"].as_str()).unwrap_or("no reason given");
        Err(ApiError::Refused { what, status: self.status, message: message.to_owned() })
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}
