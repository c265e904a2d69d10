//! Real redis-servers on loopback, for tests: each on a port that was free, ended by its own handle.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::{Connection, FromRedisValue};
use tempfile::TempDir;

/// When a hang is reported. Generous: it never decides whether a slow machine passes.
const PATIENCE: Duration = Duration::from_secs(120);

/// The first argument of a Sentinel; the others are lines of its configuration.
const SENTINEL: &str = "sentinel";

/// What every Sentinel here wants to hear first.
pub(crate) const SENTINEL_PASSWORD: &str = "sentinel-secret";

/// A running redis-server; gone when dropped, with its data.
pub(crate) struct Server {
    child: Child,
    port: u16,
    arguments: Vec<String>,
    connection: Mutex<Option<Connection>>,
    dir: TempDir,
}

/// A port of loopback that was free a moment ago: Redis cannot say which one it took.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a loopback port").port()
}

/// For the report of `cargo xtask soak`, which says where it is.
pub(crate) fn note(line: &str) {
    use std::io::Write as _;
    let Some(path) = std::env::var_os("CONSOLEGATE_SOAK_NOTES") else { return };
    let mut file = File::options().append(true).create(true).open(path).expect("a file for notes");
    writeln!(file, "- {line}").expect("room for a note");
}

/// Looks until `look` sees something.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Server {
    /// Starts one with these settings, beyond a port and a directory of its own.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let arguments: Vec<_> = arguments.iter().map(|&word| word.to_owned()).collect();
        // Another may take the port between the look and the start: then the next one is tried.
        for _ in 0..10 {
            let dir = tempfile::tempdir().expect("a directory");
            let port = free_port();
            let child = spawn(port, &arguments, dir.path());
            let connection = Mutex::default();
            let mut server = Self { child, port, arguments: arguments.clone(), connection, dir };
            if server.wait() {
                return server;
            }
            assert!(server.said().contains("in use"), "redis-server ended. It said:\n{}", server.said());
        }
        panic!("no free port for redis-server");
    }

    /// A Sentinel that watches `primary` under the name of `service`.
    pub(crate) fn sentinel(service: &str, primary: &Self) -> Self {
        let port = primary.port;
        Self::start(&[
            SENTINEL,
            &format!("sentinel monitor {service} 127.0.0.1 {port} 1"),
            &format!("requirepass {SENTINEL_PASSWORD}"),
            &format!("sentinel down-after-milliseconds {service} 500"),
        ])
    }

    /// Whether it came up; or it ended.
    fn wait(&mut self) -> bool {
        until("redis-server", || {
            if self.child.try_wait().expect("the state of a child").is_some() {
                return Some(false);
            }
            match self.connect() {
                Ok(mut connection) => {
                    // While it reads its data it answers LOADING.
                    let answer: redis::RedisResult<String> = redis::cmd("PING").query(&mut connection);
                    answer.is_ok().then_some(true)
                }
                Err(_) => None,
            }
        })
    }

    fn connect(&self) -> redis::RedisResult<Connection> {
        let sentinel = self.arguments.first().is_some_and(|first| first == SENTINEL);
        let login = if sentinel { format!(":{SENTINEL_PASSWORD}@") } else { String::new() };
        let client = redis::Client::open(format!("redis://{login}127.0.0.1:{}", self.port))?;
        client.get_connection_with_timeout(Duration::from_secs(5))
    }

    /// Where it listens on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its setting for `tokens.store`.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("redis.log")).unwrap_or_default()
    }

    /// Asks it something, by a connection of the test's own.
    pub(crate) fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| _ = command.arg(word));
        let mut kept = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = match kept.as_mut().map(|connection| command.query(connection)) {
            // A server that changes its role closes its connections.
            None => None,
            Some(Err(error)) if error.is_io_error() => None,
            answer => answer,
        };
        let answer = answer.unwrap_or_else(|| {
            command.query(kept.insert(self.connect().expect("a connection to redis-server")))
        });
        answer.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// One field of its report.
    pub(crate) fn info(&self, field: &str) -> String {
        let report: String = self.ask(&["INFO"]);
        let mut lines = report.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| *key == field).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    }

    /// Waits until it has everything its primary wrote.
    pub(crate) fn follows(&self, primary: &Self) {
        until("the replica", || {
            let caught_up = self.info("master_link_status") == "up"
                && self.info("slave_repl_offset") == primary.info("master_repl_offset");
            caught_up.then_some(())
        });
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a child to kill");
        self.child.wait().expect("its end");
        self.connection.get_mut().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Starts it again where it was, with the data it had saved.
    pub(crate) fn restart(&mut self) {
        until("its port, which somebody's connection may have taken", || {
            self.child = spawn(self.port, &self.arguments, self.dir.path());
            let up = self.wait();
            assert!(up || self.said().contains("in use"), "redis-server ended. It said:\n{}", self.said());
            up.then_some(())
        });
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A primary, its replica, and the Sentinel that promotes it.
pub(crate) struct Guarded {
    pub(crate) primary: Server,
    pub(crate) replica: Server,
    pub(crate) sentinel: Server,
}

impl Guarded {
    pub(crate) fn start(service: &str) -> Self {
        let primary = Server::start(&[]);
        let replica = Server::start(&["--replicaof", "127.0.0.1", &primary.port().to_string()]);
        replica.follows(&primary);
        let sentinel = Server::sentinel(service, &primary);
        until("the replica's discovery", || {
            let known: Vec<Vec<String>> = sentinel.ask(&["SENTINEL", "REPLICAS", service]);
            (known.len() == 1).then_some(())
        });
        Self { primary, replica, sentinel }
    }
}

/// Three primaries, and a replica of the first, which has the live sessions.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Server>,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let buses = [(); 4].map(|()| free_port().to_string());
        let node = |bus: &String| {
            let timeout = ["--cluster-node-timeout", "2000"];
            Server::start(&[&["--cluster-enabled", "yes", "--cluster-port", bus][..], &timeout].concat())
        };
        let nodes: Vec<_> = buses.iter().map(node).collect();
        let mut ranges = [(0, 5460), (5461, 10922), (10923, 16383)];
        let fleet: i32 = nodes[0].ask(&["CLUSTER", "KEYSLOT", "{fleet}"]);
        ranges.sort_by_key(|(first, last)| !(*first..=*last).contains(&fleet));
        for (at, (first, last)) in ranges.iter().enumerate() {
            let _: String = nodes[at].ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]);
            let slots = [first, last].map(ToString::to_string);
            let _: String = nodes[at].ask(&["CLUSTER", "ADDSLOTSRANGE", &slots[0], &slots[1]]);
        }
        for (node, bus) in nodes.iter().zip(&buses).skip(1) {
            let _: String = nodes[0].ask(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string(), bus]);
        }
        let agreed = |node: &Server| {
            let report: String = node.ask(&["CLUSTER", "INFO"]);
            report.contains("cluster_state:ok") && report.contains("cluster_known_nodes:4")
        };
        until("the cluster", || nodes.iter().all(agreed).then_some(()));
        let first: String = nodes[0].ask(&["CLUSTER", "MYID"]);
        let _: String = nodes[3].ask(&["CLUSTER", "REPLICATE", &first]);
        nodes[3].follows(&nodes[0]);
        Self { nodes }
    }

    /// Its setting for `tokens.store`: two nodes are named, the others are found.
    pub(crate) fn url(&self) -> String {
        format!("redis-cluster://127.0.0.1:{},127.0.0.1:{}", self.nodes[1].port(), self.nodes[2].port())
    }

    /// The replica takes over. It asks nobody: the old primary has not heard of it yet.
    pub(crate) fn take_over(&self) {
        self.nodes[3].follows(&self.nodes[0]);
        let _: String = self.nodes[3].ask(&["CLUSTER", "FAILOVER", "TAKEOVER"]);
        until("the takeover", || {
            let told = |node: &Server| !node.ask::<String>(&["CLUSTER", "NODES"]).contains("myself,slave");
            (told(&self.nodes[3]) && !told(&self.nodes[0])).then_some(())
        });
    }
}

fn spawn(port: u16, arguments: &[String], dir: &Path) -> Child {
    let log = File::options().create(true).append(true).open(dir.join("redis.log")).expect("a log file");
    let mut command = Command::new("redis-server");
    match arguments.split_first() {
        Some((first, monitor)) if first == SENTINEL => {
            // A Sentinel keeps what it learns in its configuration, which therefore has to be a file.
            let file = dir.join("sentinel.conf");
            let text =
                format!("port {port}\nbind 127.0.0.1\ndir {}\n{}\n", dir.display(), monitor.join("\n"));
            std::fs::write(&file, text).expect("a configuration");
            command.arg0("redis-sentinel").arg(file);
        }
        _ => {
            command.args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--appendonly",
                "no",
                "--save",
                "",
            ]);
            command.args(arguments).arg("--dir").arg(dir);
        }
    }
    command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
    let remedy = "redis-server does not start. To go on: run `cargo xtask setup`";
    command.spawn().unwrap_or_else(|error| panic!("{remedy}: {error}"))
}
