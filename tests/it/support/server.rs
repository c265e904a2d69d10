//! The server under test: in this process, on ports of the system's choice, configured as an operator would.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use consolegate::api::Api;
use consolegate::clock::Clock;
use consolegate::config::Config;
use consolegate::ids::{Protocol, TargetId, UserId};
use consolegate::server::{Addresses, Command, Role, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::within;

/// The `X-Auth-Token` of every test server: user `demo`, role `member`, project [`PROJECT`].
pub(crate) const TOKEN: &str = "a-fixed-token-for-tests";

/// The `X-Auth-Token` with the role `admin`.
pub(crate) const ADMIN_TOKEN: &str = "an-admin-token-for-tests";

/// The project of [`TOKEN`].
pub(crate) const PROJECT: &str = "9c53a566cb3443ab910cf0daebca90c4";

/// A viewer's WebSocket.
pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A running server; dropping it cuts it off, [`Running::drain`] ends it in order.
pub(crate) struct Running {
    pub(crate) at: Addresses,
    pub(crate) api: Arc<Api>,
    pub(crate) clock: Clock,
    commands: mpsc::Sender<Command>,
    task: JoinHandle<()>,
}

/// A configuration with one listener for all, the fixed tokens, and `more` (TOML) after them.
pub(crate) fn config(more: &str) -> Config {
    let text = format!(
        "[listen]\napi = \"127.0.0.1:0\"\nproxy = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
         [[auth.token]]\ntoken = \"{TOKEN}\"\nuser = \"demo\"\nproject = \"{PROJECT}\"\nroles = [\"member\"]\n\
         [[auth.token]]\ntoken = \"{ADMIN_TOKEN}\"\nuser = \"root\"\nproject = \"{PROJECT}\"\nroles = [\"admin\"]\n\
         {more}\n"
    );
    Config::parse(&text, Path::new("test.toml")).unwrap_or_else(|error| panic!("{error}"))
}

/// A `[[target]]` table: `extra` holds its consoles and whatever else it needs.
pub(crate) fn target(id: &str, name: &str, extra: &str) -> String {
    format!("[[target]]\nid = \"{id}\"\nname = \"{name}\"\nproject = \"{PROJECT}\"\nkind = \"vm\"\n{extra}\n")
}

impl Running {
    /// Starts a server with [`config`].
    pub(crate) async fn start(more: &str) -> Self {
        Self::with(config(more))
    }

    /// Starts a server with this configuration; its token time stands still until it is advanced.
    pub(crate) fn with(config: Config) -> Self {
        Self::in_role(config, Role::All)
    }

    /// As [`Running::with`], serving a part of it.
    pub(crate) fn in_role(config: Config, role: Role) -> Self {
        Self::start_at(config, role, Clock::manual())
    }

    /// As [`Running::with`], by a clock of the test's own.
    pub(crate) fn at(config: Config, clock: Clock) -> Self {
        Self::start_at(config, Role::All, clock)
    }

    fn start_at(config: Config, role: Role, clock: Clock) -> Self {
        let server =
            Server::with_clock(config, role, clock.clone()).unwrap_or_else(|error| panic!("{error}"));
        let (at, api) = (server.addresses(), server.api());
        let (commands, receiver) = mpsc::channel(4);
        let task = tokio::spawn(async move {
            server.run(receiver).await.unwrap_or_else(|error| panic!("{error}"));
        });
        Self { at, api, clock, commands, task }
    }

    /// A console URL, as the issuer would give it to a tenant.
    pub(crate) async fn issue(&self, target: &str, protocol: Protocol) -> String {
        let issued = self.api.issue(&TargetId::from(target), protocol, &UserId::from("demo"), None).await;
        issued.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The token alone.
    pub(crate) async fn token(&self, target: &str, protocol: Protocol) -> String {
        let url = self.issue(target, protocol).await;
        token_of(&url)
    }

    /// The one origin that is allowed without being listed.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.at.proxy)
    }

    /// Where a bare client opens a console.
    pub(crate) fn ws(&self, token: &str) -> String {
        format!("ws://{}/?token={token}", self.at.proxy)
    }

    /// Asks for a reload of inventory and certificates.
    pub(crate) async fn reload(&self) {
        self.commands.send(Command::Reload).await.expect("the server has ended");
    }

    /// Begins the drain without waiting for its end.
    pub(crate) async fn begin_drain(&self) {
        self.commands.send(Command::Drain).await.expect("the server has ended");
    }

    /// Drains and waits for the end.
    pub(crate) async fn drain(self) {
        let _ = self.commands.send(Command::Drain).await;
        within("the server's end", self.task).await.expect("the server panicked");
    }
}

/// The token inside a console URL.
pub(crate) fn token_of(url: &str) -> String {
    let start = url.find("token%3D").map(|at| at + 8).or_else(|| url.find("token=").map(|at| at + 6));
    url[start.expect("no token in the URL")..].chars().take(36).collect()
}

/// Opens a WebSocket; the error is the refusal's HTTP status.
pub(crate) async fn open(url: &str, headers: &[(&'static str, &str)]) -> Result<(Socket, Response), u16> {
    let mut request = url.into_client_request().expect("not a URL");
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().expect("not a header value"));
    }
    match within("the upgrade", connect_async(request)).await {
        Ok(opened) => Ok(opened),
        Err(tokio_tungstenite::tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("the upgrade broke: {error}"),
    }
}

/// Sends `request` as it is and reads until the server closes; everything it said.
pub(crate) async fn raw(address: SocketAddr, request: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.expect("cannot connect");
    socket.write_all(request).await.expect("cannot send");
    let mut answer = Vec::new();
    // A reset after the answer is an end like another.
    let _ = within("the server's answer", socket.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// What the server said, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Status line and headers, in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// Parses an answer as [`raw`] returns it.
    pub(crate) fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.get(9..12).and_then(|digits| digits.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status: {text:?}"));
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    /// The header's value, if it is there; `name` in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
    }

    /// Asserts what every refusal without a body has in common.
    pub(crate) fn assert_bare(&self, status: u16, what: &str) {
        assert_eq!(self.status, status, "{what}: {self:?}");
        assert_eq!(self.body, "", "{what}");
        assert_eq!(self.header("connection"), Some("close"), "{what}: {self:?}");
        let waits = matches!(status, 429 | 503);
        assert_eq!(self.header("retry-after").is_some(), waits, "{what}: {self:?}");
    }
}

/// An upgrade request as a client would write it: no `Origin`, the key of RFC 6455 section 1.3.
pub(crate) fn upgrade(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: console.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// The bare answer to an upgrade that is refused.
pub(crate) async fn refused(address: SocketAddr, target: &str) -> Answer {
    Answer::parse(&raw(address, upgrade(target).as_bytes()).await)
}

/// A request with `Connection: close`; status line, headers and body in one text.
pub(crate) async fn http(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    let rest = format!("{headers}Content-Length: {length}\r\n\r\n{body}");
    raw(address, format!("{head}{rest}").as_bytes()).await
}
