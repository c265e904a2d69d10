//! What it costs to see and to end a fleet's sessions: 8,000 of them at two proxies over one Redis, listed and ended
//! from an issuer. Real processes and sockets; `CONSOLEGATE_SESSIONS` is another number of sessions.
//!
//! The mark: listing and ending take two seconds together.

#![allow(clippy::print_stdout, reason = "a bench's result")]

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use support::http::{http, open};
use support::{Directory, Process, TOKEN, free_port, reachable, redis};

mod support;

/// Sessions, unless told otherwise.
const SESSIONS: usize = 8000;

/// Threads that open and close viewers.
const HANDS: usize = 8;

const MARK: Duration = Duration::from_secs(2);
const PROJECT: &str = "9c53a566cb3443ab910cf0daebca90c4";
const ADMIN: &str = "an-admin-token-for-benches";

fn main() {
    // `cargo test` runs benches once, to see that they work: few will do.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let told = std::env::var("CONSOLEGATE_SESSIONS").ok().and_then(|number| number.parse().ok());
    let sessions = told.unwrap_or(if quick { 16 } else { SESSIONS });
    measure(Directory::new("fleet").path(), sessions);
}

fn measure(dir: &Path, sessions: usize) {
    let console = console();
    let (_redis, redis_port) = redis(dir);
    let listeners = [(); 3].map(|()| [free_port(), free_port(), free_port()]);
    let roles = ["issuer", "proxy", "proxy"];
    let _processes: Vec<_> = roles
        .iter()
        .zip(listeners)
        .enumerate()
        .map(|(n, (role, ports))| serve(dir, (n, *role), ports, redis_port, console))
        .collect();
    let [[api, _, admin], [_, one, _], [_, two, _]] = listeners;
    [admin, one, two].into_iter().for_each(reachable);

    let begun = Instant::now();
    let mut viewers: Vec<TcpStream> = thread::scope(|scope| {
        let open = |hand: usize| {
            let mine = (0..sessions).filter(move |n| n % HANDS == hand);
            mine.map(|n| open(api, if n % 2 == 0 { one } else { two }, "vm-1")).collect::<Vec<_>>()
        };
        let hands: Vec<_> = (0..HANDS).map(|hand| scope.spawn(move || open(hand))).collect();
        hands.into_iter().flat_map(|hand| hand.join().expect("a hand")).collect()
    });
    println!("{sessions} sessions at two proxies, opened in {:.1?}", begun.elapsed());

    let credential = format!("Authorization: Bearer {ADMIN}");
    let begun = Instant::now();
    let listed = http(admin, "GET", "/v1/sessions", &credential, "");
    let listing = begun.elapsed();
    assert_eq!(listed.matches("\"grant\":").count(), sessions, "all are listed");
    println!("listed from the issuer in {listing:.1?}, {} KiB", listed.len() / 1024);

    let begun = Instant::now();
    let answer = http(admin, "POST", "/v1/revoke", &credential, &format!("{{\"project\":\"{PROJECT}\"}}"));
    let answered = begun.elapsed();
    assert!(answer.contains(&format!("\"sessions\":{sessions}")), "{answer}");
    let share = sessions.div_ceil(HANDS).max(1);
    thread::scope(|scope| {
        for viewers in viewers.chunks_mut(share) {
            scope.spawn(move || viewers.iter_mut().for_each(closed));
        }
    });
    let ending = begun.elapsed();
    println!(
        "ended by one revocation: answered in {answered:.1?}, the last viewer closed after {ending:.1?}"
    );
    let verdict = if listing + ending <= MARK { "kept" } else { "MISSED" };
    println!("the mark of {MARK:?} for both: {verdict}");
}

/// A console that takes every connection and says nothing.
fn console() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port for the console");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        let lines: Vec<_> = listener.incoming().flatten().collect();
        drop(lines);
    });
    address
}

fn serve(dir: &Path, (n, role): (usize, &str), ports: [u16; 3], redis: u16, console: SocketAddr) -> Process {
    let [api, proxy, admin] = ports;
    let text = format!(
        "[listen]\napi = \"127.0.0.1:{api}\"\nproxy = \"127.0.0.1:{proxy}\"\nadmin = \"127.0.0.1:{admin}\"\n\
         [proxy]\nname = \"{role}-{n}\"\npublic_url = \"http://127.0.0.1:6080\"\n[admin]\ntoken = \"{ADMIN}\"\n\
         [tokens]\nstore = \"redis://127.0.0.1:{redis}/0\"\n\
         [limits]\nsessions_per_target = 0\nissue_per_second = 0\noutstanding_per_target = 0\n\
         [[auth.token]]\ntoken = \"{TOKEN}\"\nuser = \"bench\"\nproject = \"{PROJECT}\"\nroles = [\"member\"]\n\
         [[target]]\nid = \"vm-1\"\nproject = \"{PROJECT}\"\nserial = \"tcp://{console}\"\nserial_viewers = \"share\"\n"
    );
    let file = dir.join(format!("{role}-{n}.toml"));
    std::fs::write(&file, text).expect("a configuration");
    let mut command = Command::new(env!("CARGO_BIN_EXE_consolegate"));
    command.args(["serve", "--role", role, "--config"]).arg(&file).env("RUST_LOG", "warn");
    Process::start(&mut command, &dir.join(format!("{role}-{n}.log")))
}

/// Waits for the close frame, beyond the pings of a long opening.
fn closed(viewer: &mut TcpStream) {
    loop {
        let mut head = [0; 2];
        viewer.read_exact(&mut head).expect("a frame");
        let mut payload = vec![0; usize::from(head[1])];
        viewer.read_exact(&mut payload).expect("its payload");
        match head[0] {
            0x89 => {}
            0x88 => return assert_eq!(payload[..2], 1008_u16.to_be_bytes()),
            other => panic!("a frame that begins with {other:#x}"),
        }
    }
}
