//! What a fleet's shared inventory costs: 10,000 targets registered at an issuer and seen by two proxies, a process that
//! starts with them, memory. Real processes over one Redis; `CONSOLEGATE_TARGETS` is another number of targets.

#![allow(clippy::print_stdout, reason = "a bench's result")]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Targets, unless told otherwise.
const TARGETS: usize = 10_000;

/// Threads that register.
const HANDS: usize = 8;

const ADMIN: &str = "an-admin-token-for-benches";

/// A process of ours; gone when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() {
    // `cargo test` runs benches once, to see that they work: few will do.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let told = std::env::var("CONSOLEGATE_TARGETS").ok().and_then(|number| number.parse().ok());
    let targets = told.unwrap_or(if quick { 16 } else { TARGETS });
    let dir = std::env::temp_dir().join(format!("consolegate-inventory-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    measure(&dir, targets);
    let _ = std::fs::remove_dir_all(&dir);
}

fn measure(dir: &Path, targets: usize) {
    let keys = dir.join("keys");
    std::fs::write(&keys, "5a".repeat(32)).expect("a file of keys");
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o600)).expect("its mode");
    let redis = free_port();
    let settings = ["--port", &redis.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
    let _redis = start(Command::new("redis-server").args(settings), &dir.join("redis.log"));
    reachable(redis);
    let (empty_redis, admins) = (used(redis), [(); 4].map(|()| free_port()));
    let roles = ["issuer", "proxy", "proxy"];
    let processes: Vec<_> = (0..3).map(|n| serve(dir, (n, roles[n]), admins[n], redis)).collect();
    admins[..3].iter().for_each(|port| ready(*port));
    let empty = resident(&processes[1]);

    let begun = Instant::now();
    thread::scope(|scope| {
        for hand in 0..HANDS {
            scope.spawn(move || (hand..targets).step_by(HANDS).for_each(|n| register(admins[0], n)));
        }
    });
    let registered = begun.elapsed();
    admins[..3].iter().for_each(|port| knows(*port, targets));
    println!(
        "{targets} targets registered by {HANDS} at once in {registered:.1?}, known to all after {:.1?}",
        begun.elapsed()
    );

    let begun = Instant::now();
    register(admins[0], targets);
    admins[..3].iter().for_each(|port| knows(*port, targets + 1));
    println!("one more: known to all, and asked, after {:.1?}", begun.elapsed());

    let begun = Instant::now();
    let late = serve(dir, (3, "proxy"), admins[3], redis);
    ready(admins[3]);
    println!("a process that starts with them is ready after {:.1?}", begun.elapsed());
    let each = |bytes: usize| bytes / targets;
    println!(
        "a target takes {} bytes of Redis, {} of a process that saw it come, {} of one that began with it",
        each(used(redis).saturating_sub(empty_redis)),
        each(resident(&processes[1]).saturating_sub(empty)),
        each(resident(&late).saturating_sub(empty)),
    );
}

fn register(admin: u16, n: usize) {
    let body = format!(
        "{{\"project\":\"9c53a566cb3443ab910cf0daebca90c4\",\"name\":\"server-{n}\",\"vnc\":\"tcp://10.0.{}.{}:5901\",\
         \"serial\":\"telnet://ts-{}.example.org:{}\",\
         \"vnc_security\":{{\"types\":[\"vnc\"],\"password\":\"opensesa\"}}}}",
        n / 256 % 256,
        n % 256,
        n % 40,
        2000 + n % 48
    );
    let answer = http(admin, "PUT", &format!("/v1/targets/47e9be4e-a7b9-471f-92d9-{n:012}"), &body);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

/// Waits until the process serves so many targets.
fn knows(admin: u16, count: usize) {
    until(|| http(admin, "GET", "/metrics", "").contains(&format!("consolegate_targets {count}\n")));
}

fn ready(admin: u16) {
    reachable(admin);
    until(|| http(admin, "GET", "/health/ready", "").starts_with("HTTP/1.1 200"));
}

fn reachable(port: u16) {
    until(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
}

fn until(mut look: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !look() {
        assert!(begun.elapsed() < Duration::from_secs(120), "it does not come");
        thread::sleep(Duration::from_millis(2));
    }
}

fn serve(dir: &Path, (n, role): (usize, &str), admin: u16, redis: u16) -> Process {
    let keys = dir.join("keys");
    let text = format!(
        "[listen]\napi = \"127.0.0.1:0\"\nproxy = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:{admin}\"\n\
         [proxy]\npublic_url = \"http://127.0.0.1:6080\"\n[admin]\ntoken = \"{ADMIN}\"\n\
         [tokens]\nstore = \"redis://127.0.0.1:{redis}/0\"\n\
         [inventory]\nshared = true\nkey_file = {keys:?}\n"
    );
    let file = dir.join(format!("{role}-{n}.toml"));
    std::fs::write(&file, text).expect("a configuration");
    let mut command = Command::new(env!("CARGO_BIN_EXE_consolegate"));
    command.args(["serve", "--role", role, "--config"]).arg(&file).env("RUST_LOG", "warn");
    start(&mut command, &dir.join(format!("{role}-{n}.log")))
}

fn start(command: &mut Command, log: &Path) -> Process {
    let log = std::fs::File::create(log).expect("a log");
    let child =
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log).spawn();
    Process(child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}")))
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr()).expect("a port").port()
}

/// An answer, head and body.
fn http(port: u16, method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\nAuthorization: Bearer {ADMIN}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    let mut answer = String::new();
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a listener");
    socket.write_all(request.as_bytes()).expect("it reads");
    socket.read_to_string(&mut answer).expect("it answers");
    answer
}

/// Memory of the Redis, in bytes.
fn used(port: u16) -> usize {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the Redis");
    socket.write_all(b"INFO memory\r\nQUIT\r\n").expect("it reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("it answers");
    let line = answer.lines().find_map(|line| line.strip_prefix("used_memory:")).expect("its memory");
    line.trim().parse().expect("a number")
}

/// Memory of a process, in bytes.
fn resident(process: &Process) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.0.id())).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}
