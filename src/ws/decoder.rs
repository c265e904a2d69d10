//! An incremental decoder of a client's frames (RFC 6455 section 5).
//!
//! Messages are never reassembled: payload bytes leave as they come, unmasked and moved together in the
//! caller's own buffer, so that one read from the viewer becomes one write to the target.

use std::ops::Range;

use super::close::Close;
use super::frame::{FrameError, Kind, MAX_CONTROL, MAX_FRAME, MAX_NOTE};
use super::mask::Mask;
use super::utf8::Utf8;

/// Largest client frame header: 2 bytes, 8 of length, 4 of mask.
const MAX_HEADER: usize = 14;

/// What one call of [`Decoder::decode`] found.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Where in the buffer the unmasked payload bytes now lie, together and in order.
    pub payload: Range<usize>,
    /// Set when the viewer's stream ends here: its close, or its first error. Nothing after it is looked at.
    pub stop: Option<Result<Close, FrameError>>,
}

/// Incremental decoder of a client's frames. Its result does not depend on how the bytes are split.
#[derive(Debug)]
pub struct Decoder {
    accepts_text: bool,
    stage: Stage,
    header: [u8; MAX_HEADER],
    header_len: u8,
    kind: Kind,
    last: bool,
    mask: Mask,
    remaining: u64,
    /// The kind of the message whose last fragment has not come yet.
    open: Option<Kind>,
    text: Utf8,
    control: [u8; MAX_CONTROL],
    control_len: u8,
    ping: Option<Vec<u8>>,
    notes: Option<Box<Notes>>,
}

/// Text messages apart from the bytes.
#[derive(Debug, Default)]
struct Notes {
    /// Whole ones, a NUL behind each.
    whole: Vec<u8>,
    /// Of the one under way.
    begun: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Header,
    Payload,
    Ended,
}

impl Decoder {
    /// A decoder at the start of a connection. Text frames are checked as UTF-8, or refused (1003).
    pub fn new(accepts_text: bool) -> Self {
        Self {
            accepts_text,
            stage: Stage::Header,
            header: [0; MAX_HEADER],
            header_len: 0,
            kind: Kind::Binary,
            last: true,
            mask: Mask::default(),
            remaining: 0,
            open: None,
            text: Utf8::default(),
            control: [0; MAX_CONTROL],
            control_len: 0,
            ping: None,
            notes: None,
        }
    }

    /// The same, with text messages taken apart: they are no payload, and [`Decoder::take_notes`] has them.
    #[must_use]
    pub fn with_notes(mut self) -> Self {
        self.notes = Some(Box::default());
        self
    }

    /// The whole text messages since the last call, a NUL behind each, which none in JSON has within. As the
    /// caller takes them with every buffer, they are bounded by its size and [`MAX_NOTE`].
    pub fn take_notes(&mut self) -> Option<Vec<u8>> {
        let notes = self.notes.as_mut().filter(|notes| !notes.whole.is_empty())?;
        Some(std::mem::take(&mut notes.whole))
    }

    /// Decodes all of `buf`: afterwards `payload` bytes of it are the viewer's data, the rest is spent.
    pub fn decode(&mut self, buf: &mut [u8]) -> Decoded {
        let mut payload = 0..0;
        let mut at = 0;
        while self.stage != Stage::Ended {
            let step = match self.stage {
                Stage::Header if at == buf.len() => break,
                Stage::Header => self.take_header(buf[at]).map(|()| at += 1),
                Stage::Payload if at == buf.len() && self.remaining > 0 => break,
                _ => self.take_payload(buf, &mut at, &mut payload),
            };
            match step {
                Ok(()) => {}
                Err(stop) => {
                    self.stage = Stage::Ended;
                    return Decoded { payload, stop: Some(stop) };
                }
            }
        }
        Decoded { payload, stop: None }
    }

    /// The payload of the latest ping that has not been answered (RFC 6455 section 5.5.3 lets us answer only
    /// the latest), to be sent back as a pong.
    pub fn take_ping(&mut self) -> Option<Vec<u8>> {
        self.ping.take()
    }

    /// One more header byte; when the header is whole, checks it and goes on to the payload.
    fn take_header(&mut self, byte: u8) -> Result<(), Result<Close, FrameError>> {
        self.header[usize::from(self.header_len)] = byte;
        self.header_len += 1;
        let have = usize::from(self.header_len);
        if have == 2 {
            self.check_first_two().map_err(Err)?;
        }
        let extended = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if have < 2 || have < 2 + extended + 4 {
            return Ok(());
        }
        self.header_len = 0;
        self.remaining = self.length(extended).map_err(Err)?;
        if let Some(notes) = &self.notes
            && !self.kind.is_control()
            && self.open == Some(Kind::Text)
            && notes.begun.len() as u64 + self.remaining > MAX_NOTE as u64
        {
            return Err(Err(FrameError::Note));
        }
        let mut key = [0; 4];
        key.copy_from_slice(&self.header[2 + extended..2 + extended + 4]);
        self.mask = Mask::new(key);
        self.control_len = 0;
        self.stage = Stage::Payload;
        Ok(())
    }

    fn check_first_two(&mut self) -> Result<(), FrameError> {
        let [first, second] = [self.header[0], self.header[1]];
        if first & 0x70 != 0 {
            return Err(FrameError::Reserved);
        }
        self.kind = Kind::from_bits(first & 0x0f)?;
        self.last = first & 0x80 != 0;
        if second & 0x80 == 0 {
            return Err(FrameError::NotMasked);
        }
        if self.kind.is_control() {
            let fits = usize::from(second & 0x7f) <= MAX_CONTROL;
            return if self.last && fits { Ok(()) } else { Err(FrameError::Control) };
        }
        match (self.kind, self.open) {
            (Kind::Continuation, None) | (Kind::Text | Kind::Binary, Some(_)) => Err(FrameError::Fragments),
            (Kind::Text, None) if !self.accepts_text && self.notes.is_none() => Err(FrameError::Text),
            (Kind::Continuation, Some(_)) => Ok(()),
            (kind, _) => {
                self.open = Some(kind);
                Ok(())
            }
        }
    }

    fn length(&self, extended: usize) -> Result<u64, FrameError> {
        let length =
            self.header[2..2 + extended].iter().fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
        match extended {
            0 => Ok(u64::from(self.header[1] & 0x7f)),
            2 if length < 126 => Err(FrameError::Length),
            8 if length < 0x1_0000 || length >> 63 == 1 => Err(FrameError::Length),
            _ if length > MAX_FRAME => Err(FrameError::TooBig(length)),
            _ => Ok(length),
        }
    }

    /// Takes what `buf` holds of the frame's payload, and closes the frame when it is whole.
    fn take_payload(
        &mut self,
        buf: &mut [u8],
        at: &mut usize,
        payload: &mut Range<usize>,
    ) -> Result<(), Result<Close, FrameError>> {
        let here = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buf.len() - *at);
        if self.kind.is_control() {
            let from = usize::from(self.control_len);
            let control = &mut self.control[from..from + here];
            control.copy_from_slice(&buf[*at..*at + here]);
            self.mask.apply(control);
            self.control_len += u8::try_from(here).unwrap_or(0);
        } else if self.open == Some(Kind::Text)
            && let Some(notes) = &mut self.notes
        {
            let from = notes.begun.len();
            notes.begun.extend_from_slice(&buf[*at..*at + here]);
            self.mask.apply(&mut notes.begun[from..]);
            if !self.text.push(&notes.begun[from..]) {
                return Err(Err(FrameError::NotUtf8));
            }
        } else if here > 0 {
            if payload.start == payload.end {
                *payload = *at..*at;
            }
            self.mask.apply_towards_front(buf, *at, payload.end, here);
            let new = payload.end..payload.end + here;
            if self.open == Some(Kind::Text) && !self.text.push(&buf[new.clone()]) {
                return Err(Err(FrameError::NotUtf8));
            }
            payload.end = new.end;
        }
        *at += here;
        self.remaining -= here as u64;
        if self.remaining == 0 { self.finish_frame() } else { Ok(()) }
    }

    fn finish_frame(&mut self) -> Result<(), Result<Close, FrameError>> {
        self.stage = Stage::Header;
        let control = &self.control[..usize::from(self.control_len)];
        match self.kind {
            Kind::Close => return Err(Close::parse(control)),
            Kind::Ping => self.ping = Some(control.to_vec()),
            Kind::Pong => {}
            Kind::Continuation | Kind::Text | Kind::Binary => {
                if self.last {
                    if self.open == Some(Kind::Text) && !self.text.at_boundary() {
                        return Err(Err(FrameError::NotUtf8));
                    }
                    if self.open == Some(Kind::Text)
                        && let Some(notes) = &mut self.notes
                    {
                        notes.whole.append(&mut notes.begun);
                        notes.whole.push(0);
                    }
                    self.open = None;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: bool, bytes: &[u8]) -> (Vec<u8>, Option<Result<Close, FrameError>>) {
        let mut buf = bytes.to_vec();
        let decoded = Decoder::new(text).decode(&mut buf);
        (buf[decoded.payload].to_vec(), decoded.stop)
    }

    /// RFC 6455 section 5.7, the masked examples, byte for byte.
    #[test]
    fn the_rfcs_own_frames() {
        let hello_masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(decode(true, &hello_masked), (b"Hello".to_vec(), None));
        assert_eq!(decode(false, &hello_masked), (vec![], Some(Err(FrameError::Text))));

        let pong = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(decode(true, &pong), (vec![], None));
    }

    #[test]
    fn notes_are_apart_from_the_bytes() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let frame = |first: u8, body: &[u8]| {
            let masked: Vec<u8> = body.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k).collect();
            [&[first, 0x80 | u8::try_from(body.len()).unwrap()], &key[..], &masked].concat()
        };
        let stream = [
            frame(0x82, b"ab"),
            // In two fragments, a ping between them.
            frame(0x01, b"{\"type\":"),
            frame(0x89, b"?"),
            frame(0x80, b"1}"),
            frame(0x82, b"cd"),
            frame(0x81, b""),
            frame(0x81, "gr\u{fc}n".as_bytes()),
        ]
        .concat();
        for size in 1..=stream.len() {
            let mut decoder = Decoder::new(false).with_notes();
            let (mut bytes, mut notes) = (Vec::new(), Vec::new());
            for piece in stream.chunks(size) {
                let mut piece = piece.to_vec();
                let decoded = decoder.decode(&mut piece);
                assert_eq!(decoded.stop, None);
                bytes.extend_from_slice(&piece[decoded.payload]);
                notes.extend(decoder.take_notes().unwrap_or_default());
            }
            assert_eq!(bytes, b"abcd");
            assert_eq!(notes, "{\"type\":1}\0\0gr\u{fc}n\0".as_bytes());
        }
        let refused = |bytes: &[u8]| Decoder::new(false).with_notes().decode(&mut bytes.to_vec()).stop;
        assert_eq!(refused(&frame(0x81, b"\xff")), Some(Err(FrameError::NotUtf8)));
        let most = [&[0x01, 0xfe, 0x10, 0x00, 0, 0, 0, 0][..], &[b' '; MAX_NOTE]].concat();
        assert_eq!(refused(&most), None);
        assert_eq!(refused(&[&most[..], &[0x80, 0x81, 0, 0, 0, 0]].concat()), Some(Err(FrameError::Note)));
    }

    #[test]
    fn what_breaks_the_protocol_is_named() {
        let key = [0, 0, 0, 0];
        let frame = |head: &[u8], body: &[u8]| [head, &key, body].concat();
        let cases: &[(Vec<u8>, FrameError)] = &[
            (frame(&[0xc2, 0x80], b""), FrameError::Reserved),
            (frame(&[0x83, 0x80], b""), FrameError::Opcode(3)),
            (vec![0x82, 0x01, b'x'], FrameError::NotMasked),
            (frame(&[0x82, 0xfe, 0, 125], &[0; 125]), FrameError::Length),
            (frame(&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], b""), FrameError::Length),
            (frame(&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], b""), FrameError::Length),
            (frame(&[0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 1], b""), FrameError::TooBig(MAX_FRAME + 1)),
            (frame(&[0x09, 0x80], b""), FrameError::Control),
            (frame(&[0x89, 0xfe, 0, 126], &[0; 126]), FrameError::Control),
            (frame(&[0x80, 0x80], b""), FrameError::Fragments),
            ([frame(&[0x02, 0x80], b""), frame(&[0x82, 0x80], b"")].concat(), FrameError::Fragments),
            (frame(&[0x81, 0x81], b"\xff"), FrameError::NotUtf8),
            (frame(&[0x81, 0x81], b"\xc3"), FrameError::NotUtf8),
            (frame(&[0x88, 0x81], b"\x03"), FrameError::BadClose),
        ];
        for (bytes, error) in cases {
            assert_eq!(decode(true, bytes).1, Some(Err(*error)), "{bytes:02x?}");
        }
    }

    #[test]
    fn bytes_before_a_close_are_delivered_and_bytes_after_it_are_not() {
        let mut stream = vec![0x82, 0x82, 0, 0, 0, 0, 1, 2];
        stream.extend([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]);
        stream.extend([0x82, 0x81, 0, 0, 0, 0, 9]);
        assert_eq!(decode(false, &stream), (vec![1, 2], Some(Ok(Close { code: 1000 }))));
    }

    #[test]
    fn a_ping_between_fragments_is_kept_for_its_pong() {
        let mut stream = vec![0x02, 0x81, 0, 0, 0, 0, 1];
        stream.extend([0x89, 0x82, 0, 0, 0, 0, b'h', b'i']);
        stream.extend([0x80, 0x81, 0, 0, 0, 0, 2]);
        let mut decoder = Decoder::new(false);
        let decoded = decoder.decode(&mut stream);
        assert_eq!(&stream[decoded.payload], [1, 2]);
        assert_eq!(decoder.take_ping().as_deref(), Some(&b"hi"[..]));
        assert_eq!(decoder.take_ping(), None);
    }
}
