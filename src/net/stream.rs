//! The two ends of a session as enums: one concrete type in the hot path, no boxed trait object.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::{fmt, io};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;

use super::secure::SecureStream;
use super::tls_stream::TlsStream;

/// A viewer's connection.
#[derive(Debug)]
pub enum ViewerStream {
    /// Plain TCP.
    Tcp(TcpStream),
    /// TLS over TCP; boxed, its state is larger than a socket's.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A target's connection.
#[derive(Debug)]
pub enum TargetStream {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// TLS over TCP, to a serial console.
    Secure(Box<SecureStream>),
    /// TLS over one of them, to a VNC server.
    Tls(Box<TlsStream<TargetStream>>),
    /// A serial line that something is done to on the way: Telnet, a port, a program, dialling again. Serial lines
    /// are slow; a call through a pointer is nothing to them.
    Line(Box<dyn Line>),
}

/// An end of stream without TLS's goodbye, as an end like another: QEMU and TigerVNC just hang up, and RFB's own
/// lengths tell when something is missing.
fn hung_up(read: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
    match read {
        Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
        read => read,
    }
}

/// A serial line of a kind of its own.
pub trait Line: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin {
    /// Asks it for a break, if there is such a thing on it.
    fn breaker(&self) -> Option<Breaker>;

    /// Tells it the size of the viewer's terminal, if that means anything to it.
    fn resizer(&self) -> Option<Resizer> {
        None
    }
}

impl TargetStream {
    /// Asks the line for a break, if there is such a thing on it.
    pub fn breaker(&self) -> Option<Breaker> {
        match self {
            Self::Line(line) => line.breaker(),
            Self::Tcp(_) | Self::Unix(_) | Self::Secure(_) | Self::Tls(_) => None,
        }
    }

    /// Tells the line the size of the viewer's terminal, if that means anything to it.
    pub fn resizer(&self) -> Option<Resizer> {
        match self {
            Self::Line(line) => line.resizer(),
            Self::Tcp(_) | Self::Unix(_) | Self::Secure(_) | Self::Tls(_) => None,
        }
    }
}

/// Asks a line for breaks. Clones ask the same line.
#[derive(Clone, Debug)]
pub struct Breaker(mpsc::Sender<()>);

impl Breaker {
    /// A breaker and the line's end of it.
    pub fn pair() -> (Self, mpsc::Receiver<()>) {
        // One that waits is enough: breaks do not add up.
        let (sender, asked) = mpsc::channel(1);
        (Self(sender), asked)
    }

    /// Asks for one break; `false` if the line is gone. Asked again before the last has begun, it is the same one.
    pub fn send(&self) -> bool {
        !matches!(self.0.try_send(()), Err(mpsc::error::TrySendError::Closed(())))
    }
}

/// Tells a line the size of the viewer's terminal. Clones tell the same line.
#[derive(Clone, Debug)]
pub struct Resizer {
    size: Arc<AtomicU32>,
    told: mpsc::Sender<()>,
}

/// The line's end of a [`Resizer`].
#[derive(Debug)]
pub struct Sizes {
    size: Arc<AtomicU32>,
    told: mpsc::Receiver<()>,
}

impl Resizer {
    /// A resizer and the line's end of it.
    pub fn pair() -> (Self, Sizes) {
        // One word that waits is enough: only the latest size counts.
        let (sender, receiver) = mpsc::channel(1);
        let size = Arc::<AtomicU32>::default();
        (Self { size: Arc::clone(&size), told: sender }, Sizes { size, told: receiver })
    }

    /// The viewer's terminal is now so many characters across and down.
    pub fn send(&self, columns: u16, rows: u16) {
        self.size.store(u32::from(columns) << 16 | u32::from(rows), Ordering::Release);
        // A word that waits already leads to the same size; a line that is gone needs none.
        let _ = self.told.try_send(());
    }
}

impl Sizes {
    /// The next size, columns and rows; never ready again once all resizers are gone.
    pub fn poll_size(&mut self, cx: &mut Context<'_>) -> Poll<(u16, u16)> {
        if ready!(self.told.poll_recv(cx)).is_none() {
            return Poll::Pending;
        }
        let [c1, c0, r1, r0] = self.size.load(Ordering::Acquire).to_be_bytes();
        Poll::Ready((u16::from_be_bytes([c1, c0]), u16::from_be_bytes([r1, r0])))
    }
}

macro_rules! forward {
    ($stream:ident: $($variant:ident),+; $read:expr) => {
        impl AsyncRead for $stream {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                $read(match self.get_mut() {
                    $(Self::$variant(inner) => Pin::new(inner).poll_read(cx, buf),)+
                })
            }
        }

        impl AsyncWrite for $stream {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $(Self::$variant(inner) => Pin::new(inner).poll_write(cx, buf),)+
                }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant(inner) => Pin::new(inner).poll_flush(cx),)+
                }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant(inner) => Pin::new(inner).poll_shutdown(cx),)+
                }
            }
        }
    };
}

forward!(ViewerStream: Tcp, Tls; std::convert::identity);
forward!(TargetStream: Tcp, Unix, Secure, Tls, Line; hung_up);
