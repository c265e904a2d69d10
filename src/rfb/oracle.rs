//! Fuzz oracles of the RFB parsers: whatever the bytes and however they are split, the same result and no panic.
//! The fuzz targets call them with arbitrary bytes; `cargo test` replays them on generated ones.

use super::{CanvasServer, Handshake, Mode, Outcome, Security, TargetGreeter, Version, ViewerGreeter};

/// The first byte chooses how to split, the rest is what to split.
fn split(data: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = data.split_first()?;
    Some((usize::from(first % 32) + 1, rest))
}

/// Greets a target that says `data`.
pub fn target(data: &[u8]) {
    let Some((size, bytes)) = split(data) else { return };
    let run = |mode: Mode, size: usize| {
        let mut greeter = TargetGreeter::new(mode);
        let (mut out, mut used) = (Vec::new(), 0);
        for piece in bytes.chunks(size) {
            let fed = greeter.feed(piece);
            out.extend(greeter.output());
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
    for mode in [Mode::PassThrough, Mode::Authenticate(vec![Security::None])] {
        assert_eq!(run(mode.clone(), size), run(mode, usize::MAX));
    }
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

/// A viewer of the canvas that says `data` after a good handshake.
pub fn canvas(data: &[u8]) {
    let Some((size, bytes)) = split(data) else { return };
    let run = |size: usize| {
        let mut server = CanvasServer::demo("fuzz");
        assert!(server.feed(b"RFB 003.008\n\x01\x01").is_ok(), "a good handshake was refused");
        let fed = bytes.chunks(size).try_for_each(|piece| server.feed(piece));
        let events: Vec<_> = std::iter::from_fn(|| server.poll_event()).collect();
        // One screen in the widest format, in as many pieces as it has bands, and nothing after it.
        let mut sent: Vec<Vec<u8>> = std::iter::from_fn(|| server.output()).collect();
        assert!(sent.len() < 64 && sent.iter().all(|chunk| chunk.len() < 70_000), "output without a bound");
        sent.retain(|chunk| !chunk.is_empty());
        (fed, events, sent)
    };
    let whole = run(usize::MAX);
    assert_eq!(run(size), whole);
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
            super::viewer(&data);
            super::handshake(&data);
        }
    }

    proptest! {
        // Each case may paint two whole screens.
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn canvas(data in input()) {
            super::canvas(&data);
        }
    }
}
