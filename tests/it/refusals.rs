//! Refusals as a browser meets them: with an allowed `Origin` the reason is inside the console, then a close.

use consolegate::ids::Protocol;
use futures_util::SinkExt as _;
use tokio_tungstenite::tungstenite::Message;

use crate::support::console::{Console, Manner, dead_port};
use crate::support::server::{Running, Socket, open, target};
use crate::support::viewer;

const VM: &str = "6c1f2a90-0000-4000-8000-000000000001";
const DOWN: &str = "6c1f2a90-0000-4000-8000-000000000002";
const UNKNOWN: &str = "0fda3eca-8232-4249-9a62-550bce390258";

async fn browser(server: &Running, path: &str) -> Result<Socket, u16> {
    let origin = server.origin();
    let headers = [("origin", origin.as_str()), ("sec-websocket-protocol", "binary")];
    open(&format!("ws://{}{path}", server.at.proxy), &headers).await.map(|(socket, _)| socket)
}

/// A server with `console` as the `key` of one target, and a second target whose console is down.
async fn serve(console: &Console, key: &str, more: &str) -> Running {
    let down = format!("{key} = \"tcp://{}\"", dead_port().await);
    let targets = target(VM, "vm", &console.setting(key)) + &target(DOWN, "down", &down);
    Running::start(&format!("{more}\n{targets}")).await
}

#[tokio::test]
async fn the_reason_is_painted_and_told_in_the_close() {
    let console = Console::new(Manner::Vnc).await;
    let server = serve(&console, "vnc", "").await;
    let used = server.token(VM, Protocol::Vnc).await;
    let _session = open(&server.ws(&used), &[]).await.unwrap();
    let down = server.token(DOWN, Protocol::Vnc).await;
    for (token, code, words) in [
        (UNKNOWN, 1008, "not valid or has expired"),
        (used.as_str(), 1008, "already used"),
        (down.as_str(), 1011, "could not be reached"),
    ] {
        let mut socket = browser(&server, &format!("/?token={token}")).await.unwrap();
        let name = viewer::rfb(&mut socket).await;
        assert!(name.contains(words), "{name:?}");
        // FramebufferUpdateRequest for a corner (RFC 6143 section 7.5.3): a picture comes.
        viewer::send(&mut socket, b"\x03\x00\x00\x00\x00\x00\x00\x08\x00\x08").await;
        let picture = viewer::frame(&mut socket).await;
        assert_eq!(picture[0], 0, "FramebufferUpdate");
        let (told, reason) = viewer::goodbye(&mut socket).await;
        assert_eq!(told, code, "{words}");
        assert!(reason.contains(words), "{reason:?}");
    }
    assert_eq!(console.dialled().await, 1, "the session's own");
    // The link to the console that is down was not spent.
    let mut socket = browser(&server, &format!("/?token={down}")).await.unwrap();
    assert!(viewer::rfb(&mut socket).await.contains("could not be reached"));
}

#[tokio::test]
async fn what_is_no_rfb_client_gets_the_close_at_once() {
    let console = Console::new(Manner::Vnc).await;
    let server = serve(&console, "vnc", "").await;
    let mut socket = browser(&server, &format!("/?token={UNKNOWN}")).await.unwrap();
    viewer::send(&mut socket, b"GET / HTTP/1.1\r\n").await;
    let (code, reason) = viewer::closed(&mut socket).await;
    assert_eq!(code, 1008);
    assert!(reason.contains("not valid or has expired"), "{reason:?}");
}

#[tokio::test]
async fn a_serial_page_reads_a_line() {
    let console = Console::new(Manner::Echo).await;
    let server = serve(&console, "serial", "").await;
    let used = server.token(VM, Protocol::Serial).await;
    let _session = open(&server.ws(&used), &[]).await.unwrap();
    let busy = server.token(VM, Protocol::Serial).await;
    let down = server.token(DOWN, Protocol::Serial).await;
    for (path, code, words) in [
        (format!("/?token={UNKNOWN}&console=serial"), 1008, "not valid or has expired"),
        ("/?console=serial".to_owned(), 1008, "not valid or has expired"),
        (format!("/?token={used}"), 1008, "already used"),
        (format!("/?token={busy}"), 1013, "Somebody else"),
        (format!("/?token={down}"), 1011, "could not be reached"),
        (format!("/?token={down}&console=serial"), 1011, "could not be reached"),
    ] {
        let mut socket = browser(&server, &path).await.unwrap();
        let line = String::from_utf8(viewer::frame(&mut socket).await).unwrap();
        assert!(line.contains("Console not available") && line.contains(words), "{path}: {line:?}");
        let (told, reason) = viewer::closed(&mut socket).await;
        assert_eq!(told, code, "{path}");
        assert!(reason.contains(words), "{path}: {reason:?}");
    }
}

#[tokio::test]
async fn a_page_that_is_not_ours_gets_the_bare_status() {
    let console = Console::new(Manner::Vnc).await;
    let server = serve(&console, "vnc", "[proxy]\nallowed_origins = [\"https://cloud.example\"]").await;
    let url = server.ws(UNKNOWN);
    for foreign in ["http://cloud.example", "https://cloud.example:444", "null"] {
        assert_eq!(open(&url, &[("origin", foreign)]).await.unwrap_err(), 403, "{foreign}");
    }
    let (mut socket, _) = open(&url, &[("origin", "https://cloud.example")]).await.unwrap();
    assert!(viewer::rfb(&mut socket).await.contains("not valid"));
}

/// A painted refusal is an unauthenticated connection; when those are used up, the answer is the status.
#[tokio::test]
async fn painted_refusals_are_bounded() {
    let console = Console::new(Manner::Vnc).await;
    let server = serve(&console, "vnc", "[limits]\nunauthenticated = 2").await;
    let path = format!("/?token={UNKNOWN}");
    let mut painted = browser(&server, &path).await.unwrap();
    viewer::rfb(&mut painted).await;
    assert_eq!(browser(&server, &path).await.map(drop).unwrap_err(), 403);
    painted.send(Message::Close(None)).await.unwrap();
    viewer::closed(&mut painted).await;
    // The first has left, so there is room again once its connection is gone.
    crate::support::within("room for another", async { while browser(&server, &path).await.is_err() {} })
        .await;
}
