//! One connection: TLS if configured, HTTP with its limits, and each request to the part it is for.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;
use tracing::debug;

use crate::admin::{Admin, Content};
use crate::api::{self, Api, Source};
use crate::audit::Audit;
use crate::clock;
use crate::fleet::{Roster, SharedInventory};
use crate::limits::{Cap, CapPermit};
use crate::metrics::Metrics;
use crate::net::stream::ViewerStream;
use crate::net::tls::TlsAcceptor;
use crate::net::workers::Accepted;
use crate::proxy::{Connection, Proxy};
use crate::targets::{Registrar, Registry};
use crate::tokens::{RedisStore, Store};
use crate::web::Web;
use crate::ws;

/// A TLS handshake takes two round trips; who needs longer holds a connection, not a conversation.
const TLS_HANDSHAKE: Duration = Duration::from_secs(5);

/// From the first byte of a request to the end of its head.
const HEAD: Duration = Duration::from_secs(5);

/// Longest request target, in bytes: a console URL is under 300, proxies add prefixes.
const MAX_URI: usize = 4 * 1024;

/// All headers of a request, names and values with their separators, in bytes: cookies of a whole domain fit.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// What is read of a head before it is given up: both of these, and the rest of the request line.
const MAX_HEAD: usize = MAX_URI + MAX_HEADER_BYTES + 256;

/// Headers in a request: browsers send about 20, load balancers add a few.
const MAX_HEADERS: usize = 64;

/// Connections to the admin listener at once. It has a cap of its own: whoever exhausts the public one must
/// not make the process look dead to those who watch it.
pub(super) const ADMIN_CONNECTIONS: usize = 256;

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
    pub(super) roster: Roster,
    pub(super) unauthenticated: Cap,
    /// Connections to the admin listener.
    pub(super) watchers: Cap,
    pub(super) registry: Arc<Registry>,
    pub(super) registrar: Option<Arc<dyn Registrar>>,
    /// What registered targets are shared by, if they are.
    pub(super) inventory: Option<SharedInventory>,
    pub(super) store: Arc<dyn Store>,
    /// The same, if it is a Redis.
    pub(super) redis: Option<Arc<RedisStore>>,
    pub(super) audit: Audit,
    pub(super) metrics: Metrics,
    /// Not to be sent new connections.
    pub(super) unready: AtomicBool,
    /// Takes no new consoles.
    pub(super) draining: AtomicBool,
    /// Another process accepts now: connections are not kept for further requests.
    pub(super) followed: AtomicBool,
}

/// How long a refused client may take to hear of it.
const LINGER: Duration = Duration::from_secs(5);

/// One connection, as its requests see it.
struct Client {
    shared: Arc<Shared>,
    roles: Roles,
    connection: Connection,
    /// Given back when this connection ends or becomes a session: hyper's future resolves at the upgrade.
    _permit: CapPermit,
}

/// Serves one connection until it closes or becomes a session.
pub(super) async fn serve(shared: Arc<Shared>, accepted: Accepted) {
    let roles = shared.roles.get(accepted.listener).copied().unwrap_or_default();
    let cap = if roles.admin { &shared.watchers } else { &shared.unauthenticated };
    let Some(permit) = cap.acquire() else {
        debug!(peer = %accepted.peer, "refused: too many connections without a session");
        return;
    };
    let Some(stream) = establish(&shared, accepted.socket).await else { return };
    let connection = Connection { peer: accepted.peer, load: Arc::new(accepted.load) };
    let client = Arc::new(Client { shared, roles, connection, _permit: permit });
    let service = service_fn(move |request: Request<Incoming>| {
        let client = Arc::clone(&client);
        async move {
            let on_upgrade = request.extensions().get::<OnUpgrade>().cloned();
            let mut response = match client.begin(request) {
                Answering::Done(response) => response.map(Either::Left),
                Answering::Public(mut answer) => {
                    let answer = poll_fn(|cx| clock::turn(|| answer.as_mut().poll(cx)));
                    answer.await.map(Either::Left)
                }
                Answering::Admin(answer) => answer.await,
            };
            let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
            if !switching && client.shared.followed.load(Ordering::SeqCst) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            if let Some(on_upgrade) = on_upgrade.filter(|_| !switching) {
                tokio::spawn(hang_up(on_upgrade, client));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let served = http().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
    // A hang-up, a time-out or bytes that are no HTTP: the peer has been answered as far as it can be.
    if let Err(error) = served {
        debug!(%error, "connection ended");
    }
}

/// HTTP as every connection speaks it, with its limits.
pub fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
    http
}

/// Ends a connection whose upgrade was refused. hyper hands it over all the same, once the answer is written,
/// and dropping it would end TLS without close_notify and, with bytes still unread, reset the answer away.
async fn hang_up(on_upgrade: OnUpgrade, _client: Arc<Client>) {
    // An error: the connection went on to another request, or is gone.
    let Ok(upgraded) = on_upgrade.await else { return };
    let mut stream = TokioIo::new(upgraded);
    let goodbye = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    let _ = timeout(LINGER, goodbye).await;
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

/// An answer, or the way to it. What takes long is boxed: hyper moves a request's future about.
enum Answering<'a> {
    Done(Response<Full<Bytes>>),
    Public(api::Answer<'a>),
    Admin(Pin<Box<dyn Future<Output = Response<Content>> + Send + 'a>>),
}

impl Client {
    /// Upgrades go to the proxy, pages to the web, the rest to the API. One listener may do it all.
    ///
    /// Inlined, or the request would be copied on its way in.
    #[inline(always)]
    fn begin(&self, mut request: Request<Incoming>) -> Answering<'_> {
        if let Some(refused) = oversized(&request) {
            return Answering::Done(refused);
        }
        let Self { shared, roles, connection, .. } = self;
        let source = shared.proxy.source(connection.peer, request.headers());
        if roles.admin {
            request.extensions_mut().insert(Source(source));
            let unready = shared.unready.load(Ordering::SeqCst);
            return Answering::Admin(Box::pin(shared.admin.respond(request, unready)));
        }
        if roles.proxy {
            if ws::is_upgrade(request.headers()) {
                // Connections made before the drain began could still ask for consoles.
                if shared.draining.load(Ordering::SeqCst) {
                    return Answering::Done(refused(StatusCode::SERVICE_UNAVAILABLE));
                }
                return Answering::Public(Box::pin(shared.proxy.upgrade(request, connection)));
            }
            if let Some(page) = shared.web.respond(&request) {
                return Answering::Done(page);
            }
        }
        let answer = if roles.api { shared.api.handle(Some(source), request) } else { None };
        answer.map_or_else(|| Answering::Done(not_found()), Answering::Public)
    }
}

/// The refusal of a head beyond its bounds, which hyper knows only as a whole.
fn oversized<B>(request: &Request<B>) -> Option<Response<Full<Bytes>>> {
    // Name, colon, space, value, line end.
    let headers: usize =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > MAX_URI {
        Some(refused(StatusCode::URI_TOO_LONG))
    } else if headers > MAX_HEADER_BYTES {
        Some(refused(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE))
    } else {
        None
    }
}

/// A status, no body, and the end of the connection.
fn refused(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}

fn not_found() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from("Not found.\n"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
