//! The audit log: every decision one line of JSON in a file that is only appended to, chained by hashes.
//!
//! Threads that decide add lines to one bounded buffer (`queue.rs`); a thread of its own numbers and chains what has
//! gathered there and writes it in one go. Order is the buffer's, `time` the decision's. `chain.rs` says what a line
//! is, `verify.rs` checks a file.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::Thread;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::config::{self, OnAuditFailure};

mod chain;
mod event;
mod queue;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

pub use event::{Event, Kind, Name};
pub use verify::{Broken, Verified, Verifier, VerifyError};
pub use writer::AuditError;

use queue::{Order, QUEUE, Shared};

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
    shared: Arc<Shared>,
    writer: Thread,
    clock: Clock,
    on_failure: OnAuditFailure,
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
        let shared = Arc::new(Shared::default());
        let writer = writer::start(settings, Arc::clone(&shared), &clock)?;
        let on_failure = settings.on_failure;
        Ok(Self(Some(Arc::new(Log { shared, writer, clock, on_failure }))))
    }

    /// Whether there is a log.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Writes the event down; it is made only if there is a log. Does not wait, neither for room nor for the
    /// disk.
    pub fn record<'a>(&self, event: impl FnOnce() -> Event<'a>) {
        let Some(log) = &self.0 else { return };
        let event = event();
        let crowded = event.kind.is_anybodys() && log.shared.taken() > QUEUE - HEADROOM;
        match !crowded && log.shared.reserve() {
            true => log.push(&event),
            false => log.lose(),
        }
    }

    /// Room for the line of something that is about to be done, so that it is not done unseen.
    ///
    /// # Errors
    /// If there is none, or writing fails, and the configuration says to refuse then.
    pub fn reserve(&self) -> Result<Slot<'_>, Unavailable> {
        let Some(log) = &self.0 else { return Ok(Slot(None)) };
        let refuse = log.on_failure == OnAuditFailure::Refuse;
        if refuse && log.shared.failing.load(Ordering::Acquire) {
            return Err(Unavailable);
        }
        let room = log.shared.reserve();
        if refuse && !room {
            return Err(Unavailable);
        }
        Ok(Slot(Some(Promise { log: Cow::Borrowed(log), room })))
    }

    /// Opens the file again under its name, for whoever has renamed it (logrotate).
    pub fn reopen(&self) {
        let Some(log) = &self.0 else { return };
        log.shared.reopen.store(true, Ordering::Release);
        // One that has nothing to do sleeps, and so does one that waits for the disk.
        log.writer.unpark();
    }

    /// Waits until everything recorded so far is written, a few seconds at most; whether it is.
    pub async fn flush(&self) -> bool {
        let Some(log) = &self.0 else { return true };
        let (done, written) = oneshot::channel();
        log.order(Order::Flush(done));
        matches!(tokio::time::timeout(LAST_LINES, written).await, Ok(Ok(())))
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
        log.order(Order::Move(path.to_owned(), done));
        let moved = tokio::time::timeout(LAST_LINES, moved).await;
        moved.ok().and_then(Result::ok).unwrap_or_else(|| Err(late()))
    }

    /// How it goes; `None` if there is no log.
    pub fn stats(&self) -> Option<Stats> {
        let log = self.0.as_ref()?;
        Some(Stats {
            lines: log.shared.lines.load(Ordering::Relaxed),
            lost: log.shared.lost.load(Ordering::Relaxed),
            waiting: log.shared.taken(),
            failing: log.shared.failing.load(Ordering::Relaxed),
        })
    }
}

impl Log {
    /// Sends a line on its way; it has its place.
    fn push(&self, event: &Event<'_>) {
        if self.shared.push(self.clock.today(), event) {
            self.writer.unpark();
        }
    }

    fn order(&self, order: Order) {
        self.shared.waiting().orders.push(order);
        self.writer.unpark();
    }

    fn lose(&self) {
        self.shared.unwritten.fetch_add(1, Ordering::Relaxed);
        self.shared.lost.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Log {
    /// The writer ends when it has written what waits.
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.writer.unpark();
    }
}

/// Room for one line; given back if it is dropped unused.
#[derive(Debug)]
pub struct Slot<'log>(Option<Promise<'log>>);

#[derive(Debug)]
struct Promise<'log> {
    /// Of a slot that is used where it was promised, not counted.
    log: Cow<'log, Arc<Log>>,
    /// There was room.
    room: bool,
}

impl Slot<'_> {
    /// The same, to be kept.
    pub fn into_owned(mut self) -> Slot<'static> {
        let owned = |promise: &mut Promise<'_>| {
            let log = Cow::Owned(promise.log.clone().into_owned());
            Promise { log, room: std::mem::take(&mut promise.room) }
        };
        Slot(self.0.as_mut().map(owned))
    }

    /// Writes the event down; it is made only if there is a log.
    pub fn record<'a>(mut self, event: impl FnOnce() -> Event<'a>) {
        let Some(promise) = &mut self.0 else { return };
        // Should making it panic, the place is given back.
        let event = event();
        match std::mem::take(&mut promise.room) {
            true => promise.log.push(&event),
            false => promise.log.lose(),
        }
    }
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        if self.room {
            self.log.shared.release(1);
        }
    }
}
