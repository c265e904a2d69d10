//! The end of a server: no new consoles, time for the live ones, a goodbye to the rest.

use consolegate::ids::Protocol;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::console::{Console, Manner};
use crate::support::server::{Answer, Running, http, open, target, upgrade};
use crate::support::{viewer, within};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000001";

async fn serve(console: &Console, drain: &str) -> Running {
    let targets = target(VM, "vm", &console.setting("vnc"));
    Running::start(&format!("[proxy]\ndrain = \"{drain}\"\n{targets}")).await
}

/// Waits until the admin listener says what a load balancer acts on.
async fn until_not_ready(server: &Running) -> Answer {
    within("503 from /health/ready", async {
        loop {
            let answer = Answer::parse(&http(server.at.admin, "GET", "/health/ready", "", "").await);
            if answer.status == 503 {
                return answer;
            }
            assert_eq!(answer.status, 200);
        }
    })
    .await
}

#[tokio::test]
async fn a_draining_server_takes_nobody_and_waits_for_the_last() {
    let console = Console::new(Manner::Vnc).await;
    let server = serve(&console, "10m").await;
    let (mut session, _) = open(&server.ws(&server.token(VM, Protocol::Vnc).await), &[]).await.unwrap();
    viewer::rfb(&mut session).await;
    // A connection from before, about to ask for a console.
    let token = server.token(VM, Protocol::Vnc).await;
    let mut early = TcpStream::connect(server.at.proxy).await.unwrap();
    early.write_all(b"GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"Not found.\n") {
        assert!(within("the answer", early.read_buf(&mut answer)).await.unwrap() > 0);
    }

    server.begin_drain().await;
    let ready = until_not_ready(&server).await;
    assert!(ready.body.contains("draining"), "{}", ready.body);
    let live = Answer::parse(&http(server.at.admin, "GET", "/health/live", "", "").await);
    assert_eq!(live.status, 200, "it lives until it has ended");
    within("a closed door", async { while TcpStream::connect(server.at.proxy).await.is_ok() {} }).await;
    early.write_all(upgrade(&format!("/?token={token}")).as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("the refusal", early.read_to_string(&mut answer)).await.unwrap();
    Answer::parse(&answer).assert_bare(503, "an old connection");

    viewer::echo(&mut session, b"take your time").await;
    viewer::goodbye(&mut session).await;
    server.drain().await;
}

#[tokio::test]
async fn when_the_time_is_over_the_rest_are_told_to_go() {
    let console = Console::new(Manner::Vnc).await;
    let server = serve(&console, "0s").await;
    let (mut session, _) = open(&server.ws(&server.token(VM, Protocol::Vnc).await), &[]).await.unwrap();
    viewer::rfb(&mut session).await;
    let (mut greeting, _) = open(&server.ws(&server.token(VM, Protocol::Vnc).await), &[]).await.unwrap();
    assert_eq!(viewer::frame(&mut greeting).await, b"RFB 003.008\n");
    server.begin_drain().await;
    for socket in [&mut session, &mut greeting] {
        let (code, reason) = viewer::closed(socket).await;
        assert_eq!((code, reason.as_str()), (1001, "the proxy is restarting"));
    }
    server.drain().await;
    console.until("both ends", |seen| seen.gone == 2).await;
}
