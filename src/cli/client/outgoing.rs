//! What is on its way to the console: queued, sent as the connection takes it, and the goodbye after it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, ready};
use std::time::Duration;

use futures_util::SinkExt as _;
use futures_util::stream::SplitSink;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::session::End;
use super::socket::Wire;

/// How long the other side may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

type Sink = SplitSink<WebSocketStream<Box<dyn Wire>>, Message>;

/// What is on its way to the console.
pub(super) struct Outgoing {
    sink: Sink,
    queue: VecDeque<Message>,
    waiting: usize,
    dirty: bool,
}

impl Outgoing {
    pub(super) fn new(sink: Sink) -> Self {
        Self { sink, queue: VecDeque::new(), waiting: 0, dirty: false }
    }

    /// Bytes that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether there is something to send.
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
    }

    pub(super) fn push(&mut self, message: Message) {
        self.waiting += message.len();
        self.queue.push_back(message);
        self.dirty = true;
    }

    /// Sends what waits. May be dropped half-way.
    pub(super) async fn send(&mut self) -> Result<(), WsError> {
        poll_fn(|cx| {
            loop {
                ready!(self.sink.poll_ready_unpin(cx))?;
                let Some(message) = self.queue.pop_front() else { break };
                self.waiting -= message.len();
                self.sink.start_send_unpin(message)?;
            }
            ready!(self.sink.poll_flush_unpin(cx))?;
            self.dirty = false;
            Poll::Ready(Ok(()))
        })
        .await
    }
    /// What was begun, such as the answer to a goodbye. Whoever does not take it has waited for nothing.
    pub(super) async fn flush(&mut self) {
        let _ = tokio::time::timeout(GOODBYE, self.sink.flush()).await;
    }
}

/// Says goodbye and waits a little for the answer, so that the session's end is known as one.
pub(super) async fn goodbye(mut up: Outgoing, end: End) -> End {
    up.push(Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() })));
    // Whoever does not take it learns it from the end of the connection.
    let _ = tokio::time::timeout(GOODBYE, up.send()).await;
    end
}
