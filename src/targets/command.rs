//! A program on a pty of its own as a stream: started for one session, ended and reaped with it.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pty_process::{Command, Pty, Size};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::process::Child;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::debug;

use crate::config::Program;
use crate::net::stream::{Breaker, Line, Resizer, Sizes};

use super::tty::ended;

/// A terminal's usual size, until a viewer tells its own.
const SIZE: (u16, u16) = (24, 80);

/// How long a program that was hung up on may take to say goodbye to its BMC before it is killed.
const GRACE: Duration = Duration::from_secs(3);

/// A running program and its terminal.
pub(super) struct CommandLine {
    pty: Pty,
    /// Taken out only to be ended.
    child: Option<Child>,
    leader: Option<Pid>,
    resizer: Resizer,
    sizes: Sizes,
}

impl std::fmt::Debug for CommandLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommandLine").field("child", &self.child).finish_non_exhaustive()
    }
}

impl CommandLine {
    /// Starts the program.
    pub(super) fn start(program: &Program) -> Result<Self, pty_process::Error> {
        let (pty, pts) = pty_process::open()?;
        pty.resize(Size::new(SIZE.0, SIZE.1))?;
        let mut command = Command::new(&program.path)
            .args(&program.args)
            // Nothing of ours is passed on: our environment may hold tokens and passwords.
            .env_clear()
            .envs([("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin")])
            .envs([("TERM", "xterm-256color"), ("LANG", "C.UTF-8")])
            .current_dir("/")
            .kill_on_drop(true);
        // ssh and ipmitool look for their files there.
        if let Some(home) = std::env::var_os("HOME") {
            command = command.env("HOME", home);
        }
        let child = command.spawn(pts)?;
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let (resizer, sizes) = Resizer::pair();
        Ok(Self { pty, child: Some(child), leader, resizer, sizes })
    }

    fn poll_sizes(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready((columns, rows)) = self.sizes.poll_size(cx) {
            // The program may have ended; then there is nobody to tell.
            let _ = self.pty.resize(Size::new(rows, columns));
        }
    }

    /// What a terminal that is switched off tells its programs.
    fn hang_up(&self) {
        if let Some(leader) = self.leader {
            // It may have ended already; not reaped, its number is still its own.
            let _ = kill_process_group(leader, Signal::HUP);
        }
    }
}

impl Drop for CommandLine {
    fn drop(&mut self) {
        self.hang_up();
        // Without a runtime the child is killed by its own `Drop`.
        if let (Some(child), Some(leader), Ok(runtime)) =
            (self.child.take(), self.leader, Handle::try_current())
        {
            runtime.spawn(end(child, leader));
        }
    }
}

/// Gives the program a little time, then kills it and all it has started; reaps it.
async fn end(mut child: Child, leader: Pid) {
    if timeout(GRACE, child.wait()).await.is_err() {
        kill_session(leader);
    } else {
        // What it left behind still has its session's number, and while it lives nobody else gets that.
        kill_members(leader);
    }
    let status = child.wait().await;
    debug!(?status, "the command has ended");
}

/// Kills the session that `leader`, which is not reaped yet, began: its group, and its jobs in groups of their own.
pub fn kill_session(leader: Pid) {
    let _ = kill_process_group(leader, Signal::KILL);
    kill_members(leader);
}

fn kill_members(leader: Pid) {
    for pid in members(Path::new("/proc"), leader) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Processes of the session `leader` began: a shell's jobs are in process groups of their own (proc(5),
/// `/proc/pid/stat`, field 6).
fn members(proc: &Path, leader: Pid) -> Vec<Pid> {
    let Ok(entries) = std::fs::read_dir(proc) else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name, field 2, is in brackets and may hold anything, brackets too.
        let (_, behind) = stat.rsplit_once(')')?;
        let session: i32 = behind.split_whitespace().nth(3)?.parse().ok()?;
        (session == leader.as_raw_nonzero().get()).then(|| Pid::from_raw(pid)).flatten()
    });
    pids.collect()
}

impl Line for CommandLine {
    fn breaker(&self) -> Option<Breaker> {
        // A pty has no line to break; ipmitool and ssh have escape keys of their own for it.
        None
    }

    fn resizer(&self) -> Option<Resizer> {
        Some(self.resizer.clone())
    }
}

impl AsyncRead for CommandLine {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.poll_sizes(cx);
        ended(Pin::new(&mut this.pty).poll_read(cx, buf))
    }
}

impl AsyncWrite for CommandLine {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().pty).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().pty).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().hang_up();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn finds_the_processes_of_a_session() {
        let proc = tempfile::tempdir().unwrap();
        let process = |pid: &str, stat: &str| {
            fs::create_dir(proc.path().join(pid)).unwrap();
            fs::write(proc.path().join(pid).join("stat"), stat).unwrap();
        };
        process("10", "10 (bash) S 1 10 10 34816 10 0");
        process("11", "11 (a ) b) 10) R 10 11 10 34816 11 0");
        process("12", "12 (other) S 1 12 12 0 -1 0");
        process("self", "10 (bash) S 1 10 10 0");
        process("13", "13 (cut");
        let mut found = members(proc.path(), Pid::from_raw(10).unwrap());
        found.sort_by_key(|pid| pid.as_raw_nonzero());
        assert_eq!(found, [10, 11].map(|pid| Pid::from_raw(pid).unwrap()));
    }
}
