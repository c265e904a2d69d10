//! Processes of a bench's own, on loopback.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

#[allow(dead_code, reason = "not every bench asks for itself")]
pub(crate) mod http;

/// The credential of every issuer a bench starts; it lives as long as the bench.
pub(crate) const TOKEN: &str = "a-fixed-token-for-benches";

/// A process of ours; gone when dropped.
pub(crate) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Starts it with nothing to read and its words in `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let log = File::create(log).expect("a log");
        let beside = log.try_clone().expect("a second handle");
        let child = command.stdin(Stdio::null()).stdout(beside).stderr(log).spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}")))
    }

    /// Its process id.
    #[allow(dead_code, reason = "not every bench watches its processes")]
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

/// A redis-server that keeps nothing on disk, and its port.
#[allow(dead_code, reason = "not every bench needs one")]
pub(crate) fn redis(dir: &Path) -> (Process, u16) {
    let port = free_port();
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    let process = Process::start(&mut command, &dir.join("redis.log"));
    reachable(port);
    (process, port)
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr()).expect("a port").port()
}

/// Waits until somebody listens.
pub(crate) fn reachable(port: u16) {
    let begun = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody listens on {port}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A directory of this bench's own; gone when dropped.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(bench: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("consolegate-{bench}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        Self(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
