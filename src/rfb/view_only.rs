//! View-only, enforced: of what a viewer sends, only what is needed to watch reaches the target.
//!
//! Every client message of RFC 6143 and of the extensions that noVNC, TigerVNC and QEMU speak is known by its
//! length; one that is not known ends the session, for nobody can tell where the next begins. What is passed on
//! is whole messages of exactly the length their sender gave them, so the target reads the same borders.

use std::ops::Range;

use super::wire::{u16_at, u32_at};

/// The pseudo-encoding by which a viewer says that its pointer events may be a byte longer (rfbproto,
/// "Extended Mouse Buttons Pseudo-encoding").
const EXTENDED_MOUSE_BUTTONS: i32 = -316;

/// The longest payload of a fence (rfbproto, "ClientFence").
const MAX_FENCE: u8 = 64;

/// The most encodings in one list. All that are registered are fewer than 200.
const MAX_ENCODINGS: u16 = 1024;

/// Longest fixed part of a message: SetPixelFormat.
const HEAD: usize = 20;

/// Why a viewer who may only watch was let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewOnlyError {
    /// A message type that is none of those known here.
    #[error("viewer sent a message of type {0}, which cannot be filtered")]
    Message(u8),
    /// An unknown sub-type of QEMU's message, or an unknown audio operation.
    #[error("viewer sent a QEMU message {0}.{1}, which cannot be filtered")]
    Qemu(u8, u16),
    /// A fence longer than any may be.
    #[error("viewer sent a fence of {0} bytes; {MAX_FENCE} is the limit")]
    Fence(u8),
    /// A list of encodings longer than any may be.
    #[error("viewer sent a list of {0} encodings; {MAX_ENCODINGS} is the limit")]
    Encodings(u16),
}

/// Where in the stream we stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Within the fixed part of a message, of which `self.have` bytes are there; `need` decide what follows.
    Head { need: usize, keep: bool },
    /// Within a list of encodings, four bytes each.
    Encodings { left: u16 },
    /// Within a part whose content does not matter.
    Body { left: u64, keep: bool },
}

/// Drops keys, pointer, clipboard, resizing, power and whatever else acts on the target; keeps pixel format,
/// encodings, update requests, continuous updates, fences and audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewOnly {
    state: State,
    /// The fixed part so far, or the encoding.
    head: [u8; HEAD],
    have: usize,
    /// The viewer knows extended mouse buttons: the top bit of a pointer event's buttons marks a longer one.
    extended_pointer: bool,
    failed: Option<ViewOnlyError>,
}

impl Default for ViewOnly {
    fn default() -> Self {
        Self::new()
    }
}

impl ViewOnly {
    /// How many bytes before those given to [`ViewOnly::apply`] it may write to: a type that was held back until
    /// its sub-type came.
    pub const ROOM: usize = 1;

    /// A filter for what follows ClientInit.
    pub fn new() -> Self {
        Self {
            state: State::Head { need: 1, keep: false },
            head: [0; HEAD],
            have: 0,
            extended_pointer: false,
            failed: None,
        }
    }

    /// Filters what the viewer sent, which stands at `range` of `buffer`, in place; where the rest stands now.
    ///
    /// # Panics
    /// If `range` starts before [`ViewOnly::ROOM`].
    ///
    /// # Errors
    /// The viewer sent what cannot be filtered; every later call says the same.
    pub fn apply(&mut self, buffer: &mut [u8], range: Range<usize>) -> Result<Range<usize>, ViewOnlyError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        assert!(range.start >= Self::ROOM, "no room for what was held back");
        let start = range.start - self.held();
        let (mut to, mut at) = (start, range.start);
        while at < range.end {
            let left = range.end - at;
            // The short way, for nearly all messages: whole, and of one length.
            if let Some((len, keep)) = self.simple(buffer[at]).filter(|(len, _)| *len <= left) {
                if keep {
                    shift(buffer, at, len, &mut to);
                }
                at += len;
                continue;
            }
            match self.state {
                State::Body { left: body, keep } => {
                    let count = usize::try_from(body).unwrap_or(usize::MAX).min(left);
                    if keep {
                        shift(buffer, at, count, &mut to);
                    }
                    at += count;
                    self.body(body - count as u64, keep);
                }
                State::Encodings { left: encodings } => {
                    let count = (4 - self.have).min(left);
                    self.gather(&buffer[at..at + count]);
                    shift(buffer, at, count, &mut to);
                    at += count;
                    if self.have == 4 {
                        self.extended_pointer |=
                            u32_at(&self.head, 0).cast_signed() == EXTENDED_MOUSE_BUTTONS;
                        self.encodings(encodings - 1);
                    }
                }
                State::Head { need, keep } => {
                    let count = (need - self.have).min(left);
                    self.gather(&buffer[at..at + count]);
                    if keep {
                        shift(buffer, at, count, &mut to);
                    }
                    at += count;
                    if self.have == need {
                        to += self.step(&mut buffer[to..], keep).inspect_err(|e| self.failed = Some(*e))?;
                    }
                }
            }
        }
        Ok(start..to)
    }

    /// Bytes held back: QEMU's type, until its sub-type comes.
    fn held(&self) -> usize {
        usize::from(self.state == State::Head { need: 2, keep: false } && self.have == 1)
    }

    /// Length and fate of a message that begins here with `kind`, if it always has that length.
    fn simple(&self, kind: u8) -> Option<(usize, bool)> {
        let begins = self.have == 0 && matches!(self.state, State::Head { .. });
        match kind {
            0 | 3 | 4 | 150 | 250 if begins => fixed(kind),
            5 if begins && !self.extended_pointer => fixed(kind),
            _ => None,
        }
    }

    fn gather(&mut self, bytes: &[u8]) {
        self.head[self.have..self.have + bytes.len()].copy_from_slice(bytes);
        self.have += bytes.len();
    }

    /// A part is complete that says what comes next. Puts out what was held back until it was known that it is
    /// kept; how many bytes.
    fn step(&mut self, out: &mut [u8], keep: bool) -> Result<usize, ViewOnlyError> {
        let [kind, second, ..] = self.head;
        match (kind, self.have) {
            (_, 1) => {
                let (need, keep) = fixed(kind).ok_or(ViewOnlyError::Message(kind))?;
                self.state = State::Head { need, keep };
                // Its type came before it was known; it is kept or not with its first byte.
                if keep && let Some(place) = out.first_mut() {
                    *place = kind;
                    return Ok(1);
                }
            }
            (2, _) => {
                let count = u16_at(&self.head, 2);
                if count > MAX_ENCODINGS {
                    return Err(ViewOnlyError::Encodings(count));
                }
                self.encodings(count);
            }
            (5, 6) if self.extended_pointer && second & 0x80 != 0 => self.body(1, false),
            // Negative lengths are the extended clipboard's (rfbproto, "Extended Clipboard Pseudo-Encoding").
            (6, _) => self.body(u64::from(u32_at(&self.head, 4).cast_signed().unsigned_abs()), false),
            (248, _) if self.head[8] > MAX_FENCE => return Err(ViewOnlyError::Fence(self.head[8])),
            (248, _) => self.body(u64::from(self.head[8]), true),
            // SetDesktopSize: 16 bytes a screen.
            (251, _) => self.body(u64::from(self.head[6]) * 16, false),
            // gii: the length stands in the byte order that the second byte says.
            (253, _) => {
                let bytes = [self.head[2], self.head[3]];
                let big = second & 0x80 != 0;
                let len = if big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) };
                self.body(u64::from(len), false);
            }
            (255, 2) => return self.qemu(out),
            (255, 4) if second == 1 => match u16_at(&self.head, 2) {
                0 | 1 => self.body(0, true),
                // Sample format, channels, frequency.
                2 => self.body(6, true),
                other => return Err(ViewOnlyError::Qemu(1, other)),
            },
            _ => self.body(0, keep),
        }
        Ok(0)
    }

    /// QEMU's message: an extended key, or audio, which is heard and not done.
    fn qemu(&mut self, out: &mut [u8]) -> Result<usize, ViewOnlyError> {
        match self.head[1] {
            0 => self.state = State::Head { need: 12, keep: false },
            1 => {
                self.state = State::Head { need: 4, keep: true };
                out[..2].copy_from_slice(&self.head[..2]);
                return Ok(2);
            }
            other => return Err(ViewOnlyError::Qemu(other, 0)),
        }
        Ok(0)
    }

    fn encodings(&mut self, left: u16) {
        self.have = 0;
        self.state = State::Encodings { left };
        if left == 0 {
            self.body(0, false);
        }
    }

    /// `left` more bytes, then the next message.
    fn body(&mut self, left: u64, keep: bool) {
        self.state = State::Body { left, keep };
        if left == 0 {
            self.have = 0;
            self.state = State::Head { need: 1, keep: false };
        }
    }
}

/// Moves `len` kept bytes from `at` to behind those kept before.
fn shift(buffer: &mut [u8], at: usize, len: usize, to: &mut usize) {
    if *to != at {
        buffer.copy_within(at..at + len, *to);
    }
    *to += len;
}

/// The length of a message's fixed part with its type, and whether the message is kept. Of QEMU's, that is
/// decided by its second byte.
fn fixed(kind: u8) -> Option<(usize, bool)> {
    Some(match kind {
        // SetPixelFormat, SetEncodings, FramebufferUpdateRequest.
        0 => (20, true),
        2 => (4, true),
        3 => (10, true),
        // KeyEvent, PointerEvent, ClientCutText.
        4 => (8, false),
        5 => (6, false),
        6 => (8, false),
        // EnableContinuousUpdates, ClientFence.
        150 => (10, true),
        248 => (9, true),
        // xvp (shut down, reboot, reset), SetDesktopSize, gii, QEMU.
        250 => (4, false),
        251 => (8, false),
        253 => (4, false),
        255 => (2, false),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is left of `input`, which comes in pieces of `size`.
    fn run(input: &[u8], size: usize) -> Result<Vec<u8>, ViewOnlyError> {
        let (mut filter, mut out) = (ViewOnly::new(), Vec::new());
        for piece in input.chunks(size) {
            let mut buffer = [&[0xee; 3], piece].concat();
            let range = filter.apply(&mut buffer, 3..3 + piece.len())?;
            out.extend_from_slice(&buffer[range]);
        }
        Ok(out)
    }

    /// Messages as the documents have them: kept, and dropped.
    fn kept() -> Vec<Vec<u8>> {
        let pixel_format = b"\0\0\0\0\x20\x18\0\x01\0\xff\0\xff\0\xff\x10\x08\0\0\0\0";
        vec![
            pixel_format.to_vec(),
            b"\x02\0\0\x03\0\0\0\x07\xff\xff\xff\x21\0\0\0\0".to_vec(),
            b"\x02\0\0\0".to_vec(),
            b"\x03\x01\0\0\0\0\x02\x80\x01\xe0".to_vec(),
            b"\x96\x01\0\0\0\0\x02\x80\x01\xe0".to_vec(),
            b"\xf8\0\0\0\x80\0\0\x01\x03abc".to_vec(),
            b"\xf8\0\0\0\0\0\0\0\0".to_vec(),
            b"\xff\x01\0\0".to_vec(),
            b"\xff\x01\0\x01".to_vec(),
            b"\xff\x01\0\x02\x03\x02\0\0\xac\x44".to_vec(),
        ]
    }

    fn dropped() -> Vec<Vec<u8>> {
        let clipboard = [b"\x06\0\0\0\xff\xff\xff\xf8".as_slice(), b"\x02\0\0\x01more"].concat();
        let size = [b"\xfb\0\x02\x80\x01\xe0\x01\0".as_slice(), &[7; 16]].concat();
        vec![
            b"\x04\x01\0\0\0\0\0a".to_vec(),
            b"\x05\x81\0\x10\0\x20".to_vec(),
            b"\x06\0\0\0\0\0\0\x05\x03\x01\0\0\0".to_vec(),
            b"\x06\0\0\0\0\0\0\0".to_vec(),
            clipboard,
            size,
            b"\xfa\0\x01\x02".to_vec(),
            b"\xfd\x80\0\x03\x03\x01\0".to_vec(),
            b"\xfd\0\x03\0\x03\x01\0".to_vec(),
            b"\xff\0\0\x01\0\0\0a\0\0\0\x1e".to_vec(),
        ]
    }

    #[test]
    fn what_watches_is_kept_and_what_acts_is_not() {
        for message in kept() {
            for size in [1, 2, 3, 1000] {
                assert_eq!(run(&message, size), Ok(message.clone()), "{message:02x?} by {size}");
            }
        }
        for message in dropped() {
            for size in [1, 2, 3, 1000] {
                assert_eq!(run(&message, size), Ok(vec![]), "{message:02x?} by {size}");
            }
        }
    }

    #[test]
    fn extended_pointer_events_are_a_byte_longer_once_the_viewer_knows_them() {
        let encodings = b"\x02\0\0\x02\0\0\0\0\xff\xff\xfe\xc4";
        let update = b"\x03\0\0\0\0\0\0\x01\0\x01";
        for size in [1, 4, 1000] {
            let long = [encodings.as_slice(), b"\x05\x81\0\x10\0\x20\x03", update].concat();
            assert_eq!(run(&long, size), Ok([encodings.as_slice(), update].concat()));
            let short = [encodings.as_slice(), b"\x05\x01\0\x10\0\x20", update].concat();
            assert_eq!(run(&short, size), Ok([encodings.as_slice(), update].concat()));
        }
    }

    #[test]
    fn what_is_not_known_ends_it() {
        let check = |input: &[u8], expected: ViewOnlyError| {
            for size in [1, 2, 1000] {
                assert_eq!(run(input, size), Err(expected), "{input:02x?} by {size}");
            }
        };
        for kind in (0..=255).filter(|kind| fixed(*kind).is_none()) {
            check(&[kind], ViewOnlyError::Message(kind));
        }
        check(b"\xff\x02", ViewOnlyError::Qemu(2, 0));
        check(b"\xff\x01\0\x03", ViewOnlyError::Qemu(1, 3));
        check(b"\xf8\0\0\0\0\0\0\0\x41", ViewOnlyError::Fence(65));
        check(b"\x02\0\x04\x01", ViewOnlyError::Encodings(1025));
        let mut filter = ViewOnly::new();
        let mut buffer = [0, 1, 0];
        assert_eq!(filter.apply(&mut buffer, 1..2), Err(ViewOnlyError::Message(1)));
        assert_eq!(filter.apply(&mut buffer, 2..3), Err(ViewOnlyError::Message(1)), "it stays so");
    }

    proptest! {
        /// Whatever whole messages come, in whatever pieces: those to keep come out, byte for byte.
        #[test]
        fn keeps_all_of_some_and_nothing_of_others(
            chosen in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..40),
            size in 1usize..50,
        ) {
            let (keep, drop) = (kept(), dropped());
            let (mut input, mut expected) = (Vec::new(), Vec::new());
            for (kind, index) in chosen {
                let message = index.get(if kind { &keep } else { &drop });
                input.extend_from_slice(message);
                if kind {
                    expected.extend_from_slice(message);
                }
            }
            prop_assert_eq!(run(&input, size), Ok(expected));
        }
    }
}
