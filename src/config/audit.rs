//! `[audit]`: where decisions are written down, and what happens when they cannot be.

use std::path::PathBuf;

use super::section::{Fault, Section};

/// The audit log's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The file that lines are appended to.
    pub file: PathBuf,
    /// What to do while they cannot be.
    pub on_failure: OnAuditFailure,
    /// Whether every batch of lines is on the disk before the next is written, not in the system's memory
    /// alone.
    pub sync: bool,
}

/// What happens while the audit log cannot be written: the disk is full, or slower than the decisions are
/// made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAuditFailure {
    /// No URL is issued and no console opened; live sessions go on.
    Refuse,
    /// All goes on; lines that find no room are counted, and the number written when there is room again.
    Continue,
}

/// Reads the section; absent, nothing is written down.
pub(super) fn audit(section: Section<'_>) -> Option<Audit> {
    let file = section.path("file");
    let on_failure = section.text("on_failure", |text| match text {
        "refuse" => Ok(OnAuditFailure::Refuse),
        "continue" => Ok(OnAuditFailure::Continue),
        _ => Err(Fault::expected("\"refuse\" or \"continue\"")),
    });
    let sync = section.flag("sync");
    if section.present() && section.clean() && file.is_none() {
        section.problem("file", "is required under [audit]; add it, or remove [audit]");
    }
    section.finish();
    Some(Audit {
        file: file?,
        on_failure: on_failure.unwrap_or(OnAuditFailure::Refuse),
        sync: sync.unwrap_or(false),
    })
}
