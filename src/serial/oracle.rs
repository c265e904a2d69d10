//! Fuzz oracles: the standard library's decoder judges the serial cut, Telnet judges itself however it is split.

use super::telnet::{Flow, Parity, Setting, Telnet};

/// Cuts `data` and every beginning of it as std's decoder would.
pub fn cut(data: &[u8]) {
    for end in 0..=data.len().min(64) {
        check(&data[..end]);
    }
    check(data);
}

fn check(bytes: &[u8]) {
    let sent = super::cut(bytes);
    // std says what is open at the end: the invalid parts before it are chunks of their own.
    let open = match bytes.utf8_chunks().last() {
        Some(last) if std::str::from_utf8(last.invalid()).is_err_and(|e| e.error_len().is_none()) => {
            last.invalid().len()
        }
        _ => 0,
    };
    assert_eq!(sent, bytes.len() - open, "{bytes:x?}");
}

/// A terminal server that says `data`, of which the first byte chooses how it is split.
pub fn telnet(data: &[u8]) {
    let Some((&first, bytes)) = data.split_first() else { return };
    let settings = vec![
        Setting::Baud(0x00ff_1200),
        Setting::Parity(Parity::Odd),
        Setting::Flow(Flow::RtsCts),
        Setting::Dtr(true),
    ];
    let run = |size: usize| {
        let mut telnet = Telnet::new(settings.clone());
        let mut line = Vec::new();
        for piece in bytes.chunks(size) {
            let mut piece = piece.to_vec();
            let kept = telnet.receive(&mut piece);
            line.extend_from_slice(&piece[..kept]);
        }
        let differing: Vec<_> = std::iter::from_fn(|| telnet.differing()).collect();
        let state = (telnet.suspended(), telnet.modem(), telnet.unset());
        (telnet, line, differing, state)
    };
    let (mut telnet, line, differing, state) = run(usize::MAX);
    let (split, line_split, differing_split, state_split) = run(usize::from(first % 32) + 1);
    assert_eq!(line, line_split);
    assert_eq!((differing, state), (differing_split, state_split));
    assert_eq!(telnet.output(), split.output());

    // To a peer the output is commands alone, and what is sent behind it arrives as it is.
    let mut peer = Telnet::new(Vec::new());
    let mut said = telnet.output().to_vec();
    telnet.wrote(said.len());
    assert_eq!(peer.receive(&mut said), 0, "commands that read as data");
    if !telnet.binary() {
        peer.receive(&mut [255, 252, 0]);
    }
    telnet.send(bytes);
    let mut sent = telnet.output().to_vec();
    let kept = peer.receive(&mut sent);
    assert_eq!(&sent[..kept], bytes);
}
