//! The admin listener: whether the process lives, its sessions, and the targets a control plane registers.
//!
//! Health, metrics and the bare page need no credential; everything else the bearer token of `[admin]`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::{Body, Bytes};
use percent_encoding::percent_decode_str;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

use crate::api::Source;
use crate::audit::{Audit, Event, Kind};
use crate::config;
use crate::fleet::{Roster, SharedInventory};
use crate::ids::RequestId;
use crate::metrics::Metrics;
use crate::net::file_body::FileBody;
use crate::proxy::Proxy;
use crate::relay::record::LibraryError;
use crate::targets::{Registrar, Registry};
use crate::tokens::Revoker;
use crate::web::Web;

mod metrics;
mod recordings;
mod refusal;
mod sessions;
mod targets;

use refusal::Refusal;

/// The largest body read: a target is below 4 KiB.
const MAX_BODY: usize = 64 * 1024;

/// How long a client may take to send its body.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// An answer that is all there, or a file.
pub type Content = Either<Full<Bytes>, FileBody>;

type Reply = Response<Content>;

/// What the admin listener works with.
pub struct Admin {
    /// SHA-256 of the bearer token; absent: nothing but health and metrics is answered.
    token: Option<[u8; 32]>,
    proxy: Arc<Proxy>,
    roster: Roster,
    registry: Arc<Registry>,
    /// What targets are registered with, if with anything.
    registrar: Option<Arc<dyn Registrar>>,
    /// What they are shared by, if they are.
    inventory: Option<SharedInventory>,
    revoker: Revoker,
    audit: Audit,
    metrics: Metrics,
    pages: Option<Web>,
}

/// One request, as the lines about it name it.
#[derive(Clone, Copy)]
struct Asked {
    request: RequestId,
    source: Option<IpAddr>,
}

impl Asked {
    /// What an operator did, for the audit log.
    fn event(self, kind: Kind) -> Event<'static> {
        let (request, source) = (Some(self.request), self.source);
        Event { request, source, via: Some("admin"), ..Event::new(kind) }
    }
}

impl Admin {
    /// Over these parts.
    pub fn new(
        credential: &config::Admin,
        proxy: Arc<Proxy>,
        roster: Roster,
        registry: Arc<Registry>,
        revoker: Revoker,
    ) -> Self {
        let token = credential.token.as_ref();
        let token = token.map(|token| Sha256::digest(token.expose_secret().as_bytes()).into());
        let (audit, metrics) = (Audit::default(), Metrics::default());
        Self {
            token,
            proxy,
            roster,
            registry,
            registrar: None,
            inventory: None,
            revoker,
            audit,
            metrics,
            pages: None,
        }
    }

    /// The same with the operator's page.
    #[must_use]
    pub fn with_pages(self, pages: Web) -> Self {
        Self { pages: Some(pages), ..self }
    }

    /// The same with somebody who keeps what is registered, and with what it is shared by.
    #[must_use]
    pub fn registering(
        self,
        registrar: Option<Arc<dyn Registrar>>,
        inventory: Option<SharedInventory>,
    ) -> Self {
        Self { registrar, inventory, ..self }
    }

    /// The same with what operators do written down, and with these metrics to show.
    #[must_use]
    pub fn observed(self, audit: Audit, metrics: Metrics) -> Self {
        Self { audit, metrics, ..self }
    }

    /// Answers a request on the admin listener. `draining` is true from SIGTERM on.
    pub async fn respond<B>(&self, request: Request<B>, draining: bool) -> Reply
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let id = RequestId::random();
        let source = request.extensions().get().map(|Source(address)| *address);
        let asked = Asked { request: id, source };
        let path = request.uri().path().to_owned();
        let mut response = match self.run(request, &path, draining, asked).await {
            Ok(response) => response,
            Err(refusal) => {
                // Not the path: it holds what callers chose.
                let (status, code) = (refusal.status.as_u16(), refusal.code);
                tracing::info!(request = %id, listener = "admin", status, code, "request refused");
                let (status, cause) = (Some(status), Some(code));
                self.metrics.refused("admin", code);
                self.audit.record(|| Event { status, cause, ..asked.event(Kind::Refuse) });
                refusal.respond(id)
            }
        };
        if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
            response.headers_mut().insert("x-request-id", id);
        }
        response
    }

    async fn run<B>(
        &self,
        request: Request<B>,
        path: &str,
        draining: bool,
        asked: Asked,
    ) -> Result<Reply, Refusal>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let method = request.method().clone();
        if let Some(check) = path.strip_prefix("/health/") {
            return self.health(check, &method, draining).await;
        }
        match path {
            "/openapi.json" => return looks(&method).map(|()| respond_text(OPENAPI)),
            "/metrics" => return looks(&method).map(|()| metrics::respond(self, draining)),
            _ => {}
        }
        // The page itself tells nothing; what it shows it asks for with the operator's token.
        if let Some(page) = self.pages.as_ref().and_then(|pages| pages.operator(&request)) {
            return Ok(page.map(Either::Left));
        }
        if !self.is_admin(request.headers()) {
            return Err(Refusal::unauthorized());
        }
        let query = request.uri().query().unwrap_or_default().to_owned();
        let below = path.strip_prefix("/v1/").unwrap_or_default();
        match (below.split_once('/'), below) {
            (None, "targets") => looks(&method).and_then(|()| targets::list(&self.registry, &query)),
            (Some(("targets", id)), _) => self.target(request, id, asked).await,
            (None, "recordings") => {
                looks(&method)?;
                recordings::list(self, &query).await
            }
            (Some(("recordings", below)), _) => self.recording(below, &method, asked).await,
            (None, "sessions") => {
                looks(&method)?;
                Ok(sessions::list(self).await)
            }
            (Some(("sessions", below)), _) => match (below.strip_suffix("/break"), method) {
                (Some(session), Method::POST) => sessions::send_break(self, session, asked).await,
                (Some(_), _) => Err(Refusal::method("POST")),
                (None, Method::DELETE) => sessions::end(self, below, asked).await,
                (None, _) => Err(Refusal::method("DELETE")),
            },
            (None, "revoke") => match method {
                Method::POST => {
                    let document = body(request.into_body()).await?;
                    sessions::revoke(self, &document, asked).await
                }
                _ => Err(Refusal::method("POST")),
            },
            _ => Err(Refusal::no_route()),
        }
    }

    /// Below `/v1/targets/`.
    async fn target<B>(&self, request: Request<B>, id: &str, asked: Asked) -> Result<Reply, Refusal>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let decoded = percent_decode_str(id).decode_utf8().ok().filter(|text| !text.is_empty());
        let target = decoded.ok_or_else(Refusal::no_route)?.into_owned().into();
        match *request.method() {
            Method::GET | Method::HEAD => targets::show(&self.registry, &target),
            Method::PUT => {
                let expected = targets::expected(request.headers())?;
                let document = body(request.into_body()).await?;
                targets::put(self, target, document, expected, asked).await
            }
            Method::DELETE => {
                let expected = targets::expected(request.headers())?;
                targets::remove(self, target, expected, asked).await
            }
            _ => Err(Refusal::method("GET, HEAD, PUT, DELETE")),
        }
    }

    /// Below `/v1/recordings/`.
    async fn recording(&self, below: &str, method: &Method, asked: Asked) -> Result<Reply, Refusal> {
        let (id, file) = below.split_once('/').map_or((below, None), |(id, file)| (id, Some(file)));
        let id = id.parse().map_err(|_| Refusal::from(LibraryError::Unknown))?;
        match (file, method) {
            (None, &Method::GET | &Method::HEAD) => recordings::show(self, id).await,
            (None, &Method::DELETE) => recordings::remove(self, id, asked).await,
            (None, _) => Err(Refusal::method("GET, HEAD, DELETE")),
            (Some("data" | "input" | "journal"), &Method::GET) => {
                recordings::download(self, id, file.unwrap_or_default(), asked).await
            }
            (Some("data" | "input" | "journal"), _) => Err(Refusal::method("GET")),
            (Some(_), _) => Err(Refusal::no_route()),
        }
    }

    async fn health(&self, check: &str, method: &Method, draining: bool) -> Result<Reply, Refusal> {
        if method != Method::GET && method != Method::HEAD {
            return Err(Refusal::method("GET, HEAD"));
        }
        let sessions = self.proxy.sessions().count();
        match check {
            "live" => Ok(respond(StatusCode::OK, &json!({"status": "live"}))),
            "ready" if draining => {
                let body = json!({"status": "draining", "sessions": sessions});
                Ok(respond(StatusCode::SERVICE_UNAVAILABLE, &body))
            }
            "ready" if self.inventory.as_ref().is_some_and(|inventory| !inventory.is_loaded()) => {
                let body = json!({"status": "inventory", "sessions": sessions});
                Ok(respond(StatusCode::SERVICE_UNAVAILABLE, &body))
            }
            "ready" if !self.roster.is_ready().await => {
                let body = json!({"status": "store", "sessions": sessions});
                Ok(respond(StatusCode::SERVICE_UNAVAILABLE, &body))
            }
            "ready" => Ok(respond(StatusCode::OK, &json!({"status": "ready", "sessions": sessions}))),
            _ => Err(Refusal::no_route()),
        }
    }

    /// Compares digests, in constant time: neither length nor likeness of a guess shows.
    fn is_admin(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None, Some(token)) = (values.next(), values.next(), &self.token) else {
            return false;
        };
        let Some((scheme, sent)) = value.to_str().ok().and_then(|value| value.split_once(' ')) else {
            return false;
        };
        let sent: [u8; 32] = Sha256::digest(sent.trim().as_bytes()).into();
        scheme.eq_ignore_ascii_case("Bearer") && bool::from(sent.ct_eq(token))
    }
}

/// Whether it is a request that only looks.
fn looks(method: &Method) -> Result<(), Refusal> {
    match *method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(Refusal::method("GET, HEAD")),
    }
}

async fn body<B>(body: B) -> Result<Value, Refusal>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let collect = Limited::new(body, MAX_BODY).collect();
    let read = tokio::time::timeout(BODY_DEADLINE, collect).await;
    let read = read.map_err(|_| Refusal::body("The body did not arrive within 10 seconds."))?;
    let read = read.map_err(|_| Refusal::body("The body is larger than 64 KiB, or ended early."))?;
    serde_json::from_slice(&read.to_bytes())
        .map_err(|error| Refusal::body(format!("The body is not JSON: line {}.", error.line())))
}

/// What this listener answers, as an OpenAPI 3.1 document.
const OPENAPI: &str = include_str!("openapi.json");

fn respond(status: StatusCode, body: &Value) -> Reply {
    let mut response = respond_text(format!("{body}\n"));
    *response.status_mut() = status;
    response
}

/// 200, with JSON.
fn respond_text(body: impl Into<Bytes>) -> Reply {
    let mut response = Response::new(Either::Left(Full::new(body.into())));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// 204: done, and nothing to say.
fn done() -> Reply {
    bare(StatusCode::NO_CONTENT)
}

/// 202: another process was told.
fn passed_on() -> Reply {
    bare(StatusCode::ACCEPTED)
}

fn bare(status: StatusCode) -> Reply {
    let mut response = Response::new(Either::Left(Full::default()));
    *response.status_mut() = status;
    response
}
