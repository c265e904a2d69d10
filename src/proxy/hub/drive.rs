//! A hub's own end: the task that reads the line for everybody and writes what one of them types.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::time::{Sleep, sleep_until};
use tracing::info;

use crate::net::stream::TargetStream;

use super::{Hub, wake};

/// Bytes read at a time: at 115200 bit/s a third of a second; a program on a pty fills it.
const READ: usize = 4096;

/// Reads in a row before other tasks of the thread get a turn.
const ROUNDS: usize = 16;

/// The hub's task and its line.
struct Driver {
    hub: Arc<Hub>,
    line: TargetStream,
    buffer: Box<[u8]>,
    /// Typed bytes on their way, and how many of them are written.
    output: Vec<u8>,
    written: usize,
    unflushed: bool,
    /// The line takes no more.
    deaf: bool,
    /// When a hub without viewers is given up.
    alone: Option<Pin<Box<Sleep>>>,
}

/// Runs the hub to its end: the line's, or when nobody has come for too long, or [`Hub::end`].
pub(super) async fn drive(hub: Arc<Hub>, line: TargetStream) {
    let buffer = vec![0; READ].into_boxed_slice();
    let (output, written, unflushed, deaf, alone) = (Vec::new(), 0, false, false, None);
    let mut driver = Driver { hub: Arc::clone(&hub), line, buffer, output, written, unflushed, deaf, alone };
    let why = poll_fn(|cx| driver.poll(cx)).await;
    hub.end();
    info!(target = %hub.target, why, "the hub has ended");
}

impl Driver {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<&'static str> {
        let mut shared = self.hub.lock();
        if shared.ended {
            return Poll::Ready("its line is not the target's any more");
        }
        // Also while the line takes nothing: then too it may be left alone, or ended.
        shared.driver = Some(cx.waker().clone());
        drop(shared);
        for _ in 0..ROUNDS {
            let _ = self.poll_write(cx);
            match self.poll_read(cx) {
                Poll::Ready(Some(why)) => return Poll::Ready(why),
                Poll::Ready(None) => {}
                Poll::Pending => {
                    ready!(self.poll_alone(cx));
                    return Poll::Ready("nobody came any more");
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<&'static str>> {
        let mut read = ReadBuf::new(&mut self.buffer);
        Poll::Ready(match ready!(Pin::new(&mut self.line).poll_read(cx, &mut read)) {
            Ok(()) if read.filled().is_empty() => Some("the line has ended"),
            Ok(()) => {
                self.hub.heard(read.filled());
                None
            }
            Err(_) => Some("the line broke"),
        })
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            while self.written < self.output.len() {
                let rest = &self.output[self.written..];
                match ready!(Pin::new(&mut self.line).poll_write(cx, rest)) {
                    Ok(count) if count > 0 => self.written += count,
                    // Reading will tell what has become of it.
                    _ => self.deaf = true,
                }
                self.unflushed = true;
                if self.deaf {
                    self.written = self.output.len();
                }
            }
            if self.unflushed {
                let _ = ready!(Pin::new(&mut self.line).poll_flush(cx));
                self.unflushed = false;
            }
            self.output.clear();
            self.written = 0;
            let mut shared = self.hub.lock();
            if shared.input.is_empty() {
                // Its memory goes too: who types is rare among many lines.
                self.output = Vec::new();
                return Poll::Pending;
            }
            std::mem::swap(&mut self.output, &mut shared.input);
            wake(&mut shared.writer);
        }
    }

    /// Ready when nobody has been here for as long as the hub waits for somebody.
    fn poll_alone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let settings = &self.hub.settings;
        let empty = self.hub.lock().empty.filter(|_| !settings.capture);
        let Some(empty) = empty else {
            self.alone = None;
            return Poll::Pending;
        };
        let until = empty + settings.linger;
        let alone = self.alone.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if alone.deadline() != until {
            alone.as_mut().reset(until);
        }
        ready!(alone.as_mut().poll(cx));
        // Somebody may have come meanwhile; a hub that has ended takes nobody.
        let mut shared = self.hub.lock();
        shared.ended = shared.empty.is_some();
        if shared.ended { Poll::Ready(()) } else { Poll::Pending }
    }
}
