//! Every limit at the socket: the status, `Retry-After`, and a token that is as good as before.

use std::sync::Arc;

use consolegate::ids::Protocol;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::support::console::{Console, Manner};
use crate::support::server::{PROJECT, Running, Socket, open, raw, refused, target};
use crate::support::{viewer, within};

const A: &str = "6c1f2a90-0000-4000-8000-00000000000a";
const B: &str = "6c1f2a90-0000-4000-8000-00000000000b";
const FOREIGN: &str = "6c1f2a90-0000-4000-8000-00000000000c";

/// Servers A and B of one project and one of another, all on the same console.
async fn serve(console: &Console, limits: &str, extra: &str) -> Running {
    let vnc = console.setting("vnc") + extra;
    let foreign = target(FOREIGN, "c", &vnc).replace(PROJECT, "22222222222222222222222222222222");
    Running::start(&format!("{limits}\n{}{}{foreign}", target(A, "a", &vnc), target(B, "b", &vnc))).await
}

/// Opens until there is room: the seat of a session that has ended is free when the proxy has noticed.
async fn open_when_free(url: &str, while_full: u16) -> Socket {
    within("a free seat", async {
        loop {
            match open(url, &[]).await {
                Ok((socket, _)) => return socket,
                Err(status) => assert_eq!(status, while_full),
            }
        }
    })
    .await
}

#[tokio::test]
async fn each_limit_refuses_with_its_status_and_spends_nothing() {
    let console = Console::new(Manner::Vnc).await;
    // The limit, a server that it keeps out after A, one that it lets in, the status.
    for (limit, kept_out, let_in, status) in [
        ("sessions = 1", B, None, 503),
        ("sessions_per_source = 1", B, None, 429),
        ("sessions_per_target = 1", A, Some(B), 429),
        ("sessions_per_project = 1", B, Some(FOREIGN), 429),
    ] {
        let server = serve(&console, &format!("[limits]\n{limit}"), "").await;
        let (mut first, _) = open(&server.ws(&server.token(A, Protocol::Vnc).await), &[]).await.unwrap();
        viewer::rfb(&mut first).await;
        let token = server.token(kept_out, Protocol::Vnc).await;
        let before = console.dialled().await;
        for _ in 0..3 {
            refused(server.at.proxy, &format!("/?token={token}")).await.assert_bare(status, limit);
        }
        assert_eq!(console.dialled().await, before + 1, "{limit}: dialled");
        if let Some(other) = let_in {
            let other = open(&server.ws(&server.token(other, Protocol::Vnc).await), &[]).await;
            assert!(other.is_ok(), "{limit}: {:?}", other.err());
        }
        viewer::echo(&mut first, b"the first is not disturbed").await;
        viewer::goodbye(&mut first).await;
        let mut second = open_when_free(&server.ws(&token), status).await;
        assert_eq!(viewer::rfb(&mut second).await, "fake-vnc", "{limit}");
    }
}

#[tokio::test]
async fn a_line_for_one_denies_the_second_until_the_first_leaves() {
    let console = Console::new(Manner::Echo).await;
    let server = Running::start(&target(A, "a", &console.setting("serial"))).await;
    let (mut first, _) = open(&server.ws(&server.token(A, Protocol::Serial).await), &[]).await.unwrap();
    let token = server.token(A, Protocol::Serial).await;
    refused(server.at.proxy, &format!("/?token={token}")).await.assert_bare(429, "in use");
    viewer::echo(&mut first, b"login: ").await;
    viewer::goodbye(&mut first).await;
    let mut second = open_when_free(&server.ws(&token), 429).await;
    viewer::echo(&mut second, b"root").await;
}

#[tokio::test]
async fn a_thief_ends_the_first_with_1008() {
    let console = Console::new(Manner::Vnc).await;
    let server = serve(&console, "[limits]\nsessions_per_target = 1", "vnc_viewers = \"steal\"").await;
    let (mut first, _) = open(&server.ws(&server.token(A, Protocol::Vnc).await), &[]).await.unwrap();
    viewer::rfb(&mut first).await;
    let (mut second, _) = open(&server.ws(&server.token(A, Protocol::Vnc).await), &[]).await.unwrap();
    let (code, reason) = viewer::closed(&mut first).await;
    assert_eq!((code, reason.as_str()), (1008, "taken over by another viewer"));
    viewer::rfb(&mut second).await;
    // Also one who is in the middle of the handshake.
    let (mut third, _) = open(&server.ws(&server.token(A, Protocol::Vnc).await), &[]).await.unwrap();
    assert_eq!(viewer::closed(&mut second).await.0, 1008);
    assert_eq!(viewer::frame(&mut third).await, b"RFB 003.008\n");
    let (mut fourth, _) = open(&server.ws(&server.token(A, Protocol::Vnc).await), &[]).await.unwrap();
    assert_eq!(viewer::closed(&mut third).await.0, 1008);
    viewer::rfb(&mut fourth).await;
    viewer::echo(&mut fourth, b"mine").await;
}

/// A thief who fails takes nothing: the console that does not answer him stays with whom it has.
#[tokio::test]
async fn a_thief_without_a_console_ends_nobody() {
    let permits = Arc::new(Semaphore::new(1));
    let console = Console::new(Manner::SlowVnc(Arc::clone(&permits))).await;
    let server = serve(&console, "", "vnc_viewers = \"steal\"").await;
    let (mut first, _) = open(&server.ws(&server.token(A, Protocol::Vnc).await), &[]).await.unwrap();
    viewer::rfb(&mut first).await;
    permits.close();
    let token = server.token(A, Protocol::Vnc).await;
    refused(server.at.proxy, &format!("/?token={token}")).await.assert_bare(502, "hung up on");
    viewer::echo(&mut first, b"still mine").await;
}

/// Connections without a session have their own cap; beyond it they are closed, and the admin listener, whose
/// answers decide whether the process lives, is not touched by it.
#[tokio::test]
async fn connections_without_a_session_are_bounded() {
    let console = Console::new(Manner::Vnc).await;
    let server = serve(&console, "[limits]\nunauthenticated = 2", "").await;
    // A session does not count, however long it lives.
    let (mut session, _) = open(&server.ws(&server.token(A, Protocol::Vnc).await), &[]).await.unwrap();
    viewer::rfb(&mut session).await;
    let mut idle = Vec::new();
    for _ in 0..2 {
        let mut socket = TcpStream::connect(server.at.proxy).await.unwrap();
        socket.write_all(b"GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"Not found.\n") {
            assert!(within("the answer", socket.read_buf(&mut answer)).await.unwrap() > 0);
        }
        idle.push(socket);
    }
    let request = b"GET /nothing HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    assert_eq!(raw(server.at.proxy, request).await, "", "the third is closed unanswered");
    let health = b"GET /health/live HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    assert!(raw(server.at.admin, health).await.starts_with("HTTP/1.1 200"));
    drop(idle);
    within("room again", async { while raw(server.at.proxy, request).await.is_empty() {} }).await;
    viewer::echo(&mut session, b"through all of it").await;
}
