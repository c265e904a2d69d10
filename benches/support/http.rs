//! Requests of a bench's own, as bytes.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};

use super::TOKEN;

/// An answer, head and body.
pub(crate) fn http(port: u16, method: &str, path: &str, credential: &str, body: &str) -> String {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a listener");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n{credential}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("it answers");
    answer
}

/// A viewer of a server's serial console whose session stands.
pub(crate) fn open(api: u16, proxy: u16, server: &str) -> TcpStream {
    let (path, credential) =
        (format!("/console/v1/servers/{server}/consoles"), format!("X-Auth-Token: {TOKEN}"));
    let answer = http(api, "POST", &path, &credential, "{\"protocol\":\"serial\"}");
    let at = answer.find("token=").unwrap_or_else(|| panic!("no link: {answer}")) + "token=".len();
    let token = &answer[at..at + 36];
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy)).expect("a proxy");
    let request = format!(
        "GET /?token={token} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).expect("it reads");
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        socket
            .read_exact(&mut byte)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&head)));
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    socket
}
