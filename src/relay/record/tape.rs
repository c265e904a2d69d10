//! Between the relay and the disk: one bounded queue per recorded session.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::sink::Sink;
use super::{Shared, lock};

/// Bytes queued beyond which a session is not read from, so that one queue never has more than 256 KiB: some four
/// reads, a millisecond of a fast stream.
const FULL: usize = 192 * 1024;

/// A disk that takes nothing for so long has failed.
const STALL: Duration = Duration::from_secs(60);

/// Capacity an idle session's queue may keep.
pub(super) const KEPT: usize = 4096;

/// Which way bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From the console.
    Down,
    /// From the viewer.
    Up,
    /// ServerInit, as the viewer got it.
    Init,
}

/// How a recording ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// With its session, for this cause.
    Ended(&'static str),
    /// The session never stood, or was cut off.
    Abandoned,
}

/// The recording failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay) struct Failed;

/// One session's queue, and the files it goes to.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) queue: Mutex<Queue>,
    /// The writer's alone.
    pub(super) sink: Mutex<Option<Sink>>,
    shared: Arc<Shared>,
    /// When its time begins.
    begun: OnceLock<Instant>,
    manner: Manner,
    /// For whoever shows it: it has begun and has not failed.
    pub(super) running: Arc<AtomicBool>,
}

/// How a session is recorded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// What the viewer sends is wanted too.
    pub(super) up: bool,
    /// The session ends with the recording.
    pub(super) strict: bool,
}

/// Bytes on their way to the disk.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Each piece behind its [`Head`].
    pub(super) bytes: Vec<u8>,
    /// On the writer's list.
    pub(super) queued: bool,
    pub(super) closed: Option<Closed>,
    pub(super) failed: bool,
    /// Waits for room.
    pub(super) waker: Option<Waker>,
    /// Is told when it has failed, also while nothing is to be recorded.
    pub(super) on_failure: Option<Waker>,
}

/// What stands before a piece in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Microseconds since the start.
    pub(super) micros: u64,
    pub(super) way: Way,
    pub(super) len: usize,
}

impl Head {
    pub(super) const SIZE: usize = 13;

    fn bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..8].copy_from_slice(&self.micros.to_ne_bytes());
        bytes[8] = self.way as u8;
        bytes[9..].copy_from_slice(&u32::try_from(self.len).unwrap_or(u32::MAX).to_ne_bytes());
        bytes
    }

    /// The first piece of `queue` and what is behind it.
    pub(super) fn take(queue: &[u8]) -> Option<(Self, &[u8], &[u8])> {
        let (head, rest) = queue.split_first_chunk::<{ Self::SIZE }>()?;
        let (micros, way_len) = head.split_first_chunk::<8>()?;
        let (way, len) = way_len.split_first()?;
        let way = match way {
            0 => Way::Down,
            1 => Way::Up,
            _ => Way::Init,
        };
        let len = usize::try_from(u32::from_ne_bytes(len.try_into().ok()?)).ok()?;
        let (piece, rest) = rest.split_at_checked(len)?;
        Some((Self { micros: u64::from_ne_bytes(*micros), way, len }, piece, rest))
    }
}

impl Track {
    pub(super) fn new(sink: Sink, shared: Arc<Shared>, manner: Manner) -> Self {
        let (queue, begun) = (Mutex::default(), OnceLock::new());
        let running = Arc::new(AtomicBool::new(true));
        Self { queue, sink: Mutex::new(Some(sink)), shared, begun, manner, running }
    }

    fn put(self: &Arc<Self>, way: Way, now: Instant, bytes: &[u8]) {
        if bytes.is_empty() || (way == Way::Up && !self.manner.up) {
            return;
        }
        let micros = now.saturating_duration_since(*self.begun.get_or_init(|| now)).as_micros();
        let head = Head { micros: u64::try_from(micros).unwrap_or(u64::MAX), way, len: bytes.len() };
        let mut queue = lock(&self.queue);
        if queue.failed {
            return;
        }
        queue.bytes.reserve(Head::SIZE + bytes.len());
        queue.bytes.extend_from_slice(&head.bytes());
        queue.bytes.extend_from_slice(bytes);
        let listed = std::mem::replace(&mut queue.queued, true);
        drop(queue);
        if !listed {
            self.shared.push(Arc::clone(self));
        }
    }

    /// Closes it, after what is queued; only the first call counts.
    pub(super) fn close(self: &Arc<Self>, closed: Closed) {
        let mut queue = lock(&self.queue);
        if queue.closed.is_some() {
            return;
        }
        queue.closed = Some(closed);
        let listed = std::mem::replace(&mut queue.queued, true);
        drop(queue);
        if !listed {
            self.shared.push(Arc::clone(self));
        }
    }

    /// How long it has lasted.
    pub(super) fn micros(&self) -> u64 {
        let micros = self.begun.get().map_or(0, |begun| begun.elapsed().as_micros());
        u64::try_from(micros).unwrap_or(u64::MAX)
    }
}

/// The session's end of a recording: what goes over the console is put in.
#[derive(Debug)]
pub struct Tape {
    track: Arc<Track>,
    /// Until when room is waited for.
    deadline: Option<Instant>,
}

impl Tape {
    pub(super) fn new(track: Arc<Track>) -> Self {
        Self { track, deadline: None }
    }

    /// Records what the console sent.
    pub fn down(&self, now: Instant, bytes: &[u8]) {
        self.track.put(Way::Down, now, bytes);
    }

    /// Records what the viewer sent, if that is wanted.
    pub fn up(&self, now: Instant, bytes: &[u8]) {
        self.track.put(Way::Up, now, bytes);
    }

    /// Records ServerInit, as the viewer got it, before anything else.
    pub fn server_init(&self, now: Instant, message: &[u8]) {
        self.track.put(Way::Init, now, message);
    }

    /// Whether the session ends with the recording.
    pub(in crate::relay) fn is_strict(&self) -> bool {
        self.track.manner.strict
    }

    /// Ready when there is room for a read. Wakes the task when there is, and when the recording fails.
    pub(in crate::relay) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        let mut queue = lock(&self.track.queue);
        if queue.failed {
            return Poll::Ready(Err(Failed));
        }
        if queue.on_failure.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            queue.on_failure = Some(cx.waker().clone());
        }
        if queue.bytes.len() <= FULL {
            self.deadline = None;
            return Poll::Ready(Ok(()));
        }
        if queue.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            queue.waker = Some(cx.waker().clone());
        }
        drop(queue);
        self.deadline.get_or_insert_with(|| Instant::now() + STALL);
        Poll::Pending
    }

    /// When the disk will have failed.
    pub(in crate::relay) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Gives up a disk that takes nothing.
    pub(in crate::relay) fn stall(&mut self) {
        self.deadline = None;
        lock(&self.track.queue).failed = true;
        self.track.running.store(false, Ordering::Relaxed);
    }
}
