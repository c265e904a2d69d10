//! A terminal with the program in it, as a user has it: a pty, keys and what is shown.

use std::os::fd::AsFd as _;
use std::process::ExitStatus;

use pty_process::{Command, Pty, Size};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, tcgetattr};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;

use super::{PATIENCE, within};

/// A terminal; its program is killed when it is dropped.
pub(crate) struct Terminal {
    pty: Pty,
    child: Child,
    /// All that was shown.
    shown: String,
    /// How much of it was looked at.
    seen: usize,
}

impl Terminal {
    /// Starts the program with only this environment.
    pub(crate) fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let (pty, pts) = pty_process::open().expect("a pty");
        pty.resize(Size::new(24, 80)).expect("its size");
        let command = Command::new(env!("CARGO_BIN_EXE_consolegate")).args(arguments).env_clear();
        let command = command.envs(environment.iter().copied()).kill_on_drop(true);
        let child = command.spawn(pts).expect("cannot start consolegate");
        Self { pty, child, shown: String::new(), seen: 0 }
    }

    /// Waits until `text` is shown after what was waited for before; what came up to it.
    pub(crate) async fn shows(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.shown[self.seen..].find(text) {
                let from = self.seen;
                self.seen += at + text.len();
                return self.shown[from..self.seen].to_owned();
            }
            let more = tokio::time::timeout(PATIENCE, self.read()).await;
            assert_eq!(more, Ok(true), "{text:?} is not shown: {:?}", self.shown);
        }
    }

    /// Reads a piece; false at the end, which a pty tells as an error.
    async fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match self.pty.read(&mut buffer).await {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.shown.push_str(&String::from_utf8_lossy(&buffer[..count]));
                true
            }
        }
    }

    /// Types.
    pub(crate) async fn types(&mut self, text: &str) {
        within("the terminal to take keys", self.pty.write_all(text.as_bytes())).await.expect("a terminal");
    }

    /// Makes its window another size.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        self.pty.resize(Size::new(rows, columns)).expect("its size");
    }

    /// Whether it edits lines and echoes, as a shell wants it; a raw one does neither.
    pub(crate) fn is_as_it_was(&self) -> bool {
        let modes = tcgetattr(self.pty.as_fd()).expect("a terminal's modes").local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// Sends the program a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        kill_process(pid.expect("a running program"), signal).expect("cannot signal our own child");
    }

    /// The state of the program as the kernel names it: `T` is stopped.
    pub(crate) fn state(&self) -> char {
        let id = self.child.id().expect("a running program");
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("its state");
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).expect("a state")
    }

    /// Waits for the program's end; how it ended, and all that was ever shown.
    pub(crate) async fn ended(&mut self) -> (ExitStatus, String) {
        while within("the program's end", self.read()).await {}
        let status = within("the program's end", self.child.wait()).await.expect("its state");
        (status, self.shown.clone())
    }
}
