//! Text from a target is hostile: made harmless before it is shown, logged or passed on.

/// Decodes text from the wire and takes out what could steer a terminal, a log or a page.
///
/// Bytes that are not UTF-8 are read as Latin-1, as noVNC does. Line breaks and tabs become one space; other
/// control characters (C0, C1, DEL) and characters that reorder or hide text are dropped. At most `max` bytes
/// of UTF-8 come back, cut at a character.
pub fn clean(bytes: &[u8], max: usize) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => clean_chars(text.chars(), max),
        // A cut in the middle of a character is a cut, not Latin-1.
        Err(e) if e.error_len().is_none() => {
            clean_chars(String::from_utf8_lossy(&bytes[..e.valid_up_to()]).chars(), max)
        }
        Err(_) => clean_chars(bytes.iter().map(|&b| char::from(b)), max),
    }
}

fn clean_chars(chars: impl Iterator<Item = char>, max: usize) -> String {
    let mut out = String::new();
    for c in chars {
        let c = match c {
            '\t' | '\n' | '\r' if out.ends_with(' ') => continue,
            '\t' | '\n' | '\r' => ' ',
            c if c.is_control() || steers(c) => continue,
            c => c,
        };
        if out.len() + c.len_utf8() > max {
            break;
        }
        out.push(c);
    }
    let end = out.trim_end().len();
    out.truncate(end);
    out
}

/// Characters that reorder, break or hide text: bidirectional marks, line separators, byte-order mark.
fn steers(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn removes_what_steers_terminals_and_pages() {
        let check = |input: &[u8], expected: &str| assert_eq!(clean(input, 256), expected);
        check(b"QEMU (bm1)", "QEMU (bm1)");
        check(b"a\x1b[31mred\x07\x7f", "a[31mred");
        check(b"line\r\nline\tend\n", "line line end");
        check("caf\u{e9} \u{9b}31m".as_bytes(), "caf\u{e9} 31m");
        check(b"caf\xe9 \x9b31m", "caf\u{e9} 31m");
        check("abc\u{202e}cba".as_bytes(), "abccba");
        check("cut \u{20ac}".as_bytes().split_last().expect("not empty").1, "cut");
        check(b"", "");
    }

    #[test]
    fn cuts_at_a_character() {
        assert_eq!(clean("\u{20ac}\u{20ac}".as_bytes(), 5), "\u{20ac}");
        assert_eq!(clean(b"abc", 0), "");
    }

    proptest! {
        #[test]
        fn never_longer_and_never_control(bytes: Vec<u8>, max in 0usize..64) {
            let text = clean(&bytes, max);
            prop_assert!(text.len() <= max);
            prop_assert!(!text.chars().any(char::is_control));
        }
    }
}
