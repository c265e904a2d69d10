//! What a shared serial line costs: CPU time of the real program for each watcher, from 1 to 200 of them, and the
//! memory it holds for what the line has said.
//!
//! The line says a piece and waits until every watcher has it, so that each watcher takes the same steps however
//! many there are. The marks: with 200 watchers each costs no more than 1.15 times what it costs with fewest; and
//! no more memory than configured for the history, beside a relay's buffer for each watcher who takes nothing.

#![allow(clippy::print_stdout, reason = "a bench's result")]

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use support::http::open;
use support::{Directory, Process, TOKEN, free_port, reachable};

mod support;

/// Watchers of each line.
const CROWDS: [usize; 6] = [1, 2, 10, 50, 100, 200];

/// What a line says at a time: a burst of a boot, about a tenth of a second at 115200 bit/s.
const PIECE: usize = 1024;

/// Pieces a round, counted at all watchers together: each round takes about as long.
const DELIVERIES: usize = 20_000;

/// Of which the median counts; lines take turns.
const ROUNDS: usize = 5;

/// What a watcher of 200 may cost, of the least that one costs anywhere.
const FLAT: f64 = 1.15;

/// The history of the line whose memory is looked at.
const FIRST: usize = 64 * 1024;
const LAST: usize = 8 * 1024 * 1024;

/// Its watchers who take nothing, and what a session holds then: one buffer of the relay's.
const DEAF: usize = 50;
const BUFFER: usize = 60 * 1024;

/// What an allocator may keep of what it was given back, and pages that are partly used.
const SLACK: usize = 1024 * 1024;

const PROJECT: &str = "9c53a566cb3443ab910cf0daebca90c4";

/// The program with one worker.
struct Server {
    process: Process,
    api: u16,
    proxy: u16,
}

/// A line with its watchers.
struct Crowd {
    line: TcpStream,
    watchers: Vec<Watcher>,
}

/// One viewer's socket, and what it knows of the frame it is in.
struct Watcher {
    socket: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

fn main() {
    // `cargo test` runs benches once, to see that they work: few will do.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let dir = Directory::new("hub");
    let console = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port for the lines");
    let at = console.local_addr().expect("its address");
    let (crowds, deliveries, rounds) =
        if quick { (&CROWDS[..3], 100, 1) } else { (&CROWDS[..], DELIVERIES, ROUNDS) };
    let server = Server::start(dir.path(), at);
    costs(&server, &console, crowds, (deliveries, rounds));
    drop(server);
    let server = Server::start(dir.path(), at);
    memory(&server, &console, if quick { 4 } else { DEAF });
}

/// CPU time for each watcher.
fn costs(server: &Server, console: &TcpListener, crowds: &[usize], (deliveries, rounds): (usize, usize)) {
    let piece: Vec<u8> = (b' '..=b'~').cycle().take(PIECE).collect();
    let mut open: Vec<Crowd> = crowds.iter().map(|count| server.crowd(console, *count)).collect();
    let mut found = vec![Vec::new(); crowds.len()];
    // The first round finds caches and buffers cold.
    for round in 0..=rounds {
        for (crowd, costs) in open.iter_mut().zip(&mut found) {
            let pieces = deliveries.div_ceil(crowd.watchers.len());
            let before = server.cpu();
            for _ in 0..pieces {
                crowd.line.write_all(&piece).expect("the hub reads");
                crowd.watchers.iter_mut().for_each(|watcher| watcher.take(PIECE));
            }
            let spent = (server.cpu() - before).as_secs_f64();
            if round > 0 {
                costs.push(spent / (pieces * crowd.watchers.len()) as f64);
            }
        }
    }
    let medians: Vec<f64> = found.into_iter().map(median).collect();
    println!("a shared line in pieces of {PIECE} bytes; CPU of the proxy:");
    for (count, each) in crowds.iter().zip(&medians) {
        let megabyte = each * 1e6 / PIECE as f64;
        println!(
            "{count:>4} watching: {:.2} us a piece each, {:.2} ms a MB each",
            each * 1e6,
            megabyte * 1e3
        );
    }
    let least = medians.iter().copied().fold(f64::INFINITY, f64::min);
    let growth = medians.last().expect("a crowd") / least;
    let verdict = if growth <= FLAT { "kept" } else { "MISSED" };
    println!("with the most watchers each costs {growth:.3} of the least; the mark of {FLAT}: {verdict}");
}

/// What the history takes, while some read nothing and three times as much is said as is kept.
fn memory(server: &Server, console: &TcpListener, deaf: usize) {
    let mut crowd = server.crowd(console, 1 + deaf);
    // The first of all reads, the others do not.
    let reader = &mut crowd.watchers[0];
    let block: Vec<u8> = (b' '..=b'~').cycle().take(64 * 1024).collect();
    let before = server.anonymous();
    let mut most = 0;
    for _ in 0..3 * (FIRST + LAST) / block.len() {
        crowd.line.write_all(&block).expect("the hub reads");
        reader.take(block.len());
        most = server.anonymous().max(most);
    }
    let grown = most.saturating_sub(before);
    let allowed = FIRST + LAST + deaf * BUFFER + SLACK;
    println!(
        "history of {} KiB configured, {deaf} watchers who take nothing: {} KiB more at most, {} KiB allowed: {}",
        (FIRST + LAST) / 1024,
        grown / 1024,
        allowed / 1024,
        if grown <= allowed { "kept" } else { "MISSED" }
    );
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

impl Server {
    fn start(dir: &Path, console: SocketAddr) -> Self {
        let (api, proxy) = (free_port(), free_port());
        let mut text = format!(
            "[listen]\napi = \"127.0.0.1:{api}\"\nproxy = \"127.0.0.1:{proxy}\"\n[proxy]\nworkers = 1\n\
             public_url = \"http://127.0.0.1:6080\"\n\
             [limits]\nsessions_per_target = 0\nissue_per_second = 0\noutstanding_per_target = 0\n\
             [[auth.token]]\ntoken = \"{TOKEN}\"\nuser = \"bench\"\nproject = \"{PROJECT}\"\nroles = [\"member\"]\n"
        );
        // A line of its own for each number of watchers.
        for n in 0..=DEAF.max(CROWDS[CROWDS.len() - 1]) {
            write!(
                text,
                "[[target]]\nid = \"line-{n}\"\nproject = \"{PROJECT}\"\nserial = \"tcp://{console}\"\n\
                 serial_viewers = \"hub\"\nserial_hub = {{ first = {FIRST}, last = {LAST} }}\n"
            )
            .expect("a string takes all");
        }
        let file = dir.join("consolegate.toml");
        std::fs::write(&file, text).expect("a configuration");
        let mut command = Command::new(env!("CARGO_BIN_EXE_consolegate"));
        command.args(["serve", "--config"]).arg(&file).env("RUST_LOG", "warn");
        let process = Process::start(&mut command, &dir.join("consolegate.log"));
        reachable(proxy);
        Self { process, api, proxy }
    }

    /// CPU time of all its threads so far (`/proc/PID/task/TID/schedstat`, in nanoseconds).
    fn cpu(&self) -> Duration {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("its threads");
        let spent = threads.map(|thread| {
            let path = thread.expect("a thread").path().join("schedstat");
            let text = std::fs::read_to_string(path).expect("what it has run for");
            text.split_whitespace().next().and_then(|field| field.parse::<u64>().ok()).expect("nanoseconds")
        });
        Duration::from_nanos(spent.sum())
    }

    /// Bytes of memory of its own that are resident (`RssAnon`).
    fn anonymous(&self) -> usize {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("its state");
        let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("its memory");
        line.split_whitespace().next().and_then(|field| field.parse::<usize>().ok()).expect("KiB") * 1024
    }

    /// So many watchers of the line that has this number, and the line's other end.
    fn crowd(&self, console: &TcpListener, count: usize) -> Crowd {
        let watchers = (0..count).map(|_| self.open(count)).collect();
        let (line, _) = console.accept().expect("the hub's connection");
        line.set_nodelay(true).expect("a socket");
        Crowd { line, watchers }
    }

    /// A viewer of a line whose session stands.
    fn open(&self, line: usize) -> Watcher {
        let socket = open(self.api, self.proxy, &format!("line-{line}"));
        Watcher { socket, buffer: vec![0; 128 * 1024], filled: 0 }
    }
}

impl Watcher {
    /// Reads frames until so many bytes of the console's have come in them.
    fn take(&mut self, count: usize) {
        let mut taken = 0;
        while taken < count {
            let read = self.socket.read(&mut self.buffer[self.filled..]).expect("the session stands");
            assert!(read > 0, "the session has ended");
            self.filled += read;
            let mut at = 0;
            while let Some((opcode, head, len)) = frame(&self.buffer[at..self.filled])
                && self.filled - at >= head + len
            {
                match opcode {
                    1 | 2 => taken += len,
                    9 => {}
                    other => panic!("a frame of kind {other}"),
                }
                at += head + len;
            }
            self.buffer.copy_within(at..self.filled, 0);
            self.filled -= at;
        }
        assert_eq!(taken, count, "no more than was said");
    }
}

/// Kind, length of the head and of the payload of the frame that begins here (RFC 6455, 5.2; a server masks none).
fn frame(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (opcode, short) = (bytes.first()? & 0x0f, usize::from(*bytes.get(1)?));
    Some(match short {
        126 => (opcode, 4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => {
            let len = u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?);
            (opcode, 10, usize::try_from(len).ok()?)
        }
        short => (opcode, 2, short),
    })
}
