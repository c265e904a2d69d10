//! Targets that a control plane registered, in a redb file: atomic, on disk before they are acknowledged.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

/// Documents by target id: JSON with the keys of a `[[target]]` table.
const TARGETS: TableDefinition<'static, &str, &str> = TableDefinition::new("targets");

/// What the file is; one row.
const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");

/// The form of the documents. A file of a later form is not touched.
const FORMAT: u64 = 1;

/// Why the file did not do as asked. What was acknowledged before is still there.
#[derive(Debug, thiserror::Error)]
pub enum DurableError {
    /// No room to write.
    #[error("{}: the disk is full", .0.display())]
    Full(PathBuf),
    /// Written by a later version of this program.
    #[error("{}: has format {found}, of a later version; this one knows {FORMAT}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// Another process has taken it over.
    #[error("{}: the process after this one has it", .0.display())]
    Released(PathBuf),
    /// Anything else: not a database, in use by another process, an I/O error.
    #[error("{}: {source}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What redb said.
        source: Box<redb::Error>,
    },
}

type Open = Box<dyn Fn() -> Result<Database, redb::Error> + Send + Sync>;

/// The file, opened for this process alone. Calls block for as long as the disk takes.
pub(super) struct Durable {
    path: PathBuf,
    open: Open,
    /// Absent after an I/O error: redb wants a database opened anew then.
    database: Mutex<Option<Database>>,
    /// Left to another process.
    released: AtomicBool,
}

impl Durable {
    /// Opens the file, or makes it, for its owner only.
    pub(super) fn open(path: &Path) -> Result<Self, DurableError> {
        let file = path.to_owned();
        let open = move || {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            drop(options.open(&file).map_err(redb::Error::Io)?);
            Ok(Database::create(&file)?)
        };
        Self::with(path, Box::new(open))
    }

    fn with(path: &Path, open: Open) -> Result<Self, DurableError> {
        let durable = Self {
            path: path.to_owned(),
            open,
            database: Mutex::new(None),
            released: AtomicBool::new(false),
        };
        let found = durable.run(|database| {
            let write = database.begin_write()?;
            let found = {
                let mut meta = write.open_table(META)?;
                let found = meta.get("format")?.map(|format| format.value());
                if found.is_none() {
                    meta.insert("format", FORMAT)?;
                }
                write.open_table(TARGETS)?;
                found.unwrap_or(FORMAT)
            };
            if found <= FORMAT {
                write.commit()?
            } else {
                write.abort()?
            }
            Ok(found)
        })?;
        if found > FORMAT {
            return Err(DurableError::Format { path: durable.path, found });
        }
        Ok(durable)
    }

    /// All documents, by id.
    pub(super) fn all(&self) -> Result<Vec<(String, String)>, DurableError> {
        self.run(|database| {
            let read = database.begin_read()?;
            let table = read.open_table(TARGETS)?;
            let mut all = Vec::new();
            for row in table.iter()? {
                let (id, document) = row?;
                all.push((id.value().to_owned(), document.value().to_owned()));
            }
            Ok(all)
        })
    }

    /// Keeps the document; it is on disk when this returns.
    pub(super) fn put(&self, id: &str, document: &str) -> Result<(), DurableError> {
        self.run(|database| {
            let write = database.begin_write()?;
            write.open_table(TARGETS)?.insert(id, document)?;
            Ok(write.commit()?)
        })
    }

    /// Drops the document; it is gone from disk when this returns.
    pub(super) fn remove(&self, id: &str) -> Result<(), DurableError> {
        self.run(|database| {
            let write = database.begin_write()?;
            write.open_table(TARGETS)?.remove(id)?;
            Ok(write.commit()?)
        })
    }

    /// Closes the file, for another process to open it; or takes it back.
    pub(super) fn release(&self, released: bool) {
        let mut slot = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        self.released.store(released, Ordering::SeqCst);
        *slot = None;
    }

    fn run<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, DurableError> {
        let mut slot = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        if self.released.load(Ordering::SeqCst) {
            return Err(DurableError::Released(self.path.clone()));
        }
        let done = match slot.as_ref() {
            Some(database) => work(database),
            None => (self.open)().and_then(|database| work(slot.insert(database))),
        };
        done.map_err(|error| {
            *slot = None;
            self.error(error)
        })
    }

    fn error(&self, error: redb::Error) -> DurableError {
        let path = self.path.clone();
        match error {
            redb::Error::Io(io)
                if matches!(
                    io.kind(),
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
                ) =>
            {
                DurableError::Full(path)
            }
            source => DurableError::Failed { path, source: Box::new(source) },
        }
    }
}

impl std::fmt::Debug for Durable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Durable({})", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use redb::backends::FileBackend;

    use super::*;

    fn ids(durable: &Durable) -> Vec<String> {
        durable.all().unwrap().into_iter().map(|(id, _)| id).collect()
    }

    /// A disk that can be filled.
    #[derive(Debug)]
    struct Disk(FileBackend, Arc<AtomicBool>);

    impl Disk {
        fn room(&self) -> io::Result<()> {
            if self.1.load(Ordering::SeqCst) { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
        }
    }

    impl redb::StorageBackend for Disk {
        fn len(&self) -> io::Result<u64> {
            self.0.len()
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.0.read(offset, out)
        }
        fn set_len(&self, len: u64) -> io::Result<()> {
            self.room()?;
            self.0.set_len(len)
        }
        fn sync_data(&self) -> io::Result<()> {
            self.room()?;
            self.0.sync_data()
        }
        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.room()?;
            self.0.write(offset, data)
        }
        fn close(&self) -> io::Result<()> {
            self.0.close()
        }
    }

    #[test]
    fn what_was_put_is_there_when_it_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("targets.redb");
        let durable = Durable::open(&path).unwrap();
        durable.put("b", "{}").unwrap();
        durable.put("a", "{}").unwrap();
        durable.put("a", "{\"id\":\"a\"}").unwrap();
        durable.remove("b").unwrap();
        durable.remove("never").unwrap();
        assert!(matches!(Durable::open(&path), Err(DurableError::Failed { .. })), "one process at a time");
        durable.release(true);
        let again = Durable::open(&path).unwrap();
        assert!(matches!(durable.put("c", "{}"), Err(DurableError::Released(_))));
        assert_eq!(again.all().unwrap(), [("a".to_owned(), "{\"id\":\"a\"}".to_owned())]);
        drop(again);
        durable.release(false);
        durable.put("c", "{}").unwrap();
    }

    #[test]
    fn a_full_disk_is_said_and_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("targets.redb");
        let full = Arc::new(AtomicBool::new(false));
        let (file, flag) = (path.clone(), full.clone());
        let open = move || {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&file);
            let file = FileBackend::new(file.map_err(redb::Error::Io)?)?;
            Ok(Database::builder().create_with_backend(Disk(file, flag.clone()))?)
        };
        let durable = Durable::with(&path, Box::new(open)).unwrap();
        durable.put("kept", "{}").unwrap();
        full.store(true, Ordering::SeqCst);
        for _ in 0..3 {
            assert!(matches!(durable.put("lost", "{}"), Err(DurableError::Full(_))));
        }
        full.store(false, Ordering::SeqCst);
        assert_eq!(ids(&durable), ["kept"], "what was refused is not there, what was kept is");
        durable.put("later", "{}").unwrap();
        drop(durable);
        assert_eq!(ids(&Durable::open(&path).unwrap()), ["kept", "later"]);
    }

    #[test]
    fn a_later_format_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("targets.redb");
        drop(Durable::open(&path).unwrap());
        let database = Database::create(&path).unwrap();
        let write = database.begin_write().unwrap();
        write.open_table(META).unwrap().insert("format", FORMAT + 1).unwrap();
        write.commit().unwrap();
        drop(database);
        assert!(matches!(Durable::open(&path), Err(DurableError::Format { found: 2, .. })));
        std::fs::write(&path, "no database").unwrap();
        assert!(matches!(Durable::open(&path), Err(DurableError::Failed { .. })));
    }
}
