//! WebSocket as a viewer speaks it (RFC 6455): frames masked once, ahead of time, and a parser that touches
//! headers only, so that the generator is not what is measured.

use crate::ws::MAX_CONTROL;

/// The key of every frame. A real client draws one per frame, against caches on the way (RFC 6455 section
/// 10.3); none is here, and the proxy's work is the same.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Opcodes of RFC 6455 section 5.2.
pub(super) const CONTINUATION: u8 = 0;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// The longest header of a frame from a server: it has no mask.
const MAX_HEADER: usize = 10;

/// Appends one masked frame.
pub(super) fn put_frame(out: &mut Vec<u8>, opcode: u8, last: bool, payload: &[u8]) {
    out.push(if last { FIN | opcode } else { opcode });
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ 0..=125), _) => out.push(MASKED | short),
        (_, Ok(medium)) => {
            out.push(MASKED | 126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(MASKED | 127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&KEY);
    out.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// One binary message in one frame.
pub(super) fn binary(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 14);
    put_frame(&mut frame, BINARY, true, payload);
    frame
}

/// What the server sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// Payload of a data frame, as far as it is there.
    Data(&'a [u8]),
    /// To be answered with a pong of the same payload.
    Ping(&'a [u8]),
    /// An answer to our ping.
    Pong(&'a [u8]),
    /// The server says goodbye.
    Close,
}

/// The server broke the protocol.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server sent a frame that RFC 6455 forbids: {0}")]
pub(super) struct FrameFault(&'static str);

/// A parser of frames from a server.
#[derive(Debug, Default)]
pub(super) struct Parser {
    header: [u8; MAX_HEADER],
    have: usize,
    remaining: u64,
    in_payload: bool,
    control: Vec<u8>,
}

impl Parser {
    /// Takes all of `bytes` and tells `on` what they are, in order.
    pub(super) fn feed(&mut self, bytes: &[u8], mut on: impl FnMut(Event<'_>)) -> Result<(), FrameFault> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if !self.in_payload {
                self.header[self.have] = rest[0];
                self.have += 1;
                rest = &rest[1..];
                if self.have < self.header_len() {
                    continue;
                }
                self.begin()?;
            }
            let here = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(rest.len());
            let (payload, after) = rest.split_at(here);
            rest = after;
            self.remaining -= here as u64;
            self.take(payload, &mut on);
        }
        Ok(())
    }

    fn header_len(&self) -> usize {
        match (self.have, self.header[1]) {
            (0 | 1, _) => 2,
            (_, 126) => 4,
            (_, 127) => 10,
            _ => 2,
        }
    }

    fn begin(&mut self) -> Result<(), FrameFault> {
        let [first, second] = [self.header[0], self.header[1]];
        if first & 0x70 != 0 || second & MASKED != 0 {
            return Err(FrameFault("reserved bits or a mask"));
        }
        self.remaining = match second {
            126 => u64::from(u16::from_be_bytes([self.header[2], self.header[3]])),
            127 => self.header[2..].iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
            short => u64::from(short),
        };
        if self.is_control() && (first & FIN == 0 || self.remaining > MAX_CONTROL as u64) {
            return Err(FrameFault("a control frame that is long or fragmented"));
        }
        if !matches!(first & 0x0f, 0..=2 | 8..=10) {
            return Err(FrameFault("an opcode without meaning"));
        }
        self.in_payload = true;
        self.have = 0;
        Ok(())
    }

    fn is_control(&self) -> bool {
        self.header[0] & 0x08 != 0
    }

    fn take(&mut self, payload: &[u8], on: &mut impl FnMut(Event<'_>)) {
        let whole = self.remaining == 0;
        if whole {
            self.in_payload = false;
        }
        if !self.is_control() {
            if !payload.is_empty() {
                on(Event::Data(payload));
            }
            return;
        }
        self.control.extend_from_slice(payload);
        if whole {
            match self.header[0] & 0x0f {
                PING => on(Event::Ping(&self.control)),
                PONG => on(Event::Pong(&self.control)),
                _ => on(Event::Close),
            }
            self.control.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::ws::{Decoder, HEADER_ROOM, Kind, control_frame, put_header};

    use super::*;

    fn from_server(parts: &[Vec<u8>]) -> Vec<u8> {
        let mut stream = Vec::new();
        for part in parts {
            let mut frame = vec![0; HEADER_ROOM];
            frame.extend_from_slice(part);
            let at = put_header(&mut frame, HEADER_ROOM, part.len());
            stream.extend_from_slice(&frame[at..]);
            stream.extend(control_frame(Kind::Ping, b"p"));
        }
        stream
    }

    proptest! {
        #[test]
        fn what_the_server_frames_is_read_in_any_pieces(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..5),
            piece in 1usize..64,
        ) {
            let mut parser = Parser::default();
            let (mut data, mut pings) = (Vec::new(), 0);
            for chunk in from_server(&parts).chunks(piece) {
                parser.feed(chunk, |event| match event {
                    Event::Data(bytes) => data.extend_from_slice(bytes),
                    Event::Ping(payload) => { assert_eq!(payload, b"p"); pings += 1; }
                    other => panic!("{other:?}"),
                }).unwrap();
            }
            prop_assert_eq!(data, parts.concat());
            prop_assert_eq!(pings, parts.len());
        }

        #[test]
        fn what_we_frame_the_proxy_reads(payload in proptest::collection::vec(any::<u8>(), 0..70_000)) {
            let mut frame = binary(&payload);
            let decoded = Decoder::new(false).decode(&mut frame);
            prop_assert_eq!(decoded.stop, None);
            prop_assert_eq!(&frame[decoded.payload], &payload[..]);
        }
    }

    #[test]
    fn a_masked_or_nonsense_frame_is_refused() {
        for bytes in [&[0x82, 0x81][..], &[0xc2, 0], &[0x83, 0], &[0x09, 0], &[0x89, 126, 0, 200]] {
            assert!(Parser::default().feed(bytes, |_| {}).is_err(), "{bytes:02x?}");
        }
        let mut closed = false;
        Parser::default().feed(&[0x88, 2, 3, 0xe8], |event| closed = event == Event::Close).unwrap();
        assert!(closed);
    }
}
