//! kill -9 of the store, the proxies and the consoles, at random under load: what arrives is what was sent, each
//! console answers for itself, no token opens twice, and every end has a cause.
//!
//! `CONSOLEGATE_KILL_ROUNDS` sets how many; `cargo xtask soak` asks for a thousand.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use rustix::process::Signal;
use serde_json::Value;
use tokio::process::Command;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::support::binary::run;
use crate::support::chance::{Chance, Checker, records};
use crate::support::process::Process;
use crate::support::program::Program;
use crate::support::redis::{Server as Redis, free_port, note};
use crate::support::server::{TOKEN, target};
use crate::support::{temp, within};

/// Viewers at the same time.
const VIEWERS: usize = 8;

/// What a session sends before it says goodbye, in blocks; many rounds meet it in the middle.
const BLOCKS: u32 = 40;

/// Records in each of them.
const RECORDS: u32 = 64;

/// Bytes that a console says first.
const GREETING: usize = 12;

/// Words that a session may end with, in the audit log.
const CAUSES: [&str; 8] = [
    "target_closed",
    "target_failed",
    "viewer_closed",
    "viewer_gone",
    "viewer_stalled",
    "target_stalled",
    "drain",
    "taken_over",
];

/// A console as a process of its own: this program once more, in [`a_console`].
struct Target {
    name: usize,
    port: u16,
    process: Process,
    _dir: tempfile::TempDir,
}

/// The environment that makes this program a console: its port and its name.
const CONSOLE: &str = "CONSOLEGATE_TEST_CONSOLE";

/// Not a test of anything: what [`Target`] runs. It says its name, then sends back what it gets.
#[tokio::test]
async fn a_console() {
    let Ok(words) = std::env::var(CONSOLE) else { return };
    let (port, name) = words.split_once(' ').expect("a port and a name");
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await.expect("its port");
    loop {
        let (mut socket, _) = listener.accept().await.expect("a connection");
        let greeting = greeting(name.parse().expect("a number"));
        tokio::spawn(async move {
            use tokio::io::AsyncWriteExt as _;
            socket.write_all(&greeting).await?;
            let (mut reader, mut writer) = socket.split();
            tokio::io::copy(&mut reader, &mut writer).await?;
            writer.shutdown().await
        });
    }
}

fn greeting(name: usize) -> Vec<u8> {
    format!("console {name:03}\n").into_bytes()
}

impl Target {
    async fn start(name: usize, port: u16) -> Self {
        let dir = temp::dir();
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "kills::a_console", "--nocapture"]).env(CONSOLE, format!("{port} {name}"));
        let mut process = Process::start("console", command, dir.path());
        let up = async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok();
        process.ready("its port", up).await;
        Self { name, port, process, _dir: dir }
    }
}

/// Everything that can be killed, and what the viewers know of it.
struct Fleet {
    redis: Redis,
    proxies: Vec<Program>,
    targets: Vec<Target>,
    audits: tempfile::TempDir,
}

/// What viewers need, and count.
struct Shared {
    proxies: Vec<SocketAddr>,
    targets: usize,
    stop: AtomicBool,
    streams: AtomicUsize,
    /// Sessions to their own goodbye; those that a kill cut short; connections that were refused.
    whole: AtomicUsize,
    cut: AtomicUsize,
    refused: AtomicUsize,
    codes: Mutex<BTreeMap<u16, usize>>,
}

fn id(name: usize) -> String {
    format!("6c1f2a90-0000-4000-8000-{name:012}")
}

impl Fleet {
    async fn start(proxies: usize, targets: usize) -> Self {
        let redis = Redis::start(&[]);
        let audits = temp::dir();
        let mut fleet = Self { redis, proxies: Vec::new(), targets: Vec::new(), audits };
        for name in 0..targets {
            fleet.targets.push(Target::start(name, free_port()).await);
        }
        let consoles = fleet.targets.iter().map(|console| {
            let serial = format!("serial = \"tcp://127.0.0.1:{}\"\nserial_viewers = \"share\"", console.port);
            target(&id(console.name), &format!("console-{}", console.name), &serial)
        });
        let consoles: String = consoles.collect();
        for name in 0..proxies {
            let settings = format!(
                "[tokens]\nstore = \"{}\"\n[audit]\nfile = {:?}\n\
                 [limits]\nsessions_per_target = 0\noutstanding_per_target = 0\nissue_per_second = 0\n{consoles}",
                fleet.redis.url(),
                fleet.audit(name)
            );
            fleet.proxies.push(Program::serve(&settings).await);
        }
        fleet
    }

    fn audit(&self, proxy: usize) -> std::path::PathBuf {
        self.audits.path().join(format!("audit-{proxy}.jsonl"))
    }

    /// kill -9 of one of them all, and its return.
    async fn strike(&mut self, chance: &mut Chance) {
        let victim = chance.among(0..=self.proxies.len() + self.targets.len());
        let pause = Duration::from_millis(chance.among(0..=60) as u64);
        if victim == 0 {
            tokio::task::block_in_place(|| self.redis.kill());
            tokio::time::sleep(pause).await;
            tokio::task::block_in_place(|| self.redis.restart());
        } else if let Some(proxy) = self.proxies.get_mut(victim - 1) {
            proxy.kill().await;
            tokio::time::sleep(pause).await;
            proxy.revive().await;
        } else {
            let at = victim - 1 - self.proxies.len();
            let (name, port) = (self.targets[at].name, self.targets[at].port);
            self.targets[at].process.kill().await;
            tokio::time::sleep(pause).await;
            self.targets[at] = Target::start(name, port).await;
        }
    }
}

/// Asks for a console of `server`; `None` while that cannot be had.
async fn issue(at: SocketAddr, server: &str) -> Option<String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let body = "{\"remote_console\": {\"protocol\": \"serial\", \"type\": \"serial\"}}";
    let request = format!(
        "POST /v2.1/servers/{server}/remote-consoles HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nX-Auth-Token: {TOKEN}\r\n\
         Content-Type: application/json\r\nOpenStack-API-Version: compute 2.8\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut socket = tokio::net::TcpStream::connect(at).await.ok()?;
    socket.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    within("the issuer's answer", socket.read_to_end(&mut answer)).await.ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.get(9..12).unwrap_or("none").to_owned();
    assert!(matches!(&*status, "200" | "503" | "none"), "{answer}");
    let (_, token) = answer.split_once("token=")?;
    Some(token.chars().take(36).collect())
}

/// One viewer after the other, each with a console of its own choice.
async fn viewers(shared: Arc<Shared>, seed: u64) {
    let mut chance = Chance::new(seed);
    while !shared.stop.load(Ordering::SeqCst) {
        let mut proxy = || shared.proxies[chance.among(0..=shared.proxies.len() - 1)];
        let (issuer, at, other) = (proxy(), proxy(), proxy());
        let name = chance.among(0..=shared.targets - 1);
        let again = chance.one_in(3);
        let Some(token) = issue(issuer, &id(name)).await else {
            shared.refused.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        match within("the upgrade", connect_async(format!("ws://{at}/?token={token}"))).await {
            Ok((socket, _)) => {
                if again {
                    let twice =
                        within("the upgrade", connect_async(format!("ws://{other}/?token={token}"))).await;
                    assert!(twice.is_err(), "a token opened twice");
                }
                session(&shared, socket, name).await;
            }
            Err(error) => {
                // A tool's refusal has a status; of what was killed meanwhile only the connection's end is seen.
                if let Error::Http(response) = &error {
                    let status = response.status().as_u16();
                    assert!(matches!(status, 403 | 502 | 503), "{status}");
                }
                shared.refused.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

/// Sends records and takes them back, to its own goodbye or to what comes before it.
async fn session(
    shared: &Shared,
    socket: WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>,
    name: usize,
) {
    let stream = u32::try_from(shared.streams.fetch_add(1, Ordering::SeqCst)).expect("fewer streams");
    let (mut sink, mut source) = socket.split();
    let send = async {
        for block in 0..BLOCKS {
            let payload = records(stream, block * RECORDS, (block + 1) * RECORDS);
            if sink.send(Message::binary(payload)).await.is_err() {
                return sink;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        sink
    };
    let receive = async {
        let (mut head, mut echoed, mut ended) = (Vec::new(), Checker::new(stream), None);
        while echoed.seen() < BLOCKS * RECORDS {
            match within("bytes or an end", source.next()).await {
                Some(Ok(Message::Binary(bytes))) => {
                    let mut bytes = &bytes[..];
                    let missing = GREETING - head.len();
                    let (greeting, rest) = bytes.split_at(missing.min(bytes.len()));
                    head.extend_from_slice(greeting);
                    bytes = rest;
                    echoed.take(bytes);
                }
                Some(Ok(Message::Close(frame))) => {
                    ended = frame.map(|frame| u16::from(frame.code));
                    break;
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            }
        }
        assert!(greeting(name).starts_with(&head), "another console's: {}", String::from_utf8_lossy(&head));
        (echoed, ended, source)
    };
    let (mut sink, (echoed, ended, mut source)) = tokio::join!(send, receive);
    if let Some(code) = ended {
        *shared.codes.lock().unwrap().entry(code).or_default() += 1;
        assert!(matches!(code, 1000 | 1001 | 1011), "{code} is no word for a kill");
    }
    if echoed.seen() == BLOCKS * RECORDS {
        echoed.ends_at(BLOCKS * RECORDS);
        let _ = sink.close().await;
        while let Some(Ok(_)) = within("the end", source.next()).await {}
        shared.whole.fetch_add(1, Ordering::SeqCst);
    } else {
        shared.cut.fetch_add(1, Ordering::SeqCst);
    }
}

/// Every session that was opened ended once, for a cause of the list, unless its process was killed; and none was
/// opened twice with one grant.
fn judge(log: &Path, grants: &mut BTreeMap<String, usize>) -> usize {
    let text = std::fs::read_to_string(log).expect("an audit log");
    let mut open: BTreeMap<String, ()> = BTreeMap::new();
    let mut ends = 0;
    for line in text.lines() {
        // The line a kill cut off.
        let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
        let word = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        match &*word("event") {
            "open" => {
                assert!(open.insert(word("session"), ()).is_none(), "{line}");
                *grants.entry(word("grant")).or_default() += 1;
            }
            "close" => {
                assert!(
                    open.remove(&word("session")).is_some(),
                    "an end without a beginning, or a second: {line}"
                );
                assert!(CAUSES.contains(&&*word("cause")), "{line}");
                ends += 1;
            }
            // A process begins: those of the one before ended with it.
            "begin" => open.clear(),
            _ => {}
        }
    }
    assert!(open.is_empty(), "without an end: {open:?}");
    ends
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_nothing_is_lost_doubled_or_crossed() {
    let rounds =
        std::env::var("CONSOLEGATE_KILL_ROUNDS").map_or(30, |rounds| rounds.parse().expect("a number"));
    let seed = std::env::var("CONSOLEGATE_KILL_SEED").map_or(9, |seed| seed.parse().expect("a number"));
    let mut fleet = Fleet::start(2, 3).await;
    let shared = Arc::new(Shared {
        proxies: fleet.proxies.iter().map(|proxy| proxy.at).collect(),
        targets: fleet.targets.len(),
        stop: AtomicBool::new(false),
        streams: AtomicUsize::new(1),
        whole: AtomicUsize::new(0),
        cut: AtomicUsize::new(0),
        refused: AtomicUsize::new(0),
        codes: Mutex::default(),
    });
    let mut load = tokio::task::JoinSet::new();
    for number in 0..VIEWERS {
        load.spawn(viewers(Arc::clone(&shared), seed + 1 + number as u64));
    }
    let mut chance = Chance::new(seed);
    for _ in 0..rounds {
        let before = shared.whole.load(Ordering::SeqCst);
        fleet.strike(&mut chance).await;
        within("sessions after a kill", async {
            while shared.whole.load(Ordering::SeqCst) < before + VIEWERS {
                if let Some(failed) = load.try_join_next() {
                    failed.expect("a viewer");
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }
    shared.stop.store(true, Ordering::SeqCst);
    while let Some(done) = within("the viewers' end", load.join_next()).await {
        done.unwrap();
    }
    let mut grants = BTreeMap::new();
    let mut ends = 0;
    for proxy in 0..fleet.proxies.len() {
        fleet.proxies[proxy].signal(Signal::TERM);
        assert!(fleet.proxies[proxy].ended().await.success());
        let log = fleet.audit(proxy);
        ends += judge(&log, &mut grants);
        let output = run(&["audit", "verify", log.to_str().expect("UTF-8")], &[]).await;
        assert!(output.status.success(), "{output:?}");
    }
    let twice: Vec<_> = grants.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "opened twice: {twice:?}");
    let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
    assert!(ends >= count(&shared.whole), "{ends} ends written down");
    note(&format!(
        "{rounds} kills (seed {seed}): {} sessions whole, {} cut short, {} refused; {ends} ends written down; closed \
         with {:?}.",
        count(&shared.whole),
        count(&shared.cut),
        count(&shared.refused),
        shared.codes.lock().unwrap()
    ));
}
