//! One connection: TLS if configured, HTTP with its limits, and each request to the part it is for.

use std::convert::Infallible;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::timeout;
use tracing::debug;

use crate::admin::Admin;
use crate::api::Api;
use crate::limits::Cap;
use crate::net::stream::ViewerStream;
use crate::net::tls::TlsAcceptor;
use crate::net::workers::Accepted;
use crate::proxy::{Connection, Proxy};
use crate::targets::Registry;
use crate::web::Web;
use crate::ws;

/// A TLS handshake takes two round trips; who needs longer holds a connection, not a conversation.
const TLS_HANDSHAKE: Duration = Duration::from_secs(5);

/// From the first byte of a request to the end of its head.
const HEAD: Duration = Duration::from_secs(5);

/// Request line (4 KiB) and headers (16 KiB).
const MAX_HEAD: usize = 20 * 1024;

/// Headers in a request: browsers send about 20, load balancers add a few.
const MAX_HEADERS: usize = 64;

/// What a listener serves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Roles {
    pub(super) api: bool,
    pub(super) proxy: bool,
    pub(super) admin: bool,
}

/// What every connection works with.
pub(super) struct Shared {
    /// By listener.
    pub(super) roles: Vec<Roles>,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) web: Web,
    pub(super) api: Arc<Api>,
    pub(super) proxy: Arc<Proxy>,
    pub(super) admin: Admin,
    pub(super) unauthenticated: Cap,
    pub(super) registry: Arc<Registry>,
    pub(super) draining: AtomicBool,
}

/// Serves one connection until it closes or becomes a session.
pub(super) async fn serve(shared: Arc<Shared>, accepted: Accepted) {
    // Given back when this connection ends or becomes a session: hyper's future resolves at the upgrade.
    let Some(_permit) = shared.unauthenticated.acquire() else {
        debug!(peer = %accepted.peer, "refused: too many connections without a session");
        return;
    };
    let Some(stream) = establish(&shared, accepted.socket).await else { return };
    let connection = Connection { peer: accepted.peer, load: Arc::new(accepted.load) };
    let roles = shared.roles.get(accepted.listener).copied().unwrap_or_default();
    let service = service_fn(move |request| {
        let (shared, connection) = (Arc::clone(&shared), connection.clone());
        async move { Ok::<_, Infallible>(route(&shared, roles, request, &connection).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    // A hang-up, a time-out or bytes that are no HTTP: the peer has been answered as far as it can be.
    if let Err(error) = served {
        debug!(%error, "connection ended");
    }
}

async fn establish(shared: &Shared, socket: TcpStream) -> Option<ViewerStream> {
    let socket = tokio::net::TcpStream::from_std(socket).ok()?;
    let Some(tls) = &shared.tls else { return Some(ViewerStream::Tcp(socket)) };
    match timeout(TLS_HANDSHAKE, tls.accept(socket)).await {
        Ok(Ok(stream)) => Some(ViewerStream::Tls(Box::new(stream))),
        Ok(Err(error)) => {
            debug!(%error, "TLS handshake failed");
            None
        }
        Err(_elapsed) => {
            debug!("TLS handshake took too long");
            None
        }
    }
}

/// Upgrades go to the proxy, pages to the web, the rest to the API. One listener may do it all.
async fn route(
    shared: &Shared,
    roles: Roles,
    request: Request<Incoming>,
    connection: &Connection,
) -> Response<Full<Bytes>> {
    if roles.admin {
        return shared.admin.respond(request, shared.draining.load(Ordering::SeqCst)).await;
    }
    if roles.proxy {
        if ws::is_upgrade(request.headers()) {
            return shared.proxy.upgrade(request, connection).await;
        }
        if let Some(page) = shared.web.respond(&request) {
            return page;
        }
    }
    let answered = if roles.api { shared.api.handle(request).await } else { None };
    answered.unwrap_or_else(not_found)
}

fn not_found() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from("Not found.\n"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
