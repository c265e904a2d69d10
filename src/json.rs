//! Text as JSON has it (RFC 8259 section 7), for what is written too often for a serializer.

use std::fmt::Write as _;
use std::net::IpAddr;

use uuid::Uuid;

/// The name of a field that follows others, with all that stands before its value. Ours, so nothing is to escape.
#[derive(Clone, Copy, Debug)]
pub struct Name(pub &'static str);

/// A [`Name`], put together by the compiler: a line has a dozen, and each would be three copies.
macro_rules! name {
    ($name:literal) => {
        $crate::json::Name(concat!(",\"", $name, "\":\""))
    };
}

pub(crate) use name;

/// Appends `,"name":value` to an object for each field that has a value.
///
/// Inlined always: a name is then a constant, and appended by a store or two rather than by a call. There are some ten
/// in a line, and two lines in each request for a console.
#[derive(Debug)]
pub struct Fields<'a>(pub &'a mut String);

impl Fields<'_> {
    /// A word of ours, which has nothing to escape.
    #[inline(always)]
    pub fn word(&mut self, Name(name): Name, word: Option<&str>) {
        let Some(word) = word else { return };
        self.0.push_str(name);
        self.0.push_str(word);
        self.0.push('"');
    }

    /// Anybody's text.
    #[inline(always)]
    pub fn text(&mut self, Name(name): Name, text: Option<&str>) {
        let Some(text) = text else { return };
        self.0.push_str(name);
        escape(self.0, text);
        self.0.push('"');
    }

    /// In its usual form, behind a word of ours.
    #[inline(always)]
    pub fn uuid(&mut self, Name(name): Name, prefix: &str, uuid: Option<Uuid>) {
        let Some(uuid) = uuid else { return };
        self.0.push_str(name);
        self.0.push_str(prefix);
        self.0.push_str(uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
        self.0.push('"');
    }

    /// A number.
    #[inline(always)]
    pub fn number(&mut self, name: Name, number: Option<u64>) {
        let Some(number) = number else { return };
        self.plain(name, itoa::Buffer::new().format(number));
    }

    /// `true` or `false`.
    pub fn flag(&mut self, name: Name, flag: bool) {
        self.plain(name, if flag { "true" } else { "false" });
    }

    /// A field that is there, and says nothing.
    pub fn null(&mut self, name: Name) {
        self.plain(name, "null");
    }

    /// What is no string.
    #[inline(always)]
    fn plain(&mut self, Name(name): Name, value: &str) {
        self.0.push_str(name.strip_suffix('"').unwrap_or(name));
        self.0.push_str(value);
    }

    /// As a string.
    pub fn address(&mut self, Name(name): Name, address: Option<IpAddr>) {
        let Some(address) = address else { return };
        self.0.push_str(name);
        match address {
            IpAddr::V4(address) => {
                for (at, octet) in address.octets().into_iter().enumerate() {
                    if at > 0 {
                        self.0.push('.');
                    }
                    self.0.push_str(itoa::Buffer::new().format(octet));
                }
            }
            // Writing to a String cannot fail, here and below.
            IpAddr::V6(address) => _ = write!(self.0, "{address}"),
        }
        self.0.push('"');
    }
}

/// A byte as two hexadecimal digits.
pub fn hex(byte: u8) -> [u8; 2] {
    [byte >> 4, byte & 15].map(|nibble| b"0123456789abcdef"[usize::from(nibble)])
}

/// Appends `text` as a JSON string.
pub fn quote(out: &mut String, text: &str) {
    out.push('"');
    escape(out, text);
    out.push('"');
}

/// Appends what stands inside the quotes. DEL and the C1 controls are escaped as well: terminals act on them.
pub fn escape(out: &mut String, text: &str) {
    // To the end, whatever it meets: so the compiler looks at many bytes at once.
    let odd = |byte: u8| !(b' '..0x7f).contains(&byte) | (byte == b'"') | (byte == b'\\');
    if !text.bytes().fold(false, |any, byte| any | odd(byte)) {
        out.push_str(text);
        return;
    }
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            // Writing to a String cannot fail.
            c if c.is_control() => _ = write!(out, "\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_what_a_serializer_makes_of_them() {
        let check = |fill: &dyn Fn(&mut Fields<'_>), expected: &str| {
            let mut text = String::new();
            fill(&mut Fields(&mut text));
            assert_eq!(text, expected);
        };
        let uuid = Uuid::from_u128(0x47e9_be4e);
        check(&|line| line.uuid(name!("u"), "req-", Some(uuid)), &format!(",\"u\":\"req-{uuid}\""));
        check(&|line| line.uuid(name!("u"), "", Some(uuid)), &format!(",\"u\":\"{uuid}\""));
        check(&|line| line.word(name!("word"), Some("x")), r#","word":"x""#);
        check(&|line| line.flag(name!("f"), true), r#","f":true"#);
        check(&|line| line.flag(name!("f"), false), r#","f":false"#);
        check(&|line| line.null(name!("n")), r#","n":null"#);
        check(&|line| line.text(name!("text"), Some("a\"b")), r#","text":"a\"b""#);
        for number in [0, 7, 10, 65_535, 1_000_000, u64::MAX] {
            check(&|line| line.number(name!("n"), Some(number)), &format!(",\"n\":{number}"));
        }
        for address in ["0.0.0.0", "127.0.0.1", "255.10.200.9", "::1", "2001:db8::ff"] {
            let address: IpAddr = address.parse().unwrap();
            check(
                &|line| line.address(name!("source"), Some(address)),
                &format!(",\"source\":\"{address}\""),
            );
        }
        check(
            &|line| {
                line.word(name!("w"), None);
                line.text(name!("t"), None);
                line.uuid(name!("u"), "req-", None);
                line.number(name!("n"), None);
                line.address(name!("a"), None);
            },
            "",
        );
    }

    proptest! {
        #[test]
        fn any_text_comes_through_and_no_control_does(text in any::<String>()) {
            let mut quoted = String::new();
            quote(&mut quoted, &text);
            prop_assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text);
            prop_assert!(!quoted.contains(char::is_control));
        }
    }
}
