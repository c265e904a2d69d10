//! `consolegate audit verify`: is the audit log as it was written?

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::json;

use crate::audit::{Broken, Verified, Verifier, VerifyError};

use super::print;

/// Work with audit logs.
#[derive(Debug, clap::Args)]
pub(super) struct Audit {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Check that no line was altered, left out, moved or added, and name the first that was.
    ///
    /// Exit code 0 when all is as it was written, 1 when not. That the end was cut off cannot be seen: keep
    /// the number and the hash that this prints in another place.
    Verify(Verify),
}

#[derive(Debug, clap::Args)]
struct Verify {
    /// The log's files, the oldest first; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print one JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Audit) -> anyhow::Result<ExitCode> {
    let Command::Verify(verify) = &arguments.command;
    let (found, broken) = match check(&verify.files)? {
        Ok(found) => (found, None),
        Err((place, broken)) => (None, Some((place, broken))),
    };
    let code = if broken.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if verify.json {
        let ok = broken.is_none();
        let broken = broken.map(|((file, line), broken)| {
            json!({"file": file.display().to_string(), "line": line, "problem": broken.to_string()})
        });
        print::line(json!({"ok": ok, "found": found.as_ref().map(as_json), "broken": broken}));
        return Ok(code);
    }
    match (broken, found) {
        (Some(((file, line), broken)), _) => print::note(format_args!("{}:{line}: {broken}", file.display())),
        (None, Some(found)) => report(&found),
        (None, None) => print::line("There is not one line."),
    }
    Ok(code)
}

/// A mistake, and the file and line it is in.
type Found<'a> = ((&'a Path, u64), Broken);

fn check(files: &[PathBuf]) -> anyhow::Result<Result<Option<Verified>, Found<'_>>> {
    let mut verifier = Verifier::default();
    for path in files {
        let read = open(path).map_err(VerifyError::from).and_then(|file| verifier.file(file));
        match read {
            Ok(()) => {}
            Err(VerifyError::Broken { file, line, broken }) => {
                return Ok(Err(((&files[file], line), broken)));
            }
            Err(error @ VerifyError::Read(_)) => {
                return Err(error).with_context(|| path.display().to_string());
            }
        }
    }
    match verifier.finish() {
        Ok(found) => Ok(Ok(found)),
        Err(VerifyError::Broken { file, line, broken }) => Ok(Err(((&files[file], line), broken))),
        Err(error @ VerifyError::Read(_)) => Err(error.into()),
    }
}

fn open(path: &Path) -> std::io::Result<Box<dyn BufRead>> {
    match path.as_os_str() == "-" {
        true => Ok(Box::new(std::io::stdin().lock())),
        false => Ok(Box::new(BufReader::with_capacity(1 << 20, File::open(path)?))),
    }
}

fn report(found: &Verified) {
    let Verified { lines, first, last, hash, begins, lost, torn } = found;
    print::line(format_args!(
        "The log is as it was written: {lines} lines, numbers {first} to {last}, begun {begins} time(s).\n\
         Last hash: {hash}"
    ));
    if *first > 1 {
        print::line(format_args!("It goes on from number {} of an earlier file.", first - 1));
    }
    if *lost > 0 {
        print::line(format_args!("{lost} line(s) found no room when they were to be written."));
    }
    if *torn > 0 {
        print::line(format_args!("{torn} line(s) were cut off by a crash or a full disk."));
    }
}

fn as_json(found: &Verified) -> serde_json::Value {
    let Verified { lines, first, last, hash, begins, lost, torn } = found;
    json!({
        "lines": lines, "first": first, "last": last, "hash": hash, "begins": begins, "lost": lost, "torn": torn,
    })
}
