//! Fuzz oracles of the RFB parsers: whatever the bytes and however they are split, the same result and no panic.
//! The fuzz targets call them with arbitrary bytes; `cargo test` replays them on generated ones.

use super::fbs;
use super::{
    CanvasServer, Credentials, Handshake, Mode, Outcome, Screen, Security, TargetGreeter, Version, ViewOnly,
    ViewerGreeter,
};

/// The first byte chooses how to split, the rest is what to split.
fn split(data: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = data.split_first()?;
    Some((usize::from(first % 32) + 1, rest))
}

/// Greets a target that says `data`.
pub fn target(data: &[u8]) {
    let Some((size, bytes)) = split(data) else { return };
    let run = |mode: Mode, size: usize| {
        let mut greeter = TargetGreeter::new(mode, Credentials::new("u", "p"));
        let (mut out, mut used) = (Vec::new(), 0);
        for piece in bytes.chunks(size) {
            let fed = greeter.feed(piece);
            out.extend_from_slice(&greeter.output());
            match fed {
                Ok(n) => used += n,
                Err(error) => return (out, 0, Err(error)),
            }
            if greeter.done().is_some() {
                break;
            }
        }
        assert!(used == bytes.len() || greeter.done().is_some(), "bytes refused without an end");
        (out, used, Ok(greeter.done()))
    };
    for mode in [Mode::PassThrough, Mode::Authenticate(vec![Security::None, Security::Vnc])] {
        assert_eq!(run(mode.clone(), size), run(mode, usize::MAX));
    }
}

/// Greets a target with VeNCrypt: `data` is what it says in the clear and, after the first byte's count, in TLS.
/// Without TLS no credential leaves.
pub fn vencrypt(data: &[u8]) {
    let Some((size, rest)) = split(data) else { return };
    let Some((&cut, rest)) = rest.split_first() else { return };
    let (clear, inside) = rest.split_at(rest.len().min(usize::from(cut)));
    let certified = [Security::X509Plain, Security::X509Vnc, Security::X509None];
    let anonymous = [Security::TlsPlain, Security::TlsVnc, Security::TlsNone];
    let allowed = match cut % 3 {
        0 => certified.to_vec(),
        1 => anonymous.to_vec(),
        _ => [certified, anonymous].concat(),
    };
    let run = |size: usize| {
        let credentials = Credentials::new("user-name", "pass-word");
        let mut greeter = TargetGreeter::new(Mode::Authenticate(allowed.clone()), credentials);
        let mut out = Vec::new();
        for piece in clear.chunks(size) {
            let fed = greeter.feed(piece);
            out.extend_from_slice(&greeter.output());
            if let Err(error) = fed {
                return (out, Err(error));
            }
        }
        assert!(out.len() <= 12 + 1 + 2 + 4, "more than a choice in the clear");
        assert!(greeter.done().is_none(), "a way around TLS");
        if greeter.wants_tls() {
            assert!(greeter.security().is_some_and(|one| allowed.contains(&one)), "not one of ours");
            greeter.secured();
            out.extend_from_slice(&greeter.output());
            for piece in inside.chunks(size) {
                let fed = greeter.feed(piece);
                out.extend_from_slice(&greeter.output());
                if let Err(error) = fed {
                    return (out, Err(error));
                }
            }
        }
        (out, Ok(greeter.done()))
    };
    assert_eq!(run(size), run(usize::MAX));
}

/// Greets a viewer that says `data`.
pub fn viewer(data: &[u8]) {
    let Some((size, bytes)) = split(data) else { return };
    let run = |size: usize| {
        let mut greeter = ViewerGreeter::new();
        let (mut out, mut used) = (Vec::new(), 0);
        for piece in bytes.chunks(size) {
            let fed = greeter.feed(piece);
            out.extend(std::iter::from_fn(|| greeter.output()));
            match fed {
                Ok(n) => used += n,
                Err(error) => return (out, 0, Err(error)),
            }
            if greeter.done().is_some() {
                break;
            }
        }
        (out, used, Ok(greeter.done()))
    };
    assert_eq!(run(size), run(usize::MAX));
}

/// Relays a handshake between a viewer and a target that both speak from `data`.
pub fn handshake(data: &[u8]) {
    let Some((size, rest)) = split(data) else { return };
    let Some((&choice, rest)) = rest.split_first() else { return };
    let version = [Version::V3_3, Version::V3_7, Version::V3_8][usize::from(choice % 3)];
    let outcome =
        if choice & 0x80 == 0 { Outcome::PassThrough(version) } else { Outcome::Authenticated(version) };
    let (from_viewer, from_target) = rest.split_at(rest.len().min(usize::from(choice & 0x7f)));
    let run = |size: usize| {
        let mut hs = Handshake::new(outcome);
        let (mut v, mut t) = (0, 0);
        let (mut to_viewer, mut to_target) = (Vec::new(), Vec::new());
        loop {
            let more = |bytes: &'_ [u8], at: usize| at..bytes.len().min(at.saturating_add(size));
            let fed = hs
                .from_viewer(&from_viewer[more(from_viewer, v)])
                .and_then(|used_v| Ok((used_v, hs.from_target(&from_target[more(from_target, t)])?)));
            to_viewer.extend(std::iter::from_fn(|| hs.to_viewer()));
            to_target.extend(std::iter::from_fn(|| hs.to_target()));
            match fed {
                Ok((0, 0)) => return (to_viewer, to_target, Ok((v, t, hs.done()))),
                Ok((used_v, used_t)) => (v, t) = (v + used_v, t + used_t),
                Err(error) => return (to_viewer, to_target, Err(error)),
            }
        }
    };
    assert_eq!(run(size), run(usize::MAX));
}

/// A viewer who may only watch says `data`. Of what is left, every message is one that only watches.
pub fn view_only(data: &[u8]) {
    let Some((size, bytes)) = split(data) else { return };
    let run = |size: usize| {
        let (mut filter, mut out) = (ViewOnly::new(), Vec::new());
        for piece in bytes.chunks(size) {
            let mut buffer = [&[0; ViewOnly::ROOM], piece].concat();
            match filter.apply(&mut buffer, ViewOnly::ROOM..ViewOnly::ROOM + piece.len()) {
                Ok(range) => out.extend_from_slice(&buffer[range]),
                // What came before it in the same piece is not passed on either.
                Err(error) => return (out, Some(error)),
            }
        }
        (out, None)
    };
    let (whole, end) = run(usize::MAX);
    let (pieces, same_end) = run(size);
    assert_eq!(end, same_end);
    assert!(end.is_some() || pieces == whole, "another rest when split");
    // A second reader, as a target would be: it finds borders by itself.
    let mut rest = &pieces[..];
    while let Some(&kind) = rest.first() {
        let field = |at: usize| usize::from(rest.get(at).copied().unwrap_or(0));
        let len = match kind {
            0 => 20,
            2 => 4 + 4 * (field(2) << 8 | field(3)),
            3 | 150 => 10,
            248 => 9 + field(8),
            255 if rest.len() < 4 => rest.len(),
            255 => {
                if field(3) == 2 {
                    10
                } else {
                    4
                }
            }
            other => panic!("a message of type {other} came through"),
        };
        assert!(kind != 255 || rest.len() < 2 || field(1) == 1, "a key came through");
        rest = &rest[len.min(rest.len())..];
    }
}

/// Chunks of output that the fuzzer has painted: a whole screen takes a thousand times as long as what asks for it.
const PAINTED: usize = 2;

/// A viewer of the canvas that says `data` after a good handshake.
pub fn canvas(data: &[u8]) {
    canvas_shows(data, PAINTED);
}

/// The same, and at most so many chunks of what it is shown.
fn canvas_shows(data: &[u8], most: usize) {
    let Some((size, bytes)) = split(data) else { return };
    let run = |size: usize| {
        let mut server = CanvasServer::demo("fuzz");
        assert!(server.feed(b"RFB 003.008\n\x01\x01").is_ok(), "a good handshake was refused");
        let fed = bytes.chunks(size).try_for_each(|piece| server.feed(piece));
        let events: Vec<_> = std::iter::from_fn(|| server.poll_event()).collect();
        // One screen in the widest format, in as many pieces as it has bands, and nothing after it.
        let output = std::iter::from_fn(|| server.output()).filter(|chunk| !chunk.is_empty());
        let sent: Vec<Vec<u8>> = output.take(most).collect();
        assert!(sent.len() < 64 && sent.iter().all(|chunk| chunk.len() < 70_000), "output without a bound");
        (fed, events, sent)
    };
    let whole = run(usize::MAX);
    assert_eq!(run(size), whole);
}

/// Reads an FBS recording: the same records however it is split, and what was read is written the same.
pub fn fbs(data: &[u8]) {
    let Some((size, bytes)) = split(data) else { return };
    let run = |size: usize| {
        let (mut reader, mut records) = (fbs::Reader::default(), Vec::new());
        for piece in bytes.chunks(size) {
            reader.push(piece);
            loop {
                match reader.next_record() {
                    Ok(Some(record)) => records.push(record),
                    Ok(None) => break,
                    Err(error) => return (records, 0, Err(error)),
                }
            }
        }
        (records, reader.leftover(), Ok(()))
    };
    let whole = run(usize::MAX);
    assert_eq!(run(size), whole);
    let (records, leftover, read) = whole;
    if read.is_ok() && bytes.len() >= fbs::MAGIC.len() {
        let mut written = Vec::new();
        records.iter().for_each(|record| fbs::record(record.millis, &record.data, &mut written));
        assert_eq!(fbs::MAGIC.len() + written.len() + leftover, bytes.len());
    }
}

/// Shows a recorded stream: behind the handshake of a screen of 16 by 16 pixels, the same picture or error however
/// it is split.
pub fn screen(data: &[u8]) {
    let Some((size, bytes)) = split(data) else { return };
    let format = [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0];
    let init = [&[0, 16, 0, 16][..], &[0; 20]].concat();
    let begun = fbs::handshake(&init, format);
    let run = |size: usize| {
        let mut screen = Screen::default();
        let mut shown = screen.feed(&begun);
        for piece in bytes.chunks(size) {
            shown = shown.and_then(|()| screen.feed(piece));
        }
        (shown, screen.size(), screen.name().to_owned(), screen.pixels().to_vec())
    };
    let (whole, pieces) = (run(usize::MAX), run(size));
    assert_eq!(whole.0, pieces.0);
    // What was drawn before an error, or of a rectangle that has not all come, is nobody's concern.
    if whole.0.is_ok() {
        assert_eq!((whole.1, &whole.2), (pieces.1, &pieces.2));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    /// A version line in front makes most inputs go deeper.
    fn input() -> impl Strategy<Value = Vec<u8>> {
        let line = prop::sample::select(vec!["", "RFB 003.003\n", "RFB 003.007\n", "RFB 003.008\n"]);
        let byte = prop_oneof![3 => 0u8..8, 1 => any::<u8>()];
        (any::<[u8; 2]>(), line, prop::collection::vec(byte, 0..120))
            .prop_map(|(head, line, tail)| [&head, line.as_bytes(), &tail].concat())
    }

    proptest! {
        #[test]
        fn handshakes(data in input()) {
            super::target(&data);
            super::vencrypt(&data);
            super::viewer(&data);
            super::handshake(&data);
        }
    }

    proptest! {
        #[test]
        fn view_only(data in prop::collection::vec(
            prop_oneof![
                4 => Just(0u8),
                2 => prop::sample::select(vec![1u8, 2, 3, 4, 5, 6, 150, 248, 250, 251, 253, 255]),
                1 => any::<u8>(),
            ],
            0..120,
        )) {
            super::view_only(&data);
        }
    }

    proptest! {
        // Each case may paint two whole screens.
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn canvas(data in input()) {
            super::canvas_shows(&data, usize::MAX);
        }
    }
}
