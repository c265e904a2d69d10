//! The escape key of a terminal session: what is typed goes to the console, but for a key and the letter after it.

use std::str::FromStr;

/// The key that makes the next one ours. Ctrl-] as telnet and virsh have it, unless the user chooses another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EscapeKey {
    /// A control character, anywhere.
    Control(u8),
    /// A printable character, at the beginning of a line only, as ssh's `~`.
    AtLineStart(u8),
    /// All that is typed goes to the console.
    None,
}

/// What the letter after the escape key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Quit,
    Break,
    Help,
    Reconnect,
    Suspend,
    /// Shared consoles: ask the writer for the keyboard, take it, give it away.
    Ask,
    Take,
    Give,
    Status,
}

/// A piece of what was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Typed {
    Text(Vec<u8>),
    Command(Command),
}

/// Takes typed bytes apart, however they are split.
#[derive(Debug)]
pub(super) struct Escape {
    key: EscapeKey,
    line_start: bool,
    escaped: bool,
}

impl Escape {
    pub(super) fn new(key: EscapeKey) -> Self {
        Self { key, line_start: true, escaped: false }
    }

    pub(super) fn key(&self) -> EscapeKey {
        self.key
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Typed> {
        let mut pieces = Vec::new();
        let mut text = Vec::new();
        for &byte in bytes {
            if std::mem::take(&mut self.escaped) {
                match command(byte) {
                    Some(command) => {
                        flush(&mut text, &mut pieces);
                        pieces.push(Typed::Command(command));
                        continue;
                    }
                    // Twice is once; any other letter was meant for the console, with the key before it.
                    None if self.key.is(byte) => {}
                    None => text.extend(self.key.byte()),
                }
            } else if self.key.is(byte) && (self.line_start || matches!(self.key, EscapeKey::Control(_))) {
                self.escaped = true;
                continue;
            }
            self.line_start = matches!(byte, b'\r' | b'\n');
            text.push(byte);
        }
        flush(&mut text, &mut pieces);
        pieces
    }
}

fn flush(text: &mut Vec<u8>, pieces: &mut Vec<Typed>) {
    if !text.is_empty() {
        pieces.push(Typed::Text(std::mem::take(text)));
    }
}

fn command(byte: u8) -> Option<Command> {
    Some(match byte {
        b'.' | b'q' => Command::Quit,
        b'b' | b'B' => Command::Break,
        b'?' | b'h' => Command::Help,
        b'r' | b'R' => Command::Reconnect,
        // Ctrl-Z, as the terminal would have taken it.
        b'z' | 0x1a => Command::Suspend,
        b'a' => Command::Ask,
        b't' => Command::Take,
        b'g' => Command::Give,
        b's' => Command::Status,
        _ => return None,
    })
}

impl EscapeKey {
    fn byte(self) -> Option<u8> {
        match self {
            Self::Control(byte) | Self::AtLineStart(byte) => Some(byte),
            Self::None => None,
        }
    }

    fn is(self, byte: u8) -> bool {
        self.byte() == Some(byte)
    }

    /// As users write and read it.
    pub(super) fn name(self) -> String {
        match self {
            Self::Control(byte) => format!("Ctrl-{}", char::from(byte ^ 0x40)),
            Self::AtLineStart(byte) => format!("{} at the beginning of a line", char::from(byte)),
            Self::None => "no key".to_owned(),
        }
    }

    /// What Help says.
    pub(super) fn help(self) -> String {
        let key = self.name();
        let short = self.byte().map_or_else(String::new, |byte| match self {
            Self::Control(_) => format!("^{}", char::from(byte ^ 0x40)),
            _ => char::from(byte).to_string(),
        });
        format!(
            "Keys of this program, after {key}:\n  \
             .  leave                      r  connect again\n  \
             b  send a break               s  say how the session is\n  \
             z  suspend this program       ?  this help\n  \
             a  ask for the keyboard       t  take it      g  give it away   (shared consoles)\n  \
             {short} again sends {short} itself."
        )
    }
}

impl FromStr for EscapeKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.as_bytes() {
            b"none" => Ok(Self::None),
            [b'^', letter @ (b'@'..=b'_' | b'a'..=b'z')] => {
                Ok(Self::Control(letter.to_ascii_uppercase() ^ 0x40))
            }
            [printable @ b'!'..=b'~'] => Ok(Self::AtLineStart(*printable)),
            _ => Err(format!("expected ^ and a letter (^]), one character (~), or none; found {text:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Typed {
        Typed::Text(text.as_bytes().to_vec())
    }

    #[test]
    fn the_key_and_its_letters() {
        let mut escape = Escape::new(EscapeKey::Control(0x1d));
        assert_eq!(
            escape.feed(b"ab\x1db\x1d\x1dc\x1d."),
            [text("ab"), Typed::Command(Command::Break), text("\x1dc"), Typed::Command(Command::Quit)]
        );
        assert_eq!(escape.feed(b"\x1dx\x1d?"), [text("\x1dx"), Typed::Command(Command::Help)]);
    }

    #[test]
    fn a_printable_key_counts_at_the_beginning_of_a_line() {
        let mut escape = Escape::new(EscapeKey::AtLineStart(b'~'));
        assert_eq!(escape.feed(b"a~.\r~."), [text("a~.\r"), Typed::Command(Command::Quit)]);
        assert_eq!(escape.feed(b"~~/bin ~."), [text("~/bin ~.")], "after a command, still at its beginning");
        let mut escape = Escape::new(EscapeKey::AtLineStart(b'~'));
        assert_eq!(escape.feed(b"~~x"), [text("~x")]);
        assert_eq!(Escape::new(EscapeKey::None).feed(b"\x1d.~."), [text("\x1d.~.")]);
    }

    #[test]
    fn keys_are_written_as_users_write_them() {
        for (written, key, name) in [
            ("^]", EscapeKey::Control(0x1d), "Ctrl-]"),
            ("^a", EscapeKey::Control(1), "Ctrl-A"),
            ("~", EscapeKey::AtLineStart(b'~'), "~ at the beginning of a line"),
            ("none", EscapeKey::None, "no key"),
        ] {
            assert_eq!(written.parse(), Ok(key));
            assert_eq!(key.name(), name);
            assert!(key.help().contains("break"));
        }
        for wrong in ["", "ab", "^^^", "^\u{e9}", " "] {
            assert!(wrong.parse::<EscapeKey>().is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(bytes in proptest::collection::vec(prop_oneof![
            Just(0x1d), Just(b'~'), Just(b'\r'), Just(b'.'), Just(b'b'), any::<u8>()], 0..40),
            cut in 0usize..40, tilde: bool) {
            let key = if tilde { EscapeKey::AtLineStart(b'~') } else { EscapeKey::Control(0x1d) };
            let flat = |pieces: Vec<Typed>| pieces.into_iter().flat_map(|piece| match piece {
                Typed::Text(text) => text.into_iter().map(|b| Typed::Text(vec![b])).collect::<Vec<_>>(),
                command => vec![command],
            }).collect::<Vec<_>>();
            let whole = flat(Escape::new(key).feed(&bytes));
            let mut escape = Escape::new(key);
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            let mut split = flat(escape.feed(head));
            split.extend(flat(escape.feed(tail)));
            prop_assert_eq!(whole, split);
        }
    }
}
