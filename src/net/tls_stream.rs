//! A connection of TLS after its handshake, as a stream: our record layer between a socket and those above.
//!
//! Reading: one large read, each record opened straight into the reader's buffer. Writing: records sealed from the
//! writer's buffer straight into one of the thread's, and one write. An idle connection holds no buffer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::inbound::Inbound;
use super::pooled::{Pooled, SIZE};
use super::record::{Alert, CONTROL_ROOM, Fault, MAX_PLAIN, Received, Records};

/// TLS over `S`.
#[derive(Debug)]
pub struct TlsStream<S> {
    io: S,
    records: Records,
    inbound: Inbound,
    /// Opened and not handed on: its reader asked for less than a record.
    plain: Option<Pooled>,
    /// Sealed and not written.
    outbound: Option<Pooled>,
    ended: Option<Ended>,
}

/// Why nothing more is read.
#[derive(Clone, Copy, Debug)]
enum Ended {
    /// The peer said so.
    Closed,
    /// The connection ended without goodbye: the rest may have been cut off on the way.
    Cut,
    Broken(Fault),
    Io(io::ErrorKind),
}

impl Ended {
    fn result(self) -> io::Result<()> {
        match self {
            Self::Closed => Ok(()),
            Self::Cut => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "TLS: the peer hung up without close_notify",
            )),
            Self::Broken(fault) => Err(io::Error::new(io::ErrorKind::InvalidData, fault)),
            Self::Io(kind) => Err(kind.into()),
        }
    }
}

impl<S> TlsStream<S> {
    /// A connection whose handshake has just ended; `inbound` was read already.
    pub(super) fn new(io: S, records: Records, inbound: Inbound) -> Self {
        Self { io, records, inbound, plain: None, outbound: None, ended: None }
    }

    /// What is beneath.
    pub fn get_ref(&self) -> &S {
        &self.io
    }

    /// Seals an alert behind what waits to be written.
    fn say(&mut self, alert: Alert) {
        let outbound = self.outbound.get_or_insert_with(Pooled::take);
        outbound.end += self.records.close(alert, &mut outbound.bytes[outbound.end..]);
        if outbound.is_empty() {
            self.outbound = None;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// Writes what is sealed; ready when nothing of it waits.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(outbound) = &mut self.outbound {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, outbound.waiting()));
            match written {
                Ok(count) if count > 0 => outbound.at += count,
                failed => {
                    self.outbound = None;
                    return Poll::Ready(failed.and(Err(io::ErrorKind::WriteZero.into())));
                }
            }
            if outbound.is_empty() {
                self.outbound = None;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn fail(&mut self, fault: Fault, cx: &mut Context<'_>) {
        self.ended = Some(Ended::Broken(fault));
        self.inbound = Inbound::default();
        if let Fault::Ours(alert) = fault {
            self.say(alert);
            // What does not fit now goes out with the shutdown.
            let _ = self.poll_drain(cx);
        }
    }

    /// Opens the next record, if it is there whole and `buf` has room for it or is empty. `None`: not there; else
    /// whether to go on.
    fn open_next(&mut self, buf: &mut ReadBuf<'_>, empty: bool) -> Result<Option<bool>, Fault> {
        let Some(record) = self.inbound.record(&self.records)? else { return Ok(None) };
        let (length, room) = (record.len(), self.records.room(record.len()));
        let received = if room <= buf.remaining() {
            let received = self.records.receive(record, buf.initialize_unfilled_to(room))?;
            if let Received::Data(count) = received {
                buf.advance(count);
            }
            received
        } else if !empty {
            return Ok(Some(false));
        } else {
            let mut plain = Pooled::take();
            let received = self.records.receive(record, &mut plain.bytes)?;
            if let Received::Data(count) = received {
                plain.end = count;
                self.plain = Some(plain);
            }
            received
        };
        self.inbound.consume(length);
        if received == Received::Close {
            self.ended = Some(Ended::Closed);
            self.inbound = Inbound::default();
        }
        Ok(Some(true))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let mut resumed = false;
        loop {
            let empty = buf.filled().len() == before;
            if let Some(plain) = &mut this.plain {
                let count = buf.remaining().min(plain.end - plain.at);
                buf.put_slice(&plain.bytes[plain.at..plain.at + count]);
                plain.at += count;
                if plain.is_empty() {
                    this.plain = None;
                }
                return Poll::Ready(Ok(()));
            }
            if let Some(ended) = this.ended {
                return Poll::Ready(if empty { ended.result() } else { Ok(()) });
            }
            resumed |= this.inbound.is_parked();
            match this.open_next(buf, empty) {
                Ok(Some(true)) => continue,
                Ok(Some(false)) => return Poll::Ready(Ok(())),
                Ok(None) => {}
                Err(fault) => {
                    this.fail(fault, cx);
                    continue;
                }
            }
            // After a record that was waited for, more is likely there.
            let more = resumed && buf.remaining() > MAX_PLAIN;
            if !(empty || more) {
                this.inbound.release();
                return Poll::Ready(Ok(()));
            }
            resumed = false;
            match this.inbound.poll_fill(&mut this.io, &this.records, cx) {
                Poll::Pending if empty => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(0)) => this.ended = Some(Ended::Cut),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) if empty => return Poll::Ready(Err(error)),
                Poll::Ready(Err(error)) => this.ended = Some(Ended::Io(error.kind())),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    /// What was taken may wait to be written; flushing sees to it.
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut outbound = Pooled::take();
        let sent = this.records.send(buf, &mut outbound.bytes[..SIZE - CONTROL_ROOM]);
        let (taken, sealed) = sent.map_err(|error| io::Error::new(io::ErrorKind::BrokenPipe, error))?;
        outbound.end = sealed;
        this.outbound = Some(outbound);
        if let Poll::Ready(Err(error)) = this.poll_drain(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.say(Alert::CloseNotify);
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
