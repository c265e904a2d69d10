//! The form of a line, what breaks a chain, and a writer whose disk is full.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use proptest::prelude::*;
use uuid::Uuid;

use crate::ids::{GrantId, Protocol, RequestId};

use super::chain::{Chain, NOTHING};
use super::writer::{Sink, Writer};
use super::*;

fn event(cause: &'static str) -> Event<'static> {
    Event { cause: Some(cause), ..Event::new(Kind::Close) }
}

fn seal(chain: &mut Chain, time: &str, event: &Event<'_>, out: &mut Vec<u8>) {
    let mut text = String::new();
    event.render(&mut text);
    chain.seal(time, text.as_bytes(), out);
}

/// A log of a `begin` and `lines` lines more.
fn log(lines: usize) -> Vec<u8> {
    let (mut chain, mut out) = (Chain::default(), Vec::new());
    let begin = chain.begin(None);
    seal(&mut chain, "1970-01-01T00:00:00.000000Z", &begin, &mut out);
    for _ in 0..lines {
        seal(&mut chain, "1970-01-01T00:00:00.000000Z", &event("idle"), &mut out);
    }
    out
}

fn verify(files: &[&[u8]]) -> Result<Option<Verified>, (usize, u64, Broken)> {
    let mut verifier = Verifier::default();
    let read = files.iter().try_for_each(|file| verifier.file(*file));
    read.and_then(|()| verifier.finish()).map_err(|error| match error {
        VerifyError::Broken { file, line, broken } => (file, line, broken),
        VerifyError::Read(error) => panic!("{error}"),
    })
}

fn found(files: &[&[u8]]) -> Verified {
    verify(files).unwrap_or_else(|broken| panic!("{broken:?}")).expect("lines")
}

#[test]
fn a_line_is_what_the_documentation_says() {
    let request = Some(RequestId(Uuid::nil()));
    let event = Event {
        request,
        source: Some([192, 0, 2, 7].into()),
        via: Some("openstack"),
        target: Some("a\"\u{1b}[2J\u{7f}\u{9b}".into()),
        cause: Some("no-server"),
        status: Some(404),
        ..Event::new(Kind::Refuse)
    };
    let (mut chain, mut out) = (Chain::default(), Vec::new());
    seal(&mut chain, "2001-09-09T01:46:40.000000Z", &event, &mut out);
    let body = r#"{"seq":1,"time":"2001-09-09T01:46:40.000000Z","event":"refuse","request":"req-00000000-0000-0000-0000-000000000000","source":"192.0.2.7","via":"openstack","target":"a\"\u001b[2J\u007f\u009b","cause":"no-server","status":404"#;
    // Computed with Python: hashlib.sha256(b"0" * 64 + body).hexdigest()
    let hash = "6ed42c7d9c6377192cfeb5b603f1ef4ec49dfb0697a680507cb1baf6728a78cb";
    assert_eq!(String::from_utf8(out).unwrap(), format!("{body},\"hash\":\"{hash}\"}}\n"));
    assert_eq!((chain.seq, chain.hash.as_str()), (1, hash));
}

#[test]
fn every_field_has_its_name_and_place() {
    let event = Event {
        request: Some(RequestId(Uuid::nil())),
        issued_by: Some(RequestId(Uuid::max())),
        source: Some("2001:db8::7".parse().unwrap()),
        via: Some("otc"),
        user: Some("a user\u{8}".into()),
        project: Some("p\n".into()),
        target: Some("\u{20ac}".into()),
        subject: Some("s\\".into()),
        protocol: Some(Protocol::Vnc),
        grant: Some(GrantId(Uuid::max())),
        token: Some("0011223344556677".into()),
        session: Some(Uuid::nil()),
        cause: Some("idle"),
        status: Some(503),
        seconds: Some(u64::MAX),
        bytes_to_viewer: Some(1),
        bytes_to_target: Some(2),
        tokens: Some(3),
        sessions: Some(4),
        count: Some(5),
        version: Some("1.2.3"),
        torn: Some(6),
        prev: Some(NOTHING.to_owned()),
        ..Event::new(Kind::Revoke)
    };
    let mut text = String::new();
    event.render(&mut text);
    let (nil, max) = (Uuid::nil(), Uuid::max());
    let expected = format!(
        r#""event":"revoke","request":"req-{nil}","issued_by":"req-{max}","source":"2001:db8::7","via":"otc","user":"a user\u0008","project":"p\n","target":"€","subject":"s\\","protocol":"vnc","grant":"{max}","token":"0011223344556677","session":"{nil}","cause":"idle","status":503,"seconds":18446744073709551615,"bytes_to_viewer":1,"bytes_to_target":2,"tokens":3,"sessions":4,"count":5,"version":"1.2.3","torn":6,"prev":"{NOTHING}""#
    );
    assert_eq!(text, expected);
    assert!(serde_json::from_str::<serde_json::Value>(&format!("{{{text}}}")).is_ok());
}

#[test]
fn long_names_are_cut_and_the_longest_line_is_read_again() {
    let name = "\u{9b}".repeat(1000);
    let long = || Some(name.as_str().into());
    let event = Event { user: long(), project: long(), target: long(), ..Event::new(Kind::Refuse) };
    let (mut chain, mut out) = (Chain::default(), log(0));
    chain.seq = 1;
    chain.hash = found(&[&out]).hash;
    seal(&mut chain, "1970-01-01T00:00:00.000000Z", &event, &mut out);
    assert!(out.len() < 3 * 6 * 256 + 1000, "{}", out.len());
    assert_eq!(found(&[&out]).last, 2);
}

#[test]
fn each_alteration_is_named_with_its_line() {
    let whole = log(5);
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let check = |files: &[Vec<&[u8]>], expected: (usize, u64, Broken)| {
        let files: Vec<Vec<u8>> = files.iter().map(|lines| lines.concat()).collect();
        let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
        assert_eq!(verify(&files), Err(expected));
    };
    let all = found(&[&whole]);
    assert_eq!((all.lines, all.first, all.last, all.begins, all.lost, all.torn), (6, 1, 6, 1, 0, 0));
    let altered = String::from_utf8(lines[2].to_vec()).unwrap().replace("idle", "drop");
    check(&[vec![lines[0], lines[1], altered.as_bytes(), lines[3]]], (0, 3, Broken::Altered(3)));
    let missing = Broken::Missing { before: 2, found: 5 };
    check(&[vec![lines[0], lines[1], lines[4]]], (0, 3, missing));
    check(&[vec![lines[0], lines[1], lines[1]]], (0, 3, Broken::Moved { before: 2, found: 2 }));
    check(&[vec![lines[1], lines[2]]], (0, 1, Broken::NoBegin));
    check(&[vec![lines[0], b"{}\n", lines[1]]], (0, 2, Broken::Form));
    check(&[vec![lines[0], b"\n"]], (0, 2, Broken::Form));
    check(&[vec![lines[0], &lines[1][..20]]], (0, 2, Broken::Torn));
    check(&[vec![lines[0], &lines[1][..20]], vec![lines[2]]], (0, 2, Broken::Torn));
    check(&[vec![lines[0], &lines[1][..20]], lines.clone()], (0, 2, Broken::Torn));
    check(&[vec![lines[0], lines[1]], lines.clone()], (1, 1, Broken::OtherLog));
    check(&[vec![&vec![b'x'; 70_000]]], (0, 1, Broken::Form));
    assert_eq!(verify(&[b"", b""]), Ok(None));
}

proptest! {
    /// Whatever is done to any byte shows, but for the end being cut off at a line.
    #[test]
    fn no_byte_can_change_unseen(at in 0..2000_usize, to in any::<u8>(), remove: bool) {
        let mut altered = log(6);
        let at = at % altered.len();
        if remove {
            altered.remove(at);
        } else {
            prop_assume!(altered[at] != to);
            altered[at] = to;
        }
        prop_assert!(verify(&[&altered]).is_err());
    }

    /// Nobody's files are a log, and none makes the check panic.
    #[test]
    fn what_is_no_log_is_refused(
        files in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..200), 1..4),
        seq: u64, torn: Option<u64>,
    ) {
        let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
        prop_assert!(verify(&files).is_err());
        // Lines whose hashes are right, with numbers of somebody's choice.
        let (mut chain, mut out) = (Chain { seq, ..Chain::default() }, Vec::new());
        let begin = chain.begin(torn);
        for _ in 0..3 {
            seal(&mut chain, "1970-01-01T00:00:00.000000Z", &begin, &mut out);
        }
        prop_assert!(verify(&[&out]).is_err());
    }

    /// Whatever the disk takes at a time, and whenever it is full or the file renamed, the files are one log.
    #[test]
    fn a_full_disk_breaks_no_chain(
        steps in proptest::collection::vec((0..900_usize, any::<bool>(), 0..4_usize), 1..30),
    ) {
        let disk = Disk::default();
        let shared = Arc::new(Shared::default());
        let clock = Clock::manual();
        let mut writer = Writer::new(disk.clone(), Chain::default(), None, true, shared, clock);
        let mut pushed = 0;
        for (room, rename, lines) in steps {
            disk.with(|state| state.room = room);
            // Only what is written makes place for the next batch.
            if writer.advance().is_ok() {
                for _ in 0..lines {
                    writer.push(&event("idle"));
                    pushed += 1;
                }
                writer.seal();
            } else if rename {
                writer.reopen();
            }
        }
        disk.with(|state| state.room = usize::MAX);
        writer.advance().unwrap();
        let files = disk.with(|state| state.files.clone());
        let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
        let found = found(&files);
        prop_assert_eq!(found.lines - found.begins, pushed);
        prop_assert_eq!(found.last, found.lines);
    }
}

/// A disk with so much room; a new file each time it is reopened.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<State>>);

struct State {
    room: usize,
    files: Vec<Vec<u8>>,
}

impl Default for State {
    fn default() -> Self {
        Self { room: 0, files: vec![Vec::new()] }
    }
}

impl Disk {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sink for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|state| {
            let count = bytes.len().min(state.room);
            if count == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            state.room -= count;
            state.files.last_mut().expect("a file").extend_from_slice(&bytes[..count]);
            Ok(count)
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn at(&self, _path: &Path) -> Result<(Self, Chain, Option<u64>), AuditError> {
        self.with(|state| state.files.push(Vec::new()));
        Ok((self.clone(), Chain::default(), None))
    }

    fn reopened(&self) -> Result<Option<Self>, AuditError> {
        self.with(|state| state.files.push(Vec::new()));
        Ok(Some(self.clone()))
    }
}

fn settings(file: &Path, on_failure: OnAuditFailure) -> config::Audit {
    config::Audit { file: file.to_owned(), on_failure, sync: false }
}

fn open(file: &Path, on_failure: OnAuditFailure) -> Audit {
    Audit::open(&settings(file, on_failure), Clock::manual()).unwrap_or_else(|error| panic!("{error}"))
}

/// Waits until the file's last writer has let go of it.
fn released(file: &Path) -> fs::File {
    let file = fs::OpenOptions::new().append(true).open(file).unwrap();
    file.lock().unwrap();
    file
}

/// The `event` of each line, and `count` of those that have one.
fn told(file: &Path) -> VecDeque<(String, Option<u64>)> {
    let text = fs::read_to_string(file).unwrap();
    let read = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        (line["event"].as_str().unwrap().to_owned(), line["count"].as_u64())
    };
    text.lines().map(read).collect()
}

#[tokio::test]
async fn a_log_goes_on_after_a_restart_a_crash_and_a_rename() {
    let dir = tempfile::tempdir().unwrap();
    let (file, old) = (dir.path().join("a.jsonl"), dir.path().join("a.jsonl.1"));
    let audit = open(&file, OnAuditFailure::Refuse);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let second = Audit::open(&settings(&file, OnAuditFailure::Refuse), Clock::manual());
    assert!(matches!(second, Err(AuditError::Locked(_))), "two writers would break the chain");
    audit.record(|| event("idle"));
    assert!(audit.flush().await);
    drop(audit);
    drop(released(&file));
    let audit = open(&file, OnAuditFailure::Refuse);
    assert!(audit.flush().await);
    drop(audit);
    // Cut off twice: in a line, and then in the line that went on from there.
    released(&file).write_all(b"{\"seq\":4,\"ti\n{\"seq").unwrap();
    let audit = open(&file, OnAuditFailure::Refuse);
    audit.record(|| event("drain"));
    assert!(audit.flush().await);
    audit.reopen();
    assert!(audit.flush().await, "the name stands for the same file");
    fs::rename(&file, &old).unwrap();
    audit.record(|| event("drain"));
    audit.reopen();
    audit.record(|| event("idle"));
    assert!(audit.flush().await);
    let (old, new) = (fs::read(&old).unwrap(), fs::read(&file).unwrap());
    let all = found(&[&old, &new]);
    assert_eq!((all.torn, all.first, all.last), (2, 1, all.lines));
    assert_eq!((all.begins, all.lines), (4, 8), "{all:?}");
    assert!(audit.stats().is_some_and(|stats| stats.lines > 0 && stats.lost == 0 && !stats.failing));
    assert_eq!(verify(&[&new, &old]).unwrap_err().0, 1, "the order is the oldest first");
}

#[test]
fn a_file_of_something_else_is_not_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a");
    for text in ["not ours\n", "not ours", "\n", "{\"seq\":1,\"hash\":\"x\"}\n"] {
        fs::write(&file, text).unwrap();
        let opened = Audit::open(&settings(&file, OnAuditFailure::Refuse), Clock::manual());
        assert!(matches!(opened, Err(AuditError::Foreign(_))), "{text:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
    let nowhere = Audit::open(&settings(&dir.path().join("no/a"), OnAuditFailure::Refuse), Clock::manual());
    assert!(nowhere.unwrap_err().to_string().contains("no/a: No such file"));
}

#[tokio::test]
async fn a_full_queue_refuses_or_counts_as_it_is_told() {
    for on_failure in [OnAuditFailure::Refuse, OnAuditFailure::Continue] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        let audit = open(&file, on_failure);
        let mut slots: Vec<Slot<'_>> = (0..QUEUE - HEADROOM + 1).map(|_| audit.reserve().unwrap()).collect();
        audit.record(|| Event::new(Kind::Refuse));
        assert_eq!(audit.stats().unwrap().lost, 1, "refusals leave room to others");
        slots.extend((0..HEADROOM - 1).map(|_| audit.reserve().unwrap()));
        audit.record(|| event("idle"));
        assert_eq!(audit.stats().unwrap().lost, 2);
        let one_more = audit.reserve();
        assert_eq!(one_more.is_err(), on_failure == OnAuditFailure::Refuse);
        if let Ok(slot) = one_more {
            slot.record(|| event("idle"));
        }
        slots.pop().unwrap().record(|| event("idle"));
        drop(slots);
        assert!(audit.flush().await);
        let lost = audit.stats().unwrap().lost;
        let (mut told, verified) = (told(&file), found(&[&fs::read(&file).unwrap()]));
        assert_eq!(told.pop_front().unwrap().0, "begin");
        assert_eq!(told.iter().filter(|(event, _)| event == "close").count(), 1);
        assert_eq!(verified.lost, lost, "{told:?}");
        assert_eq!(lost, if on_failure == OnAuditFailure::Refuse { 2 } else { 3 });
    }
}

#[tokio::test]
async fn without_a_file_everything_is_taken_and_nothing_made() {
    let audit = Audit::default();
    audit.record(|| panic!("nobody asked for this"));
    audit.reserve().unwrap().record(|| panic!("nobody asked for this"));
    assert!(audit.flush().await && audit.stats().is_none());
    audit.reopen();
    assert_eq!(NOTHING.len(), 64);
}
