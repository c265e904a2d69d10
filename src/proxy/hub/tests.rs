//! Hubs over in-memory lines: history, gaps, the pen, and what a viewer costs.

use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use crate::config::SerialHub;
use crate::ids::Generation;
use crate::net::stream::TargetStream;

use super::drive::drive;
use super::*;

/// A hub and the far end of its line.
struct Bench {
    hub: Arc<Hub>,
    line: UnixStream,
    task: JoinHandle<()>,
}

fn bench(settings: SerialHub) -> Bench {
    let (ours, line) = UnixStream::pair().unwrap();
    let hub = Arc::new(Hub::new(("t".into(), Generation(1)), settings, (None, None)));
    let task = tokio::spawn(drive(Arc::clone(&hub), TargetStream::Unix(ours)));
    Bench { hub, line, task }
}

fn small() -> SerialHub {
    SerialHub { first: 8, last: 64, ..SerialHub::default() }
}

fn sit(hub: &Arc<Hub>, id: u128, seen: Option<u64>) -> (Watcher, u64) {
    sit_knowing(hub, id, seen.map(|offset| Seen { offset, line: None }))
}

fn sit_knowing(hub: &Arc<Hub>, id: u128, seen: Option<Seen>) -> (Watcher, u64) {
    let id = Uuid::from_u128(id);
    let watcher = hub.place(id).unwrap();
    let arrival = Arrival { user: format!("u{id}").into(), writes: true, mailbox: None, seen };
    let (_, offset) = hub.seat(id, arrival);
    (watcher, offset)
}

/// Reads until `end` has come.
async fn read_to(watcher: &mut Watcher, end: &[u8]) -> Vec<u8> {
    let (mut said, mut buffer) = (Vec::new(), [0; 1024]);
    while !said.ends_with(end) {
        let count = watcher.read(&mut buffer).await.unwrap();
        assert!(count > 0, "the end instead of {:?}", String::from_utf8_lossy(end));
        said.extend_from_slice(&buffer[..count]);
    }
    said
}

#[tokio::test]
async fn an_offset_into_another_hubs_output_means_nothing() {
    let Bench { hub, mut line, .. } = bench(SerialHub::default());
    let (mut first, _) = sit(&hub, 1, None);
    line.write_all(b"0123456789.").await.unwrap();
    read_to(&mut first, b".").await;
    let offset = 4;
    let (_ours, at) = sit_knowing(&hub, 2, Some(Seen { offset, line: Some(hub.id()) }));
    assert_eq!(at, 4);
    let (mut others, at) = sit_knowing(&hub, 3, Some(Seen { offset, line: Some(Uuid::from_u128(1)) }));
    assert_eq!(at, 0);
    assert_eq!(read_to(&mut others, b".").await, b"0123456789.");
}

#[tokio::test]
async fn whoever_comes_later_reads_what_was_said_before() {
    let Bench { hub, mut line, .. } = bench(SerialHub::default());
    let (mut first, _) = sit(&hub, 1, None);
    line.write_all(b"boot\x1b[6n\x1b[31mred login: ").await.unwrap();
    assert_eq!(read_to(&mut first, b"login: ").await, b"boot\x1b[6n\x1b[31mred login: ");
    let (mut second, offset) = sit(&hub, 2, None);
    assert_eq!(offset, 0);
    // The question is not asked again.
    assert_eq!(read_to(&mut second, b"login: ").await, b"boot\0\0\0\0\x1b[31mred login: ");
    line.write_all(b"root\x1b[6n.").await.unwrap();
    assert_eq!(read_to(&mut second, b".").await, b"root\x1b[6n.");
    assert_eq!(read_to(&mut first, b".").await, b"root\x1b[6n.");
    let (mut third, offset) = sit(&hub, 3, Some(8));
    assert_eq!(offset, 8);
    assert_eq!(read_to(&mut third, b".").await, b"\x1b[31mred login: root\0\0\0\0.");
    // What another hub counted is no offset of this one's.
    assert_eq!(sit(&hub, 4, Some(10_000)).1, 0);
}

#[tokio::test]
async fn a_sequence_that_was_cut_is_resumed_from_its_beginning() {
    let Bench { hub, mut line, .. } = bench(SerialHub::default());
    let (mut first, _) = sit(&hub, 1, None);
    line.write_all(b"abc\x1b[6n.").await.unwrap();
    read_to(&mut first, b".").await;
    for seen in [4, 5, 6] {
        let (mut again, offset) = sit(&hub, u128::from(seen), Some(seen));
        assert_eq!(offset, 3);
        assert_eq!(read_to(&mut again, b".").await, b"\0\0\0\0.");
    }
    // One that is open where the history ends goes on live.
    line.write_all(b"x\x1b[").await.unwrap();
    let mut two = [0; 3];
    first.read_exact(&mut two).await.unwrap();
    let (mut last, _) = sit(&hub, 9, Some(8));
    let mut buffer = [0; 3];
    last.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"x\x1b[");
    line.write_all(b"6n!").await.unwrap();
    assert_eq!(read_to(&mut last, b"!").await, b"6n!");
}

#[tokio::test]
async fn a_slow_viewer_misses_bytes_and_holds_nobody_up() {
    let Bench { hub, mut line, .. } = bench(small());
    let (mut quick, _) = sit(&hub, 1, None);
    let (mut slow, _) = sit(&hub, 2, None);
    let mailbox = Arc::<Mailbox>::default();
    let told = Uuid::from_u128(3);
    let mut watcher = hub.place(told).unwrap();
    let arrival =
        Arrival { user: "u".into(), writes: false, mailbox: Some(Arc::clone(&mailbox)), seen: None };
    hub.seat(told, arrival);
    let mut said = Vec::new();
    for number in 0..100 {
        let text = format!("{number:03}.");
        line.write_all(text.as_bytes()).await.unwrap();
        said.extend(read_to(&mut quick, b".").await);
    }
    assert_eq!(said.len(), 400);
    // 8 bytes from the beginning, then the hole, then half of what is kept.
    let shown = read_to(&mut slow, b"099.").await;
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.starts_with("000.001."), "{shown:?}");
    assert!(shown.contains("360 bytes are missing"), "{shown:?}");
    assert!(shown.ends_with("092.093.094.095.096.097.098.099."), "{shown:?}");
    assert_eq!(read_to(&mut watcher, b"099.").await.len(), 8 + 32, "no words of ours among the bytes");
    let notices = format!("{mailbox:?}");
    assert!(notices.contains(r#"\"type\":\"gap\",\"bytes\":360"#), "{notices}");
}

#[tokio::test]
async fn one_types_and_the_others_words_are_dropped() {
    let Bench { hub, mut line, .. } = bench(SerialHub::default());
    let (mut first, _) = sit(&hub, 1, None);
    let (mut second, _) = sit(&hub, 2, None);
    second.write_all(b"no").await.unwrap();
    first.write_all(b"yes").await.unwrap();
    let mut typed = [0; 3];
    line.read_exact(&mut typed).await.unwrap();
    assert_eq!(&typed, b"yes");
    hub.command(Uuid::from_u128(2), Command::Take);
    first.write_all(b"no").await.unwrap();
    second.write_all(b"now").await.unwrap();
    line.read_exact(&mut typed).await.unwrap();
    assert_eq!(&typed, b"now");
    drop(second);
    first.write_all(b"mine").await.unwrap();
    let mut typed = [0; 4];
    line.read_exact(&mut typed).await.unwrap();
    assert_eq!(&typed, b"mine");
}

#[tokio::test]
async fn who_types_waits_for_a_line_that_does_not_read() {
    let Bench { hub, mut line, .. } = bench(SerialHub::default());
    let (mut first, _) = sit(&hub, 1, None);
    let paste: Vec<u8> = (0..4_000_000u32).map(|n| n.to_le_bytes()[0]).collect();
    let expected = paste.clone();
    let pasting = tokio::spawn(async move {
        first.write_all(&paste).await.unwrap();
        first
    });
    let mut typed = vec![0; expected.len()];
    line.read_exact(&mut typed).await.unwrap();
    assert!(typed == expected);
    pasting.await.unwrap();
    assert!(hub.lock().input.capacity() <= 2 * MAX_INPUT);
}

/// A hub whose line takes nothing any more, and the task of its first viewer who waits for it.
async fn stuck() -> (Bench, JoinHandle<Watcher>) {
    let bench = bench(SerialHub::default());
    let (mut first, _) = sit(&bench.hub, 1, None);
    let pasting = tokio::spawn(async move {
        first.write_all(&vec![b'x'; 4_000_000]).await.unwrap();
        first
    });
    while bench.hub.lock().writer.is_none() {
        tokio::task::yield_now().await;
    }
    // The line's own buffer fills up too.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(!pasting.is_finished());
    (bench, pasting)
}

#[tokio::test]
async fn who_waits_is_not_forgotten_when_another_goes() {
    let (Bench { hub, mut line, .. }, pasting) = stuck().await;
    drop(sit(&hub, 2, None));
    let mut typed = vec![0; 4_000_000];
    line.read_exact(&mut typed).await.unwrap();
    pasting.await.unwrap();
}

#[tokio::test]
async fn who_waits_and_loses_the_pen_waits_no_longer() {
    let (Bench { hub, line: _line, .. }, pasting) = stuck().await;
    let (_second, _) = sit(&hub, 2, None);
    hub.command(Uuid::from_u128(2), Command::Take);
    pasting.await.unwrap();
}

#[tokio::test]
async fn a_hub_whose_line_takes_nothing_still_ends() {
    let (Bench { hub, line: _line, task }, pasting) = stuck().await;
    hub.end();
    task.await.unwrap();
    assert!(pasting.await.is_err(), "what could not be typed was not taken");
}

#[tokio::test]
async fn a_sequence_without_an_end_ends_with_the_line() {
    let Bench { hub, .. } = bench(SerialHub::default());
    hub.heard(b"\x1b]0;ti");
    let (mut first, _) = sit(&hub, 1, None);
    let mut open = [0; 6];
    first.read_exact(&mut open).await.unwrap();
    hub.heard(b"tle\x1b");
    hub.end();
    let mut rest = Vec::new();
    first.read_to_end(&mut rest).await.unwrap();
    assert_eq!((open, &rest[..]), ([0; 6], &b"\0\0\0\x1b"[..]));
}

#[tokio::test]
async fn a_sequence_longer_than_the_readers_room_is_not_shown() {
    let Bench { hub, .. } = bench(SerialHub::default());
    hub.heard(b"\x1b[38;2;1;2;3m.");
    let (mut first, _) = sit(&hub, 1, None);
    let mut said = [0; 4];
    first.read_exact(&mut said).await.unwrap();
    assert_eq!(said, [0; 4]);
    assert_eq!(read_to(&mut first, b".").await, b";2;1;2;3m.");
}

#[tokio::test]
async fn when_the_line_ends_everybody_reads_what_there_was() {
    let Bench { hub, mut line, task } = bench(SerialHub::default());
    let (mut first, _) = sit(&hub, 1, None);
    line.write_all(b"last words").await.unwrap();
    drop(line);
    task.await.unwrap();
    let mut said = Vec::new();
    first.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, b"last words");
    assert!(hub.place(Uuid::from_u128(2)).is_none());
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_somebody_to_come_back_and_then_ends() {
    let linger = Duration::from_secs(60);
    let Bench { hub, line: _line, task } = bench(SerialHub { linger, ..SerialHub::default() });
    let (first, _) = sit(&hub, 1, None);
    tokio::time::sleep(linger * 10).await;
    drop(first);
    tokio::time::sleep(linger / 2).await;
    let (second, _) = sit(&hub, 2, None);
    tokio::time::sleep(linger * 10).await;
    assert!(!task.is_finished());
    let left = Instant::now();
    drop(second);
    task.await.unwrap();
    assert_eq!(left.elapsed().as_secs(), linger.as_secs());
    assert!(hub.place(Uuid::from_u128(3)).is_none());
}

#[tokio::test(start_paused = true)]
async fn one_that_captures_does_not_end() {
    let Bench { hub, mut line, task } = bench(SerialHub { capture: true, ..SerialHub::default() });
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    line.write_all(b"nobody is here.").await.unwrap();
    while hub.lock().history.end() < 15 {
        tokio::task::yield_now().await;
    }
    let (mut first, _) = sit(&hub, 1, None);
    assert_eq!(read_to(&mut first, b".").await, b"nobody is here.");
    hub.end();
    task.await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_viewer_who_resumes_anywhere_reads_the_rest(
        said in prop::collection::vec(prop_oneof![Just(b'\x1b'), Just(b'['), Just(b'm'), any::<u8>()], 1..200),
        seen: prop::sample::Index,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let hub = Arc::new(Hub::new(("t".into(), Generation(1)), SerialHub::default(), (None, None)));
            let seen = seen.index(said.len()) as u64;
            hub.heard(&said);
            let (mut watcher, offset) = sit(&hub, 1, Some(seen));
            assert!(offset <= seen, "{offset} > {seen}");
            hub.end();
            let mut rest = Vec::new();
            watcher.read_to_end(&mut rest).await.unwrap();
            // Byte for byte at its place, but for blanks.
            let expected = &said[usize::try_from(offset).unwrap()..];
            assert_eq!(rest.len(), expected.len());
            assert!(rest.iter().zip(expected).all(|(shown, said)| shown == said || *shown == 0));
        });
    }
}
