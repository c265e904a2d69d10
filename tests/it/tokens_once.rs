//! A token opens one console, once; whatever goes wrong before that leaves it as it was.

use std::sync::Arc;
use std::time::Duration;

use consolegate::config::Config;
use consolegate::ids::{Protocol, TargetId, UserId};
use futures_util::future::join_all;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::support::console::{Console, Manner, dead_port};
use crate::support::server::{PROJECT, Running, http, open, raw, refused, target, upgrade};
use crate::support::{temp, viewer, within};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000001";
const MARKER: &str = "6c1f2a90-0000-4000-8000-00000000000f";

async fn serve(console: &Console) -> Running {
    Running::start(&target(VM, "vm", &console.setting("vnc"))).await
}

#[tokio::test]
async fn a_token_is_taken_from_any_path_the_last_one_wins_and_else_the_cookie() {
    let console = Console::new(Manner::Vnc).await;
    let server = serve(&console).await;
    let unknown = "0fda3eca-8232-4249-9a62-550bce390258";
    for (path, in_cookie) in [
        ("/?token=T", false),
        ("/vnc.html?token=T", false),
        ("/vnc_auto.html?a=b&token=T&compression=9", false),
        ("/serial/pod05.region-01/?token=T", false),
        ("/vnc/zone.region/websockify?token=T", false),
        ("/?token=U&token=T", false),
        ("/websockify", true),
        ("/any/prefix/websockify?other=1", true),
    ] {
        let token = server.token(VM, Protocol::Vnc).await;
        let path = path.replace('T', &token).replace('U', unknown);
        let url = format!("ws://{}{path}", server.at.proxy);
        let cookie = format!("lang=en; token={token}; other=token");
        let headers: &[(&'static str, &str)] = if in_cookie { &[("cookie", &cookie)] } else { &[] };
        let (mut socket, _) = open(&url, headers).await.unwrap_or_else(|s| panic!("{path}: {s}"));
        assert_eq!(viewer::rfb(&mut socket).await, "fake-vnc", "{path}");
        assert_eq!(open(&url, headers).await.unwrap_err(), 403, "{path}: a second time");
    }
    let token = server.token(VM, Protocol::Vnc).await;
    let last = refused(server.at.proxy, &format!("/?token={token}&token={unknown}")).await;
    last.assert_bare(403, "the first of two tokens does not count");
    assert!(open(&server.ws(&token), &[]).await.is_ok());
}

#[tokio::test]
async fn unknown_spent_and_expired_look_alike() {
    let console = Console::new(Manner::Vnc).await;
    let server = serve(&console).await;
    let (spent, expired) = (server.token(VM, Protocol::Vnc).await, server.token(VM, Protocol::Vnc).await);
    let (mut socket, _) = open(&server.ws(&spent), &[]).await.unwrap();
    viewer::rfb(&mut socket).await;
    let used = refused(server.at.proxy, &format!("/?token={spent}")).await;
    server.clock.advance(Duration::from_secs(600));
    let late = refused(server.at.proxy, &format!("/?token={expired}")).await;
    let unknown = refused(server.at.proxy, "/?token=0fda3eca-8232-4249-9a62-550bce390258").await;
    let missing = refused(server.at.proxy, "/").await;
    let without_date = |head: &str| head.lines().filter(|l| !l.starts_with("date:")).collect::<String>();
    for (what, answer) in [("spent", &used), ("expired", &late), ("unknown", &unknown), ("none", &missing)] {
        answer.assert_bare(403, what);
        assert_eq!(without_date(&answer.head), without_date(&unknown.head), "{what}");
    }
    // Expiry bounds the start of a session, not the session.
    viewer::echo(&mut socket, b"still here").await;
    assert_eq!(console.dialled().await, 1);
}

#[tokio::test]
async fn a_token_works_to_the_last_moment_before_it_expires() {
    let console = Console::new(Manner::Vnc).await;
    let server = serve(&console).await;
    let token = server.token(VM, Protocol::Vnc).await;
    server.clock.advance(Duration::from_millis(599_999));
    assert!(open(&server.ws(&token), &[]).await.is_ok());
}

#[tokio::test]
async fn of_a_hundred_viewers_with_one_token_one_gets_in() {
    let console = Console::new(Manner::Vnc).await;
    let server = serve(&console).await;
    for _ in 0..3 {
        let before = console.dialled().await + 1;
        let url = server.ws(&server.token(VM, Protocol::Vnc).await);
        let tries = join_all((0..100).map(|_| open(&url, &[]))).await;
        let refusals: Vec<_> = tries.iter().filter_map(|tried| tried.as_ref().err()).collect();
        assert_eq!(refusals, vec![&403; 99]);
        assert_eq!(console.dialled().await - before, 1, "and only the winner's target was dialled");
    }
}

#[tokio::test]
async fn looking_does_not_spend() {
    let console = Console::new(Manner::Vnc).await;
    let server = serve(&console).await;
    let token = server.token(VM, Protocol::Vnc).await;
    let path = format!("/?token={token}");
    for (method, path) in [
        ("GET", path.clone()),
        ("HEAD", path.clone()),
        ("GET", format!("/vnc_lite.html?path=%3Ftoken%3D{token}")),
        ("HEAD", format!("/vnc.html?token={token}")),
        ("POST", path.clone()),
        ("OPTIONS", path.clone()),
    ] {
        let answer = http(server.at.proxy, method, &path, "", "").await;
        assert!(!answer.contains("HTTP/1.1 101"), "{method} {path}: {answer}");
    }
    for origin in ["http://evil.example", "null", "http://127.0.0.1", "https://console.example", ""] {
        let request = upgrade(&path).replacen("\r\n\r\n", &format!("\r\nOrigin: {origin}\r\n\r\n"), 1);
        let request = request.replacen("console.example", "evil.example", 1);
        let answer = raw(server.at.proxy, request.as_bytes()).await;
        crate::support::server::Answer::parse(&answer).assert_bare(403, origin);
    }
    assert_eq!(console.dialled().await, 0);
    let origin = server.origin();
    assert!(open(&server.ws(&token), &[("origin", &origin)]).await.is_ok(), "our own origin is welcome");
}

#[tokio::test]
async fn a_console_that_was_down_opens_with_the_same_link_once_it_is_up() {
    let down = dead_port().await;
    let server = Running::start(&target(VM, "vm", &format!("vnc = \"tcp://{down}\""))).await;
    let token = server.token(VM, Protocol::Vnc).await;
    for _ in 0..3 {
        refused(server.at.proxy, &format!("/?token={token}")).await.assert_bare(502, "down");
    }
    // It answers, but is no VNC server.
    let strange = Console::at(down, Manner::Vnc).await.stop().await;
    let strange = tokio::net::TcpListener::bind(strange).await.unwrap();
    let stranger = tokio::spawn(async move {
        let (mut socket, _) = strange.accept().await.unwrap();
        socket.write_all(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n").await.unwrap();
        strange
    });
    refused(server.at.proxy, &format!("/?token={token}")).await.assert_bare(502, "no VNC");
    drop(within("the stranger", stranger).await.unwrap());
    let _up = Console::at(down, Manner::Vnc).await;
    let (mut socket, _) = open(&server.ws(&token), &[]).await.unwrap();
    assert_eq!(viewer::rfb(&mut socket).await, "fake-vnc");
}

#[tokio::test]
async fn a_viewer_who_hangs_up_while_the_console_is_slow_leaves_the_token_unspent() {
    let permits = Arc::new(Semaphore::new(0));
    let console = Console::new(Manner::SlowVnc(Arc::clone(&permits))).await;
    let server = serve(&console).await;
    let token = server.token(VM, Protocol::Vnc).await;
    let mut viewer = TcpStream::connect(server.at.proxy).await.unwrap();
    viewer.write_all(upgrade(&format!("/?token={token}")).as_bytes()).await.unwrap();
    console.until("the dial", |seen| seen.peers.len() == 1).await;
    refused(server.at.proxy, &format!("/?token={token}")).await.assert_bare(403, "claimed");
    drop(viewer);
    permits.add_permits(2);
    // The clock stands still: nothing but the release can free the claim. It comes when the proxy notices.
    let opened = within("the release", async {
        loop {
            match open(&server.ws(&token), &[]).await {
                Ok((socket, _)) => return socket,
                Err(status) => assert_eq!(status, 403),
            }
        }
    });
    assert_eq!(viewer::rfb(&mut opened.await).await, "fake-vnc");
}

#[tokio::test]
async fn a_claim_whose_lease_ran_out_is_lost_and_its_successor_wins() {
    let permits = Arc::new(Semaphore::new(0));
    let console = Console::new(Manner::SlowVnc(Arc::clone(&permits))).await;
    let server = serve(&console).await;
    let url = server.ws(&server.token(VM, Protocol::Vnc).await);
    let attempt = || {
        let url = url.clone();
        tokio::spawn(async move { open(&url, &[]).await })
    };
    let first = attempt();
    console.until("the first dial", |seen| seen.peers.len() == 1).await;
    server.clock.advance(Duration::from_millis(19_999));
    assert_eq!(open(&url, &[]).await.unwrap_err(), 403, "the lease holds");
    server.clock.advance(Duration::from_millis(1));
    let second = attempt();
    console.until("the second dial", |seen| seen.peers.len() == 2).await;
    permits.add_permits(1);
    assert_eq!(within("the first", first).await.unwrap().unwrap_err(), 403, "its claim was lost");
    permits.add_permits(1);
    let (mut socket, _) = within("the second", second).await.unwrap().unwrap();
    assert_eq!(viewer::rfb(&mut socket).await, "fake-vnc");
}

/// A server whose targets are in a file of their own.
struct Filed {
    server: Running,
    dir: tempfile::TempDir,
}

impl Filed {
    async fn start(targets: &str) -> Self {
        let dir = temp::dir();
        std::fs::write(dir.path().join("targets.toml"), targets).unwrap();
        let path = dir.path().join("consolegate.toml");
        let listen = "[listen]\napi = \"127.0.0.1:0\"\nproxy = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n";
        std::fs::write(&path, format!("{listen}[inventory]\nfile = \"targets.toml\"\n")).unwrap();
        let config = Config::load(Some(&path)).unwrap_or_else(|error| panic!("{error}"));
        Self { server: Running::with(config), dir }
    }

    /// Replaces the targets and returns when they are in force, which a target that is new in them tells.
    async fn replace(&self, targets: &str) {
        let marker = target(MARKER, "marker", "serial = \"unix:/nonexistent\"");
        std::fs::write(self.dir.path().join("targets.toml"), format!("{targets}{marker}")).unwrap();
        self.server.reload().await;
        let (marker, user) = (TargetId::from(MARKER), UserId::from("demo"));
        within("the reload", async {
            while self.server.api.issue(&marker, Protocol::Serial, &user, None).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// CVE-2013-0335: a token of a deleted server opened the next one on its port.
#[tokio::test]
async fn a_token_does_not_outlive_what_it_was_made_for() {
    let console = Console::new(Manner::Vnc).await;
    let elsewhere = Console::new(Manner::Vnc).await;
    let here = target(VM, "vm", &console.setting("vnc"));
    let cases = [
        ("removed", String::new()),
        ("moved", target(VM, "vm", &elsewhere.setting("vnc"))),
        ("another project's", here.replace(PROJECT, "11111111111111111111111111111111")),
        ("stopped", target(VM, "vm", &format!("{}state = \"stopped\"", console.setting("vnc")))),
        ("without a VNC console", target(VM, "vm", &console.setting("serial"))),
        ("another on its port", target("6c1f2a90-0000-4000-8000-000000000002", "b", &console.setting("vnc"))),
    ];
    for (what, after) in cases {
        let filed = Filed::start(&here).await;
        let token = filed.server.token(VM, Protocol::Vnc).await;
        let before = (console.dialled().await + 1, elsewhere.dialled().await + 1);
        filed.replace(&after).await;
        refused(filed.server.at.proxy, &format!("/?token={token}")).await.assert_bare(403, what);
        assert_eq!((console.dialled().await, elsewhere.dialled().await), before, "{what}: dialled");
    }
    // What did not change keeps its tokens.
    let filed = Filed::start(&here).await;
    let token = filed.server.token(VM, Protocol::Vnc).await;
    filed.replace(&here).await;
    assert!(open(&filed.server.ws(&token), &[]).await.is_ok());
}
