//! A serial port of this machine as a stream.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use rustix::termios::{ControlModes, OptionalActions, tcgetattr, tcsetattr};
use serial2_tokio::{CharSize, FlowControl, SerialPort, Settings, StopBits};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;

use crate::config::{Flow, LineSettings, Parity};
use crate::net::stream::{Breaker, Line};

use super::breaks::{Breaks, Step};

/// The speed of most consoles, and of Linux's own `console=ttyS0,115200`.
const BAUD: u32 = 115_200;

/// An open port.
pub(super) struct TtyLine {
    /// Taken out only to be closed.
    port: Option<SerialPort>,
    /// Holds the lock.
    _lock: File,
    breaks: Breaks,
    /// Nothing more will be written, so nothing more is waited for: a port has no end.
    shut: bool,
}

impl std::fmt::Debug for TtyLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TtyLine").field("shut", &self.shut).finish_non_exhaustive()
    }
}

impl TtyLine {
    /// Opens, locks and sets the port.
    pub(super) fn open(path: &Path, line: &LineSettings) -> io::Result<Self> {
        let lock = lock(path)?;
        let port = SerialPort::open(path, |settings: Settings| set(settings, line))?;
        if let Some(on) = line.dtr {
            port.set_dtr(on)?;
        }
        if let Some(on) = line.rts {
            port.set_rts(on)?;
        }
        Ok(Self { port: Some(port), _lock: lock, breaks: Breaks::new(), shut: false })
    }

    fn port(&mut self) -> io::Result<Pin<&mut SerialPort>> {
        self.port.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn poll_breaks(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(step) = self.breaks.poll_step(cx) {
            let Some(port) = &self.port else { return };
            match (port.set_break(step == Step::Begin), step) {
                (Ok(()), Step::Begin) => self.breaks.lasts(),
                (Ok(()), Step::End) => {}
                (Err(error), _) => tracing::warn!(%error, "the port takes no break"),
            }
        }
    }
}

/// Locks the port as picocom, pyserial and others do, and makes it one that is read whatever the modem says.
fn lock(path: &Path) -> io::Result<File> {
    // Not blocking: the kernel would wait for a modem.
    let flags = i32::try_from((OFlags::NOCTTY | OFlags::NONBLOCK).bits()).map_err(io::Error::other)?;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        Errno::WOULDBLOCK => io::Error::new(io::ErrorKind::ResourceBusy, "another program uses it"),
        other => other.into(),
    })?;
    let mut termios = tcgetattr(&file)?;
    termios.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
    tcsetattr(&file, OptionalActions::Now, &termios)?;
    Ok(file)
}

fn set(mut settings: Settings, line: &LineSettings) -> io::Result<Settings> {
    settings.set_raw();
    settings.set_baud_rate(line.baud.unwrap_or(BAUD))?;
    settings.set_char_size(match line.data_bits {
        Some(5) => CharSize::Bits5,
        Some(6) => CharSize::Bits6,
        Some(7) => CharSize::Bits7,
        _ => CharSize::Bits8,
    });
    settings.set_parity(match line.parity {
        Some(Parity::Odd) => serial2_tokio::Parity::Odd,
        Some(Parity::Even) => serial2_tokio::Parity::Even,
        Some(Parity::None) | None => serial2_tokio::Parity::None,
    });
    settings.set_stop_bits(if line.stop_bits == Some(2) { StopBits::Two } else { StopBits::One });
    settings.set_flow_control(match line.flow {
        Some(Flow::XonXoff) => FlowControl::XonXoff,
        Some(Flow::RtsCts) => FlowControl::RtsCts,
        Some(Flow::None) | None => FlowControl::None,
    });
    Ok(settings)
}

/// Linux answers a read of a pty whose other end is closed, or of an adapter that was pulled out, with EIO: an
/// end, not a failure.
pub(super) fn ended(read: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
    read.map(|read| match read {
        Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => Ok(()),
        other => other,
    })
}

impl Drop for TtyLine {
    fn drop(&mut self) {
        // Closing waits until what was written is on the line, up to 30 s where flow control holds it
        // (`closing_wait` of setserial(8)): not on a thread that others need.
        if let (Some(port), Ok(runtime)) = (self.port.take(), Handle::try_current()) {
            runtime.spawn_blocking(move || drop(port));
        }
    }
}

impl Line for TtyLine {
    fn breaker(&self) -> Option<Breaker> {
        Some(self.breaks.breaker())
    }
}

impl AsyncRead for TtyLine {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.shut {
            return Poll::Ready(Ok(()));
        }
        this.poll_breaks(cx);
        ended(this.port()?.poll_read(cx, buf))
    }
}

impl AsyncWrite for TtyLine {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().port()?.poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().shut = true;
        Poll::Ready(Ok(()))
    }
}
