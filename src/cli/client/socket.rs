//! Opens a console's WebSocket: connect, TLS, upgrade; who refused, and why, as an error that teaches.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use http::HeaderValue;
use http::header::{COOKIE, SEC_WEBSOCKET_PROTOCOL, SET_COOKIE};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::error::{Error as WsError, ProtocolError, SubProtocolError};
use tokio_tungstenite::tungstenite::handshake::client::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::exit::OpenError;
use super::link::Link;

/// From connect to the answer: the proxy itself takes up to 15 s to dial and greet the console.
const OPEN: Duration = Duration::from_secs(30);

/// The largest message taken. Ours are at most 60 KiB; other proxies send whole screens.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// The subprotocol with messages beside the console's bytes.
pub(super) const CONTROL: &str = "consolegate.v1";

/// The one that every console proxy knows.
const BINARY: &str = "binary";

/// The cookie that lets the same link open the same session again.
const RESUME: &str = "cg_resume_";

/// A connection, plain or not.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// An open console.
pub(super) struct Opened {
    pub(super) socket: WebSocketStream<Box<dyn Wire>>,
    /// Whether text frames are messages beside the console's bytes.
    pub(super) control: bool,
    /// What lets the same link open it again.
    pub(super) resume: Option<SecretString>,
}

/// Opens consoles. Clones share it.
#[derive(Clone)]
pub(super) struct Opener {
    tls: Arc<ClientConfig>,
}

impl Opener {
    pub(super) fn new(tls: ClientConfig) -> Self {
        Self { tls: Arc::new(tls) }
    }

    /// Opens the console behind a link, which spends its token.
    ///
    /// `control` offers the subprotocol with messages; `resume` is the cookie of a session that was lost.
    pub(super) async fn open(
        &self,
        link: &Link,
        url: &SecretString,
        control: bool,
        resume: Option<&SecretString>,
    ) -> anyhow::Result<Opened> {
        let at = link.to_string();
        let unreached = |reason: String| OpenError::Unreached { at: at.clone(), reason };
        let opened = timeout(OPEN, self.open_unbounded(link, url, control, resume)).await;
        opened.map_err(|_| unreached(format!("no answer within {OPEN:?}")))?
    }

    async fn open_unbounded(
        &self,
        link: &Link,
        url: &SecretString,
        control: bool,
        resume: Option<&SecretString>,
    ) -> anyhow::Result<Opened> {
        let at = link.to_string();
        let unreached = |reason: String| OpenError::Unreached { at: at.clone(), reason };
        let socket = TcpStream::connect((link.host.as_str(), link.port)).await;
        let socket = socket.map_err(|error| unreached(error.to_string()))?;
        // Key strokes are small and wait for nobody.
        socket.set_nodelay(true).map_err(|error| unreached(error.to_string()))?;
        let stream: Box<dyn Wire> = if link.tls {
            let name =
                ServerName::try_from(link.host.clone()).map_err(|error| unreached(error.to_string()))?;
            let connected = TlsConnector::from(Arc::clone(&self.tls)).connect(name, socket).await;
            Box::new(connected.map_err(|error| unreached(format!("TLS: {error}")))?)
        } else {
            Box::new(socket)
        };
        let request = request(url, control, resume)?;
        let config =
            WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
        match client_async_with_config(request, stream, Some(config)).await {
            Ok((socket, response)) => {
                let chosen = response.headers().get(SEC_WEBSOCKET_PROTOCOL);
                let control = chosen.is_some_and(|name| name == CONTROL);
                Ok(Opened { socket, control, resume: cookie(&response) })
            }
            Err(error) => Err(refusal(at, error).into()),
        }
    }
}

fn request(url: &SecretString, control: bool, resume: Option<&SecretString>) -> anyhow::Result<Request> {
    let refused = || "the link is none that HTTP can carry";
    // The library's error would quote the link.
    let mut request = url.expose_secret().into_client_request().ok().with_context(refused)?;
    let offer = if control { format!("{CONTROL}, {BINARY}") } else { BINARY.to_owned() };
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::try_from(offer)?);
    if let Some(cookie) = resume {
        let mut value = HeaderValue::from_str(cookie.expose_secret()).ok().context("not a cookie")?;
        value.set_sensitive(true);
        request.headers_mut().insert(COOKIE, value);
    }
    Ok(request)
}

/// `name=value` of the resume cookie, without its attributes.
fn cookie(response: &Response) -> Option<SecretString> {
    let mut all = response.headers().get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
    let set = all.find(|value| value.starts_with(RESUME))?;
    set.split(';').next().map(|pair| pair.trim().to_owned().into())
}

fn refusal(at: String, error: WsError) -> OpenError {
    match error {
        WsError::Http(response) => OpenError::Status(response.status()),
        WsError::Io(error) => OpenError::Unreached { at, reason: error.to_string() },
        WsError::Protocol(ProtocolError::SecWebSocketSubProtocolError(SubProtocolError::NoSubProtocol)) => {
            OpenError::Protocol { at, reason: "it chose no subprotocol; expected \"binary\"".to_owned() }
        }
        WsError::Protocol(error) => OpenError::Protocol { at, reason: error.to_string() },
        // What else there is may quote the request.
        _ => OpenError::Protocol { at, reason: "the upgrade failed".to_owned() },
    }
}
