//! Where a frame to a serial viewer may end: terminals decode each frame by itself (Horizon does), so a
//! character must not be torn in two.

/// The most bytes ever held back: all of a four-byte character but its last.
pub const HOLD_MAX: usize = 3;

/// How many of `bytes` may be sent now so that they end at a UTF-8 boundary.
///
/// Only a valid beginning of a character is held (at most [`HOLD_MAX`] bytes), for more of it may come. Bytes
/// that can never become UTF-8 are not: the stream stays as the target sent it. Looks at the last three bytes
/// only. The caller sends what is held after a short wait, or when the target ends.
pub fn cut(bytes: &[u8]) -> usize {
    let tail = &bytes[bytes.len().saturating_sub(HOLD_MAX)..];
    // The last byte that begins a character; what follows it continues one, or nothing is open.
    let Some(start) = tail.iter().rposition(|&b| !is_continuation(b)) else { return bytes.len() };
    let open = &tail[start..];
    if is_prefix(open) { bytes.len() - open.len() } else { bytes.len() }
}

fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

/// Whether `bytes`, a first byte and continuations, are the valid and unfinished beginning of a character
/// (Unicode, table 3-7: well-formed UTF-8 byte sequences).
fn is_prefix(bytes: &[u8]) -> bool {
    let Some((&first, rest)) = bytes.split_first() else { return false };
    let (len, second) = match first {
        0xc2..=0xdf => (2, 0x80..=0xbf),
        0xe0 => (3, 0xa0..=0xbf),
        0xe1..=0xec | 0xee..=0xef => (3, 0x80..=0xbf),
        // No surrogates.
        0xed => (3, 0x80..=0x9f),
        0xf0 => (4, 0x90..=0xbf),
        0xf1..=0xf3 => (4, 0x80..=0xbf),
        // Not above U+10FFFF.
        0xf4 => (4, 0x80..=0x8f),
        _ => return false,
    };
    bytes.len() < len && rest.first().is_none_or(|b| second.contains(b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::oracle;
    use super::*;

    #[test]
    fn holds_only_what_may_become_a_character() {
        let check = |bytes: &[u8], sent: usize| assert_eq!(cut(bytes), sent, "{bytes:x?}");
        check(b"", 0);
        check(b"login: ", 7);
        check("gr\u{fc}n".as_bytes(), 5);
        check(b"gr\xc3", 2);
        check(b"\xe2\x82", 0);
        check(b"a\xe2\x82\xac", 4);
        check(b"a\xf0\x9f\x98", 1);
        check(b"a\xf0\x9f\x98\x80", 5);
        // Overlong, surrogate, too high, stray: never UTF-8, so never held.
        check(b"\xc0", 1);
        check(b"\xe0\x80", 2);
        check(b"\xed\xa0", 2);
        check(b"\xf4\x90", 2);
        check(b"\xf5", 1);
        check(b"\x80\x80\x80", 3);
        check(b"\xff\xc3", 1);
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            prop::sample::select(vec![
                0x41, 0x80, 0x9f, 0xa0, 0xbf, 0xc1, 0xc2, 0xe0, 0xe2, 0xed, 0xf0, 0xf4, 0xf5
            ]),
            any::<u8>(),
        ];
        prop_oneof![prop::collection::vec(byte, 0..12), any::<String>().prop_map(String::into_bytes)]
    }

    proptest! {
        #[test]
        fn agrees_with_std_about_every_boundary(bytes in bytes()) {
            oracle::cut(&bytes);
        }

        #[test]
        fn text_in_any_pieces_is_text_in_every_frame(text: String, size in 1usize..9) {
            let (mut held, mut sent) = (Vec::new(), String::new());
            for piece in text.as_bytes().chunks(size) {
                held.extend_from_slice(piece);
                let frame: Vec<u8> = held.drain(..cut(&held)).collect();
                sent.push_str(std::str::from_utf8(&frame).expect("a whole frame"));
            }
            prop_assert!(held.is_empty());
            prop_assert_eq!(sent, text);
        }
    }
}
