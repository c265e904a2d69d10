//! Where targets are beside the configuration: a file, a database of this process, or the store that a fleet shares.

use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::file::target_list;
use super::section::Section;
use super::target_file::Targets;
use super::{ConfigError, Problem, TokenStore, secret};

/// Most keys in a file: a change of keys needs two, and a few old ones may linger.
const MOST_KEYS: usize = 8;

/// What makes a key, for those who have none.
const MAKE: &str = "(umask 077; openssl rand -hex 32 > FILE) makes one";

/// A key that seals what is registered: 256 bits, never shown, cleared when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SealKey(Zeroizing<[u8; 32]>);

impl SealKey {
    /// The key itself, to seal with.
    pub fn reveal(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for SealKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(..)")
    }
}

/// The section `[inventory]`.
#[derive(Default)]
pub(super) struct Inventory {
    pub(super) file: Option<PathBuf>,
    pub(super) database: Option<PathBuf>,
    pub(super) shared: Option<Vec<SealKey>>,
}

/// Reads the section, and its file on top of `targets`.
pub(super) fn inventory(
    section: Section<'_>,
    store: &TokenStore,
    targets: &mut Targets,
    elsewhere: &mut Vec<Problem>,
) -> Inventory {
    let file = section.path("file");
    let database = section.path("database");
    if let Some(path) = &file {
        match target_list(path, targets) {
            Ok(()) => {}
            Err(ConfigError::Invalid(problems)) => elsewhere.extend(problems),
            Err(ConfigError::Unreadable { path, source }) => {
                let message =
                    format!("{}: cannot be read: {source}; make it, or remove this line", path.display());
                section.problem("file", message);
            }
        }
    }
    let shared = shared(&section, store, database.is_some());
    section.finish();
    Inventory { file, database, shared }
}

/// The keys, if targets are shared.
fn shared(section: &Section<'_>, store: &TokenStore, database: bool) -> Option<Vec<SealKey>> {
    let wanted = section.flag("shared").unwrap_or(false);
    let path = section.path("key_file");
    if !wanted {
        if path.is_some() && section.clean() {
            section.problem("key_file", "is for a shared inventory; add shared = true, or remove this line");
        }
        return None;
    }
    if matches!(store, TokenStore::Memory) {
        let message = "needs a store that others share, and tokens.store is \"memory\"; make that a Redis, \
                       such as \"redis://host:6379/0\"";
        section.problem("shared", message);
    }
    if database {
        let message =
            "is kept by this process alone, and the inventory is shared; remove this line, or shared";
        section.problem("database", message);
    }
    let Some(path) = path else {
        if !section.has("key_file") {
            let message =
                format!("needs a key, for passwords are not kept in the clear; add key_file: {MAKE}");
            section.problem("shared", message);
        }
        return None;
    };
    keys(&path).map_err(|message| section.problem("key_file", message)).ok()
}

/// The keys in a file, one a line; what is wrong with it otherwise, without any of it.
fn keys(path: &Path) -> Result<Vec<SealKey>, String> {
    let bytes = secret::read_private(path).map_err(|error| error.to_string())?;
    let place = path.display();
    let text = std::str::from_utf8(&bytes).map_err(|_| format!("{place}: is not UTF-8 text"))?;
    let mut keys = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = hex(line).ok_or_else(|| {
            format!("{place}:{number}: expected a key of 64 hexadecimal digits, and nothing else; {MAKE}")
        })?;
        if keys.contains(&key) {
            return Err(format!("{place}:{number}: this key is there twice; remove one"));
        }
        keys.push(key);
    }
    match keys.len() {
        0 => Err(format!("{place}: holds no key; {MAKE}")),
        1..=MOST_KEYS => Ok(keys),
        many => Err(format!("{place}: holds {many} keys, at most {MOST_KEYS}; remove the oldest, the last")),
    }
}

fn hex(line: &str) -> Option<SealKey> {
    let mut key = Zeroizing::new([0; 32]);
    if line.len() != 64 || !line.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in key.iter_mut().zip(line.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(SealKey(key))
}
