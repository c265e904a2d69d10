//! Logs: structured lines on stderr, as text or JSON, by `RUST_LOG`.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

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
}

/// Sends this process's log lines to stderr. Without `RUST_LOG`, level `info`.
pub fn init(format: Format) -> Result<(), LogError> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(text)?,
        _ => EnvFilter::new("info"),
    };
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        Format::Text => registry.with(layer.with_ansi(std::io::stderr().is_terminal())).try_init()?,
        Format::Json => registry.with(layer.json().flatten_event(true).with_span_list(false)).try_init()?,
    }
    report_panics();
    Ok(())
}

/// A panic ends one session; its message goes to the log like everything else.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let said = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(place, said, "panic: one session or request is lost, the rest go on");
    }));
}
