//! Where things are in the checkout, and stamps: which content a finished step was done for.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// The root of the checkout this xtask was compiled in.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// What set-up makes: guest, venv, stamps, logs. `cargo clean` removes it with the rest.
pub(crate) fn setup_dir() -> PathBuf {
    root().join("target/setup")
}

/// `cargo ARGS` in the root, with the cargo that runs us, so that one toolchain builds everything.
pub(crate) fn cargo<const N: usize>(args: [&str; N]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(args);
    command
}

/// The `consolegate` binary of a profile: a sibling of this program, whatever the target directory is.
pub(crate) fn binary(profile: &str) -> Result<PathBuf> {
    let me = env::current_exe().context("cannot find out where this program is")?;
    let target = me.ancestors().nth(2).context("this program is not below a target directory")?;
    Ok(target.join(profile).join("consolegate"))
}

/// Finds a program on PATH, or checks a name that is a path already.
pub(crate) fn which(program: impl AsRef<Path>) -> Option<PathBuf> {
    let program = program.as_ref();
    if program.components().count() > 1 {
        return program.is_file().then(|| program.to_path_buf());
    }
    // Debian keeps some programs where an ordinary user's PATH does not look.
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/snap/bin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// A digest of content: files by name and bytes, and whatever else decides what a step makes.
#[derive(Default)]
pub(crate) struct Content(Sha256);

impl Content {
    /// Adds text, such as the version of a tool or of a recipe.
    pub(crate) fn text(mut self, text: &str) -> Self {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text);
        self
    }

    /// Adds one file.
    pub(crate) fn file(mut self, path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        Ok(self)
    }

    /// Adds every file below `dir`, in the order of their names, except below the directories in `skip`.
    pub(crate) fn tree(mut self, dir: &Path, skip: &[&str]) -> Result<Self> {
        let entries: io::Result<Vec<_>> = fs::read_dir(dir).and_then(|dir| dir.collect());
        let mut entries = entries.with_context(|| format!("cannot list {}", dir.display()))?;
        entries.sort_by_key(|entry| entry.file_name());
        for entry in entries {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if skip.contains(&name.as_ref()) {
                continue;
            }
            self = self.text(&name);
            self = if entry.path().is_dir() {
                self.tree(&entry.path(), skip)?
            } else {
                self.file(&entry.path())?
            };
        }
        Ok(self)
    }

    fn hex(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Remembers for which content a step was last done, so that it is not done twice.
pub(crate) struct Stamp {
    file: PathBuf,
    wanted: String,
}

impl Stamp {
    /// A stamp for `step` and the content it would be done for now.
    pub(crate) fn new(step: &str, content: Content) -> Self {
        Self { file: setup_dir().join("stamps").join(step), wanted: content.hex() }
    }

    /// Whether the step was done for this very content.
    pub(crate) fn is_fresh(&self) -> bool {
        fs::read_to_string(&self.file).is_ok_and(|done| done == self.wanted)
    }

    /// Forgets what was done, before a step that replaces it: one cut short must not pass for the last one.
    pub(crate) fn clear(&self) {
        // Without a stamp there is nothing to forget; one that stays makes `set` fail as well.
        let _ = fs::remove_file(&self.file);
    }

    /// Records that the step is done.
    pub(crate) fn set(&self) -> Result<()> {
        if let Some(dir) = self.file.parent() {
            fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        fs::write(&self.file, &self.wanted).with_context(|| format!("cannot write {}", self.file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_tells_names_bytes_and_boundaries_apart() {
        let dir = env::temp_dir().join(format!("consolegate-xtask-{}", std::process::id()));
        let file = dir.join("a");
        fs::create_dir_all(dir.join("skipped")).unwrap();
        fs::write(&file, "1").unwrap();
        let digest = |skip: &[&str]| Content::default().tree(&dir, skip).unwrap().hex();
        let first = digest(&["skipped"]);
        fs::write(dir.join("skipped/x"), "anything").unwrap();
        assert_eq!(first, digest(&["skipped"]), "a skipped directory does not count");
        assert_ne!(first, digest(&[]), "a new file counts");
        fs::write(&file, "2").unwrap();
        assert_ne!(first, digest(&["skipped"]), "a changed byte counts");
        fs::remove_dir_all(&dir).unwrap();

        let split = |a: &str, b: &str| Content::default().text(a).text(b).hex();
        assert_ne!(split("ab", "c"), split("a", "bc"), "boundaries count");
    }

    #[test]
    fn which_finds_programs_and_paths() {
        assert!(which("sh").is_some_and(|path| path.is_absolute()));
        assert!(which("/bin/sh").is_some());
        assert!(which("no-such-program-of-ours").is_none());
    }
}
