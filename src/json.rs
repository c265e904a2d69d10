//! Text as JSON has it (RFC 8259 section 7), for what is written too often for a serializer.

use std::fmt::{Display, Write as _};

use uuid::Uuid;

/// Appends `,"name":value` to an object for each field that has a value. Names are ours and need no escapes.
#[derive(Debug)]
pub struct Fields<'a>(pub &'a mut String);

impl Fields<'_> {
    fn name(&mut self, name: &str) {
        self.0.push_str(",\"");
        self.0.push_str(name);
        self.0.push_str("\":");
    }

    /// A word of ours, which has nothing to escape.
    pub fn word(&mut self, name: &str, word: Option<&str>) {
        let Some(word) = word else { return };
        self.name(name);
        self.0.push('"');
        self.0.push_str(word);
        self.0.push('"');
    }

    /// Anybody's text.
    pub fn text(&mut self, name: &str, text: Option<&str>) {
        let Some(text) = text else { return };
        self.name(name);
        quote(self.0, text);
    }

    /// In its usual form.
    pub fn uuid(&mut self, name: &str, uuid: Option<Uuid>) {
        let mut text = Uuid::encode_buffer();
        self.word(name, uuid.map(|uuid| &*uuid.hyphenated().encode_lower(&mut text)));
    }

    /// A number.
    pub fn number(&mut self, name: &str, number: Option<u64>) {
        let Some(number) = number else { return };
        self.name(name);
        // Writing to a String cannot fail, here and below.
        let _ = write!(self.0, "{number}");
    }

    /// As a string, of what shows nothing to escape.
    pub fn shown(&mut self, name: &str, value: Option<impl Display>) {
        let Some(value) = value else { return };
        self.name(name);
        let _ = write!(self.0, "\"{value}\"");
    }
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
