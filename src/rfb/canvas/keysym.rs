//! Names of keys, as the X Window System gives them (keysymdef.h), for the demo to show.

use std::borrow::Cow;

/// The character a key types, if it types one: Latin-1 keysyms, the keypad's, and Unicode's (0x01000000 up).
pub(super) fn character(keysym: u32) -> Option<char> {
    let code = match keysym {
        0x20..=0x7e | 0xa0..=0xff => keysym,
        0xffaa..=0xffb9 => keysym - 0xff80,
        0x0100_0100..=0x0110_ffff => keysym - 0x0100_0000,
        _ => return None,
    };
    char::from_u32(code).filter(|c| !c.is_control())
}

/// The key's name: what it types, its X name, or its number.
pub(super) fn name(keysym: u32) -> Cow<'static, str> {
    if keysym == 0x20 {
        return "space".into();
    }
    if let 0xffbe..=0xffc9 = keysym {
        return format!("F{}", keysym - 0xffbe + 1).into();
    }
    if let Some(c) = character(keysym) {
        return c.to_string().into();
    }
    let known = match keysym {
        0xff08 => "BackSpace",
        0xff09 => "Tab",
        0xfe20 => "ISO_Left_Tab",
        0xff0d => "Return",
        0xff13 => "Pause",
        0xff14 => "Scroll_Lock",
        0xff15 => "Sys_Req",
        0xff1b => "Escape",
        0xff50 => "Home",
        0xff51 => "Left",
        0xff52 => "Up",
        0xff53 => "Right",
        0xff54 => "Down",
        0xff55 => "Page_Up",
        0xff56 => "Page_Down",
        0xff57 => "End",
        0xff61 => "Print",
        0xff63 => "Insert",
        0xff67 => "Menu",
        0xff7f => "Num_Lock",
        0xff8d => "KP_Enter",
        0xffe1 => "Shift_L",
        0xffe2 => "Shift_R",
        0xffe3 => "Control_L",
        0xffe4 => "Control_R",
        0xffe5 => "Caps_Lock",
        0xffe7 => "Meta_L",
        0xffe8 => "Meta_R",
        0xffe9 => "Alt_L",
        0xffea => "Alt_R",
        0xffeb => "Super_L",
        0xffec => "Super_R",
        0xfe03 => "AltGr",
        0xffff => "Delete",
        _ => return format!("0x{keysym:x}").into(),
    };
    known.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_characters() {
        let check = |keysym, expected_name: &str, expected_char| {
            assert_eq!(name(keysym), expected_name);
            assert_eq!(character(keysym), expected_char);
        };
        check(0x61, "a", Some('a'));
        check(0x20, "space", Some(' '));
        check(0xe9, "\u{e9}", Some('\u{e9}'));
        check(0x0100_20ac, "\u{20ac}", Some('\u{20ac}'));
        check(0xffb5, "5", Some('5'));
        check(0xffc9, "F12", None);
        check(0xff0d, "Return", None);
        check(0x7f, "0x7f", None);
        check(0x0100_d800, "0x100d800", None);
    }
}
