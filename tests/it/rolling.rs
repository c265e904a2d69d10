//! A rolling restart of three real proxies over one Redis, behind a balancer that heeds readiness, under load: no new
//! connection fails, and whoever had a console has it again.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use consolegate::ids::Protocol;
use futures_util::StreamExt as _;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use crate::support::console::{Console, Manner};
use crate::support::program::{Issuer, Program};
use crate::support::redis::Server as Redis;
use crate::support::server::{Socket, open, target};
use crate::support::{viewer, within};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000001";

/// How often the balancer asks; the proxies take connections for four times as long after they say no.
const CHECK: Duration = Duration::from_millis(250);

/// A proxy as the balancer knows it: where viewers and where checks go.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Backend {
    at: SocketAddr,
    admin: SocketAddr,
}

/// A TCP balancer: each connection to the next proxy that said it was ready when it was last asked.
struct Balancer {
    at: SocketAddr,
    backends: Arc<Mutex<Vec<(Backend, bool)>>>,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Balancer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("its address");
        let backends: Arc<Mutex<Vec<(Backend, bool)>>> = Arc::default();
        let tasks = [
            tokio::spawn(check(Arc::clone(&backends))),
            tokio::spawn(balance(listener, Arc::clone(&backends))),
        ];
        Self { at, backends, tasks }
    }

    fn add(&self, backend: Backend) {
        self.backends.lock().unwrap().push((backend, false));
    }

    fn remove(&self, backend: Backend) {
        self.backends.lock().unwrap().retain(|(other, _)| *other != backend);
    }

    async fn until_ready(&self, count: usize) {
        let ready = || self.backends.lock().unwrap().iter().filter(|(_, ready)| *ready).count();
        within("ready proxies", async {
            while ready() != count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

async fn asked(admin: SocketAddr) -> std::io::Result<String> {
    let mut socket = TcpStream::connect(admin).await?;
    let request = format!("GET /health/ready HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn check(backends: Arc<Mutex<Vec<(Backend, bool)>>>) {
    let mut tick = tokio::time::interval(CHECK);
    loop {
        tick.tick().await;
        let known: Vec<Backend> = backends.lock().unwrap().iter().map(|(backend, _)| *backend).collect();
        for backend in known {
            // One that ends just now may take the question, and have no answer to it.
            let ready = asked(backend.admin).await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 "));
            for (other, is_ready) in backends.lock().unwrap().iter_mut() {
                if *other == backend {
                    *is_ready = ready;
                }
            }
        }
    }
}

async fn balance(listener: TcpListener, backends: Arc<Mutex<Vec<(Backend, bool)>>>) {
    let mut turn = 0_usize;
    while let Ok((mut near, _)) = listener.accept().await {
        let ready: Vec<Backend> = backends
            .lock()
            .unwrap()
            .iter()
            .filter(|(_, ready)| *ready)
            .map(|(backend, _)| *backend)
            .collect();
        turn = turn.wrapping_add(1);
        // Nobody ready: the viewer sees its connection end, and the test fails.
        let Some(backend) = ready.get(turn % ready.len().max(1)).copied() else { continue };
        tokio::spawn(async move {
            if let Ok(mut far) = TcpStream::connect(backend.at).await {
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            }
        });
    }
}

/// A viewer whose console is always there: when its proxy says goodbye it comes back through the balancer.
async fn faithful(at: SocketAddr, issuer: Issuer, stop: Arc<AtomicBool>, returns: Arc<AtomicUsize>) {
    let token = issuer.issue(VM, Protocol::Serial).await;
    let url = format!("ws://{at}/?token={token}");
    let (mut socket, mut cookie) = enter(&url, None).await;
    while !stop.load(Ordering::SeqCst) {
        match within("an echo or a goodbye", ask(&mut socket)).await {
            Ok(()) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(code) => {
                assert_eq!(code, 1001, "only a restart ends it");
                (socket, cookie) = enter(&url, Some(&cookie)).await;
                returns.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

async fn enter(url: &str, cookie: Option<&str>) -> (Socket, String) {
    let headers: Vec<(&'static str, &str)> = cookie.map(|cookie| ("cookie", cookie)).into_iter().collect();
    let (socket, response) =
        open(url, &headers).await.unwrap_or_else(|status| panic!("a new connection failed: {status}"));
    let set = response.headers()["set-cookie"].to_str().expect("text");
    (socket, set.split_once(';').expect("attributes").0.to_owned())
}

/// Sends a word and waits until it is back; the error is the close's code.
async fn ask(socket: &mut Socket) -> Result<(), u16> {
    use futures_util::SinkExt as _;
    // What is sent after the goodbye is not for anybody any more.
    let _ = socket.send(Message::binary(b"word".to_vec())).await;
    loop {
        match socket.next().await {
            Some(Ok(Message::Binary(back))) => {
                assert_eq!(&back[..], b"word");
                return Ok(());
            }
            Some(Ok(Message::Close(Some(frame)))) => {
                while socket.next().await.is_some() {}
                return Err(frame.code.into());
            }
            Some(Ok(_)) => {}
            other => panic!("an end without goodbye: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_proxies_are_restarted_and_no_new_connection_fails() {
    let (redis, line) = (Redis::start(&[]), Console::new(Manner::Echo).await);
    let balancer = Balancer::start().await;
    let settings = format!(
        "[tokens]\nstore = \"{}\"\n[proxy]\ndrain = \"200ms\"\nunready = \"1s\"\npublic_url = \"http://{}\"\n{}",
        redis.url(),
        balancer.at,
        target(VM, "vm", &(line.setting("serial") + "serial_viewers = \"share\""))
    );
    let settings = format!(
        "{settings}[limits]\noutstanding_per_target = 0\nissue_per_second = 0\nsessions_per_target = 0\n"
    );
    let issuer = Program::in_role("issuer", &settings).await;
    let mut proxies = Vec::new();
    for _ in 0..3 {
        proxies.push(Program::in_role("proxy", &settings).await);
    }
    let backend = |proxy: &Program| Backend { at: proxy.at, admin: proxy.admin() };
    proxies.iter().for_each(|proxy| balancer.add(backend(proxy)));
    balancer.until_ready(3).await;

    let (stop, opened, returns) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut load = tokio::task::JoinSet::new();
    for _ in 0..6 {
        load.spawn(faithful(balancer.at, issuer.issuer(), Arc::clone(&stop), Arc::clone(&returns)));
    }
    for _ in 0..4 {
        let (at, issuer) = (balancer.at, issuer.issuer());
        let (stop, opened) = (Arc::clone(&stop), Arc::clone(&opened));
        load.spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let token = issuer.issue(VM, Protocol::Serial).await;
                let (mut socket, _) = enter(&format!("ws://{at}/?token={token}"), None).await;
                if ask(&mut socket).await.is_ok() {
                    // A restart in between has its own goodbye.
                    let _ = socket.close(None).await;
                }
                opened.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    for proxy in &mut proxies {
        let before = opened.load(Ordering::SeqCst);
        proxy.signal(Signal::TERM);
        assert!(proxy.ended().await.success());
        balancer.remove(backend(proxy));
        *proxy = Program::in_role("proxy", &settings).await;
        balancer.add(backend(proxy));
        balancer.until_ready(3).await;
        within("load", async {
            while opened.load(Ordering::SeqCst) < before + 10 {
                if let Some(failed) = load.try_join_next() {
                    failed.expect("a viewer");
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    stop.store(true, Ordering::SeqCst);
    while let Some(done) = within("the load's end", load.join_next()).await {
        done.unwrap();
    }
    assert!(returns.load(Ordering::SeqCst) >= 6, "every viewer was on some proxy: {returns:?}");
    viewer::echo(
        &mut enter(
            &format!("ws://{}/?token={}", balancer.at, issuer.issue(VM, Protocol::Serial).await),
            None,
        )
        .await
        .0,
        b"done",
    )
    .await;
}
