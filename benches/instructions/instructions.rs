//! The code whose instructions `cargo xtask guard` counts: the frame codec and a token's way through the store.
//!
//! `instructions CASE work` prepares a case and does its work, `instructions CASE idle` only prepares it: the
//! difference of the two, both run under callgrind, is the work alone. So whatever libc picks for this CPU to
//! prepare with (its copies have a variant for each kind of vector register) cancels out. Nothing is random, and
//! nothing reads the time. Without arguments, as `cargo test --benches` runs it, every case works once.

#![allow(clippy::print_stdout, reason = "the list of cases is for the caller")]
#![allow(clippy::cast_possible_truncation, reason = "sizes chosen here, all small")]

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use consolegate::clock::Clock;
use consolegate::ids::{Generation, GrantId, Protocol, RequestId};
use consolegate::tokens::{Claim, Confirm, Grant, MemoryStore, Nonce, Options, Store, TokenKey};
use consolegate::ws::{Decoder, HEADER_ROOM, put_header};
use uuid::Uuid;

/// Payload of the relay's buffer: frames come in pieces of this size.
const BUFFER: usize = 60 * 1024;

/// Bytes a codec case decodes: many times its fixed costs.
const TOTAL: usize = 1024 * 1024;

/// Tokens of the store's case: each of its 256 locks guards some.
const TOKENS: usize = 10_000;

/// Server frames headed, a third of each length of header.
const HEADERS: usize = 3_000;

/// What is counted: a name, what one operation is, how many there are, and the code. Its argument says whether to
/// do the work or only to prepare it.
struct Case {
    name: &'static str,
    operation: &'static str,
    operations: usize,
    run: fn(bool),
}

const CASES: [Case; 6] = [
    Case { name: "header", operation: "frame to a viewer headed", operations: HEADERS, run: header },
    Case {
        name: "small-frames",
        operation: "frame of 1 byte decoded",
        operations: TOTAL / 16,
        run: |work| decode(work, 1, TOTAL / 16, false),
    },
    Case {
        name: "unmask-in-place",
        operation: "KiB of 64 KiB frames decoded",
        operations: TOTAL / 1024,
        run: |work| decode_apart(work, 64 * 1024),
    },
    Case {
        name: "unmask-moving",
        operation: "KiB of 1 KiB frames decoded",
        operations: TOTAL / 1024,
        run: |work| decode(work, 1024, TOTAL / 1024, false),
    },
    Case {
        name: "unmask-text",
        operation: "KiB of 1 KiB text frames decoded",
        operations: TOTAL / 1024,
        run: |work| decode(work, 1024, TOTAL / 1024, true),
    },
    Case { name: "spend", operation: "token claimed and confirmed", operations: TOKENS, run: spend },
];

/// Masked frames with `payload` bytes each, as a viewer sends them; the text is half ASCII, half Cyrillic.
fn frames(payload: usize, count: usize, text: bool) -> Vec<u8> {
    let key = [0x12, 0x34, 0x56, 0x78];
    let clear = "login: вход\r\n ".as_bytes();
    assert_eq!(clear.len(), 18, "the payload below ends between characters");
    let mut wire = Vec::new();
    for _ in 0..count {
        wire.push(if text { 0x81 } else { 0x82 });
        match payload {
            0..=125 => wire.push(0x80 | payload as u8),
            126..=0xffff => {
                wire.push(0x80 | 126);
                wire.extend((payload as u16).to_be_bytes());
            }
            _ => {
                wire.push(0x80 | 127);
                wire.extend((payload as u64).to_be_bytes());
            }
        }
        wire.extend(key);
        let whole = payload / clear.len() * clear.len();
        let bytes = clear.iter().cycle().take(whole).chain(std::iter::repeat_n(&b' ', payload - whole));
        wire.extend(bytes.zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    }
    wire
}

/// Decodes one stream in pieces of the relay's buffer: payloads move together over the headers.
fn decode(work: bool, payload: usize, count: usize, text: bool) {
    let mut wire = frames(payload, count, text);
    if work {
        let mut decoder = Decoder::new(text);
        let mut total = 0;
        for piece in wire.chunks_mut(BUFFER) {
            let decoded = decoder.decode(piece);
            assert!(decoded.stop.is_none());
            total += black_box(&piece[decoded.payload]).len();
        }
        assert_eq!(total, payload * count);
    }
}

/// Decodes frames larger than the buffer, each of its own: nothing has to move.
fn decode_apart(work: bool, payload: usize) {
    let mut wires: Vec<_> = (0..TOTAL / payload).map(|_| frames(payload, 1, false)).collect();
    if work {
        for wire in &mut wires {
            let mut decoder = Decoder::new(false);
            for piece in wire.chunks_mut(BUFFER) {
                let decoded = decoder.decode(piece);
                assert!(decoded.stop.is_none());
                black_box(&piece[decoded.payload]);
            }
        }
    }
}

/// Heads frames with each of the three lengths a header has.
fn header(work: bool) {
    let mut buffer = vec![0; HEADER_ROOM];
    if work {
        for _ in 0..HEADERS / 3 {
            for len in [80, BUFFER, 70_000] {
                black_box(put_header(black_box(&mut buffer), HEADER_ROOM, black_box(len)));
            }
        }
    }
}

/// The memory store answers at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => unreachable!("the memory store does not wait"),
    }
}

/// Claims and confirms every token of a store.
fn spend(work: bool) {
    let store = MemoryStore::new(Clock::manual(), 2 * TOKENS);
    let grant = Grant {
        id: GrantId(Uuid::from_u128(1)),
        request: RequestId(Uuid::from_u128(2)),
        target: "47e9be4e-a7b9-471f-92d9-ffc83814e07a".into(),
        generation: Generation(3),
        protocol: Protocol::Vnc,
        project: "9c53a566cb3443ab910cf0daebca90c4".into(),
        user: "demo".into(),
        options: Options::default(),
    };
    // Spread as the hashes of tokens are, but the same ones in each run: Knuth's multiplicative hash.
    let keys: Vec<_> = (1..=TOKENS as u64)
        .map(|n| {
            let spread = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
            let mut key = [0; 32];
            key.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&spread));
            TokenKey::from(key)
        })
        .collect();
    for key in &keys {
        now(store.create(*key, grant.clone(), Duration::from_secs(600), 0)).expect("room");
    }
    if work {
        for (number, key) in keys.iter().enumerate() {
            let nonce = Nonce(number as u128);
            assert!(matches!(now(store.claim(*key, nonce)), Ok(Claim::Won(_))));
            assert_eq!(now(store.confirm(*key, nonce)), Ok(Confirm::Confirmed));
        }
    }
    // Freeing what is left costs more when nothing was spent, which is none of the work.
    std::mem::forget(store);
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => CASES.iter().for_each(|case| (case.run)(true)),
        ["list"] => {
            for case in &CASES {
                println!("{}\t{}\t{}", case.name, case.operations, case.operation);
            }
        }
        [name, how @ ("work" | "idle")] => {
            let case = CASES.iter().find(|case| case.name == name).expect("the name of a case");
            (case.run)(black_box(how == "work"));
        }
        _ => panic!("usage: instructions [list | CASE work | CASE idle]"),
    }
}
