//! The strict opening handshake, seen from the socket: every departure from RFC 6455 section 4.2.1 is a status
//! with no body and a closed connection, never a tunnel.

use consolegate::ids::Protocol;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::console::{Console, Manner};
use crate::support::server::{Answer, Running, open, raw, refused, target, upgrade};
use crate::support::{viewer, within};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000001";

/// A masked binary frame that says "smuggled" (mask of zeros).
const SMUGGLED: &[u8] = b"\x82\x88\x00\x00\x00\x00smuggled";

async fn serve(console: &Console) -> Running {
    Running::start(&target(VM, "vm", &console.setting("serial"))).await
}

/// Sends `head` with a frame behind it, as a client does that does not wait for the 101.
async fn smuggle(server: &Running, head: &str) -> Answer {
    Answer::parse(&raw(server.at.proxy, &[head.as_bytes(), SMUGGLED].concat()).await)
}

#[tokio::test]
async fn every_departure_from_the_handshake_is_a_status_and_the_end() {
    let console = Console::new(Manner::Echo).await;
    let server = serve(&console).await;
    let token = server.token(VM, Protocol::Serial).await;
    let good = upgrade(&format!("/?token={token}"));
    let change = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };
    const HOST: &str = "Host: console.example\r\n";
    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
    let cases = [
        ("POST", change("GET", "POST"), 400),
        ("HEAD", change("GET", "HEAD"), 400),
        ("HTTP/1.0", change("HTTP/1.1", "HTTP/1.0"), 400),
        ("absolute form", change("GET /", "GET http://console.example/"), 400),
        ("no host", change(HOST, ""), 400),
        ("empty host", change(HOST, "Host:\r\n"), 400),
        ("two hosts", change(HOST, &HOST.repeat(2)), 400),
        ("two different hosts", change(HOST, "Host: console.example\r\nHost: evil.example\r\n"), 400),
        ("no key", change(KEY, ""), 400),
        ("two keys", change(KEY, &KEY.repeat(2)), 400),
        ("short key", change(KEY, "Sec-WebSocket-Key: c2hvcnQ=\r\n"), 400),
        ("a key that is no base64", change(KEY, "Sec-WebSocket-Key: ????????????????????????\r\n"), 400),
        ("no version", change(VERSION, ""), 400),
        ("two versions", change(VERSION, &VERSION.repeat(2)), 400),
        ("version 8", change(VERSION, "Sec-WebSocket-Version: 8\r\n"), 426),
        ("no Connection: upgrade", change("Connection: Upgrade", "Connection: keep-alive"), 400),
        ("a body", change(KEY, &format!("{KEY}Content-Length: 14\r\n")), 400),
        ("chunked", change(KEY, &format!("{KEY}Transfer-Encoding: chunked\r\n")), 400),
        ("base64 only", change(KEY, &format!("{KEY}Sec-WebSocket-Protocol: base64\r\n")), 400),
        ("an unknown protocol", change(KEY, &format!("{KEY}Sec-WebSocket-Protocol: chat\r\n")), 400),
        ("a long URI", change("/?token=", &format!("/{}?token=", "x".repeat(4096))), 414),
        ("many headers", change(KEY, &format!("{KEY}{}", "X-A: b\r\n".repeat(100))), 431),
        ("large headers", change(KEY, &format!("{KEY}X-A: {}\r\n", "x".repeat(16 * 1024))), 431),
        ("larger headers", change(KEY, &format!("{KEY}X-A: {}\r\n", "x".repeat(64 * 1024))), 431),
        ("no HTTP", change("GET /", "GET\x01/"), 400),
    ];
    for (what, head, status) in cases {
        let answer = smuggle(&server, &head).await;
        answer.assert_bare(status, what);
        let version = (status == 426).then_some("13");
        assert_eq!(answer.header("sec-websocket-version"), version, "{what}");
    }
    assert_eq!(console.dialled().await, 0, "a malformed request reached the target");
    // None of it has spent the token.
    let (mut socket, _) = open(&server.ws(&token), &[]).await.unwrap();
    viewer::echo(&mut socket, b"hello").await;
    let seen = console.until("the echo", |seen| !seen.received.is_empty()).await;
    assert_eq!(seen.received, b"hello");
}

#[tokio::test]
async fn the_subprotocol_is_binary_if_offered_and_none_if_none() {
    let console = Console::new(Manner::Echo).await;
    let shared = console.setting("serial") + "serial_viewers = \"share\"";
    let server = Running::start(&target(VM, "vm", &shared)).await;
    for (offered, chosen) in [
        (None, None),
        (Some("binary"), Some("binary")),
        (Some("base64, binary"), Some("binary")),
        (Some("binary, base64"), Some("binary")),
    ] {
        let url = server.ws(&server.token(VM, Protocol::Serial).await);
        let headers: Vec<_> = offered.map(|value| ("sec-websocket-protocol", value)).into_iter().collect();
        let (mut socket, response) = open(&url, &headers).await.unwrap();
        let sent = response.headers().get("sec-websocket-protocol").map(|value| value.to_str().unwrap());
        assert_eq!(sent, chosen, "{offered:?}");
        assert!(response.headers().get("sec-websocket-extensions").is_none(), "no extension is agreed on");
        viewer::goodbye(&mut socket).await;
    }
}

/// RFC 6455 section 4.2.2, byte by byte, and what came with the request is relayed first.
#[tokio::test]
async fn the_101_and_what_was_sent_ahead_of_it() {
    let console = Console::new(Manner::Echo).await;
    let server = serve(&console).await;
    let token = server.token(VM, Protocol::Serial).await;
    let mut socket = TcpStream::connect(server.at.proxy).await.unwrap();
    let request = [upgrade(&format!("/a/b/?x=1&token={token}")).as_bytes(), SMUGGLED].concat();
    socket.write_all(&request).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"smuggled") {
        let count = within("the echo", socket.read_buf(&mut answer)).await.unwrap();
        assert!(count > 0, "ended: {:?}", String::from_utf8_lossy(&answer));
    }
    let text = String::from_utf8_lossy(&answer).into_owned();
    let answer = Answer::parse(&text);
    assert!(text.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{text}");
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert_eq!(answer.header("connection"), Some("upgrade"));
    assert!(text.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{text}");
    assert_eq!(answer.header("content-length"), None, "RFC 9110 section 8.6: none with a 1xx");
    assert_eq!(answer.header("transfer-encoding"), None);
}

/// The bounds hold for requests that ask for no WebSocket, too.
#[tokio::test]
async fn a_page_request_has_the_same_bounds() {
    let console = Console::new(Manner::Echo).await;
    let server = serve(&console).await;
    for (what, target, extra, status) in [
        ("a long URI", format!("/vnc.html?{}", "x".repeat(4096)), String::new(), 414),
        ("large headers", "/vnc.html".to_owned(), format!("X-A: {}\r\n", "x".repeat(16 * 1024)), 431),
        ("many headers", "/vnc.html".to_owned(), "X-A: b\r\n".repeat(100), 431),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n{extra}\r\n");
        Answer::parse(&raw(server.at.proxy, request.as_bytes()).await).assert_bare(status, what);
    }
}

/// A head that never ends, and a connection that never begins, are ended by the server.
#[tokio::test]
async fn a_slow_client_is_cut_off() {
    let console = Console::new(Manner::Echo).await;
    let server = serve(&console).await;
    let begun = raw(server.at.proxy, b"GET /?token=");
    let silent = raw(server.at.proxy, b"");
    let (begun, silent) = tokio::join!(begun, silent);
    assert!(!begun.contains("101") && silent.is_empty(), "{begun:?} {silent:?}");
    refused(server.at.proxy, "/").await.assert_bare(403, "the next one is served");
}
