//! Recordings of serial lines as asciicast v2 (docs.asciinema.org/manual/asciicast/v2): a line of JSON that says
//! what it is, then a line an event.
//!
//! An event's text is Unicode, and a serial line's bytes need not be. A character that is cut in two by a read is
//! put together again, at the time of its last byte. What is no UTF-8 at all stands as U+FFFD, and a line
//! `[time, "b", "base64"]` behind such an event has all of its bytes: players pass over a code they do not know,
//! [`Decoder`] gives back what the line sent, byte for byte.

use std::borrow::Cow;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::escape;
use super::utf8::{HOLD_MAX, cut};

/// The longest line that is read, in bytes. Our own are at most half a megabyte: one read of the relay, every
/// byte of it escaped.
pub const MAX_LINE: usize = 4 << 20;

/// The latest time that is read, in microseconds: ten years. Later ones are damage, not recordings.
const LATEST: u64 = 10 * 366 * 86_400 * 1_000_000;

/// Which way bytes went, or what else an event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// From the console.
    Output,
    /// From the viewer.
    Input,
    /// Something else that players know or do not: a marker, a change of size.
    Other,
}

impl Code {
    fn text(self) -> &'static str {
        match self {
            Self::Output => "o",
            Self::Input => "i",
            Self::Other => "m",
        }
    }
}

/// What the first line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Columns; a serial line does not tell, so ours say 80.
    pub width: u16,
    /// Rows; ours say 24.
    pub height: u16,
    /// When it began, in seconds since 1970, if that is known.
    pub timestamp: Option<u64>,
    /// What people call it.
    pub title: Option<String>,
}

impl Header {
    /// The first line, with its end.
    pub fn line(&self) -> String {
        let Self { width, height, timestamp, title } = self;
        let mut value = json!({"version": 2, "width": width, "height": height});
        if let Some(timestamp) = timestamp {
            value["timestamp"] = (*timestamp).into();
        }
        if let Some(title) = title {
            value["title"] = title.as_str().into();
        }
        format!("{value}\n")
    }

    /// Reads the first line, without its end.
    ///
    /// # Errors
    /// If it is no asciicast v2.
    pub fn parse(line: &[u8]) -> Result<Self, CastError> {
        let value: Value = serde_json::from_slice(line).map_err(|_| CastError::Header)?;
        match value["version"].as_u64() {
            Some(2) => {}
            Some(version) => return Err(CastError::Version(version)),
            None => return Err(CastError::Header),
        }
        let size = |key| value[key].as_u64().and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0);
        Ok(Self {
            width: size("width").ok_or(CastError::Header)?,
            height: size("height").ok_or(CastError::Header)?,
            timestamp: value["timestamp"].as_u64(),
            title: value["title"].as_str().map(str::to_owned),
        })
    }
}

/// Why a line could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CastError {
    /// The first line is none of an asciicast.
    #[error("is no asciicast: its first line is no header with version, width and height")]
    Header,
    /// Another version of the format.
    #[error("is an asciicast of version {0}; version 2 is read here")]
    Version(u64),
    /// A later line is no event.
    #[error("holds a line that is no event of the form [time, \"code\", \"data\"]")]
    Event,
}

/// Makes events of what a serial line says.
#[derive(Debug, Default)]
pub struct Encoder {
    output: Held,
    input: Held,
}

/// The first bytes of a character whose rest has not come.
#[derive(Debug, Default)]
struct Held {
    bytes: [u8; HOLD_MAX],
    len: usize,
}

impl Encoder {
    /// Adds the lines for `bytes` that went one way, `micros` after the start, to `out`. Each is whole.
    pub fn event(&mut self, micros: u64, code: Code, bytes: &[u8], out: &mut Vec<u8>) {
        let held = match code {
            Code::Output => &mut self.output,
            Code::Input => &mut self.input,
            Code::Other => return push_event(micros, code, bytes, out),
        };
        let all = match held.len {
            0 => Cow::Borrowed(bytes),
            len => Cow::Owned([&held.bytes[..len], bytes].concat()),
        };
        let whole = cut(&all);
        held.len = all.len() - whole;
        held.bytes[..held.len].copy_from_slice(&all[whole..]);
        push_event(micros, code, &all[..whole], out);
    }

    /// Adds what is still held back: its rest will not come any more.
    pub fn finish(&mut self, micros: u64, out: &mut Vec<u8>) {
        for (held, code) in [(&mut self.output, Code::Output), (&mut self.input, Code::Input)] {
            push_event(micros, code, &held.bytes[..held.len], out);
            held.len = 0;
        }
    }
}

fn push_event(micros: u64, code: Code, bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    push_start(micros, code.text(), out);
    // The usual case needs no other check. The next one at once: chunk by chunk it is many times slower.
    let rest = &bytes[escape::ascii(bytes, out)..];
    let text = std::str::from_utf8(rest);
    match text {
        Ok(text) => escape::text(text, out),
        Err(_) => {
            for chunk in rest.utf8_chunks() {
                escape::text(chunk.valid(), out);
                if !chunk.invalid().is_empty() {
                    out.extend_from_slice("\u{fffd}".as_bytes());
                }
            }
        }
    }
    out.extend_from_slice(b"\"]\n");
    if text.is_err() {
        push_start(micros, "b", out);
        out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
        out.extend_from_slice(b"\"]\n");
    }
}

fn push_start(micros: u64, code: &str, out: &mut Vec<u8>) {
    // Into memory: there is nothing to fail.
    let _ = write!(out, "[{}.{:06}, \"{code}\", \"", micros / 1_000_000, micros % 1_000_000);
}

/// One event, as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Microseconds since the start.
    pub micros: u64,
    /// What it is.
    pub code: Code,
    /// The bytes that went over the line; of another's recording, its text.
    pub bytes: Vec<u8>,
}

/// Reads the lines behind the header, one a call. An event comes out when the next line is known: that may have
/// its bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    last: Option<Event>,
}

impl Decoder {
    /// Takes a line, without its end; the event before it. Empty lines are passed over.
    ///
    /// # Errors
    /// If it is no event. The decoder may go on with the next line; the last line of a recording that a crash cut
    /// off may be such a one.
    pub fn line(&mut self, line: &[u8]) -> Result<Option<Event>, CastError> {
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        let (time, code, data): (f64, Cow<'_, str>, Cow<'_, str>) =
            serde_json::from_slice(line).map_err(|_| CastError::Event)?;
        let micros = micros(time).ok_or(CastError::Event)?;
        if code == "b" {
            let bytes = STANDARD.decode(data.as_bytes()).map_err(|_| CastError::Event)?;
            if let Some(last) = &mut self.last {
                last.bytes = bytes;
            }
            return Ok(None);
        }
        let code = match &*code {
            "o" => Code::Output,
            "i" => Code::Input,
            _ => Code::Other,
        };
        let event = Event { micros, code, bytes: data.into_owned().into_bytes() };
        Ok(self.last.replace(event))
    }

    /// The last event.
    pub fn finish(&mut self) -> Option<Event> {
        self.last.take()
    }
}

/// Seconds as microseconds; `None` for what is no time of a recording.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
#[expect(clippy::cast_precision_loss, reason = "the bound is far below 2^53")]
fn micros(seconds: f64) -> Option<u64> {
    let micros = (seconds * 1e6).round();
    (0.0..=LATEST as f64).contains(&micros).then_some(micros as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::oracle;
    use super::*;

    fn encoded(events: &[(u64, Code, &[u8])]) -> String {
        let (mut encoder, mut out) = (Encoder::default(), Vec::new());
        for (micros, code, bytes) in events {
            encoder.event(*micros, *code, bytes, &mut out);
        }
        encoder.finish(events.last().map_or(0, |event| event.0), &mut out);
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn events_are_lines_of_json() {
        let check = |bytes: &[u8], expected: &str| {
            assert_eq!(encoded(&[(1_000_002, Code::Output, bytes)]), expected);
        };
        check(b"login: ", "[1.000002, \"o\", \"login: \"]\n");
        check(b"\r\n\t\"\\", "[1.000002, \"o\", \"\\r\\n\\t\\\"\\\\\"]\n");
        check(b"\x1b[2J\x07\x00\x7f", "[1.000002, \"o\", \"\\u001b[2J\\u0007\\u0000\\u007f\"]\n");
        check("gr\u{fc}n \u{9b}2J\u{a0}".as_bytes(), "[1.000002, \"o\", \"gr\u{fc}n \\u009b2J\u{a0}\"]\n");
        check(b"", "");
        let raw = "[1.000002, \"o\", \"a\u{fffd}b\"]\n[1.000002, \"b\", \"Yf9i\"]\n";
        check(b"a\xffb", raw);
    }

    #[test]
    fn a_character_in_two_reads_is_one() {
        let split =
            encoded(&[(1, Code::Output, b"a\xe2\x82"), (2, Code::Input, b"x"), (3, Code::Output, b"\xac")]);
        assert_eq!(
            split,
            "[0.000001, \"o\", \"a\"]\n[0.000002, \"i\", \"x\"]\n[0.000003, \"o\", \"\u{20ac}\"]\n"
        );
        let never = encoded(&[(1, Code::Output, b"a\xe2\x82")]);
        assert_eq!(
            never,
            "[0.000001, \"o\", \"a\"]\n[0.000001, \"o\", \"\u{fffd}\"]\n[0.000001, \"b\", \"4oI=\"]\n"
        );
    }

    #[test]
    fn headers() {
        let full =
            Header { width: 80, height: 24, timestamp: Some(1_504_467_315), title: Some("bm1".to_owned()) };
        assert_eq!(Header::parse(full.line().trim_end().as_bytes()), Ok(full));
        // The specification's own examples.
        let least = Header::parse(br#"{"version": 2, "width": 80, "height": 24}"#);
        assert_eq!(least, Ok(Header { width: 80, height: 24, timestamp: None, title: None }));
        let check = |line: &[u8], error| assert_eq!(Header::parse(line), Err(error));
        check(br#"{"version": 3, "term": {"cols": 80}}"#, CastError::Version(3));
        check(br#"{"version": 2, "width": 0, "height": 24}"#, CastError::Header);
        check(b"FBS 001.001", CastError::Header);
        check(b"", CastError::Header);
    }

    #[test]
    fn the_specifications_events_are_read() {
        let lines = [
            r#"[0.248848, "o", "\u001b[1;31mHello \u001b[32mWorld!\u001b[0m\n"]"#,
            r#"[1.500000, "m", ""]"#,
            r#"[4.050000, "r", "80x24"]"#,
            r#"[6.541828, "o", "Bye!"]"#,
        ];
        let mut decoder = Decoder::default();
        let mut events: Vec<Event> =
            lines.iter().filter_map(|line| decoder.line(line.as_bytes()).expect("an event")).collect();
        events.extend(decoder.finish());
        let found: Vec<_> = events.iter().map(|event| (event.micros, event.code)).collect();
        let expected = [
            (248_848, Code::Output),
            (1_500_000, Code::Other),
            (4_050_000, Code::Other),
            (6_541_828, Code::Output),
        ];
        assert_eq!(found, expected);
        assert_eq!(events[0].bytes, b"\x1b[1;31mHello \x1b[32mWorld!\x1b[0m\n");
    }

    #[test]
    fn what_is_no_event_is_told() {
        for line in [
            "x",
            "[]",
            "[1]",
            "[-1, \"o\", \"\"]",
            "[1e300, \"o\", \"\"]",
            "[1, \"b\", \"*\"]",
            "[1, \"o\", \"a",
        ] {
            assert_eq!(Decoder::default().line(line.as_bytes()), Err(CastError::Event), "{line}");
        }
        assert_eq!(Decoder::default().line(b"  "), Ok(None));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back_byte_for_byte(
            pieces in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..20)), 0..20),
            text in any::<String>(),
        ) {
            let mut pieces = pieces;
            pieces.push((true, text.into_bytes()));
            oracle::cast_round(&pieces);
        }

        #[test]
        fn no_line_panics(lines in prop::collection::vec(any::<u8>(), 0..200)) {
            oracle::cast(&lines);
        }
    }
}
