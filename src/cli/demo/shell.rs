//! The demo's serial console: a fresh shell on a pty for each connection, gone with it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use pty_process::{Command, Pty, Size};
use rustix::process::Pid;
use tokio::net::UnixStream;
use tokio::process::Child;
use uuid::Uuid;

use crate::targets::kill_session;

use super::{Scratch, copy, write};

/// A terminal's usual size; a serial line carries none.
const SIZE: (u16, u16) = (24, 80);
/// How long a shell may finish what it was told before the viewer hung up.
const GRACE: Duration = Duration::from_secs(5);
/// How often Ctrl-D is pressed meanwhile: a shell that is busy, or not at its prompt yet, does not heed one.
const SIGN_OFF: Duration = Duration::from_millis(300);
/// Ctrl-D: the end of input, as a person types it.
const END: &[u8] = &[4];
const BANNER: &str = "\x1b[1;36mconsolegate demo\x1b[0m  a fresh shell on this machine, as the user who runs the \
                      demo.\r\nIt ends when you leave.\r\n\r\n";

/// Serves one viewer until it leaves or the shell ends. `homes` is where its home directory is made.
pub(super) async fn serve(mut stream: UnixStream, homes: PathBuf) -> anyhow::Result<()> {
    // Dropped on every way out, and with it all the shell has started.
    let (_shell, mut pty) = Shell::start(&homes)?;
    write(&mut stream, BANNER.as_bytes()).await?;
    let (mut from_viewer, mut to_viewer) = stream.split();
    let (mut from_shell, mut to_shell) = pty.split();
    let down = async { ended(copy(&mut from_shell, &mut to_viewer).await) };
    tokio::pin!(down);
    // When the shell has ended, what the viewer still types has no reader.
    let typed = tokio::select! {
        end = &mut down => return Ok(end?),
        typed = copy(&mut from_viewer, &mut to_shell) => typed,
    };
    typed?;
    // When the viewer has stopped typing, it may still read the shell's answers.
    let sign_off = async {
        let mut ticks = tokio::time::interval(SIGN_OFF);
        loop {
            ticks.tick().await;
            write(&mut to_shell, END).await?;
        }
    };
    let end = tokio::select! {
        end = down => end,
        error = sign_off => error,
        () = tokio::time::sleep(GRACE) => Ok(()),
    };
    Ok(end?)
}

/// Linux answers a read of a pty nobody holds any more with EIO: an end, not a failure.
fn ended(read: io::Result<()>) -> io::Result<()> {
    match read {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => Ok(()),
        other => other,
    }
}

/// A shell and its home; both go when dropped, with everything the shell has started.
struct Shell {
    child: Child,
    _home: Scratch,
}

impl Shell {
    fn start(homes: &Path) -> anyhow::Result<(Self, Pty)> {
        let home = Scratch(homes.join(format!("home-{}", Uuid::new_v4().simple())));
        std::fs::create_dir(&home.0).with_context(|| format!("cannot make {}", home.0.display()))?;
        let (pty, pts) = pty_process::open().context("cannot open a pty")?;
        pty.resize(Size::new(SIZE.0, SIZE.1)).context("cannot size a pty")?;
        let (program, args) = shell();
        let child = Command::new(program)
            .args(args)
            // Nothing of ours is passed on: our environment may hold tokens and passwords.
            .env_clear()
            .envs([
                ("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"),
                ("TERM", "xterm-256color"),
                ("LANG", "C.UTF-8"),
                ("PS1", "demo:\\w$ "),
                ("HISTFILE", ""),
            ])
            .env("HOME", &home.0)
            .current_dir(&home.0)
            .kill_on_drop(true)
            .spawn(pts)
            .with_context(|| format!("cannot start {program}"))?;
        Ok((Self { child, _home: home }, pty))
    }
}

impl Drop for Shell {
    /// The child is reaped only after this, so its id is still its own, and its session's.
    fn drop(&mut self) {
        if let Some(leader) = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            kill_session(leader);
        }
    }
}

/// A shell that reads no start-up files: bash where it is, else sh.
fn shell() -> (&'static str, &'static [&'static str]) {
    if Path::new("/bin/bash").exists() {
        ("/bin/bash", &["--noprofile", "--norc", "-i"])
    } else {
        ("/bin/sh", &["-i"])
    }
}
