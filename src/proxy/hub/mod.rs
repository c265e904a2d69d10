//! Hubs: one connection to a serial line for all its viewers, with what the line has said, one who types and
//! any number who watch.
//!
//! A hub's one task reads the line into one [`History`] and wakes the viewers, each of which is an offset into
//! it: nothing is queued for a viewer, and one that is slow misses bytes instead of holding up the others. To the
//! relay a viewer's place is a line like another. `pen` is who types, `watcher` a viewer's end, `drive` the
//! hub's, `registry` which hubs there are.

mod drive;
mod pen;
mod registry;
mod watcher;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;
use uuid::Uuid;

use crate::config::SerialHub;
use crate::ids::{Generation, TargetId, UserId};
use crate::net::stream::{Breaker, Resizer};
use crate::relay::{Command, Mailbox, Role};
use crate::serial::{History, Replay};

pub(super) use registry::Hubs;
pub(super) use watcher::Watcher;

use pen::Pen;

/// Typed bytes that wait for the line: a large paste's next piece. Whoever types waits beyond that.
const MAX_INPUT: usize = 16 * 1024;

/// How far before the offset a viewer resumes at the replay begins to look: a sequence that it has seen half of
/// began within [`Replay`]'s longest.
const LOOK_BACK: u64 = 512;

/// One line's hub.
#[derive(Debug)]
pub(super) struct Hub {
    /// Tells its output from that of the hubs before and after it, and in other processes.
    id: Uuid,
    target: TargetId,
    generation: Generation,
    settings: SerialHub,
    breaker: Option<Breaker>,
    resizer: Option<Resizer>,
    shared: Mutex<Shared>,
}

/// What the hub's task and its viewers share.
#[derive(Debug)]
struct Shared {
    history: History,
    /// Those who are here or on their way to their 101.
    places: Vec<Place>,
    pen: Pen,
    /// Typed, and not yet taken by the line.
    input: Vec<u8>,
    /// Who types waits for room in `input`.
    writer: Option<Waker>,
    /// The hub's task.
    driver: Option<Waker>,
    /// Nobody has been here since.
    empty: Option<Instant>,
    /// The line is gone, or was given up: what it has said can still be read.
    ended: bool,
}

/// A viewer's place at the hub.
#[derive(Debug)]
struct Place {
    id: Uuid,
    /// Where it begins to read, until it does.
    start: Option<Start>,
    mailbox: Option<Arc<Mailbox>>,
    reader: Option<Waker>,
}

/// Where a viewer begins.
#[derive(Debug)]
struct Start {
    at: u64,
    /// What came before is replayed through the filter.
    live: u64,
    filter: Replay,
}

/// A viewer as it takes its place for good.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) user: UserId,
    pub(super) writes: bool,
    pub(super) mailbox: Option<Arc<Mailbox>>,
    pub(super) seen: Option<Seen>,
}

/// How much of a line's output a viewer who comes back has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// All before this offset.
    pub(super) offset: u64,
    /// Of the hub with this id; without one, of whichever is there.
    pub(super) line: Option<Uuid>,
}

impl Hub {
    fn new(
        (target, generation): (TargetId, Generation),
        settings: SerialHub,
        (breaker, resizer): (Option<Breaker>, Option<Resizer>),
    ) -> Self {
        let shared = Shared {
            history: History::new(settings.first, settings.last),
            places: Vec::new(),
            pen: Pen::default(),
            input: Vec::new(),
            writer: None,
            driver: None,
            empty: Some(Instant::now()),
            ended: false,
        };
        let id = Uuid::new_v4();
        Self { id, target, generation, settings, breaker, resizer, shared: Mutex::new(shared) }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for the viewer `id`, which neither reads nor types before [`Hub::seat`]; `None`: the hub has ended.
    fn place(self: &Arc<Self>, id: Uuid) -> Option<Watcher> {
        let mut shared = self.lock();
        if shared.ended {
            return None;
        }
        shared.places.push(Place { id, start: None, mailbox: None, reader: None });
        shared.empty = None;
        Some(Watcher::new(Arc::clone(self), id))
    }

    /// The viewer is here. What it is, and the offset of the first byte that it will read.
    pub(super) fn seat(&self, id: Uuid, arrival: Arrival) -> (Role, u64) {
        let mut shared = self.lock();
        let shared = &mut *shared;
        let ours = arrival.seen.filter(|seen| seen.line.is_none_or(|line| line == self.id));
        let start = shared.start(ours.map(|seen| seen.offset));
        let offset = start.at;
        shared.pen.arrive(id, arrival.user, arrival.writes);
        if let Some(place) = shared.places.iter_mut().find(|place| place.id == id) {
            place.start = Some(start);
            place.mailbox = arrival.mailbox;
            wake(&mut place.reader);
        }
        shared.tell_roles();
        (shared.pen.role(id), offset)
    }

    /// Which output its offsets count.
    pub(super) fn id(&self) -> Uuid {
        self.id
    }

    /// Whether its line can be broken, and its terminal's size set.
    pub(super) fn abilities(&self) -> (bool, bool) {
        (self.breaker.is_some(), self.resizer.is_some())
    }

    /// The line's, for operators.
    pub(super) fn breaker(&self) -> Option<Breaker> {
        self.breaker.clone()
    }

    /// Carries out what a viewer asks for, as far as it may.
    pub(super) fn command(&self, id: Uuid, command: Command) {
        let mut shared = self.lock();
        match command {
            Command::Ask | Command::Take | Command::Give => {
                let asked = shared.pen.command(id, command);
                if let Some((writer, notice)) = asked
                    && let Some(mailbox) = shared.mailbox(writer)
                {
                    mailbox.post(&notice);
                }
                shared.tell_roles();
                // What waited for room may be nobody's to type now.
                wake(&mut shared.writer);
            }
            Command::Break if shared.pen.may_type(id) => {
                self.breaker.as_ref().map(Breaker::send);
            }
            Command::Resize { columns, rows } if shared.pen.may_type(id) => {
                if let Some(resizer) = &self.resizer {
                    resizer.send(columns, rows);
                }
            }
            Command::Break | Command::Resize { .. } | Command::Unknown => {}
        }
    }

    /// The line said `bytes`.
    fn heard(&self, bytes: &[u8]) {
        let mut shared = self.lock();
        shared.history.push(bytes);
        shared.wake_readers();
    }

    /// No more will come. Viewers read what there is, and then the end.
    fn end(&self) {
        let mut shared = self.lock();
        shared.ended = true;
        shared.input = Vec::new();
        shared.wake_readers();
        let Shared { writer, driver, .. } = &mut *shared;
        wake(writer);
        wake(driver);
    }

    /// The viewer is gone.
    fn leave(&self, id: Uuid) {
        let mut shared = self.lock();
        let shared = &mut *shared;
        shared.places.retain(|place| place.id != id);
        shared.pen.leave(id);
        shared.tell_roles();
        // Who waits to type may be another; what was accepted from this one still goes out.
        wake(&mut shared.writer);
        if shared.places.is_empty() {
            shared.empty = Some(Instant::now());
            wake(&mut shared.driver);
        }
    }

    /// Takes what the viewer types, if it is the one who may; what others type is dropped.
    fn typed(&self, id: Uuid, bytes: &[u8], cx: &Context<'_>) -> Poll<usize> {
        let mut shared = self.lock();
        let shared = &mut *shared;
        if shared.ended {
            return Poll::Ready(0);
        }
        if shared.pen.type_as(id) {
            shared.tell_roles();
        }
        if !shared.pen.may_type(id) {
            return Poll::Ready(bytes.len());
        }
        let count = bytes.len().min(MAX_INPUT - shared.input.len());
        if count == 0 {
            shared.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        shared.input.extend_from_slice(&bytes[..count]);
        wake(&mut shared.driver);
        Poll::Ready(count)
    }
}

impl Shared {
    /// Where a viewer begins who has seen all before `seen`, if that is still known; else at the beginning.
    fn start(&self, seen: Option<u64>) -> Start {
        let live = self.history.end();
        let mut filter = Replay::default();
        let Some(seen) = seen.filter(|seen| *seen <= live) else {
            // What is not kept of the very first is no news to anybody.
            return Start { at: self.history.read(0, &mut [0]).missing, live, filter };
        };
        // It may have seen half of a sequence: then it gets that from its beginning, whole or blanked.
        let from = seen.saturating_sub(LOOK_BACK);
        let mut before = vec![0; usize::try_from(seen - from).unwrap_or(0)];
        let found = self.history.read(from, &mut before);
        let mut at = seen;
        if found.missing == 0 && found.count == before.len() {
            let open = before.len() - filter.apply(&mut before);
            at = seen - open as u64;
        }
        Start { at, live, filter }
    }

    fn mailbox(&self, id: Uuid) -> Option<&Arc<Mailbox>> {
        self.places.iter().find(|place| place.id == id)?.mailbox.as_ref()
    }

    /// Tells everybody who types, if that has changed for them.
    fn tell_roles(&mut self) {
        for (id, notice) in self.pen.news() {
            if let Some(mailbox) = self.mailbox(id) {
                mailbox.post(&notice);
            }
        }
    }

    fn wake_readers(&mut self) {
        self.places.iter_mut().for_each(|place| wake(&mut place.reader));
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
