//! The audit log: every decision one line of JSON in a file that is only appended to, chained by hashes.
//!
//! Threads that decide hand an [`Event`] to one writer through a bounded queue; it writes what has gathered
//! in one go. Order is the queue's, `time` the decision's. `chain.rs` says what a line is, `verify.rs` checks
//! a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::config::{self, OnAuditFailure};

mod chain;
mod event;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

pub use event::{Event, Kind, Name};
pub use verify::{Broken, Verified, Verifier, VerifyError};
pub use writer::AuditError;

/// Lines that may wait for the writer, some ten megabytes: one that is so far behind has no disk to write to.
const QUEUE: usize = 16_384;

/// Room that refusals leave to other lines: anybody can be refused, and must not crowd out what is decided
/// for those who are not.
const HEADROOM: usize = QUEUE / 4;

/// How long the last lines may take when the process ends.
const LAST_LINES: Duration = Duration::from_secs(5);

/// The audit log, as those see it who decide. Clones are one log; the default is none, which takes
/// everything.
#[derive(Clone, Debug, Default)]
pub struct Audit(Option<Arc<Log>>);

#[derive(Debug)]
struct Log {
    sender: mpsc::Sender<Message>,
    shared: Arc<Shared>,
    writer: Thread,
    clock: Clock,
    on_failure: OnAuditFailure,
}

/// What the writer's thread is told.
#[derive(Debug)]
enum Message {
    Line(Box<(SystemTime, Event)>),
    /// Look at the flags.
    Wake,
    /// Answer once everything before this is written.
    Flush(oneshot::Sender<()>),
    /// Go on in this file, once everything before this is written.
    Move(PathBuf, oneshot::Sender<Result<(), AuditError>>),
}

/// What the writer and the others know of each other.
#[derive(Debug, Default)]
struct Shared {
    /// The last write failed.
    failing: AtomicBool,
    /// Open the file again under its name.
    reopen: AtomicBool,
    /// Lines that found no room, and are not yet accounted for in the file.
    unwritten: AtomicU64,
    lines: AtomicU64,
    lost: AtomicU64,
}

/// The log takes no lines now, and the configuration wants nothing done without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot be written")]
pub struct Unavailable;

/// Numbers for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Lines written.
    pub lines: u64,
    /// Lines that found no room.
    pub lost: u64,
    /// Lines that wait.
    pub waiting: usize,
    /// Whether the last write failed.
    pub failing: bool,
}

impl Audit {
    /// The log in this file, made if it is not there and continued if it is. Times are `clock`'s date.
    ///
    /// # Errors
    /// If the file cannot be opened, is another process's, or ends in something that is no audit line.
    pub fn open(settings: &config::Audit, clock: Clock) -> Result<Self, AuditError> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let writer = writer::start(settings, receiver, Arc::clone(&shared), &clock)?;
        let on_failure = settings.on_failure;
        Ok(Self(Some(Arc::new(Log { sender, shared, writer, clock, on_failure }))))
    }

    /// Whether there is a log.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Writes the event down; it is made only if there is a log. Does not wait, neither for room nor for the
    /// disk.
    pub fn record(&self, event: impl FnOnce() -> Event) {
        let Some(log) = &self.0 else { return };
        let event = event();
        if event.kind.is_anybodys() && log.sender.capacity() < HEADROOM {
            log.lose();
            return;
        }
        match log.sender.try_reserve() {
            Ok(permit) => permit.send(Message::Line(Box::new((log.clock.today(), event)))),
            Err(_) => log.lose(),
        }
    }

    /// Room for the line of something that is about to be done, so that it is not done unseen.
    ///
    /// # Errors
    /// If there is none, or writing fails, and the configuration says to refuse then.
    pub fn reserve(&self) -> Result<Slot, Unavailable> {
        let Some(log) = &self.0 else { return Ok(Slot(None)) };
        let refuse = log.on_failure == OnAuditFailure::Refuse;
        if refuse && log.shared.failing.load(Ordering::Acquire) {
            return Err(Unavailable);
        }
        match log.sender.clone().try_reserve_owned() {
            Ok(permit) => Ok(Slot(Some((Arc::clone(log), Some(permit))))),
            Err(_) if refuse => Err(Unavailable),
            Err(_) => Ok(Slot(Some((Arc::clone(log), None)))),
        }
    }

    /// Opens the file again under its name, for whoever has renamed it (logrotate).
    pub fn reopen(&self) {
        let Some(log) = &self.0 else { return };
        log.shared.reopen.store(true, Ordering::Release);
        // A full queue means the writer has work; an idle one needs a push, one that waits for the disk as
        // well.
        let _ = log.sender.try_send(Message::Wake);
        log.writer.unpark();
    }

    /// Waits until everything recorded so far is written, a few seconds at most; whether it is.
    pub async fn flush(&self) -> bool {
        let Some(log) = &self.0 else { return true };
        let (done, written) = oneshot::channel();
        let flush = async {
            log.sender.send(Message::Flush(done)).await.ok()?;
            written.await.ok()
        };
        matches!(tokio::time::timeout(LAST_LINES, flush).await, Ok(Some(())))
    }

    /// Goes on in another file, once everything so far is written, and leaves the one it has to another process. Its
    /// chain goes on where that file ends.
    ///
    /// # Errors
    /// If that file cannot be used, or what there is was not written in time; then it stays where it is.
    pub async fn move_to(&self, path: &Path) -> Result<(), AuditError> {
        let Some(log) = &self.0 else { return Ok(()) };
        let late = || AuditError::File { path: path.to_owned(), source: std::io::ErrorKind::TimedOut.into() };
        let (done, moved) = oneshot::channel();
        let moving = async {
            log.sender.send(Message::Move(path.to_owned(), done)).await.ok()?;
            moved.await.ok()
        };
        let moved = tokio::time::timeout(LAST_LINES, moving).await;
        moved.ok().flatten().unwrap_or_else(|| Err(late()))
    }

    /// How it goes; `None` if there is no log.
    pub fn stats(&self) -> Option<Stats> {
        let log = self.0.as_ref()?;
        Some(Stats {
            lines: log.shared.lines.load(Ordering::Relaxed),
            lost: log.shared.lost.load(Ordering::Relaxed),
            waiting: log.sender.max_capacity() - log.sender.capacity(),
            failing: log.shared.failing.load(Ordering::Relaxed),
        })
    }
}

impl Log {
    fn lose(&self) {
        self.shared.unwritten.fetch_add(1, Ordering::Relaxed);
        self.shared.lost.fetch_add(1, Ordering::Relaxed);
    }
}

/// Room for one line; given back if it is dropped unused.
#[derive(Debug)]
pub struct Slot(Option<(Arc<Log>, Option<mpsc::OwnedPermit<Message>>)>);

impl Slot {
    /// Writes the event down; it is made only if there is a log.
    pub fn record(self, event: impl FnOnce() -> Event) {
        match self.0 {
            None => {}
            Some((log, Some(permit))) => {
                permit.send(Message::Line(Box::new((log.clock.today(), event()))));
            }
            Some((log, None)) => log.lose(),
        }
    }
}
