//! One viewer: connects, upgrades, waits until the console says that the session stands.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::ServerName;
use sha1::{Digest as _, Sha1};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::net::handshake;
use crate::net::tls_stream::TlsStream;

use super::console::{Console, HELLO, Order};
use super::frames::{CLOSE, Event, PONG, Parser, binary, put_frame};
use super::rfb;
use super::url::ViewerUrl;

/// From connect to the console's first byte. Behind a proxy that dials the target it is milliseconds; with
/// 8,000 others at once, seconds.
const OPEN: Duration = Duration::from_secs(30);

/// The longest answer to an upgrade that is still read.
const MAX_HEAD: usize = 8 * 1024;

/// A fixed nonce: it is no secret (RFC 6455 section 1.3), and the answer to it is checked all the same.
const NONCE: &str = "Y29uc29sZWdhdGUgbG9hZA==";

/// Appended to the nonce (RFC 6455 section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// How viewers connect, shared by all of them.
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    pub(super) console: Console,
}

/// The connection, plain or not.
pub(super) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// An open session, seen from the viewer's side.
pub(super) struct Viewer {
    stream: Stream,
    websocket: bool,
    parser: Parser,
    /// Pongs that wait for the next write.
    pongs: Vec<u8>,
}

impl Dialer {
    /// Opens a session; with a console of ours at the other end, waits for its greeting.
    pub(super) async fn open(&self, url: &ViewerUrl) -> anyhow::Result<Viewer> {
        let opened = timeout(OPEN, self.open_unbounded(url)).await;
        opened.with_context(|| format!("{url}: no session within {OPEN:?}"))?.with_context(|| url.to_string())
    }

    async fn open_unbounded(&self, url: &ViewerUrl) -> anyhow::Result<Viewer> {
        let socket = TcpStream::connect((url.host.as_str(), url.port)).await.context("cannot connect")?;
        socket.set_nodelay(true)?;
        let mut stream = if url.tls {
            let config = self.tls.clone().context("TLS needs --ca FILE")?;
            let name = ServerName::try_from(url.host.clone())?;
            let connected = handshake::connect(config, name, socket).await;
            Stream::Tls(Box::new(connected.context("the TLS handshake failed")?))
        } else {
            Stream::Tcp(socket)
        };
        let mut early = Vec::new();
        if url.websocket {
            early = upgrade(&mut stream, url).await?;
        }
        let mut viewer =
            Viewer { stream, websocket: url.websocket, parser: Parser::default(), pongs: Vec::new() };
        viewer.greet(early, &self.console).await?;
        Ok(viewer)
    }
}

/// Asks for the upgrade; returns what the server sent after its answer.
async fn upgrade(stream: &mut Stream, url: &ViewerUrl) -> anyhow::Result<Vec<u8>> {
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}:{}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {NONCE}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: binary\r\n\r\n",
        url.path, url.host, url.port
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut head = Vec::with_capacity(512);
    let end = loop {
        if let Some(at) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if head.len() > MAX_HEAD {
            bail!("the answer's head is longer than {MAX_HEAD} bytes");
        }
        if stream.read_buf(&mut head).await? == 0 {
            bail!("hung up instead of answering");
        }
    };
    let text = String::from_utf8_lossy(&head[..end]);
    let status = text.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("101") {
        bail!("refused: {status}");
    }
    let expected = STANDARD.encode(Sha1::digest(format!("{NONCE}{GUID}")));
    let accept = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find_map(|(name, value)| name.eq_ignore_ascii_case("sec-websocket-accept").then(|| value.trim()));
    if accept != Some(expected.as_str()) {
        bail!("the answer's Sec-WebSocket-Accept is wrong");
    }
    Ok(head.split_off(end))
}

impl Viewer {
    /// The RFB greeting where the console is VNC, then the console's hello.
    async fn greet(&mut self, early: Vec<u8>, console: &Console) -> anyhow::Result<()> {
        if !console.is_ours {
            return Ok(());
        }
        let mut greeting = rfb::Viewer::default();
        let mut payload = self.payload(&early)?;
        let mut buffer = vec![0; 4096];
        loop {
            if console.vnc && !greeting.done() {
                let answer = greeting.feed(&mut payload)?;
                if !answer.is_empty() {
                    self.send(&answer).await?;
                }
            }
            if (greeting.done() || !console.vnc) && !payload.is_empty() {
                break;
            }
            let count = self.stream.read(&mut buffer).await?;
            if count == 0 {
                bail!("the session ended before the console said hello");
            }
            payload.extend(self.payload(&buffer[..count])?);
        }
        if payload != [HELLO] {
            bail!("another console is there than the one this program plays");
        }
        Ok(())
    }

    /// The data in bytes as they were read.
    fn payload(&mut self, bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut payload = Vec::new();
        self.parse(bytes, |data| payload.extend_from_slice(data))?;
        Ok(payload)
    }

    /// Tells the console what to do from now on.
    pub(super) async fn order(&mut self, order: Order) -> anyhow::Result<()> {
        self.send(&order.to_bytes()).await
    }

    /// One message.
    pub(super) async fn send(&mut self, payload: &[u8]) -> anyhow::Result<()> {
        let message = self.message(payload);
        self.write(&message).await
    }

    /// A message as it goes over the wire, for [`Viewer::write`].
    pub(super) fn message(&self, payload: &[u8]) -> Vec<u8> {
        if self.websocket { binary(payload) } else { payload.to_vec() }
    }

    /// Bytes as they go over the wire, and pongs that are due.
    pub(super) async fn write(&mut self, wire: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(wire).await?;
        if !self.pongs.is_empty() {
            let pongs = std::mem::take(&mut self.pongs);
            self.stream.write_all(&pongs).await?;
        }
        self.stream.flush().await?;
        Ok(())
    }

    /// Reads once; false at the end. Pings are answered.
    pub(super) async fn receive(
        &mut self,
        buffer: &mut [u8],
        on_data: impl FnMut(&[u8]),
    ) -> anyhow::Result<bool> {
        let count = self.stream.read(buffer).await?;
        let open = count > 0 && self.parse(&buffer[..count], on_data)?;
        if !self.pongs.is_empty() {
            self.write(&[]).await?;
        }
        Ok(open)
    }

    /// What can be read without waiting is parsed, so that a viewer which only writes answers pings too.
    pub(super) fn poll_pings(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> anyhow::Result<()> {
        let mut into = ReadBuf::new(buffer);
        if Pin::new(&mut self.stream).poll_read(cx, &mut into)?.is_ready() {
            let count = into.filled().len();
            if count == 0 || !self.parse(&buffer[..count], |_| {})? {
                bail!("the session ended");
            }
        }
        Ok(())
    }

    fn parse(&mut self, bytes: &[u8], mut on_data: impl FnMut(&[u8])) -> anyhow::Result<bool> {
        if !self.websocket {
            on_data(bytes);
            return Ok(true);
        }
        let mut open = true;
        let pongs = &mut self.pongs;
        self.parser.feed(bytes, |event| match event {
            Event::Data(data) => on_data(data),
            Event::Ping(payload) => put_frame(pongs, PONG, true, payload),
            Event::Pong(_) => {}
            Event::Close => open = false,
        })?;
        Ok(open)
    }

    /// Says goodbye and hangs up without waiting, and without leaving the port in TIME_WAIT: tens of
    /// thousands of set-ups would run out of ports.
    pub(super) async fn leave(mut self) {
        if self.websocket {
            let mut close = Vec::new();
            put_frame(&mut close, CLOSE, true, &1000u16.to_be_bytes());
            // Whoever is gone already needs no goodbye.
            let _ = self.write(&close).await;
        }
        let _ = SockRef::from(self.stream.socket()).set_linger(Some(Duration::ZERO));
    }

    /// The parts, for a mode that reads and writes at its own will.
    pub(super) fn into_stream(self) -> Stream {
        self.stream
    }
}

impl Stream {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Tcp(socket) => socket,
            Self::Tls(stream) => stream.get_ref(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
