//! What OpenStack's own test suite looks at, byte by byte, so that a cloud with consolegate passes it.
//!
//! The rules are those of tempest 47.0.0: `tempest/api/compute/servers/test_novnc.py` and, in
//! `tempest/common/compute.py`, `_WebSocket` and `NoVNCValidateMixin`. This file does what they do, with their
//! bytes and no more skill than theirs: a parser that knows only short frames and no control frames.

use std::net::SocketAddr;

use consolegate::ids::Protocol;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::console::{Console, Manner};
use crate::support::server::{Answer, Running, http, target};
use crate::support::within;

const VM: &str = "6c1f2a90-0000-4000-8000-000000000001";

/// `_WebSocket`.
struct WebSocket {
    socket: TcpStream,
    response: String,
    /// "In case some frames have arrived, cache it for next reading."
    cached: Vec<u8>,
}

impl WebSocket {
    /// `_upgrade`: `path` is the URL's `path` parameter or `websockify`; the URL's query is sent as the cookie.
    async fn open(address: SocketAddr, path: &str, query: &str) -> Self {
        let request = format!(
            "GET /{path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Cookie: {query}\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: binary\r\n\r\n",
            host = address.ip(),
            port = address.port(),
        );
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        let end = loop {
            if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            let count = within("the answer", socket.read_buf(&mut read)).await.unwrap();
            assert!(count > 0, "closed inside the head");
        };
        let cached = read.split_off(end);
        Self { socket, response: String::from_utf8(read).unwrap(), cached }
    }

    /// `_recv`: up to `size` bytes, from the cache and then one `recv`; none is the end of the connection.
    async fn recv(&mut self, size: usize) -> Vec<u8> {
        let mut data: Vec<u8> = self.cached.drain(..self.cached.len().min(size)).collect();
        if data.len() < size {
            let mut rest = vec![0; size - data.len()];
            let count = within("bytes", self.socket.read(&mut rest)).await.unwrap();
            data.extend_from_slice(&rest[..count]);
        }
        data
    }

    /// `receive_frame`: "only dealing with frames less than 125 bytes", whatever their opcode.
    async fn receive_frame(&mut self) -> Option<Vec<u8>> {
        loop {
            let header = self.recv(2).await;
            if header.is_empty() {
                return None;
            }
            let length = usize::from(header[1] & 127);
            if length > 0 {
                return Some(self.recv(length).await);
            }
        }
    }

    /// `send_frame`: opcode binary, the mask 7 2 1 9.
    async fn send_frame(&mut self, data: &[u8]) {
        let mask = [7, 2, 1, 9];
        let mut frame = vec![130, u8::try_from(data.len()).unwrap() | 128];
        frame.extend(mask);
        frame.extend(data.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.socket.write_all(&frame).await.unwrap();
    }
}

async fn serve(console: &Console) -> Running {
    Running::start(&target(VM, "vm", &console.setting("vnc"))).await
}

/// `validate_websocket_upgrade`.
fn validate_upgrade(socket: &WebSocket) {
    assert!(socket.response.starts_with("HTTP/1.1 101 Switching Protocols"), "{}", socket.response);
    assert!(socket.response.to_lowercase().contains("upgrade: websocket"), "{}", socket.response);
}

/// `validate_rfb_negotiation`.
async fn validate_rfb(socket: &mut WebSocket) {
    // "RFB 003.008\n": it reads the digits at 4..7 and 8..11, and wants 3.3 or 3.8.
    let version = socket.receive_frame().await.expect("a version");
    assert_eq!(version, b"RFB 003.008\n");
    socket.send_frame(&version).await;
    // A count, and so many types, among them 1 (None), all in one frame.
    let types = socket.receive_frame().await.expect("security types");
    assert_eq!(types.len(), 1 + usize::from(types[0]));
    assert!(types[1..].contains(&1), "{types:?}");
    socket.send_frame(&[1]).await;
    // SecurityResult: four zero bytes, and nothing else in the frame.
    assert_eq!(socket.receive_frame().await.expect("a result"), [0, 0, 0, 0]);
    socket.send_frame(&[1]).await;
    // ServerInit: more than 24 bytes, and the name's length at 20..24 accounts for exactly the rest.
    let init = socket.receive_frame().await.expect("ServerInit");
    assert!(init.len() > 24, "{init:?}");
    let name = u32::from_be_bytes(init[20..24].try_into().unwrap());
    assert_eq!(init.len(), name as usize + 24, "the name's length");
}

#[tokio::test]
async fn test_novnc_with_the_token_in_the_path() {
    let console = Console::new(Manner::Vnc).await;
    let server = serve(&console).await;
    let token = server.token(VM, Protocol::Vnc).await;
    let query = format!("path=%3Ftoken%3D{token}");
    let mut socket = WebSocket::open(server.at.proxy, &format!("?token={token}"), &query).await;
    validate_upgrade(&socket);
    validate_rfb(&mut socket).await;
}

/// "The token=xxx is sent as a Cookie not in the URI for noVNC < v1.1.0."
#[tokio::test]
async fn test_novnc_with_the_token_in_the_cookie() {
    let console = Console::new(Manner::Vnc).await;
    let server = serve(&console).await;
    let token = server.token(VM, Protocol::Vnc).await;
    let mut socket = WebSocket::open(server.at.proxy, "websockify", &format!("token={token}")).await;
    validate_upgrade(&socket);
    validate_rfb(&mut socket).await;
}

/// `test_novnc_bad_token`: the token with `bad` in front. `receive_frame` must find the end of the connection at
/// once: a body, or a close frame with a code, would be "some data".
#[tokio::test]
async fn test_novnc_bad_token() {
    let console = Console::new(Manner::Vnc).await;
    let server = serve(&console).await;
    let token = server.token(VM, Protocol::Vnc).await;
    for (path, query) in [
        (format!("?token=bad{token}"), format!("path=%3Ftoken%3Dbad{token}")),
        ("websockify".to_owned(), format!("token=bad{token}")),
    ] {
        let mut socket = WebSocket::open(server.at.proxy, &path, &query).await;
        assert_eq!(socket.receive_frame().await, None, "{}", socket.response);
        assert_eq!(socket.cached, b"");
        assert!(socket.response.starts_with("HTTP/1.1 403"), "{}", socket.response);
    }
    assert_eq!(console.dialled().await, 0);
}

/// `validate_novnc_html`.
#[tokio::test]
async fn the_page_is_novncs() {
    assert!(consolegate::web::embedded(), "no pages in this build: run `cargo xtask build` first");
    let console = Console::new(Manner::Vnc).await;
    let server = serve(&console).await;
    let url = server.issue(VM, Protocol::Vnc).await;
    let path = url.strip_prefix(&server.origin()).expect("the proxy's own URL");
    let page = Answer::parse(&http(server.at.proxy, "GET", path, "", "").await);
    assert_eq!(page.status, 200, "{}", page.head);
    for part in ["<html", "</html>", "noVNC", "<script"] {
        assert!(page.body.contains(part), "no {part} in {}", page.body);
    }
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert!(page.header("content-security-policy").is_some_and(|csp| csp.starts_with("default-src 'none'")));
}
