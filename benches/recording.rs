//! What recording costs a session: the relay from console to viewer over loopback TCP, as sockets are in the field,
//! plain and recorded in turns. The mark is 1.4 times the plain time.
//!
//! Between them stands the floor: the plain relay while another thread writes as many bytes to a file as the recording
//! has, from memory, with nothing to do for them.

use std::path::Path;
use std::sync::Arc;

use consolegate::audit::Audit;
use consolegate::clock::Clock;
use consolegate::config::{OnRecordingFailure, Record, Recording as Settings};
use consolegate::ids::{Generation, GrantId, Protocol, RequestId};
use consolegate::relay::record::{Recorder, Wanted};
use consolegate::relay::{Counters, End, Plan, Pump, run, stop_pair};
use consolegate::tokens::{Grant, Options};
use consolegate::ws::Decoder;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

/// What a console says at a time, and how often it does in one measured round.
const PIECE: usize = 60 * 1024;
const PIECES: usize = 1024;
const TOTAL: usize = PIECE * PIECES;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn recorder(directory: &Path) -> Recorder {
    let settings = Settings {
        directory: directory.to_owned(),
        record: Record::On,
        input: false,
        on_failure: OnRecordingFailure::End,
        max_age: None,
        max_size: None,
    };
    Recorder::start(&settings, Audit::default(), Clock::system()).expect("a place for recordings")
}

fn wanted(protocol: Protocol) -> Wanted {
    let grant = Grant {
        id: GrantId(Uuid::new_v4()),
        request: RequestId(Uuid::new_v4()),
        target: "bench".to_owned().into(),
        generation: Generation(0),
        protocol,
        project: "bench".to_owned().into(),
        user: "bench".to_owned().into(),
        options: Options::default(),
    };
    let source = "127.0.0.1".parse().expect("an address");
    Wanted { session: Uuid::new_v4(), grant: Arc::new(grant), source, policy: Record::On }
}

/// Two ends of a connection.
async fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let address = listener.local_addr().expect("an address");
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.expect("a connection"), far.expect("a connection").0)
}

/// One session that carries [`TOTAL`] bytes of `block` to its viewer. Source and viewer are on threads of their own,
/// as they are on other machines.
async fn down(listener: &TcpListener, protocol: Protocol, block: &[u8], recorder: Option<&Recorder>) {
    let (viewer, ours) = pair(listener).await;
    let (target, theirs) = pair(listener).await;
    let (viewer, target) = (viewer.into_std().expect("a socket"), target.into_std().expect("a socket"));
    let block = block.to_vec();
    let source = std::thread::spawn(move || {
        use std::io::Write as _;
        target.set_nonblocking(false).expect("a blocking socket");
        let mut target = target;
        for _ in 0..PIECES {
            target.write_all(&block).expect("the relay reads");
        }
    });
    let watching = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        viewer.set_nonblocking(false).expect("a blocking socket");
        let (mut viewer, mut buffer, mut total) = (viewer, vec![0; 256 * 1024], 0);
        while total < TOTAL {
            let count = viewer.read(&mut buffer).expect("the relay writes");
            assert!(count > 0, "the end after {total} bytes");
            total += count;
        }
        viewer.write_all(&[0x88, 0x80, 0, 0, 0, 0]).expect("a goodbye");
        let _ = viewer.read_to_end(&mut buffer);
    });
    let plan = Plan { whole_characters: protocol == Protocol::Serial, ..Plan::default() };
    let (_handle, stop) = stop_pair();
    let decoder = Decoder::new(plan.whole_characters);
    let counters = Arc::<Counters>::default();
    let mut pump = Pump::new((ours, Vec::new()), (theirs, Vec::new()), decoder, &plan, counters);
    let recording = recorder.map(|recorder| recorder.begin(&wanted(protocol)).expect("a recording"));
    if let Some(recording) = &recording {
        pump = pump.recorded(recording.tape());
    }
    let end = run(pump, stop).await;
    assert!(matches!(end, End::TargetClosed | End::ViewerClosed), "{end}");
    if let Some(recording) = recording {
        recording.finish(end.name());
    }
    source.join().expect("a source");
    watching.join().expect("a viewer");
}

/// Writes so many bytes to a new file, as the recorder does at full speed: a megabyte at a time.
fn written(directory: &Path, bytes: u64) {
    use std::io::Write as _;
    let block = vec![b'x'; 1 << 20];
    let mut file = std::fs::File::create(directory.join("floor")).expect("a file");
    for left in (0..bytes).rev().step_by(block.len()) {
        let count = usize::try_from(left + 1).map_or(block.len(), |left| left.min(block.len()));
        file.write_all(&block[..count]).expect("a disk");
    }
}

/// How large a recording of [`TOTAL`] bytes of `block` is.
fn recorded(runtime: &Runtime, listener: &TcpListener, protocol: Protocol, block: &[u8]) -> u64 {
    let directory = directory();
    let recorder = recorder(directory.path());
    runtime.block_on(down(listener, protocol, block, Some(&recorder)));
    recorder.stop();
    let sizes = std::fs::read_dir(directory.path())
        .expect("a directory")
        .map(|entry| entry.and_then(|entry| entry.metadata()).expect("a file").len());
    sizes.max().expect("a recording")
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

fn recording(criterion: &mut Criterion) {
    let runtime = runtime();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    // A boot log, with its colours and line ends; and a screen, which is noise.
    let line =
        b"\x1b[32m[  OK  ]\x1b[0m Started \x1b[0;1;39msystemd-journald.service\x1b[0m - Journal Service.\r\n";
    let text: Vec<u8> = line.iter().copied().cycle().take(PIECE).collect();
    let mut noise = 1u32;
    let screen = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noise.to_be_bytes()[0]
    });
    let screen: Vec<u8> = screen.take(PIECE).collect();
    for (name, protocol, block) in [("VNC", Protocol::Vnc, &screen), ("serial", Protocol::Serial, &text)] {
        let mut group = criterion.benchmark_group(format!("recording, {name}, down"));
        group.sample_size(15);
        group.throughput(Throughput::Bytes(TOTAL as u64));
        group.bench_function("plain", |bencher| {
            bencher.iter(|| runtime.block_on(down(&listener, protocol, block, None)));
        });
        let size = recorded(&runtime, &listener, protocol, block);
        group.bench_function("floor", |bencher| {
            bencher.iter_with_setup(directory, |directory| {
                std::thread::scope(|scope| {
                    scope.spawn(|| written(directory.path(), size));
                    runtime.block_on(down(&listener, protocol, block, None));
                });
                directory
            });
        });
        group.bench_function("recorded", |bencher| {
            bencher.iter_with_setup(directory, |directory| {
                let recorder = recorder(directory.path());
                runtime.block_on(down(&listener, protocol, block, Some(&recorder)));
                // What is relayed is also on the disk when the round ends.
                recorder.stop();
                directory
            });
        });
        group.finish();
    }
}

criterion_group!(benches, recording);
criterion_main!(benches);
