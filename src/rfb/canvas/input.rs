//! What a viewer may send once the handshake is over (RFC 6143 section 7.5 and rfbproto's extensions).

use crate::rfb::text::clean;
use crate::rfb::wire::{Gather, u16_at, u32_at};

use super::encode::PixelFormat;
use super::{CanvasError, Event};

/// The longest clipboard a viewer may send, in bytes: as much as one of its WebSocket frames.
const MAX_CUT: u32 = 1 << 20;
/// How much of a clipboard is looked at, in bytes: two lines of the screen.
const SHOWN_CUT: usize = 160;
/// The longest payload of a Fence, in bytes (rfbproto, "ClientFence").
const MAX_FENCE: u8 = 64;

/// One thing a viewer said that matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::rfb) enum Input {
    PixelFormat(PixelFormat),
    /// A list of encodings begins.
    NoEncodings,
    /// One encoding of the list.
    Encoding(i32),
    Update {
        incremental: bool,
        x: u16,
        y: u16,
        w: u16,
        h: u16,
    },
    Event(Event),
}

/// What is being gathered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Type,
    /// The fixed part behind a type.
    Fixed(u8),
    Encodings {
        left: u16,
    },
    /// The shown part of a clipboard; `more` bytes behind it are skipped.
    Cut {
        more: u32,
    },
    /// The rest of QEMU's message, whose length its subtype decides.
    Qemu(u8),
    Skip {
        left: u32,
    },
}

/// Reads client messages from bytes in any pieces.
pub(in crate::rfb) struct Reader {
    state: State,
    gather: Gather,
}

impl Reader {
    pub(in crate::rfb) fn new() -> Self {
        Self { state: State::Type, gather: Gather::new(1) }
    }

    /// The next thing said, taken from the front of `input`; `None` when more bytes are needed.
    pub(in crate::rfb) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Input>, CanvasError> {
        loop {
            if let State::Skip { left } = self.state {
                let skipped = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                *input = &input[skipped..];
                let left = left - u32::try_from(skipped).unwrap_or(left);
                if left > 0 {
                    self.state = State::Skip { left };
                    return Ok(None);
                }
                self.expect(State::Type, 1);
            }
            let Some(field) = self.gather.take(input) else { return Ok(None) };
            if let Some(said) = self.step(&field)? {
                return Ok(Some(said));
            }
        }
    }

    fn step(&mut self, field: &[u8]) -> Result<Option<Input>, CanvasError> {
        match self.state {
            State::Type => {
                let len = fixed_len(field[0]).ok_or(CanvasError::UnknownMessage(field[0]))?;
                self.expect(State::Fixed(field[0]), len);
                Ok(None)
            }
            State::Fixed(kind) => self.message(kind, field),
            State::Encodings { left } => {
                self.encodings(left - 1);
                Ok(Some(Input::Encoding(u32_at(field, 0).cast_signed())))
            }
            State::Cut { more } => {
                self.state = State::Skip { left: more };
                Ok(Some(Input::Event(Event::CutText(clean(field, SHOWN_CUT)))))
            }
            State::Qemu(subtype) => self.qemu(subtype, field),
            State::Skip { .. } => Ok(None),
        }
    }

    /// A message whose fixed part is there. Every arm says what comes next.
    fn message(&mut self, kind: u8, field: &[u8]) -> Result<Option<Input>, CanvasError> {
        self.expect(State::Type, 1);
        Ok(match kind {
            0 => Some(Input::PixelFormat(PixelFormat::parse(&field[3..])?)),
            2 => {
                self.encodings(u16_at(field, 1));
                Some(Input::NoEncodings)
            }
            3 => Some(Input::Update {
                incremental: field[0] != 0,
                x: u16_at(field, 1),
                y: u16_at(field, 3),
                w: u16_at(field, 5),
                h: u16_at(field, 7),
            }),
            4 => Some(Input::Event(Event::Key { down: field[0] != 0, keysym: u32_at(field, 3) })),
            5 => Some(Input::Event(Event::Pointer {
                buttons: field[0],
                x: u16_at(field, 1),
                y: u16_at(field, 3),
            })),
            6 => {
                self.cut_text(u32_at(field, 3))?;
                None
            }
            248 => {
                let len = field[7];
                if len > MAX_FENCE {
                    let (len, limit) = (u32::from(len), u32::from(MAX_FENCE));
                    return Err(CanvasError::TooLong { what: "a fence", len, limit });
                }
                self.state = State::Skip { left: u32::from(len) };
                None
            }
            // A screen of SetDesktopSize is 16 bytes.
            251 => {
                self.state = State::Skip { left: u32::from(field[5]) * 16 };
                None
            }
            255 => {
                match field[0] {
                    0 => self.expect(State::Qemu(0), 10),
                    1 => self.expect(State::Qemu(1), 2),
                    _ => return Err(CanvasError::UnknownMessage(255)),
                }
                None
            }
            // EnableContinuousUpdates (150) and xvp (250): understood, and nothing to do.
            _ => None,
        })
    }

    /// ClientCutText; a negative length is the extended clipboard's (rfbproto, "Extended Clipboard
    /// Pseudo-Encoding"), which we never announced: skipped.
    fn cut_text(&mut self, len: u32) -> Result<(), CanvasError> {
        let extended = len.cast_signed() < 0;
        let len = if extended { len.cast_signed().unsigned_abs() } else { len };
        if len > MAX_CUT {
            return Err(CanvasError::TooLong { what: "a clipboard", len, limit: MAX_CUT });
        }
        if extended {
            self.state = State::Skip { left: len };
        } else {
            let shown = usize::try_from(len).unwrap_or(SHOWN_CUT).min(SHOWN_CUT);
            self.expect(State::Cut { more: len - u32::try_from(shown).unwrap_or(0) }, shown);
        }
        Ok(())
    }

    /// QEMU's extended key event and audio (rfbproto, "QEMU Client Message").
    fn qemu(&mut self, subtype: u8, field: &[u8]) -> Result<Option<Input>, CanvasError> {
        self.expect(State::Type, 1);
        match (subtype, u16_at(field, 0)) {
            (0, down) => Ok(Some(Input::Event(Event::Key { down: down != 0, keysym: u32_at(field, 2) }))),
            // Set format carries six bytes more than enable and disable.
            (1, 2) => {
                self.state = State::Skip { left: 6 };
                Ok(None)
            }
            (1, 0 | 1) => Ok(None),
            _ => Err(CanvasError::UnknownMessage(255)),
        }
    }

    fn encodings(&mut self, left: u16) {
        if left == 0 {
            self.expect(State::Type, 1);
        } else {
            self.expect(State::Encodings { left }, 4);
        }
    }

    fn expect(&mut self, state: State, need: usize) {
        self.state = state;
        self.gather.expect(need);
    }
}

/// Bytes behind the type that every message of this type has; `None` for a type nobody may send here.
fn fixed_len(kind: u8) -> Option<usize> {
    Some(match kind {
        0 => 19,  // SetPixelFormat
        2 => 3,   // SetEncodings, then 4 each
        3 => 9,   // FramebufferUpdateRequest
        4 => 7,   // KeyEvent
        5 => 5,   // PointerEvent
        6 => 7,   // ClientCutText, then its text
        150 => 9, // EnableContinuousUpdates
        248 => 8, // ClientFence, then its payload
        250 => 3, // xvp
        251 => 7, // SetDesktopSize, then 16 each
        255 => 1, // QEMU, then by subtype
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8], size: usize) -> (Vec<Input>, Result<(), CanvasError>) {
        let (mut reader, mut said) = (Reader::new(), Vec::new());
        for piece in bytes.chunks(size) {
            let mut rest = piece;
            loop {
                match reader.next(&mut rest) {
                    Ok(Some(input)) => said.push(input),
                    Ok(None) => break,
                    Err(error) => return (said, Err(error)),
                }
            }
            assert!(rest.is_empty(), "bytes left behind");
        }
        (said, Ok(()))
    }

    fn check(bytes: &[u8], expected: &[Input]) {
        for size in [1, 2, 3, 1000] {
            // A key press behind it shows that the message ended where it should.
            let input = [bytes, b"\x04\x01\0\0\0\0\0\x61"].concat();
            let mut expected = expected.to_vec();
            expected.push(key(true, 0x61));
            assert_eq!(read(&input, size), (expected, Ok(())), "{bytes:?} by {size}");
        }
    }

    fn key(down: bool, keysym: u32) -> Input {
        Input::Event(Event::Key { down, keysym })
    }

    #[test]
    fn every_message_of_the_rfc() {
        let format = [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0];
        check(&[b"\0\0\0\0", format.as_slice()].concat(), &[Input::PixelFormat(PixelFormat::OURS)]);
        check(
            b"\x02\0\0\x02\0\0\0\x02\xff\xff\xff\x21",
            &[Input::NoEncodings, Input::Encoding(2), Input::Encoding(-223)],
        );
        check(b"\x02\0\0\0", &[Input::NoEncodings]);
        check(
            b"\x03\x01\0\x01\0\x02\0\x03\0\x04",
            &[Input::Update { incremental: true, x: 1, y: 2, w: 3, h: 4 }],
        );
        check(b"\x04\0\0\0\0\0\xff\x0d", &[key(false, 0xff0d)]);
        check(b"\x05\x04\x01\0\0\x10", &[Input::Event(Event::Pointer { x: 256, y: 16, buttons: 4 })]);
        check(b"\x06\0\0\0\0\0\0\x03h\x1bi", &[Input::Event(Event::CutText("hi".to_owned()))]);
        check(b"\x06\0\0\0\0\0\0\0", &[Input::Event(Event::CutText(String::new()))]);
        let long = [b"\x06\0\0\0\0\0\x02\0".as_slice(), &[b'x'; 512]].concat();
        check(&long, &[Input::Event(Event::CutText("x".repeat(SHOWN_CUT)))]);
    }

    #[test]
    fn extensions_are_read_past() {
        check(b"\x06\0\0\0\xff\xff\xff\xfc\x01\0\0\0", &[]);
        check(b"\x96\x01\0\0\0\0\x03\x20\x01\xe0", &[]);
        check(b"\xf8\0\0\0\x80\0\0\0\x02ab", &[]);
        check(b"\xfa\0\x01\x02", &[]);
        check(&[b"\xfb\0\x03\x20\x01\xe0\x01\0".as_slice(), &[9; 16]].concat(), &[]);
        check(b"\xff\0\0\x01\0\0\xff\x0d\0\0\0\x1c", &[key(true, 0xff0d)]);
        check(b"\xff\x01\0\x01", &[]);
        check(b"\xff\x01\0\x02\x03\x02\0\0\xac\x44", &[]);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        let check = |bytes: &[u8], error: CanvasError| assert_eq!(read(bytes, 1).1, Err(error));
        check(b"\x07", CanvasError::UnknownMessage(7));
        check(b"\xff\x02", CanvasError::UnknownMessage(255));
        check(b"\xff\x01\0\x03", CanvasError::UnknownMessage(255));
        check(
            b"\x06\0\0\0\x7f\xff\xff\xff",
            CanvasError::TooLong { what: "a clipboard", len: 0x7fff_ffff, limit: MAX_CUT },
        );
        check(
            b"\x06\0\0\0\x80\0\0\0",
            CanvasError::TooLong { what: "a clipboard", len: 0x8000_0000, limit: MAX_CUT },
        );
        check(b"\xf8\0\0\0\0\0\0\0\x41", CanvasError::TooLong { what: "a fence", len: 65, limit: 64 });
    }

    proptest! {
        #[test]
        fn the_same_however_it_is_split(
            kinds in prop::collection::vec(prop::sample::select(vec![0u8, 2, 3, 4, 5, 6, 150, 248, 250, 251, 255, 9]), 0..8),
            fill in prop::collection::vec(0u8..3, 0..200),
            size in 1usize..40,
        ) {
            let mut bytes = Vec::new();
            for (i, kind) in kinds.iter().enumerate() {
                bytes.push(*kind);
                bytes.extend(fill.iter().skip(i * 7).take(fixed_len(*kind).unwrap_or(0)));
            }
            prop_assert_eq!(read(&bytes, size), read(&bytes, 10_000));
        }
    }
}
