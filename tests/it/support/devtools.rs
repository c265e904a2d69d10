//! The DevTools protocol over one WebSocket: calls with numbers, answers, and events by session.
//! Source: the protocol's own "browser" WebSocket endpoint with flattened sessions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::within;

/// An answer: the result, or the protocol's error.
type Answer = Result<Value, Value>;

/// A connection to a browser. Clones share it.
#[derive(Clone)]
pub(crate) struct DevTools {
    requests: mpsc::UnboundedSender<(Value, oneshot::Sender<Answer>)>,
    events: Arc<Mutex<Vec<Value>>>,
}

impl DevTools {
    /// Connects to a browser's endpoint.
    pub(crate) async fn connect(url: &str) -> Self {
        // A screenshot or a canvas comes as one message of several MiB.
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let connecting = tokio_tungstenite::connect_async_with_config(url, Some(config), true);
        let (socket, _) = within("the browser's DevTools", connecting).await.expect("a DevTools WebSocket");
        let (requests, inbox) = mpsc::unbounded_channel();
        let events = Arc::new(Mutex::new(vec![]));
        // Ends when the browser closes the socket or the last handle is dropped.
        tokio::spawn(serve(socket, inbox, Arc::clone(&events)));
        Self { requests, events }
    }

    /// Calls a method, of the browser or of an attached page.
    pub(crate) async fn call(&self, session: Option<&str>, method: &str, params: Value) -> Answer {
        let mut request = json!({ "method": method, "params": params });
        if let Some(session) = session {
            request["sessionId"] = session.into();
        }
        let (reply, answer) = oneshot::channel();
        self.requests.send((request, reply)).expect("a living browser");
        within(method, answer).await.unwrap_or_else(|_| panic!("the browser ended during {method}"))
    }

    /// The events of a session so far, in their order. Those caused before an answered call are among them.
    pub(crate) fn events(&self, session: &str) -> Vec<Value> {
        let events = self.events.lock().expect("events");
        events.iter().filter(|event| event["sessionId"] == session).cloned().collect()
    }
}

async fn serve<S>(
    mut socket: tokio_tungstenite::WebSocketStream<S>,
    mut inbox: mpsc::UnboundedReceiver<(Value, oneshot::Sender<Answer>)>,
    events: Arc<Mutex<Vec<Value>>>,
) where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut waiting: HashMap<u64, oneshot::Sender<Answer>> = HashMap::new();
    let mut number = 0;
    loop {
        // Both branches are cancel safe: neither takes anything before it is ready.
        tokio::select! {
            request = inbox.recv() => {
                let Some((mut request, reply)) = request else { return };
                number += 1;
                request["id"] = number.into();
                waiting.insert(number, reply);
                if socket.send(Message::text(request.to_string())).await.is_err() {
                    return;
                }
            }
            message = socket.next() => {
                let Some(Ok(message)) = message else { return };
                let Message::Text(text) = message else { continue };
                let mut message: Value = serde_json::from_str(&text).expect("JSON from the browser");
                let Some(id) = message["id"].as_u64() else {
                    events.lock().expect("events").push(message);
                    continue;
                };
                let answer = match message.get_mut("error") {
                    Some(error) => Err(error.take()),
                    None => Ok(message["result"].take()),
                };
                // A caller that no longer waits has failed already, with its own words.
                let _ = waiting.remove(&id).map(|reply| reply.send(answer));
            }
        }
    }
}
