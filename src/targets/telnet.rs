//! A terminal server's line as a plain stream: Telnet and RFC 2217 stay between us and the server.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tracing::{debug, warn};

use crate::config::{Flow, LineSettings, Parity};
use crate::net::stream::{Breaker, Line};
use crate::serial::telnet::{self, Setting, Telnet};

use super::breaks::{Breaks, Step};

/// Bytes encoded at once: with every one doubled, what waits to be written stays below 32 KiB.
const CHUNK: usize = 16 * 1024;

/// Unwritten output beyond which nothing is read: a server that does not take answers gets no more of them.
const MAX_UNWRITTEN: usize = 4096;

/// How long the first bytes wait for the server's word on BINARY; servers say it at once, or never.
const SETTLE: Duration = Duration::from_secs(1);

/// One connection to a terminal server.
#[derive(Debug)]
pub(super) struct TelnetLine {
    socket: TcpStream,
    codec: Telnet,
    settling: Option<Pin<Box<Sleep>>>,
    breaks: Breaks,
    modem: Option<u8>,
}

impl TelnetLine {
    pub(super) fn new(socket: TcpStream, line: &LineSettings) -> Self {
        Self {
            socket,
            codec: Telnet::new(settings(line)),
            settling: Some(Box::pin(sleep(SETTLE))),
            breaks: Breaks::new(),
            modem: None,
        }
    }

    /// Writes what there is to write.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.codec.output().is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_write(cx, self.codec.output()))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.codec.wrote(count),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_breaks(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(step) = self.breaks.poll_step(cx) {
            match step {
                Step::Begin if self.codec.begin_break() => self.breaks.lasts(),
                Step::Begin => {}
                Step::End => self.codec.end_break(),
            }
        }
    }

    /// Ready when the server knows how to read what is sent: see [`Telnet::settled`].
    fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(settling) = &mut self.settling {
            if !self.codec.settled() {
                ready!(settling.as_mut().poll(cx));
            }
            self.settling = None;
        }
        Poll::Ready(())
    }

    /// Tells operators what the server made of the settings.
    fn report(&mut self) {
        while let Some((wanted, found)) = self.codec.differing() {
            warn!(?wanted, found, "the terminal server did not take a line setting");
        }
        if self.codec.unset() {
            warn!("the terminal server has no RFC 2217: the line settings are not in force");
        }
        if self.codec.modem() != self.modem {
            self.modem = self.codec.modem();
            debug!(modem = self.modem, "modem lines");
        }
    }
}

fn settings(line: &LineSettings) -> Vec<Setting> {
    let LineSettings { baud, data_bits, parity, stop_bits, flow, dtr, rts } = *line;
    let parity = parity.map(|parity| match parity {
        Parity::None => telnet::Parity::None,
        Parity::Odd => telnet::Parity::Odd,
        Parity::Even => telnet::Parity::Even,
    });
    let flow = flow.map(|flow| match flow {
        Flow::None => telnet::Flow::None,
        Flow::XonXoff => telnet::Flow::XonXoff,
        Flow::RtsCts => telnet::Flow::RtsCts,
    });
    let all = [
        baud.map(Setting::Baud),
        data_bits.map(Setting::DataBits),
        parity.map(Setting::Parity),
        stop_bits.map(Setting::StopBits),
        flow.map(Setting::Flow),
        dtr.map(Setting::Dtr),
        rts.map(Setting::Rts),
    ];
    all.into_iter().flatten().collect()
}

impl Line for TelnetLine {
    fn breaker(&self) -> Option<Breaker> {
        Some(self.breaks.breaker())
    }
}

impl AsyncRead for TelnetLine {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.poll_breaks(cx);
        loop {
            match this.poll_drain(cx) {
                Poll::Pending if this.codec.output().len() > MAX_UNWRITTEN => return Poll::Pending,
                // Nobody takes the answers any more; there may be something to read yet.
                Poll::Ready(Err(_)) => this.codec.wrote(usize::MAX),
                _ => {}
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.socket).poll_read(cx, buf))?;
            if buf.filled().len() == before {
                return Poll::Ready(Ok(()));
            }
            let kept = this.codec.receive(&mut buf.filled_mut()[before..]);
            buf.set_filled(before + kept);
            this.report();
            if kept > 0 {
                let _ = this.poll_drain(cx);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for TelnetLine {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        ready!(this.poll_settled(cx));
        if this.codec.suspended() {
            // The server's word that ends it is read by the task that writes.
            return Poll::Pending;
        }
        let count = buf.len().min(CHUNK);
        this.codec.send(&buf[..count]);
        match this.poll_drain(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(count)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_drain(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}
