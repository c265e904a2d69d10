//! Secrets: written as `x`, `x_file` or `x_env`, exactly one of them; files must not be open to others.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeroize::{Zeroize, Zeroizing};

use super::Secret;
use super::section::Section;

/// Largest secret file: an RSA-8192 key with a chain behind it stays below.
const LARGEST: u64 = 64 * 1024;

/// Why a file that holds a secret was not used.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// It could not be opened or read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Others than owner and group may read or change it.
    #[error("{}: is open to every user (mode {mode:04o}); run: chmod o= {}", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is larger than any secret.
    #[error("{}: is larger than {LARGEST} bytes; is it the right file?", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a file that holds a secret; its bytes are cleared when dropped.
///
/// # Errors
/// If others than its owner and group may access it, or it cannot be read, or is larger than 64 KiB.
pub fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, PrivateFileError> {
    let unreadable = |source| PrivateFileError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o7777;
    if mode & 0o007 != 0 {
        return Err(PrivateFileError::Exposed { path: path.to_owned(), mode });
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    match bytes.len() as u64 > LARGEST {
        true => Err(PrivateFileError::TooLarge { path: path.to_owned() }),
        false => Ok(bytes),
    }
}

/// The names under which one secret may be written.
pub(super) struct Names {
    pub(super) plain: &'static str,
    pub(super) file: &'static str,
    pub(super) env: &'static str,
}

/// `token`, `token_file`, `token_env`.
pub(super) const TOKEN: Names = Names { plain: "token", file: "token_file", env: "token_env" };

/// `password`, `password_file`, `password_env`.
pub(super) const PASSWORD: Names = Names { plain: "password", file: "password_file", env: "password_env" };

/// `sentinel_password`, `sentinel_password_file`, `sentinel_password_env`.
pub(super) const SENTINEL_PASSWORD: Names =
    Names { plain: "sentinel_password", file: "sentinel_password_file", env: "sentinel_password_env" };

/// `secret_key`, `secret_key_file`, `secret_key_env`.
pub(super) const SECRET_KEY: Names =
    Names { plain: "secret_key", file: "secret_key_file", env: "secret_key_env" };

/// `security_token`, `security_token_file`, `security_token_env`.
pub(super) const SECURITY_TOKEN: Names =
    Names { plain: "security_token", file: "security_token_file", env: "security_token_env" };

/// `password_bcrypt`, `password_bcrypt_file`, `password_bcrypt_env`.
pub(super) const PASSWORD_BCRYPT: Names =
    Names { plain: "password_bcrypt", file: "password_bcrypt_file", env: "password_bcrypt_env" };

/// How a secret was written.
pub(super) enum Written {
    /// Nowhere.
    Absent,
    /// In a way that was refused, and noted.
    Faulty,
    /// Well.
    Given(Secret),
}

/// Reads a secret from whichever of its three places it is in.
pub(super) fn secret(section: &Section<'_>, names: &Names) -> Written {
    let plain = section.hidden(names.plain).map(str::to_owned);
    let file = section.path(names.file);
    let env = section.text(names.env, |name| Ok(name.to_owned()));
    let (key, value) = match (plain, file, env) {
        (Some(text), None, None) => {
            warn_of_readers(section, names);
            (names.plain, Some(text))
        }
        (None, Some(path), None) => (names.file, from_file(section, names.file, &path)),
        (None, None, Some(name)) => (names.env, from_env(section, names.env, &name)),
        (None, None, None) if section.clean() => return Written::Absent,
        (None, None, None) => return Written::Faulty,
        _ => {
            let Names { plain, file, env } = names;
            section.problem(plain, format!("is given more than once; keep one of {plain}, {file}, {env}"));
            return Written::Faulty;
        }
    };
    match value.filter(|text| usable(section, key, text)) {
        Some(text) => Written::Given(text.into()),
        None => Written::Faulty,
    }
}

/// Not refused: trying things out begins with a token in a file.
fn warn_of_readers(section: &Section<'_>, Names { plain, file, .. }: &Names) {
    if let Some(mode) = section.document().mode().filter(|mode| mode & 0o004 != 0) {
        let message =
            format!("is in a file that every user can read (mode {mode:04o}); use {file}, or chmod o=");
        section.warning(plain, message);
    }
}

fn from_file(section: &Section<'_>, key: &'static str, path: &Path) -> Option<String> {
    let bytes = match read_private(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            section.problem(key, error.to_string());
            return None;
        }
    };
    match std::str::from_utf8(&bytes) {
        Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
        Err(_) => {
            section.problem(key, format!("{}: is not UTF-8 text", path.display()));
            None
        }
    }
}

fn from_env(section: &Section<'_>, key: &'static str, name: &str) -> Option<String> {
    let value = section.document().env(name);
    if value.is_none() {
        let name = super::section::quote(name);
        section
            .problem(key, format!("the environment variable {name} is not set; set it or remove this line"));
    }
    value
}

/// Secrets travel in HTTP headers: RFC 9110 section 5.5 allows them visible ASCII.
fn usable(section: &Section<'_>, key: &'static str, text: &str) -> bool {
    let fine = (1..=4096).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if !fine {
        let message = "expected a secret of 1 to 4096 visible ASCII characters, without spaces";
        section.problem(key, message);
    }
    fine
}

/// [`random`] for the section's `token`; a failure is noted there.
pub(super) fn generate(section: &Section<'_>) -> Option<Secret> {
    random()
        .map_err(|error| section.problem("token", format!("the system gives no random bytes: {error}")))
        .ok()
}

/// Like [`secret`], where absence is as good.
pub(super) fn optional(section: &Section<'_>, names: &Names) -> Option<Secret> {
    match secret(section, names) {
        Written::Given(secret) => Some(secret),
        Written::Absent | Written::Faulty => None,
    }
}

/// Like [`secret`]; absence is a mistake.
pub(super) fn required(section: &Section<'_>, names: &Names) -> Option<Secret> {
    match secret(section, names) {
        Written::Given(secret) => Some(secret),
        Written::Faulty => None,
        Written::Absent => {
            let Names { plain, file, env } = names;
            section.problem(plain, format!("is required here; add one of {file}, {env}, {plain}"));
            None
        }
    }
}

/// A secret nobody chose: 256 bits from the operating system, as 64 hexadecimal digits.
///
/// # Errors
/// If the operating system has no random bytes to give.
pub(super) fn random() -> Result<Secret, rand::rngs::SysError> {
    use rand::TryRng;
    use std::fmt::Write;

    let mut bytes = Zeroizing::new([0u8; 32]);
    rand::rngs::SysRng.try_fill_bytes(bytes.as_mut_slice())?;
    let mut text = String::with_capacity(64);
    for byte in bytes.iter() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    let secret = Secret::from(text.as_str());
    text.zeroize();
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use secrecy::ExposeSecret;

    use super::*;

    fn written(mode: u32, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn private_files_are_read() {
        let (_dir, path) = written(0o640, b"x\n");
        assert_eq!(read_private(&path).unwrap().as_slice(), b"x\n");
    }

    #[test]
    fn exposed_files_are_refused() {
        for mode in [0o644, 0o602, 0o777] {
            let (_dir, path) = written(mode, b"x");
            let error = read_private(&path).unwrap_err().to_string();
            assert!(error.contains(&format!("mode 0{mode:o}); run: chmod o= ")), "{error}");
        }
    }

    #[test]
    fn large_and_missing_files_are_refused() {
        let (dir, path) = written(0o600, &vec![b'x'; 64 * 1024 + 1]);
        assert!(matches!(read_private(&path), Err(PrivateFileError::TooLarge { .. })));
        let error = read_private(&dir.path().join("no")).unwrap_err();
        assert!(matches!(error, PrivateFileError::Unreadable { .. }));
    }

    #[test]
    fn random_secrets_differ() {
        let (a, b) = (random().unwrap(), random().unwrap());
        assert_eq!(a.expose_secret().len(), 64);
        assert_ne!(a.expose_secret(), b.expose_secret());
    }
}
