//! Fuzz oracles: the standard library's decoder judges the serial cut, a plain copy of everything the history, a
//! scan for what may stand behind an escape the replay; Telnet judges itself however it is split, casts are read back.

use super::cast::{self, Code};
use super::history::History;
use super::replay::Replay;
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

/// Reads `data` as a cast: no panic, whatever it is, and what was read is written and read again the same.
pub fn cast(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    if let Some(Ok(header)) = lines.next().map(cast::Header::parse) {
        assert_eq!(cast::Header::parse(header.line().trim_end().as_bytes()), Ok(header));
    }
    let mut decoder = cast::Decoder::default();
    let mut events: Vec<_> = lines.filter_map(|line| decoder.line(line).ok().flatten()).collect();
    events.extend(decoder.finish());
    let pieces: Vec<_> = events.into_iter().map(|event| (event.code == Code::Output, event.bytes)).collect();
    cast_round(&pieces);
}

/// Writes what went each way (`true`: output) and reads it again: the same bytes each way, in every line valid JSON.
pub fn cast_round(pieces: &[(bool, Vec<u8>)]) {
    let (mut encoder, mut out) = (cast::Encoder::default(), Vec::new());
    let code = |output: bool| if output { Code::Output } else { Code::Input };
    let mut time = 0;
    for (output, bytes) in pieces {
        time += 1500;
        encoder.event(time, code(*output), bytes, &mut out);
    }
    encoder.finish(time, &mut out);
    let (mut decoder, mut last) = (cast::Decoder::default(), 0);
    let mut read = [Vec::new(), Vec::new()];
    let mut take = |event: cast::Event| {
        assert!(event.micros >= last && event.micros <= time, "a time of its own");
        last = event.micros;
        read[usize::from(event.code == Code::Input)].extend(event.bytes);
    };
    for line in out.split(|byte| *byte == b'\n') {
        decoder.line(line).expect("what we wrote").into_iter().for_each(&mut take);
    }
    decoder.finish().into_iter().for_each(take);
    for output in [true, false] {
        let sent: Vec<u8> =
            pieces.iter().filter(|piece| piece.0 == output).flat_map(|piece| piece.1.clone()).collect();
        assert_eq!(read[usize::from(!output)], sent);
    }
}

/// A line that says `data`, in pieces and kept in sizes that its first bytes choose: what is kept is what was said.
pub fn history(data: &[u8]) {
    let [first, last, piece, asked, said @ ..] = data else { return };
    let (first, last) = (usize::from(first % 64), usize::from(last % 64).max(1));
    let mut history = History::new(first, last);
    for piece in said.chunks(usize::from(*piece).max(1)) {
        history.push(piece);
    }
    assert_eq!(history.end(), said.len() as u64);
    assert!(history.held() <= first + last, "{} > {first} + {last}", history.held());
    let begins = said.len().saturating_sub(last);
    assert_eq!(history.last_begins(), begins as u64);
    let mut into = vec![0; usize::from(*asked)];
    for from in 0..said.len() + 2 {
        let found = history.read(from as u64, &mut into);
        let kept = if from < first.min(said.len()) {
            from..first.min(said.len())
        } else {
            from.max(begins)..said.len()
        };
        let expected = if kept.is_empty() { &[][..] } else { &said[kept.clone()] };
        assert_eq!(&into[..found.count], &expected[..expected.len().min(into.len())], "from {from}");
        let missing = if kept.is_empty() { 0 } else { kept.start - from };
        assert_eq!(found.missing, missing as u64, "from {from}");
    }
}

/// A line that said `data`, of which the first byte chooses how it is split, shown again.
pub fn replay(data: &[u8]) {
    let Some((&size, said)) = data.split_first() else { return };
    let mut whole = said.to_vec();
    let mut filter = Replay::default();
    let settled = filter.apply(&mut whole);
    assert!(said.len() - settled < 260, "{} bytes wait", said.len() - settled);

    let (mut pieces, mut open) = (Vec::new(), Vec::new());
    let mut split = Replay::default();
    for piece in said.chunks(usize::from(size) + 1) {
        open.extend_from_slice(piece);
        let count = split.apply(&mut open);
        pieces.extend(open.drain(..count));
    }
    assert_eq!((&pieces[..], &open[..]), (&whole[..settled], &said[settled..]));
    assert_eq!(filter, split);

    // Nothing changed but to a blank, and what is left is fit: a second time changes nothing.
    assert!(pieces.iter().zip(said).all(|(shown, said)| shown == said || *shown == 0));
    let shown = [&pieces[..], b"."].concat();
    let mut again = shown.clone();
    assert_eq!((Replay::default().apply(&mut again), &again), (shown.len(), &shown));
    let text: Vec<u8> = pieces.iter().copied().filter(|&byte| byte != 0).collect();
    for (at, _) in text.iter().enumerate().filter(|(_, byte)| **byte == 0x1b) {
        fit(&text[at + 1..]);
    }
    assert!(!pieces.contains(&5), "ENQ");
}

/// What stands behind an escape that is shown, in other words than the filter's.
fn fit(behind: &[u8]) {
    let begins = String::from_utf8_lossy(&behind[..behind.len().min(300)]).into_owned();
    let Some(rest) = begins.strip_prefix('[') else {
        assert!(
            !begins.starts_with(['Z', ']', 'P', 'X', '^', '_', '\\']) && !begins.is_empty(),
            "ESC {begins:?}"
        );
        return;
    };
    let last = rest.find(|c: char| ('@'..='~').contains(&c)).expect("a whole sequence");
    let (parameters, function) = (&rest[..last], &rest[last..=last]);
    assert!(parameters.chars().all(|c| (' '..='?').contains(&c)), "CSI {parameters:?}");
    assert!(!"cntxiy".contains(function), "CSI {parameters} {function}");
    assert!(!parameters.contains(['>', '=', '<', '$', '*', '+', '\'', '&']), "CSI {parameters} {function}");
    assert!(!(parameters.starts_with('?') && "umSn".contains(function)), "CSI {parameters} {function}");
}
