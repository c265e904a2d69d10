//! Frames (RFC 6455 section 5): an incremental decoder for client frames and header writers for server frames.
//!
//! Messages are never reassembled: payload bytes leave as they come, unmasked and moved together in the
//! caller's own buffer, so that one read from the viewer becomes one write to the target.

use std::ops::Range;

use super::close::Close;
use super::mask::Mask;
use super::utf8::Utf8;

/// Largest data frame accepted from a viewer, in bytes. Clients of a console send keys and pastes; a megabyte
/// is a generous paste, and the cap only bounds what a header may announce, nothing is allocated for it.
pub const MAX_FRAME: u64 = 1 << 20;

/// Largest control frame payload, in bytes (RFC 6455 section 5.5).
pub const MAX_CONTROL: usize = 125;

/// Largest text message taken apart from the bytes, in bytes: the longest of them is under a hundred, but
/// for what later versions may add.
pub const MAX_NOTE: usize = 4096;

/// Room to leave in front of a payload for the largest server frame header (10 bytes), rounded up.
pub const HEADER_ROOM: usize = 16;

/// Largest client frame header: 2 bytes, 8 of length, 4 of mask.
const MAX_HEADER: usize = 14;

/// What a frame carries (RFC 6455 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// More of the message before.
    Continuation,
    /// UTF-8 text.
    Text,
    /// Bytes.
    Binary,
    /// The peer ends the connection.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping.
    Pong,
}

impl Kind {
    fn from_bits(bits: u8) -> Result<Self, FrameError> {
        Ok(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            other => return Err(FrameError::Opcode(other)),
        })
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// How a viewer broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A reserved bit was set, but no extension was agreed on.
    #[error("reserved bits set without an extension")]
    Reserved,
    /// An opcode RFC 6455 does not define.
    #[error("unknown opcode {0}")]
    Opcode(u8),
    /// A client frame without a mask.
    #[error("client frame is not masked")]
    NotMasked,
    /// A length in more bytes than it needs, or past 2^63.
    #[error("length is not minimally encoded")]
    Length,
    /// A data frame above [`MAX_FRAME`].
    #[error("frame of {0} bytes, at most {MAX_FRAME}")]
    TooBig(u64),
    /// A control frame that is fragmented or above [`MAX_CONTROL`].
    #[error("control frame is fragmented or too long")]
    Control,
    /// A text message above [`MAX_NOTE`] where these are taken apart.
    #[error("text message of more than {MAX_NOTE} bytes")]
    Note,
    /// A continuation of nothing, or a new message inside another.
    #[error("fragments out of order")]
    Fragments,
    /// A text frame where only binary has a meaning.
    #[error("text frame, only binary is accepted")]
    Text,
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// A malformed close frame.
    #[error("malformed close frame")]
    BadClose,
}

impl FrameError {
    /// The close code that tells the viewer (RFC 6455 section 7.4.1).
    pub fn close_code(self) -> super::CloseCode {
        match self {
            Self::TooBig(_) | Self::Note => super::CloseCode::TooBig,
            Self::Text => super::CloseCode::Unsupported,
            Self::NotUtf8 => super::CloseCode::InvalidData,
            _ => super::CloseCode::Protocol,
        }
    }
}

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

/// Writes the header of a whole, unmasked binary frame so that it ends at `buf[at]`, where the payload of
/// `len` bytes begins. Returns where the frame begins. `at` must be at least [`HEADER_ROOM`].
pub fn put_header(buf: &mut [u8], at: usize, len: usize) -> usize {
    const FIN: u8 = 0x80;
    let first = FIN | Kind::Binary.bits();
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short @ 0..=125), _) => {
            buf[at - 2..at].copy_from_slice(&[first, short]);
            at - 2
        }
        (_, Ok(medium)) => {
            let [high, low] = medium.to_be_bytes();
            buf[at - 4..at].copy_from_slice(&[first, 126, high, low]);
            at - 4
        }
        _ => {
            buf[at - 10..at - 8].copy_from_slice(&[first, 127]);
            buf[at - 8..at].copy_from_slice(&(len as u64).to_be_bytes());
            at - 10
        }
    }
}

/// A whole, unmasked text frame.
pub fn text_frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0; HEADER_ROOM];
    frame.extend_from_slice(text.as_bytes());
    let at = put_header(&mut frame, HEADER_ROOM, text.len());
    frame[at] = 0x80 | Kind::Text.bits();
    frame.drain(..at);
    frame
}

/// A whole control frame; `payload` beyond [`MAX_CONTROL`] is cut.
pub fn control_frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(MAX_CONTROL)];
    let mut frame = Vec::with_capacity(2 + payload.len());
    frame.push(0x80 | kind.bits());
    frame.push(u8::try_from(payload.len()).unwrap_or(0));
    frame.extend_from_slice(payload);
    frame
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
        assert_eq!(control_frame(Kind::Ping, b"Hello"), [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);

        let mut buf = vec![0; HEADER_ROOM];
        assert_eq!(put_header(&mut buf, 16, 256), 12);
        assert_eq!(buf[12..], [0x82, 0x7e, 0x01, 0x00]);
        assert_eq!(put_header(&mut buf, 16, 65536), 6);
        assert_eq!(buf[6..], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(put_header(&mut buf, 16, 125), 14);
        assert_eq!(buf[14..], [0x82, 125]);
        assert_eq!(put_header(&mut buf, 16, 65535), 12);
        assert_eq!(buf[12..], [0x82, 126, 0xff, 0xff]);
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
        assert_eq!(text_frame("Hello"), [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
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
