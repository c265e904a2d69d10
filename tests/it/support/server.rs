//! The server under test: in this process, on ports of the system's choice, configured as an operator would.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use consolegate::api::Api;
use consolegate::clock::Clock;
use consolegate::config::Config;
use consolegate::ids::{Protocol, TargetId, UserId};
use consolegate::server::{Addresses, Command, Server};
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
        let clock = Clock::manual();
        let server = Server::with_clock(config, clock.clone()).unwrap_or_else(|error| panic!("{error}"));
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
        let start = url.find("token%3D").map(|at| at + 8).or_else(|| url.find("token=").map(|at| at + 6));
        url[start.expect("no token in the URL")..].chars().take(36).collect()
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

/// A request with `Connection: close`; status line, headers and body in one text.
pub(crate) async fn http(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    let rest = format!("{headers}Content-Length: {length}\r\n\r\n{body}");
    raw(address, format!("{head}{rest}").as_bytes()).await
}
