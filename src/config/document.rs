//! From a path to a read document: size, syntax, then whatever the caller reads from its root.

use std::fs::File;
use std::io::{Error, ErrorKind, Read};
use std::path::Path;

use toml::de::DeTable;

use super::error::{ConfigError, Problem};
use super::section::{Document, Env, Section};

/// Largest file: 200,000 targets. Beyond it, it is the wrong file.
const LARGEST: u64 = 64 * 1024 * 1024;

/// Reads a file of text.
pub(super) fn read(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::unreadable(path, source);
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    let length = file.take(LARGEST + 1).read_to_string(&mut text).map_err(unreadable)?;
    if length as u64 > LARGEST {
        return Err(unreadable(Error::new(ErrorKind::FileTooLarge, "larger than 64 MiB")));
    }
    Ok(text)
}

/// Parses `text` and hands its root to `take`, with a list for the mistakes of other files; any mistake noted
/// anywhere makes the whole an error.
pub(super) fn parse<T>(
    name: &Path,
    text: &str,
    env: Env,
    take: impl FnOnce(&Section<'_>, &mut Vec<Problem>) -> T,
) -> Result<T, ConfigError> {
    let document = Document::new(name, text, env);
    let mut elsewhere = Vec::new();
    let taken = match DeTable::parse(text) {
        Ok(table) => {
            let root = document.root(table.get_ref());
            let taken = take(&root, &mut elsewhere);
            root.finish();
            Some(taken)
        }
        Err(error) => {
            let message = error.message().replace('\n', ", ");
            document.problem(error.span().map(|span| span.start), "", message);
            None
        }
    };
    let mut problems = document.problems();
    problems.append(&mut elsewhere);
    match taken {
        Some(taken) if problems.is_empty() => Ok(taken),
        _ => Err(ConfigError::Invalid(problems)),
    }
}
