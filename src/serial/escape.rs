//! Text inside a JSON string (RFC 8259 section 7), as recordings have it, at the speed of memory: a console's text is a
//! control character or a line's end every dozen or two bytes, too often to search for each by itself.
//!
//! 64 bytes at a time, what has to be escaped is a mask of bits, found without a branch in a form that compilers make
//! vector instructions of; runs between are copied in pieces of fixed sizes, further than needed, and what is too much
//! is written over.

/// Bytes for which there is one mask.
const BLOCK: usize = 64;

/// Bytes read, at most, behind where a run begins.
const REACH: usize = 2 * BLOCK;

/// Blocks escaped between two additions to the output.
const STRIP: usize = 4;

/// An escape and its length; none is longer than `\u0000`.
const ESCAPE: usize = 8;

/// Room for a strip of which every byte is escaped, and for what a copy writes too much.
const ROOM: usize = STRIP * BLOCK * 6 + BLOCK;

/// What ASCII's bytes become, the length last; 0: they stay as they are.
const ESCAPES: [[u8; ESCAPE]; 128] = {
    let mut table = [[0; ESCAPE]; 128];
    let mut byte = 0;
    while byte < 128 {
        let at = byte as usize;
        if byte < 0x20 || byte == 0x7f {
            table[at] = [b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte), 0, 6];
        }
        byte += 1;
    }
    table[b'\n' as usize] = [b'\\', b'n', 0, 0, 0, 0, 0, 2];
    table[b'\r' as usize] = [b'\\', b'r', 0, 0, 0, 0, 0, 2];
    table[b'\t' as usize] = [b'\\', b't', 0, 0, 0, 0, 0, 2];
    table[b'"' as usize] = [b'\\', b'"', 0, 0, 0, 0, 0, 2];
    table[b'\\' as usize] = [b'\\', b'\\', 0, 0, 0, 0, 0, 2];
    table
};

const fn hex(nibble: u8) -> u8 {
    b"0123456789abcdef"[(nibble & 15) as usize]
}

/// Whether a byte does not stay as it is, or is not ASCII. The first comparison is of both at once: 0x7f and what is
/// above are negative, or zero, once they are one more.
fn is_special(byte: u8) -> bool {
    byte.wrapping_add(1).cast_signed() <= 0x20 || byte == b'"' || byte == b'\\'
}

/// A bit for each of the bytes that [`is_special`].
fn specials(block: &[u8; BLOCK]) -> u64 {
    let flags: [u8; BLOCK] = std::array::from_fn(|at| u8::from(is_special(block[at])));
    let mut mask = 0;
    for (at, eight) in flags.as_chunks::<8>().0.iter().enumerate() {
        // Eight bytes of 0 or 1 become the eight bits of the topmost byte.
        let bits = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        mask |= bits << (8 * at);
    }
    mask
}

/// Adds `bytes` to `out` up to the first that is not ASCII; how many that is.
pub(super) fn ascii(bytes: &[u8], out: &mut Vec<u8>) -> usize {
    let (mut strip, mut done) = (Strip { bytes: [0; ROOM], len: 0 }, 0);
    while done < bytes.len() {
        let rest = &bytes[done..];
        let (taken, whole) = match rest.first_chunk::<REACH>() {
            Some(reach) => (strip.put(reach, BLOCK), BLOCK),
            None => {
                let (mut reach, len) = ([b' '; REACH], rest.len().min(BLOCK));
                reach[..len].copy_from_slice(&rest[..len]);
                (strip.put(&reach, len), len)
            }
        };
        done += taken;
        if strip.len > ROOM - 7 * BLOCK || taken < whole {
            out.extend_from_slice(&strip.bytes[..strip.len]);
            strip.len = 0;
        }
        if taken < whole {
            return done;
        }
    }
    out.extend_from_slice(&strip.bytes[..strip.len]);
    done
}

/// Escaped text on its way to the output.
struct Strip {
    bytes: [u8; ROOM],
    len: usize,
}

impl Strip {
    /// Adds the first `len` bytes of `text`, at most a block, up to the first that is not ASCII; how many that is.
    fn put(&mut self, text: &[u8; REACH], len: usize) -> usize {
        let Some(block) = text.first_chunk::<BLOCK>() else { return 0 };
        let (mut specials, mut from, mut to) = (specials(block), 0, self.len);
        while specials != 0 {
            let at = specials.trailing_zeros() as usize;
            specials &= specials - 1;
            copy(text, from, &mut self.bytes, to, at - from);
            to += at - from;
            let Some(escape) = ESCAPES.get(usize::from(block[at])) else {
                self.len = to;
                return at;
            };
            self.bytes[to..to + ESCAPE].copy_from_slice(escape);
            to += usize::from(escape[ESCAPE - 1]);
            from = at + 1;
        }
        copy(text, from, &mut self.bytes, to, len - from);
        self.len = to + len - from;
        len
    }
}

/// Copies `len` bytes, at most a block, and some more.
#[inline(always)]
fn copy(text: &[u8; REACH], from: usize, out: &mut [u8; ROOM], to: usize, len: usize) {
    let (text, out) = (&text[from..from + BLOCK], &mut out[to..to + BLOCK]);
    out[..32].copy_from_slice(&text[..32]);
    if len > 32 {
        out[32..].copy_from_slice(&text[32..]);
    }
}

/// Adds text. DEL and C1 are escaped too: whoever shows the file in a terminal sees text.
pub(super) fn text(mut text: &str, out: &mut Vec<u8>) {
    while !text.is_empty() {
        let bytes = text.as_bytes();
        let done = match bytes.first_chunk::<BLOCK>() {
            Some(block) if block.is_ascii() => ascii(bytes, out),
            // Of other scripts, character by character.
            _ => {
                let end = text.floor_char_boundary(BLOCK);
                text[..end].chars().for_each(|c| push(c, out));
                end
            }
        };
        text = &text[done..];
    }
}

fn push(c: char, out: &mut Vec<u8>) {
    let code = u32::from(c);
    let Ok(low @ ..0xa0) = u8::try_from(code) else {
        return out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    };
    match ESCAPES.get(usize::from(low)) {
        Some([.., 0]) => out.push(low),
        Some(escape) => out.extend_from_slice(&escape[..usize::from(escape[ESCAPE - 1])]),
        None => out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(low >> 4), hex(low)]),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the strings are to be, character by character.
    fn expected(text: &str) -> String {
        let escaped = |c: char| match c {
            '\n' => "\\n".to_owned(),
            '\r' => "\\r".to_owned(),
            '\t' => "\\t".to_owned(),
            '"' | '\\' => format!("\\{c}"),
            c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
            c => c.to_string(),
        };
        text.chars().map(escaped).collect()
    }

    fn check(text: &str) {
        let mut out = b"x".to_vec();
        super::text(text, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("x{}", expected(text)));
        let (mut out, ascii) = (Vec::new(), text.bytes().take_while(u8::is_ascii).count());
        assert_eq!(super::ascii(text.as_bytes(), &mut out), ascii);
        assert_eq!(String::from_utf8(out).unwrap(), expected(&text[..ascii]));
    }

    #[test]
    fn every_byte_in_every_place_of_a_block() {
        for c in (0..=0xff).map(char::from).chain(['\u{20ac}', '\u{1f600}']) {
            for at in 0..2 * BLOCK {
                let text = format!("{}{c}{}", "a".repeat(at), "b".repeat(150 - at));
                check(&text);
                check(&text[..at]);
            }
        }
    }

    #[test]
    fn strips_of_which_all_is_escaped() {
        for len in [0, 1, BLOCK - 1, BLOCK, REACH, STRIP * BLOCK, STRIP * BLOCK + 1, 5000] {
            check(&"\0".repeat(len));
            check(&"\x1b[m\r\n".repeat(len));
        }
    }

    proptest! {
        #[test]
        fn text_of_any_kind(pieces in prop::collection::vec(
            prop_oneof!["[ -~]{0,200}", "[\\x00-\\x7f]{0,40}", any::<String>(), "[\u{80}-\u{a5}a-c]{0,90}"], 0..8,
        )) {
            check(&pieces.concat());
        }
    }
}
