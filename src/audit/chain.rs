//! The form of a line, and the chain: each line ends in the SHA-256 of the hash before it and of itself.
//!
//! ```text
//! {"seq":7,"time":"2026-11-21T19:30:00.123456Z","event":"open",...,"hash":"<64 hex digits>"}
//! hash = SHA-256(the 64 hex digits of the line before, then this line up to and without `,"hash":`)
//! ```
//!
//! Numbers count up by one over all files. The first line of a file is a `begin`, whose `prev` is the hash of
//! the last line of the file before (zeros: there was none).

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::json;

use super::event::{Event, Kind};

/// What ends a line, between the text that is hashed and the hash.
const TAIL: &str = ",\"hash\":\"";

/// The hash before the first line of all.
pub(super) const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The longest line, in bytes: seven texts of 256 characters, escaped, and the rest. What is longer is none.
pub(super) const MAX_LINE: usize = 64 * 1024;

/// Where a chain is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    /// The last line's number; 0 before the first.
    pub(super) seq: u64,
    /// The last line's hash, in hex.
    pub(super) hash: String,
}

impl Default for Chain {
    fn default() -> Self {
        Self { seq: 0, hash: NOTHING.to_owned() }
    }
}

/// What verification reads of a line.
#[derive(Debug, Deserialize)]
pub(super) struct Read {
    pub(super) seq: u64,
    pub(super) event: String,
    pub(super) prev: Option<String>,
    pub(super) torn: Option<u64>,
    pub(super) count: Option<u64>,
    pub(super) hash: String,
}

impl Read {
    pub(super) fn is_begin(&self) -> bool {
        self.event == "begin"
    }
}

impl Chain {
    /// Appends the event, as [`Event::render`] has it, to `out` as the next line.
    pub(super) fn seal(&mut self, time: &str, event: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        self.seq = self.seq.saturating_add(1);
        let mut digits = itoa::Buffer::new();
        for part in ["{\"seq\":", digits.format(self.seq), ",\"time\":\"", time, "\","] {
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(event);
        self.hash = hash(&self.hash, &out[start..]);
        for part in [TAIL, &self.hash, "\"}\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }

    /// The line that a file begins with.
    pub(super) fn begin(&self, torn: Option<u64>) -> Event<'static> {
        let version = Some(env!("CARGO_PKG_VERSION"));
        Event { prev: Some(self.hash.clone()), version, torn, ..Event::new(Kind::Begin) }
    }
}

/// A line taken apart, without its line end: what it says and the part that is hashed.
pub(super) fn parse(line: &[u8]) -> Option<(Read, &[u8])> {
    let read: Read = serde_json::from_slice(line).ok()?;
    let hashed = line.len().checked_sub(TAIL.len() + NOTHING.len() + 2)?;
    let (body, tail) = line.split_at(hashed);
    let end = format!("{TAIL}{}\"}}", read.hash);
    (tail == end.as_bytes()).then_some((read, body))
}

/// The hash of a line whose hashed part is `body`, after a line with the hash `before`.
pub(super) fn hash(before: &str, body: &[u8]) -> String {
    let digest = Sha256::new().chain_update(before).chain_update(body).finalize();
    let mut hex = vec![0; NOTHING.len()];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(digest) {
        pair.copy_from_slice(&json::hex(byte));
    }
    // ASCII, all of it.
    String::from_utf8(hex).unwrap_or_default()
}
