//! What is wrong with a configuration: one line per mistake, as a compiler would say it.

use std::fmt;
use std::path::{Path, PathBuf};

/// Most mistakes printed at once; a screen holds no more, and an inventory may have one per target.
const SHOWN: usize = 40;

/// One mistake, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file as it was named.
    pub file: PathBuf,
    /// Line, from 1; absent if the mistake is that nothing was written.
    pub line: Option<usize>,
    /// Dotted path of the setting, e.g. `proxy.ping`; empty for the file as a whole.
    pub key: String,
    /// What was expected, what was found, and the remedy. Never holds a secret.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.message)
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read at all.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// The file as it was named.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file was read and has mistakes, in the order of the settings.
    #[error("{}", Lines(.0))]
    Invalid(Vec<Problem>),
}

impl ConfigError {
    pub(super) fn unreadable(path: &Path, source: std::io::Error) -> Self {
        Self::Unreadable { path: path.to_owned(), source }
    }
}

struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().take(SHOWN).enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_mistakes_is_cut() {
        let problem = Problem { file: "a".into(), line: Some(1), key: "k".into(), message: "m".into() };
        let text = ConfigError::Invalid(vec![problem; SHOWN + 2]).to_string();
        assert_eq!(text.lines().count(), SHOWN + 1);
        assert_eq!(text.lines().next(), Some("a:1: k: m"));
        assert!(text.ends_with("and 2 more"));
    }
}
