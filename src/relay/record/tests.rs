//! Recordings from the pump to the files, without a server: what is written is what went over the wire, a disk that
//! is slow or broken does what the policy says, and what was begun for nothing is gone again.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::{self, OnRecordingFailure, Record};
use crate::ids::{Generation, GrantId, Protocol, RequestId};
use crate::rfb::fbs;
use crate::serial::cast;
use crate::tokens::{Grant, Options};
use crate::ws::Decoder;

use super::super::{Counters, End, Plan, Pump, StopHandle, run, stop_pair};
use super::*;

fn settings(dir: &Path) -> config::Recording {
    config::Recording {
        directory: dir.join("recordings"),
        record: Record::Off,
        input: false,
        on_failure: OnRecordingFailure::Stop,
        max_age: None,
        max_size: None,
    }
}

fn wanted(protocol: Protocol, policy: Record) -> Wanted {
    let grant = Grant {
        id: GrantId(Uuid::from_u128(3)),
        request: RequestId(Uuid::from_u128(4)),
        target: "bm1".to_owned().into(),
        generation: Generation(0),
        protocol,
        project: "p".to_owned().into(),
        user: "anne \"a\"".to_owned().into(),
        options: Options::default(),
    };
    let (session, source) = (Uuid::new_v4(), "192.0.2.7".parse().unwrap());
    Wanted { session, grant: Arc::new(grant), source, policy }
}

fn recorder(settings: &config::Recording) -> Recorder {
    Recorder::start(settings, Audit::default(), Clock::system()).unwrap()
}

/// The one recording there is: its data, its journal, its other files.
fn only(recorder: &Recorder) -> (Vec<u8>, Journal, Vec<Part>) {
    let [kept] = &recorder.library().list().unwrap()[..] else { panic!("not one recording") };
    let mut data = Vec::new();
    let mut file = recorder.library().open(kept, kept.data().unwrap()).unwrap();
    std::io::Read::read_to_end(&mut file, &mut data).unwrap();
    (data, recorder.library().journal(kept).unwrap(), kept.parts.clone())
}

/// What of a cast went one way.
fn said(data: &[u8], code: cast::Code) -> Vec<u8> {
    let mut lines = data.split(|byte| *byte == b'\n');
    cast::Header::parse(lines.next().unwrap()).unwrap();
    let mut decoder = cast::Decoder::default();
    let mut events: Vec<_> = lines.filter_map(|line| decoder.line(line).unwrap()).collect();
    events.extend(decoder.finish());
    events.into_iter().filter(|event| event.code == code).flat_map(|event| event.bytes).collect()
}

fn stream(data: &[u8]) -> Vec<u8> {
    let mut reader = fbs::Reader::default();
    reader.push(data);
    let mut all = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        all.extend(record.data);
    }
    assert_eq!(reader.leftover(), 0, "whole records");
    all
}

struct Session {
    viewer: DuplexStream,
    target: DuplexStream,
    end: JoinHandle<End>,
    _stop: StopHandle,
}

/// A recorded session between two streams.
fn session(tape: Tape, plan: &Plan) -> Session {
    let ((viewer, ours), (target, theirs)) = (duplex(1 << 16), duplex(1 << 16));
    let (stop, stopped) = stop_pair();
    let decoder = Decoder::new(plan.whole_characters);
    let pump = Pump::new((ours, vec![]), (theirs, vec![]), decoder, plan, Arc::<Counters>::default());
    let end = tokio::spawn(run(pump.recorded(tape), stopped));
    Session { viewer, target, end, _stop: stop }
}

/// A masked frame whose key is zero.
fn frame(payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(payload.len()).ok().filter(|len| *len < 126).expect("a short one");
    [&[0x82, 0x80 | len, 0, 0, 0, 0], payload].concat()
}

const GOODBYE: [u8; 6] = [0x88, 0x80, 0, 0, 0, 0];

async fn play(session: Session, down: &[Vec<u8>], up: &[Vec<u8>]) -> End {
    let Session { viewer, mut target, end, _stop } = session;
    let (mut from_proxy, mut to_proxy) = tokio::io::split(viewer);
    let watching = tokio::spawn(async move {
        let mut all = Vec::new();
        let _ = from_proxy.read_to_end(&mut all).await;
    });
    for piece in down {
        target.write_all(piece).await.unwrap();
    }
    for piece in up {
        to_proxy.write_all(&frame(piece)).await.unwrap();
        let mut arrived = vec![0; piece.len()];
        target.read_exact(&mut arrived).await.unwrap();
    }
    to_proxy.write_all(&GOODBYE).await.unwrap();
    drop(target);
    let end = end.await.unwrap();
    drop(to_proxy);
    watching.await.unwrap();
    end
}

#[tokio::test]
async fn a_serial_session_is_a_cast_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = recorder(&config::Recording { input: true, ..settings(dir.path()) });
    let wanted = wanted(Protocol::Serial, Record::On);
    let recording = recorder.begin(&wanted).unwrap();
    let plan = Plan { whole_characters: true, ..Plan::default() };
    let mut down: Vec<Vec<u8>> = (0..200u32).map(|n| n.to_le_bytes().repeat(300)).collect();
    down.push("gr\u{fc}n \x1b[0m\r\n".into());
    let up = [b"root\n".to_vec(), vec![0xff, 0xc3]];
    let end = play(session(recording.tape(), &plan), &down, &up).await;
    recording.finish(end.name());
    recorder.stop();
    let (data, journal, parts) = only(&recorder);
    assert_eq!(said(&data, cast::Code::Output), down.concat());
    assert_eq!(said(&data, cast::Code::Input), up.concat());
    assert_eq!(parts, [Part::Text, Part::Journal]);
    let about = journal.about().unwrap();
    assert_eq!((about.id, about.user.as_str(), about.policy), (wanted.session, "anne \"a\"", Record::On));
    let (_, cause, _) = journal.ended().unwrap();
    assert!(["viewer_closed", "target_closed"].contains(&cause), "{cause}");
    let name = fs::read_dir(dir.path().join("recordings")).unwrap().next().unwrap().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&name.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "nobody else's eyes");
}

#[tokio::test]
async fn a_screen_is_an_fbs_stream_in_the_viewers_pixels() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = recorder(&settings(dir.path()));
    let recording = recorder.begin(&wanted(Protocol::Vnc, Record::Required)).unwrap();
    let mut tape = recording.tape();
    let init = [&[0, 8, 0, 4][..], &[9; 16], &[0, 0, 0, 2], b"vm"].concat();
    let pixels = |byte: u8| [&[0; 4][..], &[byte; 16]].concat();
    tape.server_init(Instant::now(), &init);
    // Ahead of its turn, with the greeting.
    tape.up(Instant::now(), &pixels(7));
    let s = session(tape, &Plan::default());
    let down = vec![b"first".to_vec()];
    play(s, &down, &[b"\x04\x01\0\0\0\0\0a".to_vec(), pixels(5)]).await;
    recording.finish("viewer_closed");
    recorder.stop();
    let (data, journal, parts) = only(&recorder);
    let expected =
        [&b"RFB 003.003\n\0\0\0\x01\0\x08\0\x04"[..], &[7; 16], &[0, 0, 0, 2], b"vm", b"first"].concat();
    assert_eq!(stream(&data), expected);
    let formats: Vec<_> = journal.pixel_formats().collect();
    assert_eq!(formats, [(data.len() as u64, [5; 16])]);
    assert_eq!(parts, [Part::Screen, Part::Journal], "no input is kept that nobody asked for");
    assert!(!data.windows(8).any(|bytes| bytes == b"\x04\x01\0\0\0\0\0a"), "no key");
}

#[tokio::test]
async fn whole_reads_and_short_ones_keep_their_order() {
    let dir = tempfile::tempdir().unwrap();
    for protocol in [Protocol::Vnc, Protocol::Serial] {
        let recorder = recorder(&config::Recording {
            directory: dir.path().join(protocol.as_str()),
            ..settings(dir.path())
        });
        let recording = recorder.begin(&wanted(protocol, Record::On)).unwrap();
        let plan = Plan { whole_characters: protocol == Protocol::Serial, ..Plan::default() };
        let text = |n: usize| "gr\u{fc}n\x1b[0m\r\n".repeat(n).into_bytes();
        let down: Vec<_> = (0..120).map(|n| text([1, 5000, 7, 3000, 0][n % 5] + n)).collect();
        play(session(recording.tape(), &plan), &down, &[]).await;
        recording.finish("viewer_closed");
        recorder.stop();
        let (data, ..) = only(&recorder);
        let said = if protocol == Protocol::Vnc { stream(&data) } else { said(&data, cast::Code::Output) };
        assert!(said == down.concat(), "{protocol}");
    }
}

#[test]
fn few_bytes_wait_for_the_flush_and_many_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = recorder(&settings(dir.path()));
    let recording = recorder.begin(&wanted(Protocol::Serial, Record::On)).unwrap();
    let track = Arc::clone(&recording.0);
    // The writer gets no further than the disk.
    let disk = lock(&track.sink);
    let mut tape = recording.tape();
    let pending = || lock(&track.queue).batch.held();
    tape.down(Instant::now(), b"few");
    assert!(!lock(&track.queue).queued);
    tape.flush();
    while pending() > 0 {
        std::thread::yield_now();
    }
    tape.down(Instant::now(), &[b'x'; 120 * 1024]);
    assert!(lock(&track.queue).queued);
    drop((disk, tape));
    recording.finish("idle");
    recorder.stop();
    assert_eq!(said(&only(&recorder).0, cast::Code::Output).len(), 3 + 120 * 1024);
}

#[tokio::test]
async fn a_viewers_input_is_kept_beside_when_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = recorder(&config::Recording { input: true, ..settings(dir.path()) });
    let recording = recorder.begin(&wanted(Protocol::Vnc, Record::On)).unwrap();
    let mut tape = recording.tape();
    tape.server_init(Instant::now(), &[0; 24]);
    tape.up(Instant::now(), b"\x04\x01\0\0\0\0\0a");
    recording.finish("viewer_closed");
    recorder.stop();
    let kept = recorder.library().list().unwrap().remove(0);
    let mut input = Vec::new();
    std::io::Read::read_to_end(&mut recorder.library().open(&kept, Part::Input).unwrap(), &mut input)
        .unwrap();
    assert_eq!(stream(&input), b"\x04\x01\0\0\0\0\0a");
    let (data, ..) = only(&recorder);
    assert_eq!(stream(&data).len(), 16 + 24, "a screen that never showed anything has its handshake");
}

#[test]
fn what_never_stood_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = recorder(&config::Recording { input: true, ..settings(dir.path()) });
    drop(recorder.begin(&wanted(Protocol::Vnc, Record::On)).unwrap());
    let cut_off = recorder.begin(&wanted(Protocol::Serial, Record::On)).unwrap();
    cut_off.tape().down(Instant::now(), b"words");
    drop(cut_off);
    recorder.stop();
    let (data, journal, _) = only(&recorder);
    assert_eq!(said(&data, cast::Code::Output), b"words");
    assert_eq!(journal.ended().unwrap().1, "abandoned");
}

#[test]
fn what_cannot_be_recorded_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = recorder(&settings(dir.path()));
    let begin = |protocol| recorder.begin(&wanted(protocol, Record::Required)).map(drop);
    assert!(matches!(begin(Protocol::Spice), Err(RecordError::Protocol(Protocol::Spice))));
    fs::remove_dir_all(dir.path().join("recordings")).unwrap();
    assert!(matches!(begin(Protocol::Serial), Err(RecordError::Begin(_))));
    assert!(recorder.may_go_on(Record::On) && !recorder.may_go_on(Record::Required));
}

/// A disk that does not take a byte: the writer waits where it would for the disk. Returns what the console could
/// say before it was no longer read from.
#[expect(clippy::await_holding_lock, reason = "the lock is the disk that hangs; the relay never takes it")]
async fn stalled(policy: Record) -> (usize, End) {
    let dir = tempfile::tempdir().unwrap();
    let recorder = recorder(&settings(dir.path()));
    let recording = recorder.begin(&wanted(Protocol::Vnc, policy)).unwrap();
    let track = Arc::clone(&recording.0);
    let disk = lock(&track.sink);
    let Session { viewer, mut target, end, _stop } = session(recording.tape(), &Plan::default());
    let (mut read, mut write) = tokio::io::split(viewer);
    let watching = tokio::spawn(async move {
        let mut all = Vec::new();
        let _ = read.read_to_end(&mut all).await;
        all
    });
    let begun = Instant::now();
    // The writer takes the first piece and waits with it. Its thread runs by the machine's clock: the paused one stands
    // still while this is not idle.
    let mut taken = 8192;
    target.write_all(&[b'x'; 8192]).await.unwrap();
    while track.begun.get().is_none() || !lock(&track.queue).batch.is_empty() {
        tokio::task::yield_now().await;
    }
    // The paused clock moves when nothing else can: past the minute that a disk is waited for.
    while taken < 4 << 20 && begun.elapsed() < Duration::from_secs(59) {
        let write = target.write(&[b'x'; 8192]);
        if let Ok(Ok(count)) = tokio::time::timeout(Duration::from_secs(50), write).await {
            taken += count;
        }
    }
    let queued = lock(&track.queue).batch.held();
    assert!(queued <= 1024 * 1024, "{queued} bytes queued");
    if policy == Record::On {
        // Without its recording the session goes on.
        target.write_all(&vec![b'y'; 1 << 20]).await.unwrap();
        target.shutdown().await.unwrap();
    }
    let _ = write.write_all(&GOODBYE).await;
    let end = end.await.unwrap();
    drop((write, target));
    let shown = watching.await.unwrap();
    // RFC 6455 section 5.5.1: a close frame with 1011, and the reason.
    let told = shown.windows(19).any(|bytes| bytes == b"\x03\xf3this console must");
    assert_eq!(told, policy == Record::Required);
    drop(disk);
    recording.finish(end.name());
    recorder.stop();
    let (_, journal, _) = only(&recorder);
    assert_eq!(journal.ended().unwrap().1, "recording-failed");
    (taken, end)
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_takes_nothing_holds_up_its_session_and_then_is_given_up() {
    let (taken, end) = stalled(Record::On).await;
    // A full queue, what the streams hold, and the first piece, which is at the writer.
    assert!((960 << 10..5 << 18).contains(&taken), "{taken}");
    assert!(matches!(end, End::TargetClosed | End::ViewerClosed), "{end}");
    let (_, end) = stalled(Record::Required).await;
    assert_eq!(end, End::Recording);
}

#[tokio::test]
async fn silent_sessions_hold_no_memory_after_a_burst() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = recorder(&settings(dir.path()));
    let recording = recorder.begin(&wanted(Protocol::Serial, Record::On)).unwrap();
    let track = Arc::clone(&recording.0);
    let s = session(recording.tape(), &Plan::default());
    play(s, &vec![vec![b'x'; 50_000]; 40], &[]).await;
    recording.finish("viewer_closed");
    recorder.stop();
    assert!(!lock(&track.queue).batch.is_large());
    assert_eq!(lock(&track.queue).batch.held(), 0);
}

#[test]
fn a_journal_reads_back_and_finds_places() {
    let about = About::new(&wanted(Protocol::Vnc, Record::On), true, SystemTime::now()).unwrap();
    let index = |millis, offset| Entry::Index { millis, offset };
    let entries = vec![
        Entry::Begun(Box::new(about.clone())),
        index(10_000, 500),
        Entry::PixelFormat { millis: 12_000, offset: 600, format: [0xab; 16] },
        index(20_000, 700),
        Entry::Ended { at: about.started, cause: "idle".to_owned(), millis: 21_000, bytes: 900 },
    ];
    let text: String = entries.iter().map(Entry::line).collect();
    let journal = Journal::parse(text.as_bytes());
    assert_eq!(journal.entries, entries);
    assert_eq!(journal.about(), Some(&about));
    let places: Vec<_> = [0, 10_000, 19_999, 99_999].iter().map(|at| journal.seek(*at)).collect();
    assert_eq!(places, [None, Some((10_000, 500)), Some((10_000, 500)), Some((20_000, 700))]);
    assert_eq!(journal.ended().map(|ended| ended.1), Some("idle"));
    // Cut off in the middle of the last line.
    let cut = Journal::parse(&text.as_bytes()[..text.len() - 10]);
    assert_eq!(cut.entries, entries[..4]);
}

proptest! {
    #[test]
    fn no_journal_panics(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Journal::parse(&text);
    }

    #[test]
    fn pieces_come_out_of_the_queue_as_they_went_in(pieces in prop::collection::vec(
        prop::collection::vec(any::<u8>(), 1..40), 0..20,
    )) {
        let dir = tempfile::tempdir().unwrap();
        let recorder = recorder(&settings(dir.path()));
        let recording = recorder.begin(&wanted(Protocol::Serial, Record::On)).unwrap();
        let mut tape = recording.tape();
        pieces.iter().for_each(|piece| tape.down(Instant::now(), piece));
        recording.finish("idle");
        recorder.stop();
        prop_assert_eq!(said(&only(&recorder).0, cast::Code::Output), pieces.concat());
    }
}
