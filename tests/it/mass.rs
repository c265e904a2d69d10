//! A thousand consoles at once: every byte of every session arrives once, in order, and at nobody else's.
//!
//! Each session has a target of its own on a port of its own. What flows says whose it is and where it belongs
//! (`support/chance.rs`); chunks, fragments and pings fall where a seeded generator puts them.

use std::sync::Arc;

use consolegate::config::{Endpoint, Host, Target};
use consolegate::ids::{Protocol, TargetId};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, oneshot};
use tokio::task::JoinSet;

use crate::support::chance::{Chance, Checker, RECORD, records};
use crate::support::server::{Running, config, target};
use crate::support::wire::{self, BINARY, CONTINUATION, Frame, Incoming, PING};
use crate::support::{files, within};

/// Sessions at once.
const SESSIONS: u32 = 1_000;

/// Chooses all chunk sizes, fragments and pings; another number is another test.
const SEED: u64 = 20_261_121;

/// Records that each side sends after the bulk, behind or ahead of a half-close.
const TAIL: u32 = 40;

/// Who ends the session, and how.
#[derive(Clone, Copy, Debug)]
enum Ends {
    /// The viewer says goodbye and still gets the target's last bytes.
    ViewerCloses,
    /// The target half-closes and still gets the viewer's last bytes.
    TargetCloses,
    /// The viewer's connection ends without goodbye; the target gets all that was sent.
    ViewerVanishes,
}

/// What one session does, decided by its number.
#[derive(Clone, Copy, Debug)]
struct Plan {
    number: u32,
    protocol: Protocol,
    ends: Ends,
    /// Records of the bulk, viewer to target.
    up: u32,
    /// Records of the bulk, target to viewer.
    down: u32,
}

impl Plan {
    fn new(number: u32) -> Self {
        let mut chance = Chance::new(SEED ^ u64::from(number));
        let protocol = if number.is_multiple_of(2) { Protocol::Vnc } else { Protocol::Serial };
        let ends = [Ends::ViewerCloses, Ends::TargetCloses, Ends::ViewerVanishes][number as usize / 2 % 3];
        // One in 50 moves more than the relay's buffer (60 KiB) and the sockets' first windows hold.
        let most = if chance.one_in(50) { 20_000 } else { 1_000 };
        let (up, down) = (chance.among(1..=most) as u32, chance.among(1..=most) as u32);
        Self { number, protocol, ends, up, down }
    }

    fn id(self) -> String {
        format!("{:08x}-0000-4000-8000-000000000000", self.number)
    }

    fn name(self) -> String {
        format!("session {}", self.number)
    }

    /// The names of the two streams: no two sessions, and no two directions, have the same.
    fn up_stream(self) -> u32 {
        self.number * 2
    }

    fn down_stream(self) -> u32 {
        self.number * 2 + 1
    }

    fn chance(self, salt: u64) -> Chance {
        Chance::new(SEED.wrapping_mul(salt) ^ u64::from(self.number))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_sessions_at_once_lose_double_and_cross_nothing() {
    // A listener's and four ends of two connections, each session; the rest of the tests beside it.
    files::allow(u64::from(SESSIONS) * 5 + 1_000);
    let mut config = config(&target("template", "template", "vnc = \"tcp://127.0.0.1:1\""));
    let template = config.targets.remove(0);
    let mut consoles = Vec::new();
    for number in 0..SESSIONS {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port for the target");
        config.targets.push(entry(&template, Plan::new(number), &listener));
        consoles.push(listener);
    }
    config.proxy.workers = 2;
    let server = Running::with(config);
    let everyone = Arc::new(Barrier::new(SESSIONS as usize));
    let mut sessions = JoinSet::new();
    for (listener, number) in consoles.into_iter().zip(0..) {
        let plan = Plan::new(number);
        let token = server.token(&plan.id(), plan.protocol).await;
        let (everyone, proxy) = (Arc::clone(&everyone), server.at.proxy);
        let (go, may_close) = oneshot::channel();
        sessions.spawn(async move {
            let console = tokio::spawn(console(plan, listener, may_close));
            view(plan, proxy, &token, &everyone, go).await;
            console.await.unwrap_or_else(|error| panic!("{plan:?}: {error}"));
        });
    }
    while let Some(ended) = sessions.join_next().await {
        ended.unwrap_or_else(|error| panic!("{error}"));
    }
    server.drain().await;
}

fn entry(template: &Target, plan: Plan, listener: &TcpListener) -> Target {
    let address = listener.local_addr().expect("the target's address");
    let endpoint = Some(Endpoint::Tcp(Host::Ip(address.ip()), address.port()));
    let (vnc, serial) = if plan.protocol == Protocol::Vnc { (endpoint, None) } else { (None, endpoint) };
    Target { id: TargetId::from(plan.id()), name: plan.name(), vnc, serial, ..template.clone() }
}

/// The viewer: greets, moves the bulk with pings between its fragments, then plays its part of the end.
async fn view(
    plan: Plan,
    proxy: std::net::SocketAddr,
    token: &str,
    everyone: &Barrier,
    go: oneshot::Sender<()>,
) {
    let opened = wire::open(proxy, token, None).await;
    let (mut outgoing, mut incoming) = opened.unwrap_or_else(|status| panic!("{plan:?}: {status}"));
    let mut chance = plan.chance(3);
    if plan.protocol == Protocol::Vnc {
        greet_as_viewer(plan, &mut outgoing, &mut incoming, &mut chance).await;
    }
    within("a thousand sessions", everyone.wait()).await;
    let (wire, pings) = bulk(&records(plan.up_stream(), 0, plan.up), &mut chance);
    let mut down = Checker::new(plan.down_stream());
    let mut pongs = 0;
    let send = scatter(&mut outgoing, &wire, &mut chance);
    let receive = async {
        while down.seen() < plan.down || pongs < pings {
            match incoming.next().await {
                Frame::Data(data) => down.take(&data),
                // Only the latest of several must be answered (RFC 6455 section 5.5.3).
                Frame::Pong(payload) => pongs = later_pong(&payload, pongs),
                other => panic!("{plan:?}: {other:?} during the bulk"),
            }
        }
    };
    tokio::join!(send, receive);
    let _ = go.send(());
    let tail = wire::frame(BINARY, true, &records(plan.up_stream(), plan.up, plan.up + TAIL), &mut chance);
    match plan.ends {
        Ends::ViewerCloses => {
            let goodbye = [tail, wire::close(1000, &mut chance)].concat();
            outgoing.write_all(&goodbye).await.expect("a last write");
            until_close(plan, &mut incoming, &mut down).await;
        }
        Ends::TargetCloses => {
            until_close(plan, &mut incoming, &mut down).await;
            let goodbye = [tail, wire::close(1000, &mut chance)].concat();
            outgoing.write_all(&goodbye).await.expect("a last write");
        }
        Ends::ViewerVanishes => {
            outgoing.write_all(&tail).await.expect("a last write");
            outgoing.shutdown().await.expect("a half-close");
            // Without goodbye nothing more is due; what comes is in order all the same.
            while let Frame::Data(data) = incoming.next().await {
                down.take(&data);
            }
            return;
        }
    }
    assert_eq!(incoming.next().await, Frame::End, "{plan:?}");
}

/// The target's last records, then its end as the close frame tells it.
async fn until_close(plan: Plan, incoming: &mut Incoming, down: &mut Checker) {
    loop {
        match incoming.next().await {
            Frame::Data(data) => down.take(&data),
            Frame::Close(code, _) => break assert_eq!(code, 1000, "{plan:?}"),
            other => panic!("{plan:?}: {other:?} before the close"),
        }
    }
    down.ends_at(plan.down + TAIL);
}

/// The console: takes one connection, moves the bulk both ways, then plays its part of the end.
async fn console(plan: Plan, listener: TcpListener, may_close: oneshot::Receiver<()>) {
    let (mut stream, _) = within("the proxy's connection", listener.accept()).await.expect("a connection");
    drop(listener);
    if plan.protocol == Protocol::Vnc {
        greet_as_target(plan, &mut stream).await;
    }
    let (mut read, mut write) = stream.into_split();
    let mut up = Checker::new(plan.up_stream());
    let mut chance = plan.chance(5);
    let bytes = records(plan.down_stream(), 0, plan.down);
    let send = scatter(&mut write, &bytes, &mut chance);
    let receive = async {
        while up.seen() < plan.up {
            assert!(read_some(&mut read, &mut up).await, "{plan:?}: ended at record {}", up.seen());
        }
    };
    tokio::join!(send, receive);
    let _ = may_close.await;
    let tail = records(plan.down_stream(), plan.down, plan.down + TAIL);
    if matches!(plan.ends, Ends::TargetCloses) {
        write.write_all(&tail).await.expect("a last write");
        write.shutdown().await.expect("a half-close");
    }
    while read_some(&mut read, &mut up).await {}
    up.ends_at(plan.up + TAIL);
    if matches!(plan.ends, Ends::ViewerCloses) {
        write.write_all(&tail).await.expect("a last write");
    }
}

async fn read_some(read: &mut (impl AsyncRead + Unpin), up: &mut Checker) -> bool {
    let mut buffer = [0; 8192];
    let count = within("the viewer's bytes", read.read(&mut buffer)).await.expect("an orderly end");
    up.take(&buffer[..count]);
    count > 0
}

/// The bytes as messages in fragments, with pings between them and one behind; and how many pings.
fn bulk(mut bytes: &[u8], chance: &mut Chance) -> (Vec<u8>, u32) {
    let (mut wire, mut pings) = (Vec::with_capacity(bytes.len() * 2), 0);
    let mut ping = |wire: &mut Vec<u8>, chance: &mut Chance| {
        pings += 1;
        let ping: u32 = pings;
        wire.extend(wire::frame(PING, true, &ping.to_be_bytes(), chance));
    };
    let mut kind = BINARY;
    while !bytes.is_empty() {
        let (now, rest) = bytes.split_at(chance.among(0..=bytes.len().min(3_000)));
        // The last of the bytes also ends its message.
        let last = rest.is_empty() || chance.one_in(2);
        wire.extend(wire::frame(kind, last, now, chance));
        kind = if last { BINARY } else { CONTINUATION };
        bytes = rest;
        if chance.one_in(8) {
            ping(&mut wire, chance);
        }
    }
    ping(&mut wire, chance);
    (wire, pings)
}

fn later_pong(payload: &[u8], before: u32) -> u32 {
    let number = u32::from_be_bytes(payload.try_into().expect("one of our pings' payloads"));
    assert!(number > before, "pong {number} after pong {before}");
    number
}

/// Writes in pieces of any size, and lets others run in between.
async fn scatter(stream: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8], chance: &mut Chance) {
    while !bytes.is_empty() {
        let (now, rest) = bytes.split_at(chance.among(1..=bytes.len().min(5_000)));
        within("a write", stream.write_all(now)).await.expect("the other side reads");
        tokio::task::yield_now().await;
        bytes = rest;
    }
}

/// RFB 3.8 with None (RFC 6143 section 7.1); each message of the proxy is a frame of its own.
async fn greet_as_viewer(
    plan: Plan,
    outgoing: &mut (impl AsyncWrite + Unpin),
    incoming: &mut Incoming,
    chance: &mut Chance,
) {
    let turns: [(&[u8], &[u8]); 3] =
        [(b"RFB 003.008\n", b"RFB 003.008\n"), (&[1, 1], &[1]), (&[0, 0, 0, 0], &[1])];
    for (due, answer) in turns {
        assert_eq!(incoming.data().await, due, "{plan:?}");
        outgoing.write_all(&wire::frame(BINARY, true, answer, chance)).await.expect("an answer");
    }
    assert_eq!(incoming.data().await, server_init(plan), "{plan:?}");
}

async fn greet_as_target(plan: Plan, stream: &mut TcpStream) {
    let turns: [(&[u8], &[u8]); 3] =
        [(b"RFB 003.008\n", b"RFB 003.008\n"), (&[1, 1], &[1]), (&[0, 0, 0, 0], &[1])];
    for (say, due) in turns {
        stream.write_all(say).await.expect("a greeting");
        let mut answer = vec![0; due.len()];
        within("an answer", stream.read_exact(&mut answer)).await.expect("an answer");
        assert_eq!(answer, due, "{plan:?}");
    }
    // The bulk follows ServerInit at once: it must not be lost at the end of the handshake.
    stream.write_all(&server_init(plan)).await.expect("ServerInit");
}

fn server_init(plan: Plan) -> Vec<u8> {
    let name = plan.name();
    let format = [0x02, 0x80, 0x01, 0xe0, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0];
    [&format[..], &(name.len() as u32).to_be_bytes(), name.as_bytes()].concat()
}

#[test]
fn the_plans_cover_every_end_of_both_protocols() {
    let plans: Vec<Plan> = (0..SESSIONS).map(Plan::new).collect();
    let kinds: std::collections::HashSet<String> =
        plans.iter().map(|plan| format!("{} {:?}", plan.protocol, plan.ends)).collect();
    assert_eq!(kinds.len(), 6);
    assert!(plans.iter().any(|plan| plan.up as usize * RECORD > 200_000));
}
