//! A recording's journal, `.jsonl` beside its data: who, what and when in the first line, how it ended in the last;
//! between them, for VNC, the index and the pixel formats. The data can be played without it.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::audit::{Event, Kind};
use crate::config::Record;
use crate::ids::{GrantId, ProjectId, Protocol, TargetId, UserId};
use crate::serial::cast;

use super::{RecordError, Wanted};

/// What a recording is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The session's id, and the recording's.
    pub id: Uuid,
    /// When it began, to the millisecond.
    pub started: SystemTime,
    /// What the console spoke.
    pub protocol: Protocol,
    /// The server.
    pub target: TargetId,
    /// Its project.
    pub project: ProjectId,
    /// Who watched.
    pub user: UserId,
    /// From where.
    pub source: IpAddr,
    /// What they were permitted by.
    pub grant: GrantId,
    /// Whether it had to be recorded.
    pub policy: Record,
    /// Whether what the viewer sent is recorded too.
    pub input: bool,
}

impl About {
    pub(super) fn new(wanted: &Wanted, input: bool, now: SystemTime) -> Result<Self, RecordError> {
        let Wanted { session, grant, source, policy } = wanted;
        if !matches!(grant.protocol, Protocol::Serial | Protocol::Vnc) {
            return Err(RecordError::Protocol(grant.protocol));
        }
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            id: *session,
            started: UNIX_EPOCH + Duration::from_millis(u64::try_from(since.as_millis()).unwrap_or(0)),
            protocol: grant.protocol,
            target: grant.target.clone(),
            project: grant.project.clone(),
            user: grant.user.clone(),
            source: *source,
            grant: grant.id,
            policy: *policy,
            input,
        })
    }

    /// The name of its files, without what tells them apart: when it began, and its id. Nothing that anybody chose.
    pub(super) fn stem(&self) -> String {
        let when = humantime::format_rfc3339_seconds(self.started).to_string().replace(['-', ':'], "");
        format!("{when}-{}", self.id)
    }

    pub(super) fn cast_header(&self) -> cast::Header {
        let since = self.started.duration_since(UNIX_EPOCH).ok();
        let timestamp = since.map(|since| since.as_secs());
        cast::Header { width: 80, height: 24, timestamp, title: Some(self.target.to_string()) }
    }

    /// A line about it in the audit log.
    pub(super) fn event(&self, cause: Option<&'static str>) -> Event<'_> {
        Event {
            session: Some(self.id),
            source: Some(self.source),
            via: Some("proxy"),
            user: Some(self.user.as_str().into()),
            project: Some(self.project.as_str().into()),
            target: Some(self.target.as_str().into()),
            protocol: Some(self.protocol),
            grant: Some(self.grant),
            cause,
            ..Event::new(Kind::Record)
        }
    }

    /// As the journal and the admin API have it.
    pub fn json(&self) -> Value {
        let Self { id, started, protocol, target, project, user, source, grant, policy, input } = self;
        json!({
            "id": id, "started": time(*started), "protocol": protocol, "target": target, "project": project,
            "user": user, "source": source, "grant": grant, "policy": policy, "input": input,
        })
    }

    fn parse(value: &Value) -> Option<Self> {
        let text = |key: &str| value[key].as_str();
        Some(Self {
            id: text("id")?.parse().ok()?,
            started: humantime::parse_rfc3339(text("started")?).ok()?,
            protocol: serde_json::from_value(value["protocol"].clone()).ok()?,
            target: text("target")?.to_owned().into(),
            project: text("project")?.to_owned().into(),
            user: text("user")?.to_owned().into(),
            source: text("source")?.parse().ok()?,
            grant: serde_json::from_value(value["grant"].clone()).ok()?,
            policy: serde_json::from_value(value["policy"].clone()).ok()?,
            input: value["input"].as_bool()?,
        })
    }
}

/// A time as it is written.
pub(super) fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The first.
    Begun(Box<About>),
    /// A record of the data that begins here.
    Index {
        /// Its time, in milliseconds since the start.
        millis: u32,
        /// Where in the file.
        offset: u64,
    },
    /// The viewer asked for other pixels; the first update that begins at or behind `offset` has them.
    PixelFormat {
        /// When, in milliseconds since the start.
        millis: u32,
        /// Where in the file.
        offset: u64,
        /// RFC 6143 section 7.4.
        format: [u8; 16],
    },
    /// The last.
    Ended {
        /// When.
        at: SystemTime,
        /// As the session's end is named in logs; or `recording-failed`, `abandoned`.
        cause: String,
        /// How long it lasted, in milliseconds.
        millis: u64,
        /// The size of the data.
        bytes: u64,
    },
}

impl Entry {
    /// The line, with its end.
    pub fn line(&self) -> String {
        let value = match self {
            Self::Begun(about) => json!({"recording": about.json()}),
            Self::Index { millis, offset } => json!({"at": millis, "offset": offset}),
            Self::PixelFormat { millis, offset, format } => {
                let format: String = format.iter().map(|byte| format!("{byte:02x}")).collect();
                json!({"at": millis, "offset": offset, "pixel_format": format})
            }
            Self::Ended { at, cause, millis, bytes } => {
                json!({"ended": {"at": time(*at), "cause": cause, "millis": millis, "bytes": bytes}})
            }
        };
        format!("{value}\n")
    }

    /// Reads a line; `None` if it is none of ours.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(line).ok()?;
        if let Some(about) = value.get("recording") {
            return Some(Self::Begun(Box::new(About::parse(about)?)));
        }
        if let Some(ended) = value.get("ended") {
            return Some(Self::Ended {
                at: humantime::parse_rfc3339(ended["at"].as_str()?).ok()?,
                cause: ended["cause"].as_str()?.to_owned(),
                millis: ended["millis"].as_u64()?,
                bytes: ended["bytes"].as_u64()?,
            });
        }
        let (millis, offset) = (u32::try_from(value["at"].as_u64()?).ok()?, value["offset"].as_u64()?);
        let Some(format) = value.get("pixel_format") else { return Some(Self::Index { millis, offset }) };
        Some(Self::PixelFormat { millis, offset, format: hex(format.as_str()?)? })
    }
}

fn hex(text: &str) -> Option<[u8; 16]> {
    let number =
        u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32 && !text.starts_with('+'))?;
    Some(number.to_be_bytes())
}

/// A whole journal, as far as it was written.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Journal {
    /// All lines that could be read.
    pub entries: Vec<Entry>,
}

impl Journal {
    /// Reads a journal; what a crash cut off is left out.
    pub fn parse(text: &[u8]) -> Self {
        Self { entries: text.split(|byte| *byte == b'\n').filter_map(Entry::parse).collect() }
    }

    /// What it is of.
    pub fn about(&self) -> Option<&About> {
        self.entries.iter().find_map(|entry| match entry {
            Entry::Begun(about) => Some(&**about),
            _ => None,
        })
    }

    /// How it ended: when, for which cause, after how many milliseconds.
    pub fn ended(&self) -> Option<(SystemTime, &str, u64)> {
        self.entries.iter().find_map(|entry| match entry {
            Entry::Ended { at, cause, millis, .. } => Some((*at, cause.as_str(), *millis)),
            _ => None,
        })
    }

    /// Where in the data to begin, so that nothing before `millis` is passed over: the last entry of the index at
    /// or before it.
    pub fn seek(&self, millis: u32) -> Option<(u32, u64)> {
        let places = self.entries.iter().filter_map(|entry| match entry {
            Entry::Index { millis, offset } => Some((*millis, *offset)),
            _ => None,
        });
        places.take_while(|(at, _)| *at <= millis).last()
    }

    /// The changes of the pixel format, each with its place in the data.
    pub fn pixel_formats(&self) -> impl Iterator<Item = (u64, [u8; 16])> + '_ {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::PixelFormat { offset, format, .. } => Some((*offset, *format)),
            _ => None,
        })
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}
