//! Bodies that ask for a console: read in one pass, without a copy, where they are what clients send; as any JSON where
//! they are not, so that what is wrong can be told.

use std::borrow::Cow;

use serde_json::{Value, json};

/// The words of all dialects: names of outer properties, protocols, types. A body of others goes the long way.
const WORDS: [&str; 17] = [
    "remote_console",
    "os-getVNCConsole",
    "os-getSerialConsole",
    "os-getSPICEConsole",
    "os-getMKSConsole",
    "vnc",
    "serial",
    "spice",
    "mks",
    "rdp",
    "novnc",
    "xvpvnc",
    "spice-html5",
    "spice-direct",
    "webmks",
    "rdp-html5",
    "os-getRDPConsole",
];

/// A body of JSON.
#[derive(Debug)]
pub(super) enum Sent {
    /// Of the one form that clients send.
    Named(Named),
    /// Anything else; an empty body is `null`.
    Any(Value),
}

/// `{outer: {"protocol": ..., "type": ...}}`, one of the two or both, all of them known words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) outer: &'static str,
    pub(super) protocol: Option<&'static str>,
    pub(super) kind: Option<&'static str>,
}

impl Sent {
    /// Reads a body.
    ///
    /// # Errors
    /// If it is no JSON.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        if bytes.is_empty() {
            return Ok(Self::Any(Value::Null));
        }
        Named::read(bytes).map(Self::Named).map_or_else(|| serde_json::from_slice(bytes).map(Self::Any), Ok)
    }

    /// The whole of it.
    pub(super) fn value(&self) -> Cow<'_, Value> {
        let Named { outer, protocol, kind } = match self {
            Self::Any(value) => return Cow::Borrowed(value),
            Self::Named(named) => named,
        };
        let mut inner = serde_json::Map::new();
        for (name, value) in [("protocol", protocol), ("type", kind)] {
            if let Some(value) = value {
                inner.insert(name.to_owned(), json!(value));
            }
        }
        Cow::Owned(json!({*outer: inner}))
    }

    /// The name of its only property.
    pub(super) fn only_name(&self) -> Option<&str> {
        match self {
            Self::Named(named) => Some(named.outer),
            Self::Any(Value::Object(map)) if map.len() == 1 => map.keys().next().map(String::as_str),
            Self::Any(_) => None,
        }
    }

    /// Its form, if it is the common one.
    pub(super) fn named(&self) -> Option<Named> {
        match self {
            Self::Named(named) => Some(*named),
            Self::Any(_) => None,
        }
    }
}

impl Named {
    /// Reads the form, whitespace anywhere; `None` if the body is of another, or is no JSON at all.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut scan = Scan(bytes);
        scan.expect(b'{')?;
        let outer = scan.word()?;
        scan.expect(b':')?;
        scan.expect(b'{')?;
        let (mut protocol, mut kind) = (None, None);
        while scan.peek()? != b'}' {
            // Of two the last counts, as in any JSON.
            let place = match scan.text()? {
                b"protocol" => &mut protocol,
                b"type" => &mut kind,
                _ => return None,
            };
            scan.expect(b':')?;
            *place = Some(scan.word()?);
            match scan.peek()? {
                b'}' => {}
                b',' => {
                    scan.expect(b',')?;
                    // What follows a comma is a name.
                    (scan.peek()? == b'"').then_some(())?;
                }
                _ => return None,
            }
        }
        scan.expect(b'}')?;
        scan.expect(b'}')?;
        scan.peek().is_none().then_some(Self { outer, protocol, kind })
    }
}

/// JSON that is still to be read.
struct Scan<'a>(&'a [u8]);

impl<'a> Scan<'a> {
    /// The next byte that is no whitespace (RFC 8259 section 2).
    fn peek(&mut self) -> Option<u8> {
        while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = self.0 {
            self.0 = rest;
        }
        self.0.first().copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        let found = self.peek()? == byte;
        self.0 = &self.0[1..];
        found.then_some(())
    }

    /// A text as it was sent. One with escapes comes out as no word of ours, or ends early and is followed by none.
    fn text(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let end = self.0.iter().position(|byte| *byte == b'"')?;
        let (text, rest) = self.0.split_at(end);
        self.0 = &rest[1..];
        Some(text)
    }

    /// A word, if it is one of ours and was sent without escapes.
    fn word(&mut self) -> Option<&'static str> {
        let text = self.text()?;
        WORDS.into_iter().find(|known| known.as_bytes() == text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<Sent> {
        Sent::read(text.as_bytes()).ok()
    }

    #[test]
    fn what_clients_send_goes_the_short_way() {
        let check = |text: &str, outer, protocol, kind| {
            assert_eq!(read(text).unwrap().named(), Some(Named { outer, protocol, kind }), "{text}");
        };
        check(
            r#"{"remote_console": {"protocol": "vnc", "type": "novnc"}}"#,
            "remote_console",
            Some("vnc"),
            Some("novnc"),
        );
        check(
            r#" {"remote_console":{"type":"serial","protocol":"serial"}} "#,
            "remote_console",
            Some("serial"),
            Some("serial"),
        );
        check(r#"{"os-getSerialConsole":{"type":"serial"}}"#, "os-getSerialConsole", None, Some("serial"));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["{", "nonsense", r#"{"remote_console": {"type": "novnc"}} x"#, "{\"a\": \"\u{1}\"}"] {
            assert!(read(text).is_none(), "{text}");
        }
        assert!(Sent::read(b"{\"remote_console\": {\"type\": \"\xff\"}}").is_err());
        assert_eq!(*read("").unwrap().value(), Value::Null);
    }

    /// A piece of a body, right or nearly so.
    fn piece() -> impl Strategy<Value = String> {
        let words = prop::sample::select(vec![
            "\"remote_console\"",
            "\"protocol\"",
            "\"type\"",
            "\"vnc\"",
            "\"novnc\"",
            "\"os-getVNCConsole\"",
            "\"\\u0076nc\"",
            "\"x\"",
            "{",
            "}",
            "{",
            "}",
            ":",
            ":",
            ",",
            "[",
            "]",
            "null",
            "1",
            " ",
        ]);
        prop::collection::vec(words, 0..12).prop_map(|words| words.concat())
    }

    fn pair() -> impl Strategy<Value = String> {
        let names = prop::sample::select(vec!["protocol", "type", "other"]);
        let values = prop::sample::select(vec!["\"vnc\"", "\"novnc\"", "\"x\"", "1", "{}", "null"]);
        (names, values).prop_map(|(name, value)| format!("\"{name}\": {value}"))
    }

    proptest! {
        /// Both ways say the same of any body.
        #[test]
        fn the_short_way_leads_where_the_long_way_does(
            pieces in piece(), pairs in prop::collection::vec(pair(), 0..4), outer in "remote_console|x",
        ) {
            for text in [pieces, format!("{{\"{outer}\": {{{}}}}}", pairs.join(", "))] {
                let long = if text.is_empty() { Some(Value::Null) } else { serde_json::from_str(&text).ok() };
                prop_assert_eq!(read(&text).map(|sent| sent.value().into_owned()), long, "{}", text);
            }
        }
    }
}
