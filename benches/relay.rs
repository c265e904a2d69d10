//! The relay's loop between two in-memory streams: its own cost, without a kernel.

use std::sync::Arc;

use consolegate::relay::{Counters, End, Plan, Pump, run, stop_pair};
use consolegate::rfb::ViewOnly;
use consolegate::ws::Decoder;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime::{Builder, Runtime};

/// Bytes relayed in one measured round.
const TOTAL: usize = 16 << 20;

/// A stream's buffer: as much as a socket would take.
const ROOM: usize = 256 * 1024;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// A running session and its two far ends. One whose viewer may only watch has a filter.
fn session(plan: &Plan) -> (DuplexStream, DuplexStream, tokio::task::JoinHandle<End>) {
    let (viewer, ours) = duplex(ROOM);
    let (target, theirs) = duplex(ROOM);
    let decoder = Decoder::new(plan.whole_characters);
    let (_handle, stop) = stop_pair();
    let counters = Arc::<Counters>::default();
    let mut pump = Pump::new((ours, Vec::new()), (theirs, Vec::new()), decoder, plan, counters);
    if plan.view_only {
        pump = pump.watching(ViewOnly::new());
    }
    (viewer, target, tokio::spawn(run(pump, stop)))
}

/// Reads `stream` to its end, or until it is gone.
async fn swallow(mut stream: impl tokio::io::AsyncRead + Unpin) -> usize {
    let (mut buffer, mut total) = (vec![0; ROOM], 0);
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        total += count;
    }
    total
}

/// Target to viewer, to the close frame.
async fn down(plan: Plan, block: &[u8]) {
    let (viewer, mut target, end) = session(&plan);
    let (read, mut write) = tokio::io::split(viewer);
    let reader = tokio::spawn(swallow(read));
    for _ in 0..TOTAL / block.len() {
        target.write_all(block).await.expect("the relay reads");
    }
    target.shutdown().await.expect("an end");
    write.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await.expect("a goodbye");
    // Whichever end the relay saw first; the bytes are all there either way.
    let end = end.await.expect("a session");
    assert!(matches!(end, End::TargetClosed | End::ViewerClosed), "{end}");
    assert!(reader.await.expect("a reader") >= TOTAL / block.len() * block.len());
}

/// Viewer to target, in masked frames.
async fn up(plan: Plan, frame: &[u8], frames: usize) {
    let (mut viewer, target, end) = session(&plan);
    let (read, write) = tokio::io::split(target);
    let reader = tokio::spawn(swallow(read));
    for _ in 0..frames {
        viewer.write_all(frame).await.expect("the relay reads");
    }
    viewer.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await.expect("a goodbye");
    assert!(reader.await.expect("a reader") > 0);
    drop(write);
    assert_eq!(end.await.expect("a session"), End::ViewerClosed);
}

fn relay(criterion: &mut Criterion) {
    let runtime = runtime();
    let block = vec![b'a'; 64 * 1024];
    let mut group = criterion.benchmark_group("relay");
    group.sample_size(20);
    group.throughput(Throughput::Bytes(TOTAL as u64));
    for (name, whole_characters) in [("down, bytes", false), ("down, whole characters", true)] {
        let plan = Plan { whole_characters, ..Plan::default() };
        group.bench_function(name, |bencher| bencher.iter(|| runtime.block_on(down(plan.clone(), &block))));
    }
    let payload = 16 * 1024u16;
    let mut frame = vec![0x82, 0x80 | 126];
    frame.extend_from_slice(&payload.to_be_bytes());
    frame.extend_from_slice(&[0x12, 0x34, 0x56, 0x78]);
    frame.resize(frame.len() + usize::from(payload), 0x5a);
    let frames = TOTAL / usize::from(payload);
    group.bench_function("up, frames of 16 KiB", |bencher| {
        bencher.iter(|| runtime.block_on(up(Plan::default(), &frame, frames)));
    });
    group.finish();
    watching(criterion, &runtime);
}

/// What the view-only filter costs: what a viewer sends while somebody only looks, an update request a frame,
/// many frames a read.
fn watching(criterion: &mut Criterion, runtime: &Runtime) {
    let request = [3, 1, 0, 0, 0, 0, 2, 0x80, 1, 0xe0];
    let mut frame = vec![0x82, 0x80 | 10, 0x12, 0x34, 0x56, 0x78];
    frame.extend(request.iter().zip([0x12, 0x34, 0x56, 0x78].iter().cycle()).map(|(byte, key)| byte ^ key));
    let block = frame.repeat(1024);
    let blocks = 64;
    let mut group = criterion.benchmark_group("relay, up, update requests");
    group.sample_size(30);
    group.throughput(Throughput::Elements(1024 * blocks as u64));
    for (name, view_only) in [("plain", false), ("view-only", true)] {
        let plan = Plan { view_only, ..Plan::default() };
        group.bench_function(name, |bencher| {
            bencher.iter(|| runtime.block_on(up(plan.clone(), &block, blocks)));
        });
    }
    group.finish();
}

criterion_group!(benches, relay);
criterion_main!(benches);
