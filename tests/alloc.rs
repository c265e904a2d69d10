//! What sessions cost in memory, read from the allocator: nothing per message, little while idle.
#![expect(
    unsafe_code,
    reason = "a global allocator is an unsafe trait; this one counts and asks the system's"
)]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test: failing is its way to speak")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::thread;

use consolegate::certs;
use consolegate::config::{Config, Listen, Tls};
use consolegate::ids::{Protocol, TargetId, UserId};
use consolegate::net::tls::TlsAcceptor;
use consolegate::relay::{Counters, Plan, Pump, run, stop_pair};
use consolegate::server::{Command, Server};
use consolegate::ws::Decoder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;

struct Counting;

/// Bytes allocated and not freed, by threads that count.
static LIVE: AtomicI64 = AtomicI64::new(0);

/// Held by the test that runs: the counters are the process's.
static ALONE: Mutex<()> = Mutex::new(());

thread_local! {
    /// Whether this thread's allocations are the server's.
    static COUNTS: Cell<bool> = const { Cell::new(true) };
    /// Allocations of this thread.
    static MADE: Cell<u64> = const { Cell::new(0) };
}

fn count(bytes: i64) {
    // A thread that is ending has no locals any more; what it frees then is not a session's.
    if COUNTS.try_with(Cell::get).unwrap_or(false) {
        LIVE.fetch_add(bytes, Ordering::Relaxed);
    }
    if bytes > 0 {
        let _ = MADE.try_with(|made| made.set(made.get() + 1));
    }
}

fn signed(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

// SAFETY: every call is passed on to the system allocator unchanged; counting neither allocates (atomics and
// thread locals that are constant at the start) nor touches the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(signed(layout.size()));
        // SAFETY: as our caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-signed(layout.size()));
        // SAFETY: as our caller's.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(-signed(layout.size()));
        count(signed(size));
        // SAFETY: as our caller's.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A masked frame whose key is zero, so that the payload reads as it is.
fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = match u8::try_from(payload.len()) {
        Ok(short @ 0..=125) => vec![0x82, 0x80 | short],
        _ => [&[0x82, 0xfe][..], &u16::try_from(payload.len()).unwrap().to_be_bytes()].concat(),
    };
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// Reads one frame of the server's and checks its length.
fn read_frame(stream: &mut impl Read, expected: usize) {
    let mut left = expected;
    while left > 0 {
        let mut head = [0; 2];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(head[0], 0x82);
        let mut long = [0; 2];
        let len = match head[1] {
            126 => {
                stream.read_exact(&mut long).unwrap();
                usize::from(u16::from_be_bytes(long))
            }
            short => usize::from(short),
        };
        let mut payload = [0; 65536];
        stream.read_exact(&mut payload[..len]).unwrap();
        left -= len;
    }
}

/// A console that sends back what comes, for any number of viewers, on threads that do not count.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        COUNTS.set(false);
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::Builder::new()
                .stack_size(256 * 1024)
                .spawn(move || {
                    COUNTS.set(false);
                    let mut buffer = [0; 65536];
                    while let Ok(count @ 1..) = stream.read(&mut buffer) {
                        if stream.write_all(&buffer[..count]).is_err() {
                            return;
                        }
                    }
                })
                .unwrap();
        }
    });
    address
}

/// Payload of the messages that must not allocate.
const SIZE: usize = 64;

/// Messages before counting, and while.
const WARM: u64 = 100;
const MESSAGES: u64 = 5000;

fn nonblocking(stream: TcpStream) -> tokio::net::TcpStream {
    stream.set_nonblocking(true).unwrap();
    tokio::net::TcpStream::from_std(stream).unwrap()
}

/// A viewer that talks to an echo and waits for each answer.
fn talk<S: Read + Write>(mut viewer: S) {
    let message = frame(&[b'x'; SIZE]);
    for _ in 0..WARM + MESSAGES {
        viewer.write_all(&message).unwrap();
        viewer.flush().unwrap();
        read_frame(&mut viewer, SIZE);
    }
}

/// What a session of `ours` and an echo allocates while the viewer at its other end talks.
fn allocations<V: AsyncRead + AsyncWrite + Unpin>(runtime: &Runtime, ours: V) -> u64 {
    let target = nonblocking(TcpStream::connect(echo()).unwrap());
    let counters = Arc::<Counters>::default();
    let plan =
        Plan { whole_characters: true, ping: Some(std::time::Duration::from_secs(30)), ..Plan::default() };
    let pump = Pump::new((ours, vec![]), (target, vec![]), Decoder::new(true), &plan, Arc::clone(&counters));
    let (_handle, stop) = stop_pair();
    let (mut from, mut to) = (None, 0);
    runtime.block_on(async {
        let mut session = pin!(run(pump, stop));
        poll_fn(|cx| {
            let ended = session.as_mut().poll(cx).is_ready();
            let messages = counters.down.load(Ordering::Relaxed) / SIZE as u64;
            if messages >= WARM && from.is_none() {
                from = Some(MADE.get());
            }
            if messages < WARM + MESSAGES {
                to = MADE.get();
            }
            if ended { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    });
    to - from.unwrap()
}

#[test]
fn a_relayed_message_allocates_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = runtime.enter();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let viewer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let ours = nonblocking(listener.accept().unwrap().0);
    let talking = thread::spawn(move || talk(viewer));
    assert_eq!(allocations(&runtime, ours), 0, "allocations in {MESSAGES} round trips");
    talking.join().unwrap();
}

#[test]
fn a_message_relayed_in_tls_allocates_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = runtime.enter();
    let dir = tempfile::tempdir().unwrap();
    certs::ensure(dir.path(), false, std::time::SystemTime::now()).unwrap();
    let files = certs::Files::within(dir.path());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let client = client(&files.ca);
    let talking = thread::spawn(move || {
        let connection = rustls::ClientConnection::new(client, "localhost".try_into().unwrap()).unwrap();
        talk(rustls::StreamOwned::new(connection, TcpStream::connect(at).unwrap()));
    });
    let pair = Tls { certificate: files.certificate, key: files.key };
    let acceptor = TlsAcceptor::load(&pair, &Listen { api: at, proxy: at, admin: at }).unwrap();
    let socket = nonblocking(listener.accept().unwrap().0);
    let ours = runtime.block_on(acceptor.accept(socket)).unwrap();
    assert_eq!(allocations(&runtime, ours), 0, "allocations in {MESSAGES} round trips");
    talking.join().unwrap();
}

/// Starts a server on a thread that counts; returns where it is and tokens for `count` sessions.
fn serve(tls: &str, count: usize) -> (SocketAddr, Vec<String>, tokio::sync::mpsc::Sender<Command>) {
    let target = echo();
    let text = format!(
        "[listen]\napi = \"127.0.0.1:0\"\nproxy = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[proxy]\nworkers = 1\n\
         [limits]\nsessions_per_target = 0\nissue_per_second = 0\noutstanding_per_target = 0\n{tls}\
         [[auth.token]]\ntoken = \"a-token-for-this-test\"\nuser = \"u\"\nproject = \"p\"\n\
         [[target]]\nid = \"t\"\nproject = \"p\"\nserial = \"tcp://{target}\"\nserial_viewers = \"share\"\n"
    );
    let config = Config::parse(&text, Path::new("test.toml")).unwrap_or_else(|error| panic!("{error}"));
    let server = Server::new(config).unwrap();
    let (address, api) = (server.addresses().proxy, server.api());
    let (commands, receiver) = tokio::sync::mpsc::channel(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tokens = (0..count).map(|_| {
        let id = TargetId::from("t");
        let user = UserId::from("u");
        let url = runtime.block_on(api.issue(&id, Protocol::Serial, &user, None)).unwrap();
        url.split_once("token=").unwrap().1.to_owned()
    });
    let tokens = tokens.collect();
    thread::spawn(move || runtime.block_on(server.run(receiver)).unwrap());
    (address, tokens, commands)
}

/// Upgrades and exchanges one byte, so that the session stands from end to end.
fn open<S: Read + Write>(mut stream: S, token: &str) -> S {
    let head = format!(
        "GET /?token={token} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    exchange(&mut stream, b"x");
    stream
}

fn exchange<S: Read + Write>(stream: &mut S, payload: &[u8]) {
    stream.write_all(&frame(payload)).unwrap();
    stream.flush().unwrap();
    read_frame(stream, payload.len());
}

/// Bytes per idle session, before and after each has carried 240 KB each way.
fn per_session<S: Read + Write>(
    count: usize,
    tokens: &[String],
    mut connect: impl FnMut() -> S,
) -> (f64, f64) {
    // The first sessions also pay for what all share: pools, tables, the log's own buffers.
    let (warm, measured) = tokens.split_at(tokens.len() - count);
    let mut shared: Vec<S> = warm.iter().map(|token| open(connect(), token)).collect();
    shared.iter_mut().for_each(|stream| exchange(stream, &[b'x'; 60_000]));
    let empty = LIVE.load(Ordering::Relaxed);
    let mut sessions: Vec<S> = measured.iter().map(|token| open(connect(), token)).collect();
    let each = |live: i64| (live - empty) as f64 / count as f64;
    let before = each(LIVE.load(Ordering::Relaxed));
    for session in &mut sessions {
        for _ in 0..4 {
            exchange(session, &[b'x'; 60_000]);
        }
    }
    (before, each(LIVE.load(Ordering::Relaxed)))
}

#[test]
fn an_idle_session_is_small_and_stays_small() {
    const SESSIONS: usize = 100;
    /// From performance.md's table: what a session that has carried traffic may hold.
    const PLAIN: f64 = 4096.0;
    const TLS: f64 = 16384.0;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (address, tokens, commands) = serve("", 2 * SESSIONS);
    // Not the server's: from here on this thread plays the viewers.
    COUNTS.set(false);
    let plain = per_session(SESSIONS, &tokens, || TcpStream::connect(address).unwrap());
    drop(commands);
    COUNTS.set(true);
    println!("plain: {:.0} bytes, after traffic {:.0}", plain.0, plain.1);
    assert!(plain.1 <= PLAIN, "{plain:?}");
    let dir = tempfile::tempdir().unwrap();
    certs::ensure(dir.path(), false, std::time::SystemTime::now()).unwrap();
    let files = certs::Files::within(dir.path());
    let tls = format!(
        "[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n",
        files.certificate.display(),
        files.key.display()
    );
    let (address, tokens, _commands) = serve(&tls, 2 * SESSIONS);
    COUNTS.set(false);
    let client = client(&files.ca);
    let tls = per_session(SESSIONS, &tokens, || {
        let name = "localhost".try_into().unwrap();
        let connection = rustls::ClientConnection::new(Arc::clone(&client), name).unwrap();
        rustls::StreamOwned::new(connection, TcpStream::connect(address).unwrap())
    });
    println!("TLS: {:.0} bytes, after traffic {:.0}", tls.0, tls.1);
    assert!(tls.1 <= TLS, "{tls:?}");
}

fn client(ca: &Path) -> Arc<rustls::ClientConfig> {
    use rustls_pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls_pki_types::CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}
