//! Keys as a person presses them on a US keyboard: name, physical key, and Shift where it takes one.
//! Source: W3C "UI Events KeyboardEvent code Values" and "key Values"; key codes as Chromium's.

/// One key for `Input.dispatchKeyEvent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// `KeyboardEvent.key`.
    pub(crate) key: String,
    /// `KeyboardEvent.code`.
    pub(crate) code: String,
    /// `KeyboardEvent.keyCode`.
    pub(crate) number: u32,
    /// The text it types, if any.
    pub(crate) text: Option<String>,
    /// Whether it needs Shift.
    pub(crate) shift: bool,
    /// The bit it holds in `modifiers` while it is down.
    pub(crate) modifier: u32,
}

/// Characters without and with Shift, their physical key and key code, of the keys that are no letter or digit.
const SIGNS: [(char, char, &str, u32); 11] = [
    ('`', '~', "Backquote", 192),
    ('-', '_', "Minus", 189),
    ('=', '+', "Equal", 187),
    ('[', '{', "BracketLeft", 219),
    (']', '}', "BracketRight", 221),
    ('\\', '|', "Backslash", 220),
    (';', ':', "Semicolon", 186),
    ('\'', '"', "Quote", 222),
    (',', '<', "Comma", 188),
    ('.', '>', "Period", 190),
    ('/', '?', "Slash", 191),
];

/// What Shift makes of the digits 0 to 9.
const SHIFTED_DIGITS: [char; 10] = [')', '!', '@', '#', '$', '%', '^', '&', '*', '('];

/// Named keys: `key`, `code`, key code, text, modifier bit.
const NAMED: [(&str, &str, u32, Option<&str>, u32); 20] = [
    ("Enter", "Enter", 13, Some("\r"), 0),
    ("Tab", "Tab", 9, None, 0),
    ("Backspace", "Backspace", 8, None, 0),
    ("Escape", "Escape", 27, None, 0),
    ("Delete", "Delete", 46, None, 0),
    ("Insert", "Insert", 45, None, 0),
    ("Home", "Home", 36, None, 0),
    ("End", "End", 35, None, 0),
    ("PageUp", "PageUp", 33, None, 0),
    ("PageDown", "PageDown", 34, None, 0),
    ("ArrowUp", "ArrowUp", 38, None, 0),
    ("ArrowDown", "ArrowDown", 40, None, 0),
    ("ArrowLeft", "ArrowLeft", 37, None, 0),
    ("ArrowRight", "ArrowRight", 39, None, 0),
    ("F1", "F1", 112, None, 0),
    ("F11", "F11", 122, None, 0),
    ("Alt", "AltLeft", 18, None, 1),
    ("Control", "ControlLeft", 17, None, 2),
    ("Meta", "MetaLeft", 91, None, 4),
    ("Shift", "ShiftLeft", 16, None, 8),
];

/// A key by its name (`Enter`, `Control`) or by the one character it types.
///
/// # Panics
/// On a name or character that is not in the tables.
pub(crate) fn key(name: &str) -> Key {
    let named = NAMED.iter().find(|(key, ..)| *key == name);
    if let Some((key, code, number, text, modifier)) = named {
        let text = text.map(str::to_owned);
        return Key {
            key: (*key).into(),
            code: (*code).into(),
            number: *number,
            text,
            shift: false,
            modifier: *modifier,
        };
    }
    let mut letters = name.chars();
    match (letters.next(), letters.next()) {
        (Some(character), None) => typed(character),
        _ => panic!("no key is called {name:?}"),
    }
}

/// The key that types `character`.
pub(crate) fn typed(character: char) -> Key {
    let (code, number, shift) = match character {
        '\n' => return key("Enter"),
        '\t' => return key("Tab"),
        ' ' => ("Space".to_owned(), 32, false),
        'a'..='z' | 'A'..='Z' => {
            let upper = character.to_ascii_uppercase();
            (format!("Key{upper}"), u32::from(upper), character.is_ascii_uppercase())
        }
        '0'..='9' => (format!("Digit{character}"), u32::from(character), false),
        _ => sign(character),
    };
    let text = character.to_string();
    Key { key: text.clone(), code, number, text: Some(text), shift, modifier: 0 }
}

fn sign(character: char) -> (String, u32, bool) {
    if let Some(digit) = (0..10).find(|digit| SHIFTED_DIGITS[*digit as usize] == character) {
        return (format!("Digit{digit}"), 48 + digit, true);
    }
    let sign = SIGNS.iter().find(|(plain, shifted, ..)| [*plain, *shifted].contains(&character));
    let (_, shifted, code, number) = sign.unwrap_or_else(|| panic!("no key types {character:?}"));
    ((*code).to_owned(), *number, *shifted == character)
}

#[test]
fn every_printable_ascii_character_has_a_key() {
    for character in ' '..='~' {
        let key = typed(character);
        assert_eq!(key.text.as_deref(), Some(character.to_string().as_str()));
    }
    let check = |name: &str, code: &str, number: u32, shift: bool| {
        let key = key(name);
        assert_eq!((key.code.as_str(), key.number, key.shift), (code, number, shift), "{name}");
    };
    check("a", "KeyA", 65, false);
    check("A", "KeyA", 65, true);
    check("7", "Digit7", 55, false);
    check("&", "Digit7", 55, true);
    check("?", "Slash", 191, true);
    check("Enter", "Enter", 13, false);
    check("Control", "ControlLeft", 17, false);
}
