//! The WebSocket codec: unmasking what a viewer sends in large and small frames, and heading what it gets.

#![allow(clippy::cast_possible_truncation, reason = "sizes chosen here, all small")]

use std::hint::black_box;

use consolegate::ws::{Decoder, HEADER_ROOM, put_header};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

/// Payload of the relay's buffer.
const BUFFER: usize = 60 * 1024;

/// Whole masked binary frames with `payload` bytes each, `total` bytes of payload in all.
fn frames(payload: usize, total: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for frame in 0..total / payload {
        bytes.push(0x82);
        match payload {
            0..=125 => bytes.push(0x80 | u8::try_from(payload).expect("short")),
            126..=0xffff => {
                bytes.push(0x80 | 126);
                bytes.extend_from_slice(&u16::try_from(payload).expect("medium").to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend_from_slice(&(payload as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(&(0x9e37_79b9_u32.wrapping_mul(frame as u32 + 1)).to_be_bytes());
        bytes.resize(bytes.len() + payload, 0x5a);
    }
    bytes
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for (name, payload) in [("64 KiB", 64 * 1024), ("16 KiB", 16 * 1024), ("64 bytes", 64), ("1 byte", 1)] {
        let total = payload.max(256 * 1024 / payload.min(8) / 8);
        let wire = frames(payload, total);
        group.throughput(Throughput::Bytes(total as u64));
        group.bench_function(format!("frames of {name}"), |bencher| {
            // The decoder works in place: each round needs the bytes as they came, which is not measured.
            let read_as_the_relay_does = |mut wire: Vec<u8>| {
                let mut decoder = Decoder::new(false);
                for piece in wire.chunks_mut(BUFFER) {
                    let decoded = decoder.decode(piece);
                    assert!(decoded.stop.is_none());
                    black_box(&piece[decoded.payload]);
                }
                wire
            };
            bencher.iter_batched(|| wire.clone(), read_as_the_relay_does, BatchSize::LargeInput);
        });
    }
    group.finish();
}

fn header(criterion: &mut Criterion) {
    let mut buffer = vec![0; HEADER_ROOM + BUFFER];
    criterion.bench_function("header of a 60 KiB frame", |bencher| {
        bencher.iter(|| put_header(black_box(&mut buffer), HEADER_ROOM, black_box(BUFFER)));
    });
}

criterion_group!(benches, decode, header);
criterion_main!(benches);
