//! Issuing: the path from a request to a console's URL for each dialect, in memory; then over HTTP, against a bare
//! hyper handler that reads the same body and writes an answer of the same size, on the same kind of workers.
//!
//! Tokens are kept in memory, the caller's token was looked up in (a stand-in for) Keystone once and is remembered.
//! Each issue writes a line of the audit log and a line of the log, as JSON, by the same code as in production, to
//! files in memory where there are such. Both servers speak HTTP with the same settings. The limits on callers are
//! off: they would be what is measured. With `--features jemalloc` both have the allocator of releases.
//!
//! The worker has a processor of its own, and the client another, on which it never sleeps. The threads that write
//! audit log and log run in the time it spins away, and, for a second figure, on the worker's processor.

#![allow(clippy::print_stdout, reason = "a bench's result")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on ends")]

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use consolegate::api::Api;
use consolegate::config::Config;
use consolegate::log;
use consolegate::net::workers::{Handler, Workers};
use consolegate::server::{self, Server};
use criterion::{BatchSize, Criterion, Throughput};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use processors::{Others, Processors};

#[path = "support/processors.rs"]
mod processors;

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const PROJECT: &str = "9c53a566cb3443ab910cf0daebca90c4";
const KEYSTONES: &str = "a-token-that-keystone-knows";

/// What issue throughput over HTTP has to reach of the bare handler's.
const MARK: f64 = 0.75;

/// Connections, each with one request at a time: enough to keep one worker busy, few enough to be served at once.
const CONNECTIONS: usize = 64;

/// Rounds of each server, in turn; medians count. One round takes less than a second.
const ROUNDS: usize = 9;
const REQUESTS: usize = 20_000;

/// The log's file, unnamed, written over from its start: millions of lines are not kept.
struct Log {
    file: File,
    written: usize,
}

/// As much of the log as the disk is asked to hold.
const KEPT: usize = 32 * 1024 * 1024;

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.written > KEPT {
            self.file.rewind()?;
            self.written = 0;
        }
        self.written += line.len();
        self.file.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A request of each dialect: name, method, path, headers, body.
type Ask = (&'static str, &'static str, String, &'static [(&'static str, &'static str)], &'static str);

fn dialects() -> [Ask; 6] {
    let vnc = r#"{"remote_console": {"protocol": "vnc", "type": "novnc"}}"#;
    let serial = r#"{"remote_console": {"protocol": "serial", "type": "serial"}}"#;
    let action = r#"{"os-getSerialConsole": {"type": "serial"}}"#;
    [
        (
            "openstack",
            "POST",
            "/v2.1/servers/vm/remote-consoles".to_owned(),
            &[("openstack-api-version", "compute 2.96")],
            vnc,
        ),
        ("otc", "POST", format!("/v2/{PROJECT}/servers/bm/action"), &[], action),
        ("huawei-bms", "POST", format!("/v1/{PROJECT}/baremetalservers/bm/remote_console"), &[], serial),
        (
            "huawei-clouddc",
            "GET",
            format!("/v1/{PROJECT}/physicalservers/bm/remote-console-address"),
            &[],
            "",
        ),
        ("huawei-ecs", "POST", format!("/v1/{PROJECT}/cloudservers/vm/remote_console"), &[], vnc),
        ("native", "POST", "/console/v1/servers/vm/consoles".to_owned(), &[], r#"{"protocol": "vnc"}"#),
    ]
}

/// Tokens that the store holds: those of ten minutes of an issuer that gives out eighty a second. They die young
/// here, so that each new one takes a dead one's place; before anything is measured the store is full.
const TOKENS: usize = 50_000;

/// Two servers; one worker, so that it and not the client is what is busy.
fn server(keystone: SocketAddr, audit: &Path) -> Server {
    let console = "vnc = \"tcp://127.0.0.1:5901\"\nserial = \"tcp://127.0.0.1:4444\"";
    let audit = audit.join("audit.jsonl");
    let audit = audit.display();
    let mut text = format!(
        "[audit]\nfile = \"{audit}\"\n[listen]\napi = \"127.0.0.1:0\"\nproxy = \"127.0.0.2:0\"\nadmin = \"127.0.0.1:0\"\n\
         [proxy]\nworkers = 1\n[tokens]\nttl = \"100ms\"\ncapacity = {TOKENS}\n\
         [limits]\nissue_per_second = 0\noutstanding_per_target = 0\n\
         [auth.keystone]\nurl = \"http://{keystone}/v3\"\nusername = \"consolegate\"\npassword = \"p\"\n\
         cache_ttl = \"1h\"\n"
    );
    for (id, kind) in [("vm", "vm"), ("bm", "baremetal")] {
        text += &format!(
            "[[target]]\nid = \"{id}\"\nproject = \"{PROJECT}\"\nkind = \"{kind}\"\nzone = \"az1\"\n\
             region = \"r1\"\n{console}\n"
        );
    }
    Server::new(Config::parse(&text, Path::new("bench.toml")).unwrap()).unwrap()
}

/// Knows our login and one token, for long enough.
fn keystone() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let mut request = [0; 4096];
            let count = socket.read(&mut request).unwrap();
            let (status, body) = match request[..count].starts_with(b"POST") {
                true => ("201 Created", String::new()),
                false => {
                    let token = format!(
                        r#"{{"token":{{"user":{{"id":"u"}},"project":{{"id":"{PROJECT}"}},"roles":[{{"name":"member"}}],"expires_at":"2099-01-01T00:00:00.000000Z"}}}}"#
                    );
                    ("200 OK", token)
                }
            };
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nX-Subject-Token: ours\r\nConnection: close\r\n");
            let _ = write!(socket, "{head}Content-Length: {length}\r\n\r\n{body}");
        }
    });
    address
}

/// Each dialect's way through the API, from a parsed request to its answer.
fn in_memory(criterion: &mut Criterion, api: &Api) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut group = criterion.benchmark_group("issue");
    group.throughput(Throughput::Elements(1));
    for (name, method, path, headers, body) in dialects() {
        let request = || {
            let mut request = Request::builder().method(method).uri(&path).header("x-auth-token", KEYSTONES);
            request = request.header("host", "api:8774").header("content-type", "application/json");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            request.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap()
        };
        let answer = |request| runtime.block_on(api.handle(None, request).unwrap());
        assert!(answer(request()).status().is_success(), "{name}");
        group.bench_function(name, |bencher| bencher.iter_batched(request, answer, BatchSize::SmallInput));
    }
    group.finish();
}

/// The request over the wire.
fn wire(ask: &Ask) -> Vec<u8> {
    let (_, method, path, headers, body) = ask;
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:8774\r\nuser-agent: openstacksdk/4.22.0 keystoneauth1/5.12.0\r\n\
         accept: application/json\r\nx-auth-token: {KEYSTONES}\r\n{headers}content-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// One answer, whole.
async fn exchange(at: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(at).await.unwrap();
    socket.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    loop {
        socket.read_buf(&mut answer).await.unwrap();
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if body.len() == length.parse::<usize>().unwrap() {
            assert!(head.starts_with("HTTP/1.1 2"), "{text}");
            return answer;
        }
    }
}

/// Requests a second, of `total` over all connections. All answers are of one length.
async fn throughput(at: SocketAddr, request: &Arc<[u8]>, length: usize, total: usize) -> f64 {
    let mut sockets = Vec::new();
    for _ in 0..CONNECTIONS {
        let socket = TcpStream::connect(at).await.unwrap();
        socket.set_nodelay(true).unwrap();
        sockets.push(socket);
    }
    // The client never sleeps: to wake it is the generator's cost, and would be the slower server's only.
    let awake = tokio::spawn(async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    let begun = Instant::now();
    let ask = |mut socket: TcpStream| {
        let request = Arc::clone(request);
        async move {
            let mut answer = vec![0; length];
            for _ in 0..total / CONNECTIONS {
                socket.write_all(&request).await.unwrap();
                socket.read_exact(&mut answer).await.unwrap();
                assert!(answer.starts_with(b"HTTP/1.1 2"));
            }
        }
    };
    let all: Vec<_> = sockets.into_iter().map(|socket| tokio::spawn(ask(socket))).collect();
    for one in all {
        one.await.unwrap();
    }
    awake.abort();
    (total / CONNECTIONS * CONNECTIONS) as f64 / begun.elapsed().as_secs_f64()
}

/// A server that reads the body and writes this answer's headers and as long a body, on one worker of ours.
fn bare(answer: &[u8]) -> SocketAddr {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    // hyper writes these two itself, as it does for us.
    let own = |line: &&str| !line.starts_with("date: ") && !line.starts_with("content-length: ");
    let pairs = head.lines().skip(1).filter(own).map(|line| line.split_once(": ").unwrap());
    let headers: Arc<Vec<_>> = Arc::new(pairs.map(|(a, b)| (a.to_owned(), b.to_owned())).collect());
    let body = Bytes::from(body.to_owned().into_bytes());
    let status: u16 = head[9..12].parse().unwrap();
    let handler: Handler = Arc::new(move |accepted| {
        let (headers, body) = (Arc::clone(&headers), body.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let (headers, body) = (Arc::clone(&headers), body.clone());
            async move {
                let read = request.into_body().collect().await?.to_bytes();
                std::hint::black_box(read);
                let mut response = Response::builder().status(status);
                for (name, value) in headers.iter() {
                    response = response.header(name.as_str(), value.as_str());
                }
                Ok::<_, hyper::Error>(response.body(Full::new(body)).unwrap())
            }
        });
        Box::pin(async move {
            let _load = accepted.load;
            let socket = TcpStream::from_std(accepted.socket).unwrap();
            let http = server::http();
            let _ = http.serve_connection(TokioIo::new(socket), service).with_upgrades().await;
        })
    });
    let workers = Workers::start(1, &handler).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        while let Ok((socket, peer)) = listener.accept() {
            socket.set_nodelay(true).unwrap();
            socket.set_nonblocking(true).unwrap();
            workers.hand_over(socket, peer, 0);
        }
    });
    address
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Both servers in turn, under the same load; prints the ratio of each dialect.
fn over_http(api: SocketAddr, dialects: &[Ask], rounds: usize, requests: usize) {
    let client =
        tokio::runtime::Builder::new_current_thread().event_interval(8).enable_all().build().unwrap();
    let processors = Processors::two();
    let place = |others| processors.iter().for_each(|two| two.place(others));
    println!(
        "\nHTTP issue on one worker, {CONNECTIONS} connections, medians of {rounds} rounds of {requests}; log and \
         audit log\nwritten on the client's processor, then on the worker's:"
    );
    if processors.is_none() {
        println!("there is one processor, which all of them share");
    }
    println!(
        "{:<16} {:>12} {:>12} {:>7} {:>14} {:>7}",
        "dialect", "issued/s", "bare/s", "ratio", "on one, /s", "ratio"
    );
    for (at, ask) in dialects.iter().enumerate() {
        let request: Arc<[u8]> = wire(ask).into();
        let answer = client.block_on(exchange(api, &request));
        let plain = bare(&answer);
        assert_eq!(client.block_on(exchange(plain, &request)).len(), answer.len(), "answers of one size");
        let run = |at, others, requests| {
            place(others);
            client.block_on(throughput(at, &request, answer.len(), requests))
        };
        if at == 0 && requests >= REQUESTS {
            run(api, Others::Apart, TOKENS + REQUESTS);
        }
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            ours.push(run(api, Others::Apart, requests));
            theirs.push(run(plain, Others::Apart, requests));
        }
        let on_one = (0..rounds).map(|_| run(api, Others::Together, requests)).collect();
        let (ours, theirs, on_one) = (median(ours), median(theirs), median(on_one));
        let (ratio, one) = (ours / theirs, on_one / theirs);
        let verdict = if ratio >= MARK { "" } else { "  below the mark of 75 %" };
        println!(
            "{:<16} {ours:>12.0} {theirs:>12.0} {:>5.0} % {on_one:>14.0} {:>5.0} %{verdict}",
            ask.0,
            ratio * 100.0,
            one * 100.0
        );
    }
}

/// Files of this bench: in memory if the system has a place for such, so that no disk is measured.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// `cargo bench --bench issue -- http` measures over HTTP alone, `-- http otc` one dialect of it, `-- issue` in memory
/// alone; `-- count` sends a few requests, of OpenStack's dialect or the one named, for a profiler to look at.
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut words = arguments.iter().filter(|argument| !argument.starts_with('-'));
    let (only, dialect) = (words.next(), words.next());
    // `cargo test --benches` only wants to know that it runs.
    let trial = arguments.iter().any(|argument| argument == "--test");
    let directory = directory();
    let file = tempfile::tempfile_in(&directory).unwrap();
    log::init_to(log::Format::Json, Log { file, written: 0 }, false).unwrap();
    let server = server(keystone(), directory.path());
    let (api, address) = (server.api(), server.addresses().api);
    let (_commands, receiver) = mpsc::channel(1);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(server.run(receiver)).unwrap();
    });
    if only.is_some_and(|name| name == "count") {
        let wanted = |ask: &Ask| ask.0 == dialect.map_or("openstack", String::as_str);
        return over_http(
            address,
            &dialects().into_iter().filter(wanted).collect::<Vec<_>>(),
            1,
            50 * CONNECTIONS,
        );
    }
    if only.is_none_or(|name| name != "http") {
        let mut criterion = Criterion::default().configure_from_args();
        in_memory(&mut criterion, &api);
        criterion.final_summary();
    }
    if only.is_none_or(|name| name == "http") {
        let (rounds, requests) = if trial { (1, CONNECTIONS) } else { (ROUNDS, REQUESTS) };
        let wanted = |ask: &Ask| dialect.is_none_or(|dialect| dialect == ask.0);
        let asks: Vec<Ask> = dialects().into_iter().filter(wanted).collect();
        over_http(address, &asks, rounds, requests);
    }
}
