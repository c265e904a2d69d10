//! A viewer's WebSocket as payload and frames, for the moments before and instead of the pump: handshakes
//! and refusals. Not for bulk.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::ws::{Close, CloseCode, Decoder, HEADER_ROOM, Kind, control_frame, put_header, text_frame};

use super::control::{Notice, to_json};
use super::end::End;

/// Read at a time: handshake messages and key strokes are small.
const READ: usize = 4096;

/// How long a write may take before the viewer counts as gone.
const WRITE: Duration = Duration::from_secs(10);

/// How long the viewer's half of the closing handshake is waited for.
const CLOSE: Duration = Duration::from_secs(5);

/// The viewer's stream with its decoder.
#[derive(Debug)]
pub struct Channel<V> {
    stream: V,
    decoder: Decoder,
    early: Vec<u8>,
    /// The viewer has said goodbye.
    closed: bool,
    /// The viewer broke the protocol: what it sends has no meaning any more.
    failed: bool,
}

impl<V: AsyncRead + AsyncWrite + Unpin> Channel<V> {
    /// A channel over `stream`; `early` was read before and comes first.
    pub fn new(stream: V, early: Vec<u8>, accepts_text: bool) -> Self {
        Self { stream, decoder: Decoder::new(accepts_text), early, closed: false, failed: false }
    }

    /// The viewer speaks the control channel: its text messages are no payload.
    #[must_use]
    pub fn controlled(mut self) -> Self {
        self.decoder = self.decoder.with_notes();
        self
    }

    /// Sends a notice.
    pub async fn tell(&mut self, notice: &Notice) -> Result<(), End> {
        self.write(&text_frame(&to_json(notice))).await
    }

    /// Waits for the viewer's next bytes and appends their payload, which may be none (a control frame).
    /// Cancel-safe: nothing is read unless it is also appended, and nothing is written; see
    /// [`Channel::answer_ping`].
    pub async fn receive(&mut self, payload: &mut Vec<u8>) -> Result<(), End> {
        let mut buffer = [0; READ];
        let mut early = std::mem::take(&mut self.early);
        let bytes = if early.is_empty() {
            match self.stream.read(&mut buffer).await {
                Ok(count) if count > 0 => &mut buffer[..count],
                _ => return Err(End::ViewerGone),
            }
        } else {
            &mut early[..]
        };
        let decoded = self.decoder.decode(bytes);
        payload.extend_from_slice(&bytes[decoded.payload]);
        // Nothing can be asked of a console that does not stand yet.
        drop(self.decoder.take_notes());
        match decoded.stop {
            None => Ok(()),
            Some(Ok(_close)) => {
                self.closed = true;
                Err(End::ViewerClosed)
            }
            Some(Err(error)) => {
                self.failed = true;
                Err(End::Protocol(error))
            }
        }
    }

    /// Answers a ping, if one came. Not cancel-safe, as all writes here: half a frame spoils what follows.
    pub async fn answer_ping(&mut self) -> Result<(), End> {
        match self.decoder.take_ping() {
            Some(ping) => self.write(&control_frame(Kind::Pong, &ping)).await,
            None => Ok(()),
        }
    }

    /// Sends `payload` as one binary frame.
    pub async fn send(&mut self, payload: &[u8]) -> Result<(), End> {
        let mut frame = vec![0; HEADER_ROOM];
        frame.extend_from_slice(payload);
        let at = put_header(&mut frame, HEADER_ROOM, payload.len());
        self.write(&frame[at..]).await
    }

    async fn write(&mut self, frame: &[u8]) -> Result<(), End> {
        let write = async {
            self.stream.write_all(frame).await?;
            self.stream.flush().await
        };
        timeout(WRITE, write)
            .await
            .unwrap_or(Err(io::ErrorKind::TimedOut.into()))
            .map_err(|_| End::ViewerGone)
    }

    /// Says goodbye, waits a little for the viewer's if that may still come, and hangs up.
    pub async fn close(mut self, code: CloseCode, reason: &str) {
        let frame = control_frame(Kind::Close, &Close::payload(code, reason));
        if self.write(&frame).await.is_ok() && !self.closed && !self.failed {
            let mut ignored = Vec::new();
            let goodbye = async {
                while self.receive(&mut ignored).await.is_ok() {
                    ignored.clear();
                }
            };
            // Whether it came or not, the connection ends here.
            let _ = timeout(CLOSE, goodbye).await;
        }
        let hang_up = async {
            self.stream.shutdown().await?;
            // What is still on its way in would reset the connection, and the close with it.
            if self.failed {
                tokio::io::copy(&mut self.stream, &mut tokio::io::sink()).await?;
            }
            io::Result::Ok(())
        };
        let _ = timeout(CLOSE, hang_up).await;
    }

    /// The parts for the pump: the stream and the decoder, which may stand inside a frame.
    pub fn into_parts(self) -> (V, Vec<u8>, Decoder) {
        (self.stream, self.early, self.decoder)
    }
}
