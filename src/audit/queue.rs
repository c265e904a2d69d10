//! Lines on their way to the writer: made by who decides, in one buffer that all threads share, and taken from there
//! many at a time. Nothing is allocated for a line, and nothing is freed by another thread than the one that made it.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::oneshot;

use super::event::{Event, Kind};
use super::writer::AuditError;

/// Lines that may wait for the writer, or be promised room, some ten megabytes: one that is so far behind has no disk
/// to write to.
pub(super) const QUEUE: usize = 16_384;

/// Room in bytes that is kept between batches, a millisecond's of the busiest log.
pub(super) const KEPT: usize = 256 * 1024;

/// What the writer and the others know of each other.
#[derive(Debug, Default)]
pub(super) struct Shared {
    waiting: Mutex<Waiting>,
    /// Lines that are not written, and places promised.
    taken: AtomicUsize,
    /// The last write failed.
    pub(super) failing: AtomicBool,
    /// Open the file again under its name.
    pub(super) reopen: AtomicBool,
    /// Nobody decides any more.
    pub(super) closed: AtomicBool,
    /// Lines that found no room, and are not yet accounted for in the file.
    pub(super) unwritten: AtomicU64,
    pub(super) lines: AtomicU64,
    pub(super) lost: AtomicU64,
}

/// What the writer has not seen.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) batch: Batch,
    pub(super) orders: Vec<Order>,
}

/// What the writer is asked beside lines, once all lines before it are written.
#[derive(Debug)]
pub(super) enum Order {
    /// Say so.
    Flush(oneshot::Sender<()>),
    /// Go on in this file.
    Move(PathBuf, oneshot::Sender<Result<(), AuditError>>),
}

/// Lines without number and hash, in their order.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) lines: Vec<Line>,
    text: String,
}

/// One line of a [`Batch`].
#[derive(Debug)]
pub(super) struct Line {
    /// When it was decided.
    pub(super) time: SystemTime,
    /// Of a [`Kind::Begin`]: how many bytes of a torn line it accounts for.
    pub(super) begin: Option<u64>,
    text: Range<usize>,
}

impl Shared {
    /// Adds a line that has its place; whether it is the first that waits.
    pub(super) fn push(&self, time: SystemTime, event: &Event<'_>) -> bool {
        let mut waiting = self.waiting();
        let first = waiting.batch.lines.is_empty();
        let line = waiting.batch.keep(time, None, event);
        waiting.batch.lines.push(line);
        first
    }

    /// Promises a place, if there is one.
    pub(super) fn reserve(&self) -> bool {
        let room = self.taken.fetch_add(1, Ordering::AcqRel) < QUEUE;
        if !room {
            self.release(1);
        }
        room
    }

    /// So many lines are written, or promised places not needed.
    pub(super) fn release(&self, places: usize) {
        self.taken.fetch_sub(places, Ordering::AcqRel);
    }

    /// Places taken.
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    pub(super) fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // A line is added whole or not at all: text that none refers to is nobody's.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.batch.lines.is_empty() && self.orders.is_empty()
    }
}

impl Batch {
    /// Puts the writer's own line at this place.
    pub(super) fn insert(&mut self, at: usize, time: SystemTime, event: &Event<'_>) {
        let begin = (event.kind == Kind::Begin).then(|| event.torn.unwrap_or(0));
        let line = self.keep(time, begin, event);
        self.lines.insert(at, line);
    }

    /// Makes the line where it will be taken from. To make it first and copy it under the lock holds that for as long:
    /// the memory was the writer's last, on another processor, and is waited for either way.
    fn keep(&mut self, time: SystemTime, begin: Option<u64>, event: &Event<'_>) -> Line {
        let start = self.text.len();
        event.render(&mut self.text);
        Line { time, begin, text: start..self.text.len() }
    }

    /// What the line says.
    pub(super) fn text(&self, line: &Line) -> &[u8] {
        &self.text.as_bytes()[line.text.clone()]
    }

    /// Lets go of the first `count` lines.
    pub(super) fn forget(&mut self, count: usize) {
        self.lines.drain(..count);
        if self.lines.is_empty() {
            self.text.clear();
            self.text.shrink_to(KEPT);
        }
    }
}
