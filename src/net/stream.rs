//! The two ends of a session as enums: one concrete type in the hot path, no boxed trait object.

use std::pin::Pin;
use std::task::{Context, Poll};
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
}

impl TargetStream {
    /// Asks the line for a break, if there is such a thing on it.
    pub fn breaker(&self) -> Option<Breaker> {
        match self {
            Self::Line(line) => line.breaker(),
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
