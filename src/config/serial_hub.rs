//! `[target.serial_hub]`: how much of a shared serial line is kept, and for how long.

use std::time::Duration;

use serde_json::{Value, json};

use super::section::Section;
use super::target::Viewers;
use super::units;

/// Most bytes of each part that are kept. Every viewer who comes is sent them: more is a log's business.
const MOST: u64 = 64 * 1024 * 1024;

/// The settings of a line with `serial_viewers = "hub"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SerialHub {
    /// Of what the line said first, so many bytes are kept.
    pub first: usize,
    /// Of what it said last, so many bytes are kept.
    pub last: usize,
    /// Connected from the start on and for ever, viewers or not.
    pub capture: bool,
    /// How long the connection and what was said outlast the last viewer; not looked at with `capture`.
    pub linger: Duration,
}

impl Default for SerialHub {
    fn default() -> Self {
        Self {
            // A machine's way from firmware to its first log-in prompt is some 40 KiB.
            first: 64 * 1024,
            // A screenful is 2 KiB: some hundred lines of a panic and a day of an idle machine's messages.
            last: 1024 * 1024,
            capture: false,
            // A page that is loaded again, or a colleague who takes over, finds the line as it was.
            linger: Duration::from_secs(60),
        }
    }
}

/// Reads `serial_hub`, which only a line shared by a hub has.
pub(super) fn read(target: &Section<'_>, viewers: Viewers) -> SerialHub {
    let section = target.section("serial_hub");
    let default = SerialHub::default();
    let bytes =
        |key, least| section.number(key, least..=MOST).and_then(|number| usize::try_from(number).ok());
    let settings = SerialHub {
        first: bytes("first", 0).unwrap_or(default.first),
        // A terminal's screen at least, or a viewer who blinks misses something.
        last: bytes("last", 4096).unwrap_or(default.last),
        capture: section.flag("capture").unwrap_or(default.capture),
        linger: section
            .text("linger", |text| units::duration_or_zero(text, "a duration such as \"1m\" or \"0s\""))
            .unwrap_or(default.linger),
    };
    if section.present() && viewers != Viewers::Hub {
        section.problem("", "is for a target with serial_viewers = \"hub\"; add that, or remove this");
    }
    if settings.capture && section.has("linger") {
        section.problem("linger", "is not looked at with capture = true; remove one of the two");
    }
    section.finish();
    settings
}

/// The table as JSON, or nothing for a line without a hub.
pub(super) fn to_json(settings: SerialHub, viewers: Viewers) -> Option<Value> {
    let SerialHub { first, last, capture, linger } = settings;
    let mut table = json!({"first": first, "last": last, "capture": capture});
    if !capture {
        table["linger"] = humantime::format_duration(linger).to_string().into();
    }
    (viewers == Viewers::Hub).then_some(table)
}
