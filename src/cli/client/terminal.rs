//! The user's terminal, raw while a console has it, and as it was on every way out.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, Once, PoisonError};

use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// What a console may have switched on and a shell does not want: colours, a hidden cursor, mouse reports, bracketed
/// paste, application keys.
const RESET: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?1l\x1b>";

/// The terminal that is raw now, for whoever has to put it back: the guard, or a panic's hook. One at a time.
static RAW: Mutex<Option<Saved>> = Mutex::new(None);

static HOOK: Once = Once::new();

struct Saved {
    tty: OwnedFd,
    termios: Termios,
}

impl Saved {
    fn restore(&self) {
        // On the way out there is nobody to tell.
        let _ = tcsetattr(&self.tty, OptionalActions::Drain, &self.termios);
    }
}

/// The terminal in raw mode; dropping it puts the terminal back.
pub(super) struct Raw {
    /// Also what its screen is reset through.
    tty: File,
}

impl Raw {
    /// Puts the terminal `tty` into raw mode.
    ///
    /// # Errors
    /// If it is no terminal.
    pub(super) fn enter(tty: File) -> io::Result<Self> {
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            // The message of a panic is to be readable, and the terminal usable after it.
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                before(panic);
            }));
        });
        let raw = Self { tty };
        raw.make_raw()?;
        Ok(raw)
    }

    fn make_raw(&self) -> io::Result<()> {
        let termios = tcgetattr(&self.tty)?;
        let mut changed = termios.clone();
        changed.make_raw();
        tcsetattr(&self.tty, OptionalActions::Drain, &changed)?;
        let tty = self.tty.as_fd().try_clone_to_owned()?;
        *RAW.lock().unwrap_or_else(PoisonError::into_inner) = Some(Saved { tty, termios });
        Ok(())
    }

    /// Columns and rows; `None` where the terminal does not say.
    pub(super) fn size(&self) -> Option<(u16, u16)> {
        let size = tcgetwinsize(&self.tty).ok()?;
        (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
    }

    /// Stops this program as Ctrl-Z would, with the terminal as it was; returns when it is continued.
    ///
    /// # Errors
    /// If the terminal is gone by then.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        self.leave();
        stop()?;
        self.make_raw()
    }

    /// Makes it raw again: somebody else stopped and continued this program, and the shell had the terminal.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub(super) fn again(&mut self) -> io::Result<()> {
        restore();
        self.make_raw()
    }

    fn leave(&mut self) {
        let _ = self.tty.write_all(RESET);
        restore();
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Stops this program until somebody continues it.
///
/// # Errors
/// If the system does not let us.
pub(super) fn stop() -> io::Result<()> {
    Ok(kill_process(getpid(), Signal::STOP)?)
}

/// Puts the terminal back, if it is raw.
fn restore() {
    if let Some(saved) = RAW.lock().unwrap_or_else(PoisonError::into_inner).take() {
        saved.restore();
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use rustix::termios::LocalModes;

    use super::*;

    /// A pty's slave, as a program has its terminal. The master end is kept open with it.
    fn pty() -> (OwnedFd, File) {
        let master =
            rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY).unwrap();
        rustix::pty::grantpt(&master).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
        let slave = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        (master, slave)
    }

    /// One test, because a process has one terminal that is raw.
    #[test]
    fn the_terminal_is_as_it_was_after_an_end_and_after_a_panic() {
        let (_master, slave) = pty();
        let cooked =
            || tcgetattr(&slave).unwrap().local_modes.contains(LocalModes::ICANON | LocalModes::ECHO);
        let size = rustix::termios::Winsize { ws_row: 50, ws_col: 132, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&slave, size).unwrap();
        assert!(cooked());
        let mut raw = Raw::enter(slave.try_clone().unwrap()).unwrap();
        assert!(!cooked());
        assert_eq!(raw.size(), Some((132, 50)));
        raw.again().unwrap();
        assert!(!cooked());
        drop(raw);
        assert!(cooked());

        let tty = slave.try_clone().unwrap();
        let inside = std::panic::catch_unwind(|| {
            let _raw = Raw::enter(tty).unwrap();
            panic!("in the middle of a session");
        });
        assert!(inside.is_err() && cooked());
        assert!(Raw::enter(File::open("/dev/null").unwrap()).is_err(), "no terminal");
    }
}
