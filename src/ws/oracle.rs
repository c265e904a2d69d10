//! Fuzz oracle for the decoder: split at will, the result is the same and every index is in bounds.

use super::decoder::Decoder;

/// Decodes `data` whole and in pieces of the sizes its own bytes dictate; panics when the two differ.
pub fn decoder(data: &[u8]) {
    let Some((&step, stream)) = data.split_first() else { return };
    let accepts_text = step & 1 == 1;
    let run = |size: usize| {
        let mut decoder = Decoder::new(accepts_text);
        if step & 2 == 2 {
            decoder = decoder.with_notes();
        }
        let (mut bytes, mut notes) = (Vec::new(), Vec::new());
        let mut last_ping = None;
        for piece in stream.chunks(size.max(1)) {
            let mut piece = piece.to_vec();
            let decoded = decoder.decode(&mut piece);
            bytes.extend_from_slice(&piece[decoded.payload]);
            notes.extend(decoder.take_notes().unwrap_or_default());
            last_ping = decoder.take_ping().or(last_ping);
            if let Some(stop) = decoded.stop {
                return (bytes, notes, last_ping, Some(stop));
            }
        }
        (bytes, notes, last_ping, None)
    };
    let mut whole = run(stream.len());
    let mut pieces = run(usize::from(step >> 2));
    // Text found broken at its first byte or a few later is the same verdict on a different number of bytes.
    if matches!(whole.3, Some(Err(super::FrameError::NotUtf8))) {
        whole.0.clear();
        pieces.0.clear();
    }
    assert_eq!(whole, pieces);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};
    use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};

    use crate::ws::frame::{HEADER_ROOM, Kind, control_frame, put_header};

    #[derive(Clone, Debug)]
    struct Message {
        fragments: Vec<Vec<u8>>,
        ping: Option<Vec<u8>>,
        key: [u8; 4],
    }

    fn message() -> impl Strategy<Value = Message> {
        let bytes = |max| proptest::collection::vec(any::<u8>(), 0..max);
        let sizes = prop_oneof![9 => bytes(300), 1 => bytes(70_000)];
        let fragments = proptest::collection::vec(sizes, 1..4);
        (fragments, proptest::option::of(bytes(126)), any::<[u8; 4]>())
            .prop_map(|(fragments, ping, key)| Message { fragments, ping, key })
    }

    /// Encodes with tungstenite, the reference.
    fn push(out: &mut Vec<u8>, payload: &[u8], opcode: OpCode, last: bool, key: [u8; 4]) {
        let mut frame = match opcode {
            OpCode::Data(_) => Frame::message(payload.to_vec(), opcode, last),
            OpCode::Control(_) => Frame::ping(payload.to_vec()),
        };
        *frame.header_mut() = FrameHeader { mask: Some(key), ..frame.header().clone() };
        frame.format(out).unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_tungstenite_encodes_we_decode(
            messages in proptest::collection::vec(message(), 0..6),
            pieces in proptest::collection::vec(1usize..5000, 1..5),
        ) {
            let mut stream = Vec::new();
            let mut expected = Vec::new();
            let mut expected_ping = None;
            for m in &messages {
                for (i, fragment) in m.fragments.iter().enumerate() {
                    let data = if i == 0 { Data::Binary } else { Data::Continue };
                    push(&mut stream, fragment, OpCode::Data(data), i + 1 == m.fragments.len(), m.key);
                    expected.extend_from_slice(fragment);
                    if let Some(ping) = &m.ping {
                        push(&mut stream, ping, OpCode::Control(Control::Ping), true, m.key);
                        expected_ping = Some(ping.clone());
                    }
                }
            }
            let mut decoder = crate::ws::Decoder::new(false);
            let (mut got, mut ping) = (Vec::new(), None);
            let (mut rest, mut sizes) = (&stream[..], pieces.iter().cycle());
            while !rest.is_empty() {
                let (piece, tail) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                rest = tail;
                let mut piece = piece.to_vec();
                let decoded = decoder.decode(&mut piece);
                prop_assert_eq!(decoded.stop, None);
                got.extend_from_slice(&piece[decoded.payload]);
                ping = decoder.take_ping().or(ping);
            }
            prop_assert_eq!(got, expected);
            prop_assert_eq!(ping, expected_ping);
        }

        #[test]
        fn what_we_encode_tungstenite_reads(len in prop_oneof![0usize..200, 65_000usize..66_000]) {
            let mut buf = vec![7u8; HEADER_ROOM + len];
            let start = put_header(&mut buf, HEADER_ROOM, len);
            let mut cursor = std::io::Cursor::new(&buf[start..]);
            let (header, length) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
            prop_assert!(header.is_final && header.mask.is_none());
            prop_assert_eq!(header.opcode, OpCode::Data(Data::Binary));
            prop_assert_eq!(usize::try_from(length).unwrap(), len);
            prop_assert_eq!(usize::try_from(cursor.position()).unwrap() + start, HEADER_ROOM);
        }

        #[test]
        fn control_frames_read_back(payload in proptest::collection::vec(any::<u8>(), 0..126)) {
            let frame = control_frame(Kind::Pong, &payload);
            let mut cursor = std::io::Cursor::new(&frame[..]);
            let (header, length) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
            prop_assert_eq!(header.opcode, OpCode::Control(Control::Pong));
            prop_assert_eq!(usize::try_from(length).unwrap(), payload.len());
            prop_assert_eq!(&frame[2..], &payload[..]);
        }

        #[test]
        fn the_oracle_holds_on_noise(data in proptest::collection::vec(any::<u8>(), 0..400)) {
            super::decoder(&data);
        }

        #[test]
        fn the_oracle_holds_on_almost_frames(
            step: u8,
            frames in proptest::collection::vec((0u8..16, any::<bool>(), proptest::collection::vec(any::<u8>(), 0..130)), 0..5),
        ) {
            let mut data = vec![step];
            for (opcode, last, body) in frames {
                data.push(opcode | if last { 0x80 } else { 0 });
                match u8::try_from(body.len()) {
                    Ok(n @ 0..=125) => data.push(0x80 | n),
                    _ => data.extend([0xfe, 0, u8::try_from(body.len()).unwrap()]),
                }
                data.extend([1, 2, 3, 4]);
                data.extend(body);
            }
            super::decoder(&data);
        }
    }
}
