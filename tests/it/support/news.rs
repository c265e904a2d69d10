//! A viewer that speaks the control channel: the console's bytes and the proxy's words, each apart.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::server::{Running, Socket, open};
use super::within;

/// What our own pages offer.
const OFFER: (&str, &str) = ("Sec-WebSocket-Protocol", "consolegate.v1, binary");

/// One viewer, past its hello.
pub(crate) struct Viewer {
    pub(crate) socket: Socket,
    pub(crate) hello: Value,
    /// The console's bytes that nobody asked for yet.
    said: Vec<u8>,
    /// The proxy's words that nobody asked for yet.
    news: Vec<Value>,
    /// Pongs that came.
    pongs: usize,
}

impl Viewer {
    /// Opens the console of `token`; `more` goes behind it in the query.
    pub(crate) async fn open(server: &Running, token: &str, more: &str) -> Self {
        let url = format!("{}{more}", server.ws(token));
        let (mut socket, response) = open(&url, &[OFFER]).await.expect("a console");
        assert_eq!(response.headers()["sec-websocket-protocol"], "consolegate.v1");
        let hello = match within("the hello", socket.next()).await {
            Some(Ok(Message::Text(text))) => serde_json::from_str(&text).expect("JSON"),
            other => panic!("instead of a hello: {other:?}"),
        };
        Self { socket, hello, said: Vec::new(), news: Vec::new(), pongs: 0 }
    }

    async fn step(&mut self) {
        match within("a message", self.socket.next()).await {
            Some(Ok(Message::Binary(bytes))) => self.said.extend_from_slice(&bytes),
            Some(Ok(Message::Text(text))) => self.news.push(serde_json::from_str(&text).expect("JSON")),
            Some(Ok(Message::Ping(_))) => {}
            Some(Ok(Message::Pong(_))) => self.pongs += 1,
            other => panic!("instead of a message: {other:?}; so far {:?}, {:?}", self.said, self.news),
        }
    }

    /// The next news of this type; others that came before it are passed over.
    pub(crate) async fn news(&mut self, kind: &str) -> Value {
        loop {
            if let Some(at) = self.news.iter().position(|news| news["type"] == kind) {
                return self.news.drain(..=at).next_back().expect("at least one");
            }
            self.step().await;
        }
    }

    /// Reads until the console has said `end`; all up to there, as bytes.
    pub(crate) async fn read_to(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.said.windows(end.len()).position(|window| window == end) {
                return self.said.drain(..at + end.len()).collect();
            }
            self.step().await;
        }
    }

    /// Waits until the proxy has read all that was sent before.
    pub(crate) async fn round_trip(&mut self) {
        let before = self.pongs;
        self.send(Message::Ping(Vec::new().into())).await;
        while self.pongs == before {
            self.step().await;
        }
    }

    /// Types on the console.
    pub(crate) async fn types(&mut self, bytes: &[u8]) {
        self.send(Message::binary(bytes.to_vec())).await;
    }

    /// Says something to the proxy.
    pub(crate) async fn says(&mut self, kind: &str) {
        self.send(Message::text(json!({ "type": kind }).to_string())).await;
    }

    /// Sends a message as it is.
    pub(crate) async fn send(&mut self, message: Message) {
        within("room to send", self.socket.send(message)).await.expect("cannot send");
    }
}
