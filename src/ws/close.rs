//! Close frames: codes (RFC 6455 section 7.4) and their wire form.

use super::frame::{FrameError, MAX_CONTROL};

/// Why a session is closed, as the viewer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// 1000: the target ended the session.
    Normal,
    /// 1001: the proxy is going away (drain).
    GoingAway,
    /// 1002: the viewer broke RFC 6455.
    Protocol,
    /// 1003: a text frame where only binary has a meaning (VNC).
    Unsupported,
    /// 1007: a text frame that is not UTF-8.
    InvalidData,
    /// 1008: policy: refused, revoked or taken over.
    Policy,
    /// 1009: a frame larger than we accept.
    TooBig,
    /// 1011: the target failed.
    Failed,
    /// 1013: busy, try later.
    TryLater,
}

impl CloseCode {
    /// The number on the wire.
    pub fn number(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::GoingAway => 1001,
            Self::Protocol => 1002,
            Self::Unsupported => 1003,
            Self::InvalidData => 1007,
            Self::Policy => 1008,
            Self::TooBig => 1009,
            Self::Failed => 1011,
            Self::TryLater => 1013,
        }
    }
}

/// A close as the viewer sent it. No code in the frame reads as 1005 (RFC 6455 section 7.1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    /// The viewer's code, or 1005.
    pub code: u16,
}

impl Close {
    /// Parses a close frame's payload (RFC 6455 section 5.5.1).
    pub(super) fn parse(payload: &[u8]) -> Result<Self, FrameError> {
        match payload {
            [] => Ok(Self { code: 1005 }),
            [_] => Err(FrameError::BadClose),
            [high, low, reason @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                // 1004-1006 and 1015 are never sent; below 1000 and from 5000 on are not defined.
                if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                    return Err(FrameError::BadClose);
                }
                std::str::from_utf8(reason).map_err(|_| FrameError::NotUtf8)?;
                Ok(Self { code })
            }
        }
    }

    /// A close frame's payload: code and reason, the reason cut at a character so that it fits.
    pub fn payload(code: CloseCode, reason: &str) -> Vec<u8> {
        let mut end = reason.len().min(MAX_CONTROL - 2);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let mut payload = Vec::with_capacity(2 + end);
        payload.extend_from_slice(&code.number().to_be_bytes());
        payload.extend_from_slice(&reason.as_bytes()[..end]);
        payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_the_rfc_allows_and_nothing_else() {
        let with = |code: u16, reason: &[u8]| [&code.to_be_bytes(), reason].concat();
        let cases: &[(Vec<u8>, Result<u16, FrameError>)] = &[
            (vec![], Ok(1005)),
            (vec![3], Err(FrameError::BadClose)),
            (with(1000, b""), Ok(1000)),
            (with(1001, b"bye"), Ok(1001)),
            (with(999, b""), Err(FrameError::BadClose)),
            (with(1004, b""), Err(FrameError::BadClose)),
            (with(1005, b""), Err(FrameError::BadClose)),
            (with(1006, b""), Err(FrameError::BadClose)),
            (with(1015, b""), Err(FrameError::BadClose)),
            (with(2999, b""), Err(FrameError::BadClose)),
            (with(3000, b""), Ok(3000)),
            (with(4999, b""), Ok(4999)),
            (with(5000, b""), Err(FrameError::BadClose)),
            (with(1000, b"\xff"), Err(FrameError::NotUtf8)),
        ];
        for (payload, expected) in cases {
            assert_eq!(&Close::parse(payload).map(|c| c.code), expected, "{payload:?}");
        }
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let payload = Close::payload(CloseCode::Policy, &"ä".repeat(100));
        assert!(payload.len() <= MAX_CONTROL);
        assert_eq!(Close::parse(&payload), Ok(Close { code: 1008 }));
    }
}
