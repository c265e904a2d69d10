//! Target to viewer: read, put a frame header in front, write.

use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::serial;
use crate::ws::{HEADER_ROOM, put_header};

use super::buffer::Buffer;
use super::end::{End, Side};
use super::pump::{MAX_CARRY, Pending, Pump, poll_read};

impl<V, T> Pump<V, T>
where
    V: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    /// One buffer's worth of progress, or `Pending` when there is nothing to do or no room to do it.
    pub(super) fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.poll_write_viewer(cx));
        // When it fails, the next round writes what the viewer is told.
        if self.target_open && self.tape.is_some() && !ready!(self.poll_tape(cx)) {
            return Poll::Ready(());
        }
        if !self.target_open {
            return Poll::Pending;
        }
        let mut buffer = Buffer::take();
        let held = usize::from(self.carry_len);
        let start = HEADER_ROOM + held;
        let read = ready!(poll_read(&mut self.target, &mut self.early_target, cx, &mut buffer[start..]));
        let count = match read {
            Ok(count) if count > 0 => count,
            ended => {
                self.target_ended(ended.map_or_else(|e| End::TargetFailed(e.kind()), |_| End::TargetClosed));
                return Poll::Ready(());
            }
        };
        self.counters.down.fetch_add(count as u64, Ordering::Relaxed);
        let now = Instant::now();
        self.deadlines.moved(now);
        let frame = if self.viewer_deaf { 0..0 } else { self.frame(&mut buffer, held, held + count) };
        if let Some(tape) = &mut self.tape {
            tape.down_from(now, &buffer, start..start + count);
        }
        if !frame.is_empty() {
            self.down = Some(Pending { buffer, at: frame.start, end: frame.end });
            // Written at once when there is room; what does not fit is waited for with the next poll.
            let _ = self.poll_write_viewer(cx);
        }
        Poll::Ready(())
    }

    /// Makes a frame of the first `len` payload bytes, `held` ones from before among them, less the character that has
    /// only begun: where it is.
    fn frame(&mut self, buffer: &mut Buffer, held: usize, len: usize) -> Range<usize> {
        let payload = HEADER_ROOM..HEADER_ROOM + len;
        buffer[HEADER_ROOM..HEADER_ROOM + held].copy_from_slice(&self.carry[..held]);
        let whole = if self.whole_characters { serial::cut(&buffer[payload.clone()]) } else { len };
        self.hold(&buffer[payload][whole..]);
        if whole == 0 {
            return 0..0;
        }
        put_header(buffer, HEADER_ROOM, whole)..HEADER_ROOM + whole
    }

    fn hold(&mut self, rest: &[u8]) {
        self.carry[..rest.len()].copy_from_slice(rest);
        self.carry_len = u8::try_from(rest.len()).unwrap_or(0);
        self.deadlines.held(None);
        if !rest.is_empty() {
            self.deadlines.held(Some(Instant::now()));
        }
    }

    /// Sends the held bytes as they are: their rest did not come in time, or never will. They queue up with
    /// the control frames, behind the data frame under way, so that they overtake nothing half-written and
    /// never come after a close.
    pub(super) fn release_carry(&mut self) {
        let held = usize::from(std::mem::take(&mut self.carry_len));
        self.deadlines.held(None);
        if held > 0 && !self.viewer_deaf {
            let mut frame = [0; HEADER_ROOM + MAX_CARRY];
            frame[HEADER_ROOM..HEADER_ROOM + held].copy_from_slice(&self.carry[..held]);
            let at = put_header(&mut frame, HEADER_ROOM, held);
            self.control.extend_from_slice(&frame[at..HEADER_ROOM + held]);
        }
    }

    /// Writes what is under way: the data frame, then control frames (they go between frames only).
    fn poll_write_viewer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(pending) = &mut self.down {
            let rest = &pending.buffer[pending.at..pending.end];
            let written = Pin::new(&mut self.viewer).poll_write(cx, rest);
            match ready!(self.account_viewer_write(written)) {
                None => return Poll::Ready(()),
                Some(count) => {
                    if let Some(pending) = self.down.as_mut() {
                        pending.at += count;
                    }
                }
            }
            if self.down.as_ref().is_some_and(|pending| pending.at == pending.end) {
                self.down = None;
            }
        }
        while self.control_at < self.control.len() {
            let written = Pin::new(&mut self.viewer).poll_write(cx, &self.control[self.control_at..]);
            match ready!(self.account_viewer_write(written)) {
                None => return Poll::Ready(()),
                Some(count) => self.control_at += count,
            }
        }
        if !self.control.is_empty() {
            // Its memory goes too: pings are rare, idle sessions many.
            self.control = Vec::new();
            self.control_at = 0;
        }
        if self.flush_viewer {
            let flushed = Pin::new(&mut self.viewer).poll_flush(cx).map_ok(|()| 1);
            if ready!(self.account_viewer_write(flushed)).is_some() {
                self.flush_viewer = false;
            }
        }
        Poll::Ready(())
    }

    /// Bytes written, or `None` when the viewer is gone; keeps the stall clock.
    fn account_viewer_write(&mut self, written: Poll<std::io::Result<usize>>) -> Poll<Option<usize>> {
        match written {
            Poll::Pending => {
                self.deadlines.stalled(Side::Viewer, Some(Instant::now()));
                Poll::Pending
            }
            Poll::Ready(Ok(count)) if count > 0 => {
                self.deadlines.stalled(Side::Viewer, None);
                self.flush_viewer = true;
                Poll::Ready(Some(count))
            }
            Poll::Ready(_) => {
                self.viewer_gone();
                Poll::Ready(None)
            }
        }
    }
}
