//! Logs: structured lines on stderr, as text or JSON, by `RUST_LOG`.
//!
//! `lines.rs` is the way of a line to stderr, `json.rs` its form for machines.

use std::io::{self, IsTerminal as _, Write};
use std::sync::{LazyLock, OnceLock};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

pub(crate) mod json;
mod lines;

use crate::json::Fields;

use json::Json;
use lines::Lines;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `RUST_LOG` is not a filter.
    #[error("RUST_LOG is not a filter such as \"info\" or \"consolegate=debug,hyper=warn\": {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Somebody set a subscriber before.
    #[error(transparent)]
    Set(#[from] tracing_subscriber::util::TryInitError),
    /// No thread to write them.
    #[error("no thread for the log: {0}")]
    Thread(#[from] io::Error),
}

/// Where this process's lines go, and how they look, once it is known.
static LINES: OnceLock<(Lines, Format)> = OnceLock::new();

/// Sends this process's log lines to stderr. Without `RUST_LOG`, level `info`.
pub fn init(format: Format) -> Result<(), LogError> {
    init_to(format, io::stderr(), io::stderr().is_terminal())
}

/// As [`init`], to somewhere else; `ansi`: text has colours.
pub fn init_to(format: Format, sink: impl Write + Send + 'static, ansi: bool) -> Result<(), LogError> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(text)?,
        _ => EnvFilter::new("info"),
    };
    let lines = Lines::start(sink)?;
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        Format::Text => {
            let layer = tracing_subscriber::fmt::layer().with_ansi(ansi).with_writer(lines.clone());
            registry.with(layer).try_init()?;
        }
        Format::Json => registry.with(Json::new(lines.clone())).try_init()?,
    }
    let _ = LINES.set((lines, format));
    report_panics();
    Ok(())
}

/// Returns once everything logged so far is written. Whoever ends the process, or replaces it by another program,
/// calls this last.
pub fn flush() {
    if let Some((lines, _)) = LINES.get() {
        lines.flush();
    }
}

/// Writes a line of level `info` of a module, at once and without tracing, for what is logged with every request:
/// field by field through a subscriber, such a line takes three times as long. Whoever calls this is in no span; `on`
/// says whether the filter lets the line through, and is asked once, for the filter does not change. `false`: lines are
/// not JSON, nothing is written, tracing has to.
pub fn line(
    on: &'static LazyLock<bool>,
    module: &str,
    message: &str,
    fields: impl FnOnce(&mut Fields<'_>),
) -> bool {
    let Some((lines, Format::Json)) = LINES.get() else { return false };
    if **on {
        json::line(lines, tracing::Level::INFO, module, message, fields);
    }
    true
}

/// A panic ends one session; its message goes to the log like everything else.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let said = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(place, said, "panic: one session or request is lost, the rest go on");
    }));
}
