//! What is typed and what is shown: a thread each, because a terminal, a pipe and a file block in their own ways, and
//! none of them may keep the session from answering pings. Both queues are short: who is slow is waited for.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Read, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::thread;

use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot};

/// Read at a time: a paste of some pages.
const CHUNK: usize = 4096;

/// Pieces on their way between a thread and the session.
const QUEUE: usize = 16;

/// Where keys come from.
pub(super) struct Input {
    pieces: mpsc::Receiver<io::Result<Vec<u8>>>,
    /// The terminal it is, for its modes and size.
    pub(super) tty: Option<File>,
}

impl Input {
    /// Standard input; or where that brought the link, and output is a terminal, the terminal itself.
    pub(super) fn start(link_came_by_stdin: bool) -> io::Result<Self> {
        if link_came_by_stdin && io::stdout().is_terminal() {
            let tty = OpenOptions::new().read(true).write(true).open("/dev/tty");
            if let Ok(tty) = tty {
                return Ok(Self { pieces: spawn(tty.try_clone()?), tty: Some(tty) });
            }
        }
        let stdin = io::stdin();
        let tty =
            stdin.is_terminal().then(|| stdin.as_fd().try_clone_to_owned().map(File::from)).transpose()?;
        Ok(Self { pieces: spawn(stdin), tty })
    }

    /// What was typed next; `None` at the end. May be dropped half-way.
    pub(super) async fn next(&mut self) -> Option<io::Result<Vec<u8>>> {
        self.pieces.recv().await
    }
}

/// The thread ends with the process: nothing interrupts a read of a terminal.
fn spawn(mut from: impl Read + Send + 'static) -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    thread::spawn(move || {
        let mut buffer = [0; CHUNK];
        loop {
            let piece = match from.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => Ok(buffer[..count].to_vec()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = piece.is_err();
            if sender.blocking_send(piece).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

/// Standard output, and the log file beside it.
pub(super) struct Output {
    pieces: mpsc::Sender<Vec<u8>>,
    done: oneshot::Receiver<anyhow::Result<()>>,
}

impl Output {
    /// Starts it. The log is appended to, and for its owner only when it is made: consoles show secrets.
    pub(super) fn start(log: Option<&Path>) -> anyhow::Result<Self> {
        let open = |path: &Path| {
            let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
            file.with_context(|| format!("{}: cannot be written", path.display()))
        };
        let log = log.map(open).transpose()?;
        let (pieces, receiver) = mpsc::channel(QUEUE);
        let (told, done) = oneshot::channel();
        thread::spawn(move || {
            // Nobody is left to tell only when the program is at its end.
            let _ = told.send(write_all(receiver, log));
        });
        Ok(Self { pieces, done })
    }

    /// Room for one more piece, when there is; an error once nothing can be written any more. May be dropped half-way.
    pub(super) async fn room(&self) -> Option<mpsc::OwnedPermit<Vec<u8>>> {
        self.pieces.clone().reserve_owned().await.ok()
    }

    /// Waits until all is written, and says why if it was not.
    pub(super) async fn finish(self) -> anyhow::Result<()> {
        drop(self.pieces);
        self.done.await.unwrap_or(Ok(()))
    }
}

fn write_all(mut pieces: mpsc::Receiver<Vec<u8>>, mut log: Option<File>) -> anyhow::Result<()> {
    let mut stdout = io::stdout();
    while let Some(piece) = pieces.blocking_recv() {
        if let Some(log) = &mut log {
            log.write_all(&piece).context("the log file cannot be written")?;
        }
        let written = stdout.write_all(&piece).and_then(|()| stdout.flush());
        match written {
            // `| head` has what it wanted.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other.context("the output cannot be written")?,
        }
    }
    Ok(())
}
