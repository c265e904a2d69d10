//! What the person sees: one line a step, a spinner with the step's own last line where there is a terminal,
//! and on failure the end of the log and the remedy.

#![expect(clippy::print_stderr, reason = "these lines are what the program is for")]

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::project;

/// Lines of a failed step that are repeated on the terminal: enough for apt's and npm's own explanations.
const TAIL_LINES: usize = 25;

/// Says something that takes no time.
pub(crate) fn note(text: &str) {
    eprintln!("    {text}");
}

/// Announces a part whose own output follows, such as cargo's.
pub(crate) fn heading(text: &str) {
    eprintln!("==> {text}");
}

/// What was asked for, to standard output.
#[expect(clippy::print_stdout, reason = "the result of the command")]
pub(crate) fn result(text: &str) {
    println!("{text}");
}

/// The last words of a command that failed: what, why, and what to do.
pub(crate) fn failure(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

/// Runs one quiet step: its output goes to a log, and to the terminal only when it fails.
///
/// `remedy` completes "To go on: ..." and tells what a person can do by hand.
pub(crate) fn step(title: &str, remedy: &str, mut command: Command) -> Result<()> {
    let started = Instant::now();
    let (log_path, mut log) = open_log(title)?;
    writeln!(log, "$ {command:?}")?;
    let (output, input) = std::io::pipe().context("cannot make a pipe")?;
    command.stdin(Stdio::null()).stdout(input.try_clone()?).stderr(input);
    let mut child =
        command.spawn().with_context(|| format!("cannot start {command:?}. To go on: {remedy}"))?;
    // The command holds the pipe's writing ends: without this the loop below would never see the end.
    drop(command);

    let bar = spinner(title);
    let mut tail = VecDeque::new();
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).trim_end().to_owned();
        writeln!(log, "{line}")?;
        if let Some(bar) = &bar {
            bar.set_message(format!("{title} · {line}"));
        }
        if tail.len() == TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(line);
    }
    let status = child.wait()?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    if !status.success() {
        heading(&format!("{title}: failed"));
        for line in tail {
            note(&line);
        }
        bail!("{title}: {status}; the whole log is {}. To go on: {remedy}", log_path.display());
    }
    heading(&format!("{title}: done in {:.1} s", started.elapsed().as_secs_f64()));
    Ok(())
}

/// Runs a command whose output the person wants to read as it comes.
pub(crate) fn shown(title: &str, remedy: &str, mut command: Command) -> Result<()> {
    heading(title);
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("{title}: {status}. To go on: {remedy}");
    }
    Ok(())
}

/// A spinner on a terminal; a plain line elsewhere, where carriage returns would only fill the log.
fn spinner(title: &str) -> Option<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        heading(&format!("{title} ..."));
        return None;
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(title.to_owned());
    bar.enable_steady_tick(Duration::from_millis(100));
    Some(bar)
}

fn open_log(title: &str) -> Result<(PathBuf, File)> {
    let dir = project::setup_dir().join("logs");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let name: String =
        title.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(60).collect();
    let path = dir.join(format!("{}.log", name.to_lowercase()));
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok((path, file))
}
