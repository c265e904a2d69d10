//! The directory of recordings: names, what is there, what goes.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::journal::Journal;
use super::{RecordError, create};

/// The most of a journal that is read: an index of years.
const MAX_JOURNAL: u64 = 16 << 20;

/// Length of the time at the beginning of a name: `20261121T214500Z`.
const STAMP: usize = 16;

/// One of a recording's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// A serial line's: asciicast v2.
    Text,
    /// A VNC console's: FBS 001.001.
    Screen,
    /// What a VNC viewer sent, in the same form.
    Input,
    /// The journal.
    Journal,
}

impl Part {
    const ALL: [Self; 4] = [Self::Text, Self::Screen, Self::Input, Self::Journal];

    /// What its name ends with.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Text => "cast",
            Self::Screen => "fbs",
            Self::Input => "input.fbs",
            Self::Journal => "jsonl",
        }
    }
}

/// The directory.
#[derive(Clone, Debug)]
pub struct Library {
    directory: PathBuf,
}

/// A recording on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The session's id.
    pub id: Uuid,
    stem: String,
    /// Its files.
    pub parts: Vec<Part>,
    /// Their size together.
    pub bytes: u64,
    /// When the last byte was written.
    pub modified: SystemTime,
}

impl Kept {
    /// The file that is played; `None`: it was lost.
    pub fn data(&self) -> Option<Part> {
        self.parts.iter().copied().find(|part| matches!(part, Part::Text | Part::Screen))
    }

    /// The name of a file of it.
    pub fn name(&self, part: Part) -> String {
        format!("{}.{}", self.stem, part.extension())
    }
}

/// Why a recording is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// There is none of that name.
    #[error("no such recording")]
    Unknown,
    /// It is being made.
    #[error("the session is still being recorded")]
    Live,
    /// The disk.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Recordings.
    pub count: u64,
    /// Their size together.
    pub bytes: u64,
}

impl Library {
    /// The recordings in `directory`.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Makes the directory if it is not there, and sees whether it can be written.
    ///
    /// # Errors
    /// If not.
    pub fn check(&self) -> Result<(), RecordError> {
        let failed = |source| RecordError::Directory { path: self.directory.clone(), source };
        // Not open to others: it says who was where.
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory).map_err(failed)?;
        let probe = self.directory.join(format!(".{}", Uuid::new_v4()));
        create(&probe).and_then(|_| fs::remove_file(&probe)).map_err(failed)
    }

    pub(super) fn path(&self, stem: &str, part: Part) -> PathBuf {
        self.directory.join(format!("{stem}.{}", part.extension()))
    }

    /// All recordings, the oldest first. Files of other names are not looked at.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn list(&self) -> io::Result<Vec<Kept>> {
        let mut found = BTreeMap::<String, Kept>::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let Some((stem, id, part)) = entry.file_name().to_str().and_then(parse) else { continue };
            // Removed meanwhile, or no file.
            let Ok(metadata) = entry.metadata() else { continue };
            let modified = metadata.modified()?;
            let new = || Kept { id, stem: stem.clone(), parts: vec![], bytes: 0, modified };
            let kept = found.entry(stem.clone()).or_insert_with(new);
            kept.parts.push(part);
            kept.parts.sort_unstable();
            kept.bytes += metadata.len();
            kept.modified = kept.modified.max(modified);
        }
        Ok(found.into_values().collect())
    }

    /// The recording of this session.
    ///
    /// # Errors
    /// If there is none, or the directory cannot be read.
    pub fn find(&self, id: Uuid) -> Result<Kept, LibraryError> {
        self.list()?.into_iter().find(|kept| kept.id == id).ok_or(LibraryError::Unknown)
    }

    /// Opens one of its files to read.
    ///
    /// # Errors
    /// If it has no such file, or it cannot be opened.
    pub fn open(&self, kept: &Kept, part: Part) -> Result<File, LibraryError> {
        match File::open(self.path(&kept.stem, part)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(LibraryError::Unknown),
            opened => Ok(opened?),
        }
    }

    /// What its journal says; nothing, if there is none.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn journal(&self, kept: &Kept) -> io::Result<Journal> {
        match read(&self.path(&kept.stem, Part::Journal)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Journal::default()),
            text => Ok(Journal::parse(&text?)),
        }
    }

    /// Whether it is being made, by this process or another.
    pub fn is_live(&self, kept: &Kept) -> bool {
        let Some(part) = kept.parts.first() else { return false };
        // Whoever writes it holds the lock until it is closed.
        File::open(self.path(&kept.stem, *part)).is_ok_and(|file| file.try_lock_shared().is_err())
    }

    /// Removes a recording.
    ///
    /// # Errors
    /// If there is none, it is still being made, or the disk fails.
    pub fn remove(&self, id: Uuid) -> Result<Kept, LibraryError> {
        let kept = self.find(id)?;
        if self.is_live(&kept) {
            return Err(LibraryError::Live);
        }
        self.unlink(&kept)?;
        Ok(kept)
    }

    /// The journal last: what is left after a crash still says what it was.
    fn unlink(&self, kept: &Kept) -> io::Result<()> {
        for part in &kept.parts {
            match fs::remove_file(self.path(&kept.stem, *part)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes what ended more than `max_age` before `now`, then the oldest until no more than `max_size` bytes are
    /// left. What is being made stays, and counts.
    ///
    /// # Errors
    /// If the directory cannot be read. What cannot be removed is left, and logged.
    pub fn sweep(
        &self,
        max_age: Option<Duration>,
        max_size: Option<u64>,
        now: SystemTime,
    ) -> io::Result<Swept> {
        let mut swept = Swept::default();
        if max_age.is_none() && max_size.is_none() {
            return Ok(swept);
        }
        let all = self.list()?;
        let mut size: u64 = all.iter().map(|kept| kept.bytes).sum();
        for kept in &all {
            let old =
                max_age.is_some_and(|most| now.duration_since(kept.modified).is_ok_and(|age| age > most));
            let much = max_size.is_some_and(|most| size > most);
            if (!old && !much) || self.is_live(kept) {
                continue;
            }
            if let Err(error) = self.unlink(kept) {
                tracing::warn!(recording = %kept.id, %error, "an old recording cannot be removed");
                continue;
            }
            size -= kept.bytes;
            swept.count += 1;
            swept.bytes += kept.bytes;
        }
        Ok(swept)
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_JOURNAL).read_to_end(&mut text)?;
    Ok(text)
}

/// The stem, the id and the part of a file of ours.
fn parse(name: &str) -> Option<(String, Uuid, Part)> {
    let (stem, extension) = name.split_once('.')?;
    let part = Part::ALL.into_iter().find(|part| part.extension() == extension)?;
    let (stamp, id) = (stem.get(..STAMP)?, stem.get(STAMP..)?.strip_prefix('-')?);
    let digits = stamp.bytes().filter(u8::is_ascii_digit).count() == STAMP - 2;
    let id = id.parse::<Uuid>().ok().filter(|uuid| uuid.to_string() == id)?;
    digits.then(|| (stem.to_owned(), id, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_our_own_or_left_alone() {
        let id = "0b84f8ad-5a3c-4f0e-8d17-f2d9c2d1a0ff";
        let check = |name: &str, part| assert_eq!(parse(name).map(|found| found.2), part, "{name}");
        check(&format!("20261121T214500Z-{id}.cast"), Some(Part::Text));
        check(&format!("20261121T214500Z-{id}.fbs"), Some(Part::Screen));
        check(&format!("20261121T214500Z-{id}.input.fbs"), Some(Part::Input));
        check(&format!("20261121T214500Z-{id}.jsonl"), Some(Part::Journal));
        for other in ["notes.txt", "a.cast", ".hidden", "20261121T214500Z.cast", "ü.cast", ""] {
            check(other, None);
        }
        check(&format!("20261121T214500Z-{}.cast", id.to_uppercase()), None);
        check(&format!("20261121T2145000-{id}.cast"), None);
        check(&format!("20261121T214500Z-{id}.cast.gz"), None);
    }

    fn put(dir: &Path, number: u8, bytes: usize, modified: SystemTime) -> Uuid {
        let id = Uuid::from_bytes([number; 16]);
        for (extension, bytes) in [("cast", bytes), ("jsonl", 0)] {
            let path = dir.join(format!("202611{number:02}T000000Z-{id}.{extension}"));
            fs::write(&path, vec![b'x'; bytes]).unwrap();
            File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
        }
        id
    }

    #[test]
    fn what_is_old_goes_then_the_oldest_until_it_fits() {
        let dir = tempfile::tempdir().unwrap();
        let library = Library::new(dir.path().to_owned());
        let day = |days: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(86_400 * days);
        let ids: Vec<Uuid> = (1..=5).map(|n| put(dir.path(), n, 100, day(u64::from(n)))).collect();
        fs::write(dir.path().join("notes.txt"), "not ours").unwrap();
        let left = || library.list().unwrap().into_iter().map(|kept| kept.id).collect::<Vec<_>>();
        let sweep = |age: Option<u64>, size, now| {
            library.sweep(age.map(|days| Duration::from_secs(86_400 * days)), size, now).unwrap()
        };
        assert_eq!(sweep(None, None, day(99)), Swept::default());
        // At the very end of its time a recording is still there.
        assert_eq!(sweep(Some(3), None, day(4)), Swept::default());
        assert_eq!(sweep(Some(3), None, day(5)), Swept { count: 1, bytes: 100 });
        assert_eq!(left(), ids[1..]);
        let writing = library.list().unwrap().remove(0);
        let lock = File::open(library.path(&writing.stem, Part::Text)).unwrap();
        lock.lock().unwrap();
        assert!(library.is_live(&writing) && !library.is_live(&library.list().unwrap()[1]));
        // The oldest is being made: it counts and stays.
        assert_eq!(sweep(None, Some(250), day(5)), Swept { count: 2, bytes: 200 });
        assert_eq!(left(), [ids[1], ids[4]]);
        assert!(matches!(library.remove(ids[1]), Err(LibraryError::Live)));
        drop(lock);
        library.remove(ids[1]).unwrap();
        assert!(matches!(library.remove(ids[1]), Err(LibraryError::Unknown)));
        assert_eq!(sweep(Some(1), None, day(99)).count, 1);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "what is not ours stays");
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_told_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Library::new(file.join("below")).check().unwrap_err().to_string();
        assert!(error.starts_with(&format!("recording.directory: {}", file.display())), "{error}");
        let made = dir.path().join("a/b");
        Library::new(made.clone()).check().unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&made).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o700);
        assert_eq!(fs::read_dir(made).unwrap().count(), 0);
    }
}
