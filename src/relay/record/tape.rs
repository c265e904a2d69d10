//! Between the relay and the disk: one bounded queue per recorded session.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::super::buffer::{Block, Buffer, SIZE};
use super::sink::Sink;
use super::{Shared, lock};

/// Bytes queued beyond which a session is not read from, so that one queue never has more than 1 MiB: sixteen whole
/// reads, still less than a millisecond of the fastest stream. With half of it, session and writer wait for each other
/// so often that a screen at full speed takes a sixth longer; twice as much gains nothing.
const FULL: usize = 960 * 1024;

/// Bytes queued from which the writer is woken at once. Fewer wait until the session has nothing more to relay just now:
/// a stream costs a wake-up and a write for several of its reads, and nothing waits for a timer.
const MANY: usize = FULL / 8;

/// Pieces from this length on are queued where they were read. Shorter ones are copied: a block counts, and lies in
/// memory, as a whole buffer.
const WHOLE: usize = SIZE / 2;

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
    pub(super) begun: OnceLock<Instant>,
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
pub(super) struct Batch {
    /// Each piece behind its [`Head`]; of pieces that are blocks, the head alone.
    bytes: Vec<u8>,
    pub(super) blocks: Vec<Block>,
}

impl Batch {
    /// The memory it takes, in bytes.
    pub(super) fn held(&self) -> usize {
        self.bytes.len() + self.blocks.len() * SIZE
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.blocks.clear();
    }

    /// Capacity beyond that of small pieces.
    pub(super) fn is_large(&self) -> bool {
        self.bytes.capacity() > KEPT
    }

    pub(super) fn shrink(&mut self) {
        self.bytes.shrink_to(KEPT);
    }

    /// The pieces, in the order in which they were put in.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (Head, &[u8])> {
        let (mut bytes, mut blocks) = (&self.bytes[..], self.blocks.iter());
        std::iter::from_fn(move || {
            let (head, piece, rest) = Head::take(bytes)?;
            bytes = rest;
            Some((head, if head.shared { blocks.next()? } else { piece }))
        })
    }
}

/// A session's queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) batch: Batch,
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
    /// The piece is a block, and not behind the head.
    pub(super) shared: bool,
    /// Length of what is behind the head.
    len: usize,
}

impl Head {
    pub(super) const SIZE: usize = 13;

    fn bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..8].copy_from_slice(&self.micros.to_ne_bytes());
        bytes[8] = self.way as u8 | u8::from(self.shared) << 7;
        bytes[9..].copy_from_slice(&u32::try_from(self.len).unwrap_or(u32::MAX).to_ne_bytes());
        bytes
    }

    /// The first piece of `queue` and what is behind it.
    pub(super) fn take(queue: &[u8]) -> Option<(Self, &[u8], &[u8])> {
        let (head, rest) = queue.split_first_chunk::<{ Self::SIZE }>()?;
        let (micros, way_len) = head.split_first_chunk::<8>()?;
        let (way, len) = way_len.split_first()?;
        let shared = way >> 7 == 1;
        let way = match way & 0x7f {
            0 => Way::Down,
            1 => Way::Up,
            _ => Way::Init,
        };
        let len = usize::try_from(u32::from_ne_bytes(len.try_into().ok()?)).ok()?;
        let (piece, rest) = rest.split_at_checked(len)?;
        Some((Self { micros: u64::from_ne_bytes(*micros), way, shared, len }, piece, rest))
    }
}

impl Track {
    pub(super) fn new(sink: Sink, shared: Arc<Shared>, manner: Manner) -> Self {
        let (queue, begun) = (Mutex::default(), OnceLock::new());
        let running = Arc::new(AtomicBool::new(true));
        Self { queue, sink: Mutex::new(Some(sink)), shared, begun, manner, running }
    }

    /// Queues a piece.
    fn put(self: &Arc<Self>, way: Way, now: Instant, piece: Piece<'_>) {
        if way == Way::Up && !self.manner.up {
            return;
        }
        let micros = now.saturating_duration_since(*self.begun.get_or_init(|| now)).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        let (behind, block) = match piece {
            Piece::Bytes(bytes) => (bytes, None),
            Piece::Block(block) => (&[][..], Some(block)),
        };
        let head = Head { micros, way, shared: block.is_some(), len: behind.len() };
        let mut queue = lock(&self.queue);
        if queue.failed {
            return;
        }
        let batch = &mut queue.batch;
        batch.bytes.reserve(Head::SIZE + behind.len());
        batch.bytes.extend_from_slice(&head.bytes());
        batch.bytes.extend_from_slice(behind);
        batch.blocks.extend(block);
        let many = batch.held() >= MANY;
        self.list(queue, many);
    }

    /// Puts it on the writer's list, if it is `due` and not there yet.
    fn list(self: &Arc<Self>, mut queue: MutexGuard<'_, Queue>, due: bool) {
        if due && !std::mem::replace(&mut queue.queued, true) {
            drop(queue);
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
        self.list(queue, true);
    }

    /// How long it has lasted.
    pub(super) fn micros(&self) -> u64 {
        let micros = self.begun.get().map_or(0, |begun| begun.elapsed().as_micros());
        u64::try_from(micros).unwrap_or(u64::MAX)
    }
}

/// What is queued.
enum Piece<'a> {
    /// To be copied.
    Bytes(&'a [u8]),
    Block(Block),
}

/// The session's end of a recording: what goes over the console is put in. The writer hears of it when it is much, at
/// [`Tape::flush`], or when the tape is dropped.
#[derive(Debug)]
pub struct Tape {
    track: Arc<Track>,
    /// Until when room is waited for.
    deadline: Option<Instant>,
    /// Something was put in since the last flush.
    fresh: bool,
}

impl Tape {
    pub(super) fn new(track: Arc<Track>) -> Self {
        Self { track, deadline: None, fresh: false }
    }

    /// Records what the console sent.
    pub fn down(&mut self, now: Instant, bytes: &[u8]) {
        self.put(Way::Down, now, bytes);
    }

    /// Records what the console sent, which is in `buffer`. Nothing may be written there any more.
    pub(in crate::relay) fn down_from(&mut self, now: Instant, buffer: &Buffer, piece: Range<usize>) {
        if piece.len() < WHOLE {
            return self.down(now, &buffer[piece]);
        }
        self.fresh = true;
        self.track.put(Way::Down, now, Piece::Block(buffer.share(piece)));
        // One that is written goes to this thread's pool for it, where it would else be missed.
        self.track.shared.spare().into_iter().for_each(Block::give_back);
    }

    /// Records what the viewer sent, if that is wanted.
    pub fn up(&mut self, now: Instant, bytes: &[u8]) {
        self.put(Way::Up, now, bytes);
    }

    /// Records ServerInit, as the viewer got it, before anything else.
    pub fn server_init(&mut self, now: Instant, message: &[u8]) {
        self.put(Way::Init, now, message);
    }

    fn put(&mut self, way: Way, now: Instant, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.fresh = true;
            self.track.put(way, now, Piece::Bytes(bytes));
        }
    }

    /// Tells the writer what was put in: for now that was all.
    pub(in crate::relay) fn flush(&mut self) {
        if std::mem::take(&mut self.fresh) {
            let queue = lock(&self.track.queue);
            let due = !queue.batch.is_empty();
            self.track.list(queue, due);
        }
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
        if queue.batch.held() <= FULL {
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

impl Drop for Tape {
    fn drop(&mut self) {
        self.flush();
    }
}
