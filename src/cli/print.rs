//! The one place that writes to stdout and stderr directly: what users asked for, and what went wrong.

/// A line the user asked for.
#[expect(clippy::print_stdout, reason = "this is the command's result")]
pub(super) fn line(text: impl std::fmt::Display) {
    println!("{text}");
}

/// A line about how it goes, beside the result.
#[expect(clippy::print_stderr, reason = "what users read, not what they asked for")]
pub(super) fn note(text: impl std::fmt::Display) {
    eprintln!("{text}");
}

/// What went wrong, with its causes.
pub(super) fn error(error: &anyhow::Error) {
    note(format_args!("error: {error:#}"));
}
