//! A terminal server's line as a plain stream: Telnet and RFC 2217 stay between us and the server.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
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
    /// Who waits to write: what it waits for may come by reading.
    writer: Option<Waker>,
}

impl TelnetLine {
    pub(super) fn new(socket: TcpStream, line: &LineSettings) -> Self {
        Self {
            socket,
            codec: Telnet::new(settings(line)),
            settling: Some(Box::pin(sleep(SETTLE))),
            breaks: Breaks::new(),
            modem: None,
            writer: None,
        }
    }

    fn wake_writer(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain(cx))?;
        ready!(self.poll_settled(cx));
        if self.codec.suspended() {
            return Poll::Pending;
        }
        let count = buf.len().min(CHUNK);
        self.codec.send(&buf[..count]);
        match self.poll_drain(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(count)),
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
                Poll::Ready(Ok(())) => this.wake_writer(),
                Poll::Pending => {}
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.socket).poll_read(cx, buf))?;
            if buf.filled().len() == before {
                return Poll::Ready(Ok(()));
            }
            let kept = this.codec.receive(&mut buf.filled_mut()[before..]);
            buf.set_filled(before + kept);
            this.report();
            this.wake_writer();
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
        let sent = this.poll_send(cx, buf);
        if sent.is_pending() {
            this.writer = Some(cx.waker().clone());
        }
        sent
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// What a client says first, and a server's consent to BINARY both ways and the COM port.
    const FIRST: [u8; 15] = [255, 251, 0, 255, 251, 3, 255, 251, 44, 255, 253, 0, 255, 253, 3];
    const CONSENT: &[u8] = b"\xff\xfd\x00\xff\xfb\x00\xff\xfd\x2c";

    /// A line and its server, which has heard the first words.
    async fn connected(line: &LineSettings) -> (TelnetLine, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (socket, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let mut line = TelnetLine::new(socket.unwrap(), line);
        let mut server = accepted.unwrap().0;
        line.flush().await.unwrap();
        hears(&mut server, &FIRST).await;
        (line, server)
    }

    async fn hears(server: &mut TcpStream, expected: &[u8]) {
        let mut heard = vec![0; expected.len()];
        server.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, expected);
    }

    #[tokio::test]
    async fn settings_and_a_break_by_rfc_2217() {
        let settings = LineSettings { baud: Some(9600), ..LineSettings::default() };
        let (mut line, mut server) = connected(&settings).await;
        let breaker = line.breaker().unwrap();
        assert!(breaker.send() && breaker.send(), "the second is the first");
        server.write_all(CONSENT).await.unwrap();
        let reading = tokio::spawn(async move {
            let mut byte = [0];
            line.read_exact(&mut byte).await.unwrap();
            (line, byte[0])
        });
        // Asked for before the server had agreed: the break key of plain Telnet, which ends by itself.
        hears(&mut server, b"\xff\xf3").await;
        hears(&mut server, b"\xff\xfa\x2c\x01\x00\x00\x25\x80\xff\xf0").await;
        assert!(breaker.send());
        hears(&mut server, b"\xff\xfa\x2c\x05\x05\xff\xf0\xff\xfa\x2c\x05\x06\xff\xf0").await;
        server.write_all(b"x").await.unwrap();
        let (line, byte) = reading.await.unwrap();
        assert_eq!(byte, b'x');
        drop(line);
        assert!(!breaker.send(), "the line is gone");
    }

    #[tokio::test]
    async fn what_is_sent_waits_for_the_form_and_for_a_suspension() {
        let (mut line, mut server) = connected(&LineSettings::default()).await;
        // With the consent in the same packet the first CR is sent as it is.
        server.write_all(&[CONSENT, b"\xff\xfa\x2c\x6c\xff\xf0>"].concat()).await.unwrap();
        let mut prompt = [0];
        line.read_exact(&mut prompt).await.unwrap();
        let (mut reader, mut writer) = tokio::io::split(line);
        let typing = tokio::spawn(async move { writer.write_all(b"a\r").await.map(|()| writer) });
        // The suspension is over with the next word.
        server.write_all(b"\xff\xfa\x2c\x6d\xff\xf0b").await.unwrap();
        reader.read_exact(&mut prompt).await.unwrap();
        assert_eq!(prompt, *b"b");
        let _writer = typing.await.unwrap().unwrap();
        hears(&mut server, b"a\r").await;
    }
}
