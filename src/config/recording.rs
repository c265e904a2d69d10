//! `[recording]`: where sessions are recorded, how long recordings are kept, and what happens when they cannot be
//! made.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::section::{Fault, Section};
use super::units;

/// Whether a session is recorded. Of what a grant, a target and the default say, the strictest is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Record {
    /// It is not.
    #[default]
    Off,
    /// It is; `on_failure` says what happens when it cannot be.
    On,
    /// It is, or there is no session.
    Required,
}

impl Record {
    /// Its name in the configuration and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Required => "required",
        }
    }
}

/// The settings of recordings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// The directory of the files.
    pub directory: PathBuf,
    /// For targets that do not say.
    pub record: Record,
    /// Whether what viewers send is recorded too: passwords that they type are among it.
    pub input: bool,
    /// Of sessions that need not be recorded.
    pub on_failure: OnRecordingFailure,
    /// Recordings that ended longer ago are removed; `None` keeps them.
    pub max_age: Option<Duration>,
    /// The oldest are removed until all of them have at most so many bytes; `None` is no limit.
    pub max_size: Option<u64>,
}

/// What happens to a session whose recording fails: the disk is full, or does not take a byte for a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRecordingFailure {
    /// It goes on without.
    Stop,
    /// It ends.
    End,
}

/// Reads the section; absent, nothing can be recorded.
pub(super) fn recording(section: Section<'_>) -> Option<Recording> {
    let directory = section.path("directory");
    let record = section.text("record", record);
    let input = section.flag("input");
    let on_failure = section.text("on_failure", |text| match text {
        "stop" => Ok(OnRecordingFailure::Stop),
        "end" => Ok(OnRecordingFailure::End),
        _ => Err(Fault::expected("\"stop\" or \"end\"")),
    });
    let max_age = section.text("max_age", units::duration_or_off);
    let max_size = section.text("max_size", units::size_or_none);
    if section.present() && section.clean() && directory.is_none() {
        section.problem("directory", "is required under [recording]; add it, or remove [recording]");
    }
    section.finish();
    Some(Recording {
        directory: directory?,
        record: record.unwrap_or_default(),
        input: input.unwrap_or(false),
        on_failure: on_failure.unwrap_or(OnRecordingFailure::Stop),
        max_age: max_age.flatten(),
        max_size: max_size.flatten(),
    })
}

/// `off`, `on` or `required`.
pub(super) fn record(text: &str) -> Result<Record, Fault> {
    [Record::Off, Record::On, Record::Required]
        .into_iter()
        .find(|one| one.as_str() == text)
        .ok_or_else(|| Fault::expected("\"off\", \"on\" or \"required\""))
}
