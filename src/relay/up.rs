//! Viewer to target: read, unmask in place, write.

use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::rfb::{ViewOnly, ViewOnlyError};
use crate::ws::Kind;

use super::buffer::Buffer;
use super::end::{End, Side};
use super::pump::{MAX_CONTROL_QUEUE, Pending, Pump, poll_read};

impl<V, T> Pump<V, T>
where
    V: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    /// One buffer's worth of progress, or `Pending` when there is nothing to do or no room to do it.
    pub(super) fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.poll_write_target(cx));
        ready!(self.poll_half_close(cx));
        if !self.viewer_open {
            return Poll::Pending;
        }
        if self.tape.is_some() && !ready!(self.poll_tape(cx)) {
            return Poll::Ready(());
        }
        let mut buffer = Buffer::take();
        let front = if self.filter.is_some() { ViewOnly::ROOM } else { 0 };
        match ready!(poll_read(&mut self.viewer, &mut self.early_viewer, cx, &mut buffer[front..])) {
            Ok(count) if count > 0 => self.take(buffer, front..front + count, cx),
            // An end of stream without a close frame; TLS reports a missing close_notify as an error.
            _ => self.viewer_gone(),
        }
        Poll::Ready(())
    }

    fn take(&mut self, mut buffer: Buffer, read: Range<usize>, cx: &mut Context<'_>) {
        let now = Instant::now();
        self.deadlines.heard(now);
        let decoded = self.decoder.decode(&mut buffer[read.clone()]);
        let payload = read.start + decoded.payload.start..read.start + decoded.payload.end;
        let payload = self.admitted(&mut buffer, payload).unwrap_or_else(|error| {
            self.finish_for(End::ViewOnly(error));
            0..0
        });
        if !payload.is_empty() && self.deliver && !self.target_deaf {
            self.deadlines.moved(now);
            self.counters.up.fetch_add(payload.len() as u64, Ordering::Relaxed);
            if let Some(tape) = &mut self.tape {
                tape.up(now, &buffer[payload.clone()]);
            }
            self.up = Some(Pending { buffer, at: payload.start, end: payload.end });
            let _ = self.poll_write_target(cx);
        }
        if self.control.len() < MAX_CONTROL_QUEUE
            && let Some(ping) = self.decoder.take_ping()
        {
            self.queue_control(Kind::Pong, &ping);
        }
        if let Some(channel) = &mut self.channel
            && let Some(notes) = self.decoder.take_notes()
            && let Err(error) = channel.heard(&notes, now)
        {
            return self.viewer_failed(End::Control(error));
        }
        match decoded.stop {
            None => {}
            Some(Ok(_close)) => self.viewer_closed(),
            Some(Err(error)) => self.viewer_failed(End::Protocol(error)),
        }
    }

    /// What of the payload is for the target.
    fn admitted(
        &mut self,
        buffer: &mut Buffer,
        payload: Range<usize>,
    ) -> Result<Range<usize>, ViewOnlyError> {
        match &mut self.filter {
            None if self.view_only => Ok(0..0),
            Some(filter) if self.deliver && !payload.is_empty() => filter.apply(buffer, payload),
            _ => Ok(payload),
        }
    }

    fn poll_write_target(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(pending) = &mut self.up {
            let rest = &pending.buffer[pending.at..pending.end];
            match Pin::new(&mut self.target).poll_write(cx, rest) {
                Poll::Pending => {
                    self.deadlines.stalled(Side::Target, Some(Instant::now()));
                    return Poll::Pending;
                }
                Poll::Ready(Ok(count)) if count > 0 => {
                    pending.at += count;
                    if pending.at == pending.end {
                        self.up = None;
                        self.flush_target = true;
                    }
                    self.deadlines.stalled(Side::Target, None);
                    self.wrote_to_target();
                }
                Poll::Ready(Ok(_)) => self.target_failed(std::io::ErrorKind::WriteZero),
                Poll::Ready(Err(error)) => self.target_failed(error.kind()),
            }
        }
        self.poll_flush_target(cx)
    }

    /// TLS may hold the end of what was written; on a plain socket there is nothing to do.
    fn poll_flush_target(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.flush_target {
            match Pin::new(&mut self.target).poll_flush(cx) {
                Poll::Pending => {
                    self.deadlines.stalled(Side::Target, Some(Instant::now()));
                    return Poll::Pending;
                }
                Poll::Ready(Ok(())) => self.flush_target = false,
                Poll::Ready(Err(error)) => self.target_failed(error.kind()),
            }
            self.deadlines.stalled(Side::Target, None);
        }
        Poll::Ready(())
    }

    /// Tells the target that no more will come, once all that was accepted has been written.
    fn poll_half_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.deliver && !self.target_shut && !self.target_deaf {
            // An error here means the target closed first, which reading will tell.
            let _ = ready!(Pin::new(&mut self.target).poll_shutdown(cx));
            self.target_shut = true;
        }
        Poll::Ready(())
    }
}
