//! Recordings of sessions: asciicast v2 for serial lines, FBS for VNC, each with a journal beside it.
//!
//! ```text
//! pump --Tape--> a bounded queue per session --> one thread, which alone touches the disk
//! ```
//!
//! What was read in one go and fills half a buffer is not copied: the buffer is shared, the viewer and the file are
//! written from it, and another that is written already takes its place in the worker's pool.
//!
//! The relay never waits for the disk with other sessions: a session whose queue is full is not read from until the
//! thread has caught up, so what is recorded is recorded whole, and a slow disk slows down the sessions that are
//! recorded and nobody else. What a session's queue holds is in none of the files when the process is killed:
//! normally a millisecond's worth. Every write is of whole records; one that fails is taken back.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use uuid::Uuid;

use crate::audit::{Audit, Event, Kind};
use crate::clock::Clock;
use crate::config::{self, OnRecordingFailure, Record};
use crate::ids::Protocol;
use crate::tokens::Grant;

mod journal;
mod keep;
mod sink;
mod tape;
mod writer;

#[cfg(test)]
mod tests;

pub use journal::{About, Entry, Journal};
pub use keep::{Kept, Library, LibraryError, Part, Swept};
pub use tape::Tape;

use super::buffer::Block;
use sink::Sink;
use tape::{Closed, Manner, Track};

/// Why a session is not recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The directory is not there, or not to be written.
    #[error("recording.directory: {path}: {source}", path = path.display())]
    Directory {
        /// Which directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file could not be begun.
    #[error("the recording cannot be begun: {0}")]
    Begin(io::Error),
    /// The writer's thread could not be started.
    #[error("no thread for recordings: {0}")]
    Thread(io::Error),
    /// Nobody has said where recordings go.
    #[error("no place for recordings is configured")]
    Unconfigured,
    /// What is said over such a console has no form that could be played.
    #[error("{0} consoles cannot be recorded")]
    Protocol(Protocol),
}

/// The recordings of this process. Clones are one.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: config::Recording,
    library: Library,
    clock: Clock,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the writer's thread and the sessions share.
#[derive(Debug)]
struct Shared {
    work: Mutex<Work>,
    more: Condvar,
    /// Blocks that are written, for sessions that go on.
    spare: Mutex<Vec<Block>>,
    audit: Audit,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Work {
    ready: VecDeque<Arc<Track>>,
    /// The thread waits to be woken.
    idle: bool,
    stopping: bool,
}

/// Blocks kept for sessions that go on: what one of them has under way at full speed, queued and being written. Two
/// megabytes; beyond it, bursts allocate and free.
const SPARE: usize = 32;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// There is something to write for `track`, which is not on the list.
    fn push(&self, track: Arc<Track>) {
        let mut work = lock(&self.work);
        work.ready.push_back(track);
        if std::mem::take(&mut work.idle) {
            self.more.notify_one();
        }
    }

    /// Keeps blocks that are written.
    fn give_back(&self, blocks: &mut Vec<Block>) {
        if !blocks.is_empty() {
            let mut spare = lock(&self.spare);
            let room = SPARE.saturating_sub(spare.len());
            spare.extend(blocks.drain(..).take(room));
        }
    }

    fn spare(&self) -> Option<Block> {
        lock(&self.spare).pop()
    }

    /// The next session to write for; `None` when all is written and nothing more will come.
    fn next(&self) -> Option<Arc<Track>> {
        let mut work = lock(&self.work);
        loop {
            if let Some(track) = work.ready.pop_front() {
                return Some(track);
            }
            if work.stopping {
                return None;
            }
            work.idle = true;
            work = self.more.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// What is to be recorded, and for whom.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The session; its recording has the same name.
    pub session: Uuid,
    /// What it was opened with.
    pub grant: Arc<Grant>,
    /// The viewer's address.
    pub source: IpAddr,
    /// The strictest of what grant, target and configuration say.
    pub policy: Record,
}

impl Recorder {
    /// Makes and checks the directory and starts the thread.
    ///
    /// # Errors
    /// If the directory cannot be made or written.
    pub fn start(settings: &config::Recording, audit: Audit, clock: Clock) -> Result<Self, RecordError> {
        let library = Library::new(settings.directory.clone());
        library.check()?;
        let (work, spare) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { work, more: Condvar::new(), spare, audit, clock: clock.clone() });
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new().name("recorder".to_owned());
        let thread = thread.spawn(move || writer::run(&theirs)).map_err(RecordError::Thread)?;
        let thread = Mutex::new(Some(thread));
        Ok(Self(Arc::new(Inner { settings: settings.clone(), library, clock, shared, thread })))
    }

    /// The recordings there are.
    pub fn library(&self) -> &Library {
        &self.0.library
    }

    /// For targets that say nothing.
    pub fn default_policy(&self) -> Record {
        self.0.settings.record
    }

    /// Begins a recording: its files are there when this returns. Waits for the disk: not for a worker's thread.
    ///
    /// # Errors
    /// If the files cannot be made, or the protocol cannot be recorded.
    pub fn begin(&self, wanted: &Wanted) -> Result<Recording, RecordError> {
        let Inner { settings, library, clock, shared, .. } = &*self.0;
        let about = About::new(wanted, settings.input, clock.today())?;
        let sink = Sink::begin(library, &about).map_err(|error| {
            shared.audit.record(|| about.event(Some("not-begun")));
            RecordError::Begin(error)
        })?;
        let manner = Manner {
            // Of a VNC viewer's, the pixel format has to be known.
            up: about.protocol == Protocol::Vnc || settings.input,
            strict: wanted.policy == Record::Required || settings.on_failure == OnRecordingFailure::End,
        };
        shared.audit.record(|| about.event(Some("started")));
        Ok(Recording(Arc::new(Track::new(sink, Arc::clone(shared), manner))))
    }

    /// Whether a session that need not be recorded goes on without, when it cannot be.
    pub fn may_go_on(&self, policy: Record) -> bool {
        policy != Record::Required && self.0.settings.on_failure == OnRecordingFailure::Stop
    }

    /// Removes what is older, or more, than is to be kept. Waits for the disk.
    ///
    /// # Errors
    /// If the directory cannot be read. What cannot be removed is left, and logged.
    pub fn sweep(&self, now: SystemTime) -> io::Result<Swept> {
        let Inner { settings, library, shared, .. } = &*self.0;
        let swept = library.sweep(settings.max_age, settings.max_size, now)?;
        if swept.count > 0 {
            tracing::info!(recordings = swept.count, bytes = swept.bytes, "old recordings removed");
            let (count, cause) = (Some(swept.count), Some("recordings-expired"));
            shared.audit.record(|| Event { count, cause, ..Event::new(Kind::Admin) });
        }
        Ok(swept)
    }

    /// Writes what is queued and ends the thread. Waits for the disk.
    pub fn stop(&self) {
        lock(&self.0.shared.work).stopping = true;
        self.0.shared.more.notify_one();
        let thread = lock(&self.0.thread).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the recorder's thread crashed");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        lock(&self.shared.work).stopping = true;
        self.shared.more.notify_one();
    }
}

/// A session's recording, for whoever holds the session. Dropped without [`Recording::finish`], it is closed as
/// `abandoned`, and removed if nothing was recorded.
#[derive(Debug)]
pub struct Recording(Arc<Track>);

impl Recording {
    /// The pump's end of it.
    pub fn tape(&self) -> Tape {
        Tape::new(Arc::clone(&self.0))
    }

    /// Whether it goes on, for those who show it.
    pub fn running(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0.running)
    }

    /// The session has ended: all that was recorded is written, then the files are closed. Does not wait for it.
    pub fn finish(self, cause: &'static str) {
        self.0.close(Closed::Ended(cause));
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.0.close(Closed::Abandoned);
    }
}

/// Opens a file of our own: appended to, locked, and for nobody else's eyes.
fn create(path: &std::path::Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = File::options().append(true).create_new(true).mode(0o600).open(path)?;
    // Whoever tidies up leaves what is locked alone, in this process or another.
    file.try_lock()?;
    Ok(file)
}
