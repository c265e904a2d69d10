//! A reader that stops costs one buffer: the proxy stops reading on the other side, and nothing piles up.
//!
//! No clock decides. A second session on the same worker goes back and forth instead: when the worker has turned
//! many times and nothing more could be written, nothing more will be taken.

use std::io::{self, Write};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;

use consolegate::ids::Protocol;
use socket2::SockRef;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};

use crate::support::chance::{Chance, Checker, RECORD, records};
use crate::support::program::Program;
use crate::support::server::{Running, config, target};
use crate::support::wire::{self, BINARY, Frame, Incoming};
use crate::support::{files, temp, within};

/// Payload of the relay's buffer: what one direction of a session holds at most.
const RELAY_BUFFER: usize = 60 * 1024;

/// Socket buffers that the test may choose: small, so that the bound is tight. The kernel doubles it.
const SMALL: usize = 64 * 1024;

/// What the proxy lets the kernel queue for a viewer, beyond what is on its way.
const UNSENT: usize = 128 * 1024;

/// The kernel counts whole packets, and takes one that begins within a limit: so much over each of the limits.
const PACKET: usize = 64 * 1024;

/// The most a target may write for a viewer that reads nothing: its own send buffer, the relay's buffer, the
/// proxy's queue to the viewer, the viewer's receive buffer.
const MOST: usize = 2 * SMALL + RELAY_BUFFER + UNSENT + 2 * SMALL + 4 * PACKET;

/// Records in one block of a flood.
const BLOCK: u32 = 1024;

/// Turns of the worker without a byte taken, after which it is believed that none will be.
const TURNS: usize = 20;

const FLOODED: &str = "00000001-0000-4000-8000-000000000000";
const PULSE: &str = "00000002-0000-4000-8000-000000000000";

/// A console whose target echoes: each round trip is a turn of the worker it lives on.
struct Pulse {
    outgoing: OwnedWriteHalf,
    incoming: Incoming,
    chance: Chance,
}

impl Pulse {
    async fn start(listener: UnixListener, proxy: std::net::SocketAddr, token: &str) -> Self {
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("the proxy's connection");
            let (mut read, mut write) = stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
        let (outgoing, incoming) = wire::open(proxy, token, None).await.expect("the pulse's console");
        Self { outgoing, incoming, chance: Chance::new(1) }
    }

    async fn turns(&mut self) {
        for _ in 0..TURNS {
            let beat = wire::frame(BINARY, true, b"beat", &mut self.chance);
            self.outgoing.write_all(&beat).await.expect("a beat");
            assert_eq!(self.incoming.data().await, b"beat");
        }
    }
}

/// A side that writes whenever it can: blocks of a stream of records, as they go over the wire.
struct Flood {
    stream: u32,
    /// Records made so far.
    made: u32,
    /// What of the last block is still to be written.
    rest: Vec<u8>,
    wire: fn(&[u8]) -> Vec<u8>,
    sent: usize,
}

impl Flood {
    fn new(stream: u32, wire: fn(&[u8]) -> Vec<u8>) -> Self {
        Self { stream, made: 0, rest: Vec::new(), wire, sent: 0 }
    }

    /// Writes until `write` would block; whether it took anything.
    fn write(&mut self, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> bool {
        let before = self.sent;
        loop {
            if self.rest.is_empty() {
                self.rest = (self.wire)(&records(self.stream, self.made, self.made + BLOCK));
                self.made += BLOCK;
            }
            match write(&self.rest) {
                Ok(count) => {
                    self.sent += count;
                    self.rest.drain(..count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return self.sent > before,
                Err(error) => panic!("the flood broke: {error}"),
            }
        }
    }
}

/// One console to flood beside the pulse, on one worker.
struct Scene {
    _server: Running,
    pulse: Pulse,
    target: StdUnixStream,
    outgoing: OwnedWriteHalf,
    incoming: Incoming,
    _dir: TempDir,
}

async fn scene() -> Scene {
    let dir = temp::dir();
    let at = |name: &str| dir.path().join(name);
    let (flooded, echo) = (UnixListener::bind(at("flooded")), UnixListener::bind(at("echo")));
    let (flooded, echo) = (flooded.expect("a socket"), echo.expect("a socket"));
    let serial = |name: &str| format!("serial = \"unix:{}\"", at(name).display());
    let targets = target(FLOODED, "flooded", &serial("flooded")) + &target(PULSE, "pulse", &serial("echo"));
    let mut config = config(&targets);
    config.proxy.workers = 1;
    let server = Running::with(config);
    let token = server.token(PULSE, Protocol::Serial).await;
    let pulse = Pulse::start(echo, server.at.proxy, &token).await;
    let token = server.token(FLOODED, Protocol::Serial).await;
    let viewer = wire::open(server.at.proxy, &token, Some(SMALL as u32)).await;
    let (outgoing, incoming) = viewer.expect("the console");
    let target = accept(&flooded).await;
    Scene { _server: server, pulse, target, outgoing, incoming, _dir: dir }
}

/// The proxy's connection, non-blocking, with a small send buffer.
async fn accept(listener: &UnixListener) -> StdUnixStream {
    let (stream, _) = within("the proxy's connection", listener.accept()).await.expect("a connection");
    let stream = stream.into_std().expect("a socket");
    SockRef::from(&stream).set_send_buffer_size(SMALL).expect("a send buffer");
    stream
}

/// The most that the kernel lets a TCP socket's buffer grow to: the last number of `tcp_rmem` or `tcp_wmem`.
fn most(setting: &str) -> usize {
    let text = std::fs::read_to_string(Path::new("/proc/sys/net/ipv4").join(setting)).expect("a setting");
    text.split_whitespace().last().and_then(|number| number.parse().ok()).expect("three numbers")
}

fn setting(path: &str) -> usize {
    std::fs::read_to_string(path).expect("a setting").trim().parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_viewer_stops_its_target_and_loses_nothing() {
    let Scene { _server, mut pulse, mut target, mut outgoing, mut incoming, _dir } = scene().await;
    let mut flood = Flood::new(5, <[u8]>::to_vec);
    while flood.write(|bytes| target.write(bytes)) {
        assert!(flood.sent <= MOST, "{} bytes were taken for a viewer that reads none", flood.sent);
        pulse.turns().await;
    }
    assert!(flood.sent > RELAY_BUFFER, "only {} bytes: the flood never reached the viewer", flood.sent);

    // It reads again: everything is there, and the rest follows.
    let writer = std::thread::spawn(move || {
        target.set_nonblocking(false).expect("a blocking socket");
        target.write_all(&flood.rest).expect("the proxy reads on");
        flood.made
    });
    let mut down = Checker::new(5);
    loop {
        match incoming.next().await {
            Frame::Data(data) => down.take(&data),
            Frame::Close(code, _) => break assert_eq!(code, 1000),
            other => panic!("{other:?}"),
        }
    }
    down.ends_at(writer.join().expect("the target"));
    outgoing.write_all(&wire::close(1000, &mut Chance::new(2))).await.expect("a goodbye");
    assert_eq!(incoming.next().await, Frame::End);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_target_stops_its_viewer_and_loses_nothing() {
    let Scene { _server, mut pulse, target, mut outgoing, mut incoming, _dir } = scene().await;
    // Buffers: the viewer's, the proxy's from the viewer, the relay's, the proxy's towards the target.
    let unix = setting("/proc/sys/net/core/wmem_default");
    let bound = most("tcp_wmem") + most("tcp_rmem") + RELAY_BUFFER + unix + 4 * PACKET;
    let frames = |payload: &[u8]| wire::frame(BINARY, true, payload, &mut Chance::new(3));
    let mut flood = Flood::new(6, frames);
    while flood.write(|bytes| outgoing.try_write(bytes)) {
        assert!(flood.sent <= bound, "{} bytes were taken for a target that reads none", flood.sent);
        pulse.turns().await;
    }
    assert!(flood.sent > RELAY_BUFFER, "only {} bytes: the flood never reached the target", flood.sent);

    let goodbye = [flood.rest, wire::close(1000, &mut Chance::new(4))].concat();
    let mut target = UnixStream::from_std(target).expect("a socket");
    let mut up = Checker::new(6);
    let read = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match within("the viewer's bytes", target.read(&mut buffer)).await.expect("an orderly end") {
                0 => return,
                count => up.take(&buffer[..count]),
            }
        }
    };
    let (written, ()) = tokio::join!(outgoing.write_all(&goodbye), read);
    written.expect("the proxy reads on");
    up.ends_at(flood.made);
    drop(target);
    assert!(matches!(incoming.next().await, Frame::Close(1000, _)));
}

/// Stalled viewers at once.
const STALLED: usize = 200;

/// Memory for what is counted beside the relay's buffers: the allocator's own, and growth of tables.
const SLACK: usize = 4 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_stalled_viewers_cost_a_buffer_each() {
    files::allow(STALLED as u64 * 4 + 1_000);
    let dir = temp::dir();
    let (mut targets, mut listeners) = (String::new(), Vec::new());
    for number in 0..=STALLED {
        let socket = dir.path().join(number.to_string());
        targets += &target(&id(number), "console", &format!("serial = \"unix:{}\"", socket.display()));
        listeners.push(UnixListener::bind(&socket).expect("a socket"));
    }
    // The binary itself: this process's memory is also other tests'.
    let program =
        Program::serve(&format!("[proxy]\nworkers = 1\n[limits]\nissue_per_second = 0\n{targets}")).await;
    let proxy = program.at;
    let pulse = program.issue(&id(STALLED), Protocol::Serial).await;
    let mut pulse = Pulse::start(listeners.pop().expect("a socket"), proxy, &pulse).await;
    let (mut viewers, mut floods) = (Vec::new(), Vec::new());
    for (number, listener) in listeners.iter().enumerate() {
        let token = program.issue(&id(number), Protocol::Serial).await;
        viewers.push(wire::open(proxy, &token, Some(SMALL as u32)).await.expect("a console"));
        floods.push((accept(listener).await, Flood::new(number as u32, <[u8]>::to_vec)));
    }
    pulse.turns().await;
    let idle = resident(&program);
    loop {
        let mut moving = false;
        for (target, flood) in &mut floods {
            moving |= flood.write(|bytes| target.write(bytes));
            assert!(flood.sent <= MOST, "{} bytes were taken of one target", flood.sent);
        }
        if !moving {
            break;
        }
        pulse.turns().await;
        let grown = resident(&program).saturating_sub(idle);
        assert!(grown <= STALLED * RELAY_BUFFER + SLACK, "{grown} bytes more for {STALLED} stalled viewers");
    }
    assert!(floods.iter().all(|(_, flood)| flood.sent > RELAY_BUFFER), "some flood never reached its viewer");
    // One of them reads again while the rest stay stalled: what it missed is there, in order.
    let mut first = Checker::new(0);
    while (first.seen() as usize + 1) * RECORD < floods[0].1.sent {
        first.take(&viewers[0].1.data().await);
    }
}

fn id(number: usize) -> String {
    format!("{number:08x}-0000-4000-8000-000000000000")
}

/// Resident memory of a program, in bytes.
fn resident(program: &Program) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.id())).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("kilobytes") * 1024
}
