//! The one thread that writes the file: takes what has gathered, seals it, writes it in one go.
//!
//! A write that fails is tried again from where it stopped, until there is room or another file.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, Thread};
use std::time::Duration;

use tracing::{error, info};

use crate::clock::{Clock, Stamp};
use crate::config;

use super::chain::{self, Chain, MAX_LINE};
use super::event::{Event, Kind};
use super::queue::{Batch, KEPT, Order, Shared};

/// What the first line of all begins with.
const FIRST: &[u8] = b"{\"seq\":1,\"time\":\"";

/// How long lines gather after a write, so that a busy log is a thousand writes a second rather than one, and one
/// wake-up of this thread, for each line. The first line after a quiet moment does not wait.
const GATHER: Duration = Duration::from_millis(1);

/// How often a write that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Why there is no audit log.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file cannot be opened or read.
    #[error("audit.file: {path}: {source}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Two processes that write one file break its chain.
    #[error("audit.file: {}: another process writes it; give each process a file of its own", .0.display())]
    Locked(PathBuf),
    /// The file ends in nothing that could be gone on from.
    #[error("audit.file: {}: is not an audit log, or its end is damaged; move it away", .0.display())]
    Foreign(PathBuf),
    /// A log goes on in an empty file only.
    #[error("audit.file: {}: is not empty; rotate by renaming, not by copying", .0.display())]
    NotEmpty(PathBuf),
}

/// Where lines go. A file; in tests one that fails when told.
pub(super) trait Sink: Send + 'static {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    fn sync(&mut self) -> io::Result<()>;
    /// What its name stands for now, if that is another, empty file.
    fn reopened(&self) -> Result<Option<Self>, AuditError>
    where
        Self: Sized;
    /// Another file, where its chain is, and how many bytes of an unfinished line it ends in.
    fn at(&self, path: &Path) -> Result<(Self, Chain, Option<u64>), AuditError>
    where
        Self: Sized;
}

/// Opens the file and starts its thread, which ends when nobody decides any more.
pub(super) fn start(
    settings: &config::Audit,
    shared: Arc<Shared>,
    clock: &Clock,
) -> Result<Thread, AuditError> {
    let path = &settings.file;
    let (sink, chain, torn) = AppendOnly::open(path)?;
    let writer = Writer::new(sink, chain, torn, settings.sync, shared, clock.clone());
    let spawned = thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run());
    spawned
        .map(|handle| handle.thread().clone())
        .map_err(|source| AuditError::File { path: path.clone(), source })
}

/// Lines on their way: those of `batch` are sealed in `buffer`, each ending where `ends` says.
pub(super) struct Writer<S> {
    sink: S,
    sync: bool,
    shared: Arc<Shared>,
    clock: Clock,
    stamp: Stamp,
    /// After the last line of `buffer`.
    chain: Chain,
    batch: Batch,
    /// The end of each line in `buffer`.
    ends: Vec<usize>,
    buffer: Vec<u8>,
    written: usize,
    /// The chain before the first line of `buffer`.
    before: Chain,
}

impl<S: Sink> Writer<S> {
    /// A writer that goes on after `chain`, with a line that says so.
    pub(super) fn new(
        sink: S,
        chain: Chain,
        torn: Option<u64>,
        sync: bool,
        shared: Arc<Shared>,
        clock: Clock,
    ) -> Self {
        let (ends, buffer) = (Vec::new(), Vec::new());
        let before = chain.clone();
        let mut batch = Batch::default();
        batch.insert(0, clock.today(), &chain.begin(torn));
        let stamp = Stamp::default();
        let mut writer =
            Self { sink, sync, shared, clock, stamp, chain, batch, ends, buffer, written: 0, before };
        if torn.is_some() {
            writer.buffer.push(b'\n');
        }
        writer.seal();
        writer
    }

    fn run(mut self) {
        if !self.finish() {
            return self.give_up();
        }
        while let Some(orders) = self.take() {
            let places = self.batch.lines.len();
            self.account_for_lost();
            self.seal();
            if !self.finish() {
                return self.give_up();
            }
            self.shared.release(places);
            for order in orders {
                // Who has gone away meanwhile does not wait any more.
                match order {
                    Order::Flush(done) => _ = done.send(()),
                    Order::Move(path, done) => {
                        let _ = done.send(self.move_to(&path));
                        if !self.finish() {
                            return self.give_up();
                        }
                    }
                }
            }
            thread::sleep(GATHER);
        }
    }

    fn give_up(&self) {
        let lines = self.ends.len() + self.shared.waiting().batch.lines.len();
        error!(lines, "the audit log could not be written to the end");
    }

    /// Waits for something to do; `None`: there will be nothing more. The batch before is written.
    fn take(&mut self) -> Option<Vec<Order>> {
        loop {
            // Looked at first: what was added before it was closed is not missed.
            let closed = self.shared.closed.load(Ordering::Acquire);
            let mut waiting = self.shared.waiting();
            if !waiting.is_empty() || self.shared.reopen.load(Ordering::Acquire) {
                std::mem::swap(&mut waiting.batch, &mut self.batch);
                return Some(std::mem::take(&mut waiting.orders));
            }
            drop(waiting);
            if closed {
                return None;
            }
            thread::park();
        }
    }

    fn account_for_lost(&mut self) {
        let unwritten = self.shared.unwritten.swap(0, Ordering::Relaxed);
        if unwritten > 0 {
            let lost = Event { count: Some(unwritten), ..Event::new(Kind::Lost) };
            self.batch.insert(self.batch.lines.len(), self.clock.today(), &lost);
        }
    }

    /// Everything is written; goes on in this file.
    fn move_to(&mut self, path: &Path) -> Result<(), AuditError> {
        let (sink, chain, torn) = self.sink.at(path)?;
        (self.sink, self.before, self.chain) = (sink, chain.clone(), chain);
        self.batch.insert(0, self.clock.today(), &self.chain.begin(torn));
        if torn.is_some() {
            self.buffer.push(b'\n');
        }
        self.seal();
        info!(file = %path.display(), "the audit log goes on here");
        Ok(())
    }

    /// Makes lines of the events of the batch that are none yet.
    pub(super) fn seal(&mut self) {
        for line in &self.batch.lines[self.ends.len()..] {
            self.chain.seal(self.stamp.text(line.time), self.batch.text(line), &mut self.buffer);
            self.ends.push(self.buffer.len());
        }
    }

    /// Writes the batch whatever it takes; false if nobody sends any more and the last try failed.
    fn finish(&mut self) -> bool {
        loop {
            if self.shared.reopen.swap(false, Ordering::AcqRel) {
                self.reopen();
            }
            let last = self.shared.closed.load(Ordering::Acquire);
            match self.advance() {
                Ok(()) => return true,
                Err(error) => self.failed(&error),
            }
            if last {
                return false;
            }
            thread::park_timeout(RETRY);
        }
    }

    fn failed(&self, error: &io::Error) {
        // Once: it is tried every second.
        if !self.shared.failing.swap(true, Ordering::AcqRel) {
            error!(%error, "the audit log cannot be written; trying on");
        }
    }

    /// Writes on from where it stopped; all is written when this succeeds.
    pub(super) fn advance(&mut self) -> io::Result<()> {
        while self.written < self.buffer.len() {
            match self.sink.write(&self.buffer[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.sync && !self.ends.is_empty() {
            self.sink.sync()?;
        }
        self.shared.lines.fetch_add(self.ends.len() as u64, Ordering::Relaxed);
        self.before = self.chain.clone();
        self.batch.forget(self.ends.len());
        self.clear();
        if self.shared.failing.swap(false, Ordering::AcqRel) {
            info!("the audit log is written again");
        }
        Ok(())
    }

    /// Nothing is sealed.
    fn clear(&mut self) {
        self.ends.clear();
        self.buffer.clear();
        self.buffer.shrink_to(KEPT);
        self.written = 0;
    }

    /// Goes on in the file that now has the name, if it is another one.
    pub(super) fn reopen(&mut self) {
        match self.sink.reopened() {
            Ok(None) => {}
            Ok(Some(sink)) => {
                self.sink = sink;
                self.move_on();
                info!("audit log reopened");
            }
            Err(error) => error!(%error, "audit log not reopened; the old file stays in use"),
        }
    }

    /// Lines that are not whole in the old file are sealed anew for the new one, after its `begin`.
    fn move_on(&mut self) {
        let whole = self.ends.iter().take_while(|end| **end <= self.written).count();
        let end = whole.checked_sub(1).map_or(0, |last| self.ends[last]);
        let partial = self.written - end;
        self.shared.lines.fetch_add(whole as u64, Ordering::Relaxed);
        if whole > 0 {
            self.before = last_line(&self.buffer[..end]).1;
        }
        self.batch.forget(whole);
        self.chain = self.before.clone();
        // A `begin` that was not written is made up for by this one, with what it had to say.
        let untold: u64 = self.batch.lines.iter().filter_map(|line| line.begin).sum();
        self.batch.lines.retain(|line| line.begin.is_none());
        let torn = Some(untold + partial as u64).filter(|torn| *torn > 0);
        self.batch.insert(0, self.clock.today(), &self.chain.begin(torn));
        self.clear();
        self.seal();
    }

    #[cfg(test)]
    pub(super) fn push(&mut self, event: &Event<'_>) {
        self.batch.insert(self.batch.lines.len(), self.clock.today(), event);
    }
}

/// A file opened to append, and locked.
pub(super) struct AppendOnly {
    path: PathBuf,
    file: File,
}

impl AppendOnly {
    /// Opens the file, where its chain is, and how many bytes of an unfinished line it ends in.
    fn open(path: &Path) -> Result<(Self, Chain, Option<u64>), AuditError> {
        let failed = |source| AuditError::File { path: path.to_owned(), source };
        let mut file = Self::acquire(path)?;
        let length = file.metadata().map_err(failed)?.len();
        let start = length.saturating_sub(2 * MAX_LINE as u64);
        let mut end = Vec::new();
        file.seek(SeekFrom::Start(start)).map_err(failed)?;
        (&mut file).take(length - start).read_to_end(&mut end).map_err(failed)?;
        let (whole, chain) = last_line(&end);
        // Without one whole line it never was ours, unless it broke off in the first.
        let opening = &FIRST[..FIRST.len().min(end.len())];
        if whole == 0 && !(start == 0 && end.starts_with(opening)) {
            return Err(AuditError::Foreign(path.to_owned()));
        }
        let torn = Some((end.len() - whole) as u64).filter(|torn| *torn > 0);
        Ok((Self { path: path.to_owned(), file }, chain, torn))
    }

    fn acquire(path: &Path) -> Result<File, AuditError> {
        let failed = |source| AuditError::File { path: path.to_owned(), source };
        // Not open to others: it says who was where.
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path);
        let file = file.map_err(failed)?;
        // A device or a pipe has no lines to keep apart.
        if file.metadata().map_err(failed)?.is_file() && file.try_lock().is_err() {
            return Err(AuditError::Locked(path.to_owned()));
        }
        Ok(file)
    }
}

impl Sink for AppendOnly {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn at(&self, path: &Path) -> Result<(Self, Chain, Option<u64>), AuditError> {
        Self::open(path)
    }

    fn reopened(&self) -> Result<Option<Self>, AuditError> {
        let failed = |source| AuditError::File { path: self.path.clone(), source };
        let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let old = self.file.metadata().map_err(failed)?;
        if std::fs::metadata(&self.path).is_ok_and(|named| identity(named) == identity(old)) {
            return Ok(None);
        }
        let file = Self::acquire(&self.path)?;
        if file.metadata().map_err(failed)?.len() > 0 {
            return Err(AuditError::NotEmpty(self.path.clone()));
        }
        Ok(Some(Self { path: self.path.clone(), file }))
    }
}

/// Where the last whole line of `text` ends, and the chain after it. What follows broke off.
fn last_line(text: &[u8]) -> (usize, Chain) {
    let mut end = text.len();
    while let Some(at) = text[..end].iter().rposition(|byte| *byte == b'\n') {
        let start = text[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if let Some((line, _)) = chain::parse(&text[start..at]) {
            return (at + 1, Chain { seq: line.seq, hash: line.hash });
        }
        end = at;
    }
    (0, Chain::default())
}
