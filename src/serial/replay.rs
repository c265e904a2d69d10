//! History made fit to be shown again: what a terminal would answer, or do beyond its screen, is blanked.
//!
//! A terminal that is shown an old `ESC [ c` answers it, and the answer is typed at whatever runs on the line
//! now. So of control sequences only those pass that paint: CSI functions and escapes on a list. Strings (OSC,
//! DCS, APC, PM, SOS), which carry the questions of newer terminals, clipboards and titles, do not pass at all.
//! Every blanked byte becomes a NUL, which terminals ignore (ECMA-48, 8.3.88), so that each byte keeps its place
//! in the line's output.

/// Longest control sequence looked at: a true-colour SGR with everything on is under a hundred.
const LONGEST: usize = 256;

/// Longest string blanked, in bytes; behind it is text again. The terminal has not seen its beginning either.
const LONGEST_STRING: u32 = 64 * 1024;

const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;
const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;
/// Asks for the terminal's answerback message.
const ENQ: u8 = 0x05;

/// CSI functions that paint, by their last byte, where nothing stands between the parameters and it: ICH, the
/// cursor's ways, ED, EL, IL, DL, DCH, SU, SD, ECH, CBT, HPA, HPR, REP, VPA, VPR, HVP, TBC, SM, RM, SGR, DECSTBM,
/// and the cursor saved and restored. Not among them: DA (c), DSR (n), DECREQTPARM (x), window reports (t),
/// printing (i).
const PLAIN: &[u8] = b"@ABCDEFGHIJKLMPSTXZ`abdefghlmrsu";

/// The same behind a `?`: DEC's modes set, reset, saved and restored, selective erasing.
const PRIVATE: &[u8] = b"hlrsJK";

/// Behind one intermediate byte: cursor style, soft reset, protection.
const INTERMEDIATE: &[[u8; 2]] = &[*b" q", *b"!p", *b"\"q"];

/// Escapes with no more than one byte: cursor saved and restored, index and its like, tab stop, reset, keypad.
/// Not among them: DECID (Z).
const ESCAPES: &[u8] = b"78DEHMc=>lmno|}~NO";

/// Bytes of one byte's company: character sets, alignment, and the 7-bit or 8-bit form of controls.
const COMPANY: &[u8] = b" #%()*+-./";

/// The filter; between two calls it knows whether a string is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// Within a string that BEL ends too (OSC), or not, and how long it is.
    string: Option<(bool, u32)>,
}

/// How a sequence at the start of some bytes goes on.
enum Sequence {
    /// So many bytes that may be shown.
    Shown(usize),
    /// So many that may not.
    Blanked(usize),
    /// A string's beginning of two bytes; whether BEL ends it.
    String(bool),
    /// Its end has not come yet.
    Open,
}

impl Replay {
    /// Blanks what may not be shown, in place. Returns how many bytes are settled: the rest, fewer than 260, is a
    /// sequence or character whose end has not come, to be given again with what follows it.
    pub fn apply(&mut self, bytes: &mut [u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            let step = match self.string {
                Some(_) => self.in_string(&mut bytes[at..]),
                None => self.in_text(&mut bytes[at..]),
            };
            match step {
                Some(step) => at += step,
                None => return at,
            }
        }
        at
    }

    /// Whether no string is open.
    pub fn at_rest(&self) -> bool {
        self.string.is_none()
    }

    /// Goes through text; how far, or `None` if the next byte's fate is open.
    fn in_text(&mut self, bytes: &mut [u8]) -> Option<usize> {
        let plain = bytes.iter().take_while(|&&byte| byte != ESC && byte != ENQ && byte < 0x80).count();
        if plain > 0 {
            return Some(plain);
        }
        if bytes[0] == ENQ {
            bytes[0] = 0;
            return Some(1);
        }
        if bytes[0] != ESC {
            return character(bytes);
        }
        match sequence(bytes) {
            Sequence::Shown(count) => Some(count),
            Sequence::Blanked(count) => {
                bytes[..count].fill(0);
                Some(count)
            }
            Sequence::String(bell) => {
                bytes[..2].fill(0);
                self.string = Some((bell, 0));
                Some(2)
            }
            Sequence::Open => None,
        }
    }

    /// Blanks a string up to its end: ST, for some BEL, CAN, SUB, or a new sequence.
    fn in_string(&mut self, bytes: &mut [u8]) -> Option<usize> {
        let (bell, length) = self.string?;
        let ends = |byte: u8| matches!(byte, ESC | CAN | SUB) || (bell && byte == BEL);
        let room = usize::try_from(LONGEST_STRING - length).unwrap_or(0);
        let inside = bytes.iter().take(room).take_while(|&&byte| !ends(byte)).count();
        bytes[..inside].fill(0);
        if inside == room {
            self.string = None;
            return Some(inside);
        }
        if inside == bytes.len() {
            self.string = Some((bell, length + u32::try_from(inside).unwrap_or(LONGEST_STRING)));
            return Some(inside);
        }
        if bytes[inside] == ESC {
            // `ESC \` is the end; any other begins a sequence of its own.
            match bytes.get(inside + 1) {
                None if inside > 0 => {
                    self.string = Some((bell, length + u32::try_from(inside).unwrap_or(LONGEST_STRING)));
                    return Some(inside);
                }
                None => return None,
                Some(b'\\') => bytes[inside..inside + 2].fill(0),
                Some(_) => {
                    self.string = None;
                    return Some(inside);
                }
            }
            self.string = None;
            return Some(inside + 2);
        }
        bytes[inside] = 0;
        self.string = None;
        Some(inside + 1)
    }
}

/// A character above ASCII. The C1 controls, a byte of their own or in UTF-8, begin sequences as `ESC` and a
/// letter do; they are blanked, and what follows is text, whose beginning no terminal has seen.
fn character(bytes: &mut [u8]) -> Option<usize> {
    let length = match bytes[0] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        0x80..=0x9f => {
            bytes[0] = 0;
            return Some(1);
        }
        _ => return Some(1),
    };
    let have = &bytes[..length.min(bytes.len())];
    match std::str::from_utf8(have) {
        Ok(_) if bytes[0] == 0xc2 && bytes[1] < 0xa0 => bytes[..2].fill(0),
        Ok(_) => {}
        Err(error) if error.error_len().is_none() => return None,
        // Not a character: one byte that no terminal takes for a control, and on.
        Err(_) => return Some(1),
    }
    Some(length)
}

/// Looks at the sequence that `bytes` begins with, an `ESC` first (ECMA-48, 5.3 to 5.6).
fn sequence(bytes: &[u8]) -> Sequence {
    let Some(&second) = bytes.get(1) else { return Sequence::Open };
    match second {
        b'[' => control_sequence(bytes),
        b']' => Sequence::String(true),
        b'P' | b'X' | b'^' | b'_' => Sequence::String(false),
        byte if ESCAPES.contains(&byte) => Sequence::Shown(2),
        byte if COMPANY.contains(&byte) => match bytes.get(2) {
            None => Sequence::Open,
            Some(0x30..=0x7e) => Sequence::Shown(3),
            Some(_) => Sequence::Blanked(2),
        },
        // The next sequence cuts this one off; so do controls, which are carried out.
        ESC | 0..0x20 => Sequence::Blanked(1),
        0x80.. => Sequence::Blanked(1),
        _ => Sequence::Blanked(2),
    }
}

fn control_sequence(bytes: &[u8]) -> Sequence {
    for (at, &byte) in bytes.iter().enumerate().skip(2) {
        match byte {
            0x20..=0x3f => {}
            0x40..=0x7e if paints(&bytes[2..at], byte) => return Sequence::Shown(at + 1),
            0x40..=0x7e => return Sequence::Blanked(at + 1),
            CAN | SUB => return Sequence::Blanked(at + 1),
            // Some terminals carry controls out within a sequence, others give it up: it is not shown.
            _ => return Sequence::Blanked(at),
        }
        if at == LONGEST {
            return Sequence::Blanked(at + 1);
        }
    }
    Sequence::Open
}

/// Whether a CSI function does no more than paint.
fn paints(between: &[u8], last: u8) -> bool {
    let digits = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b'0'..=b';'));
    match between {
        [b'?', parameters @ ..] if digits(parameters) => PRIVATE.contains(&last),
        [parameters @ .., intermediate @ 0x20..=0x2f] if digits(parameters) => {
            INTERMEDIATE.contains(&[*intermediate, last])
        }
        parameters => digits(parameters) && PLAIN.contains(&last),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::oracle;
    use super::*;

    fn shown(text: &[u8]) -> Vec<u8> {
        let mut bytes = text.to_vec();
        let settled = Replay::default().apply(&mut bytes);
        bytes.truncate(settled);
        bytes
    }

    /// What is left when the blanks are taken out; the length stays.
    #[track_caller]
    fn check(text: &[u8], expected: &[u8]) {
        let shown = shown(text);
        assert_eq!(shown.len(), text.len());
        let left: Vec<u8> = shown.into_iter().filter(|byte| *byte != 0).collect();
        assert_eq!(String::from_utf8_lossy(&left), String::from_utf8_lossy(expected), "{text:02x?}");
    }

    #[test]
    fn questions_are_blanked() {
        // Primary, secondary and tertiary DA; DSR in both forms; DECREQTPARM; ENQ; DECID.
        check(b"a\x1b[cb\x1b[0c\x1b[>c\x1b[=0cz", b"abz");
        check(b"\x1b[5n\x1b[6n\x1b[?6n\x1b[?15n.", b".");
        check(b"\x1b[xa\x05b\x1bZc", b"abc");
        // Window and title reports; DECRQM; XTVERSION; kitty's keyboard; XTSMGRAPHICS; checksum; modifiers.
        check(b"\x1b[21t\x1b[18t\x1b[?2026$p\x1b[>q\x1b[?u", b"");
        check(b"\x1b[?1;1;0S\x1b[1;1;1;1;1;1*y\x1b[?4m", b"");
        // DECRQSS, XTGETTCAP, OSC 50 and 52, a colour asked for, kitty's graphics.
        check(b"x\x1bP$qm\x1b\\y\x1bP+q544e\x1b\\z", b"xyz");
        check(b"x\x1b]50;?\x07y\x1b]52;c;?\x1b\\z\x1b]10;?\x07", b"xyz");
        check(b"x\x1b_Gi=1,a=q;AAAA\x1b\\y\x1b^p\x1b\\\x1bXs\x1b\\z", b"xyz");
    }

    #[test]
    fn paint_passes() {
        for text in [
            "plain text\r\n\ttab\x07",
            "\x1b[0m\x1b[1;31mred\x1b[38;2;1;2;3m\x1b[4:3mcurly\x1b[m",
            "\x1b[2J\x1b[H\x1b[12;40H\x1b[K\x1b[1P\x1b[3@\x1b[2L\x1b[1;24r\x1b[s\x1b[u",
            "\x1b[?25l\x1b[?1049h\x1b[?2004h\x1b[4h\x1b[2 q\x1b[!p",
            "\x1b7\x1b8\x1bM\x1bD\x1bc\x1b=\x1b>\x1b(B\x1b)0\x1b#8\x1b%G",
            "gr\u{fc}n \u{4e2d}\u{6587} \u{1f980}\u{15b}\u{7db}",
        ] {
            check(text.as_bytes(), text.as_bytes());
        }
    }

    #[test]
    fn what_is_no_sequence_begins_none() {
        // C1 controls as bytes and in UTF-8; what follows them is text.
        check(b"a\x9b6nb", b"a6nb");
        check("a\u{9b}6nb\u{9d}52;c;?\x07".as_bytes(), b"a6nb52;c;?\x07");
        // A continuation byte that looks like CSI is a character's.
        check(b"\xc4\x9bc", b"\xc4\x9bc");
        // Cut off by a new sequence, a control, a byte above ASCII, CAN.
        check(b"\x1b[6\x1b[5n\x1b\x1b[m", b"\x1b[m".as_slice());
        check(b"\x1b[6\nn\x1b[\xe3\x81\x82n\x1b[6\x18n", b"\nn\xe3\x81\x82nn");
        // A string ends with a new sequence too.
        check(b"\x1b]0;title\x1b[31mred", b"\x1b[31mred");
        check(b"\x1b]0;t\x18x\x1bPq\x07\x1b\\y", b"xy");
    }

    #[test]
    fn an_endless_string_or_sequence_ends() {
        let string = [&b"\x1b]"[..], &vec![b'x'; 70_000]].concat();
        let bytes = shown(&string);
        assert_eq!(bytes.iter().filter(|&&byte| byte == 0).count(), 2 + LONGEST_STRING as usize);
        let sequence = [&b"\x1b["[..], &[b'1'; 300]].concat();
        assert_eq!(shown(&sequence), [&[0; LONGEST + 1][..], &[b'1'; 302 - LONGEST - 1]].concat());
    }

    #[test]
    fn what_is_not_whole_waits() {
        for open in [&b"\x1b"[..], b"\x1b[", b"\x1b[38;2;1", b"\x1b(", b"\xe4\xb8", b"\xc2", b"\xf0\x9f\xa6"]
        {
            let text = [b"abc", open].concat();
            assert_eq!(shown(&text), b"abc", "{open:x?}");
        }
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let pieces = prop::sample::select(vec![
            "\x1b[", "\x1b]", "\x1bP", "\x1b\\", "\x07", "\x1b", "?", ";", "52", "c", "n", "6", "$q", "m",
            "\x18", "\u{9b}", "\u{fc}", "\x05", "text", "\r\n", "\x1b(", "0",
        ]);
        prop_oneof![
            prop::collection::vec(pieces, 0..20).prop_map(|pieces| pieces.concat().into_bytes()),
            prop::collection::vec(any::<u8>(), 0..60),
        ]
    }

    proptest! {
        #[test]
        fn splits_change_nothing_and_nothing_provokes(size in 0u8..40, bytes in bytes()) {
            oracle::replay(&[&[size], &bytes[..]].concat());
        }
    }
}
