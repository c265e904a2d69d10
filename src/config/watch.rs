//! Notices that files changed, by looking: works on every file system, needs no handle, misses no rename.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

/// How often to look. A reload within two seconds feels immediate; a stat of a few files costs nothing.
pub const EVERY: Duration = Duration::from_secs(2);

/// What tells one state of a file from another; `None` in a list of these is a file that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    modified: (i64, i64),
    length: u64,
    device: u64,
    inode: u64,
}

impl From<&Metadata> for Fingerprint {
    fn from(metadata: &Metadata) -> Self {
        Self {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            length: metadata.len(),
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

/// Some files and how they looked last. Symbolic links are followed, so a swapped link is a change.
#[derive(Debug)]
pub struct Watch {
    paths: Vec<PathBuf>,
    seen: Vec<Option<Fingerprint>>,
}

impl Watch {
    /// Remembers how the files look now. Make it before reading them, so that no change falls in between.
    pub async fn new(paths: Vec<PathBuf>) -> Self {
        let seen = look(&paths).await;
        Self { paths, seen }
    }

    /// Looks once; whether anything differs from the last look.
    pub async fn differs(&mut self) -> bool {
        let now = look(&self.paths).await;
        let before = std::mem::replace(&mut self.seen, now);
        before != self.seen
    }

    /// Waits until something differs from the last look, looking at each tick of `every` (above zero).
    ///
    /// Safe to drop and call again: what was not reported is seen at the next look.
    pub async fn changed(&mut self, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.differs().await {
                return;
            }
        }
    }
}

/// Waits until one of the files differs from how it looks now.
pub async fn changed(paths: Vec<PathBuf>, every: Duration) {
    Watch::new(paths).await.changed(every).await;
}

async fn look(paths: &[PathBuf]) -> Vec<Option<Fingerprint>> {
    let mut seen = Vec::with_capacity(paths.len());
    for path in paths {
        seen.push(tokio::fs::metadata(path).await.ok().map(|metadata| Fingerprint::from(&metadata)));
    }
    seen
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn every_kind_of_change_is_seen_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut watch = Watch::new(vec![path.clone()]).await;
        assert!(!watch.differs().await);

        let date = |path: &PathBuf, at| {
            fs::File::options().write(true).open(path).and_then(|file| file.set_modified(at)).unwrap();
        };
        let (then, later) = (std::time::UNIX_EPOCH, std::time::UNIX_EPOCH + Duration::from_nanos(1));

        fs::write(&path, "one").unwrap();
        date(&path, then);
        assert!(watch.differs().await, "made");
        assert!(!watch.differs().await);

        fs::write(&path, "longer").unwrap();
        date(&path, then);
        assert!(watch.differs().await, "another length");

        date(&path, later);
        assert!(watch.differs().await, "another time");

        let other = dir.path().join("b");
        fs::write(&other, "longer").unwrap();
        date(&other, later);
        fs::rename(&other, &path).unwrap();
        assert!(watch.differs().await, "another file of the same length and time");

        fs::remove_file(&path).unwrap();
        assert!(watch.differs().await, "gone");
        assert!(!watch.differs().await);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_with_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut watch = Watch::new(vec![path.clone()]).await;
        fs::write(&path, "one").unwrap();
        watch.changed(EVERY).await;
        assert!(!watch.differs().await);
    }
}
