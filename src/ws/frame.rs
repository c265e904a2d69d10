//! Frames (RFC 6455 section 5): their kinds, what may be wrong with them, and the server's own.

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
    pub(super) fn from_bits(bits: u8) -> Result<Self, FrameError> {
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

    pub(super) fn is_control(self) -> bool {
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

    /// RFC 6455 section 5.7, the examples that are not masked, byte for byte; and each length of a length.
    #[test]
    fn the_rfcs_own_frames() {
        assert_eq!(control_frame(Kind::Ping, b"Hello"), [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        assert_eq!(text_frame("Hello"), [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);

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
}
