//! How sessions end, seen from both sockets: the close code, and that nothing accepted is lost on the way.

use consolegate::ids::Protocol;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use crate::support::console::{Console, Manner};
use crate::support::server::{Running, open, target, upgrade};
use crate::support::{temp, viewer, within};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000001";

/// A viewer without a WebSocket library: the handshake is done, frames are written and read as bytes.
async fn raw_viewer(server: &Running, protocol: Protocol) -> TcpStream {
    let token = server.token(VM, protocol).await;
    let mut socket = TcpStream::connect(server.at.proxy).await.unwrap();
    socket.write_all(upgrade(&format!("/?token={token}")).as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within("the 101", socket.read_u8()).await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    socket
}

/// A masked client frame; the mask is zero, so the payload is as written.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u16::try_from(payload.len()) {
        Ok(length) if length < 126 => frame.push(0x80 | payload.len() as u8),
        Ok(length) => {
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
        Err(_) => {
            frame.push(0x80 | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// Reads frames up to the close; its code.
async fn close_code(socket: &mut TcpStream) -> u16 {
    loop {
        let first = within("a frame", socket.read_u8()).await.expect("an end without a close");
        let length = match socket.read_u8().await.unwrap() {
            126 => u64::from(socket.read_u16().await.unwrap()),
            127 => socket.read_u64().await.unwrap(),
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        socket.read_exact(&mut payload).await.unwrap();
        if first == 0x88 {
            return u16::from_be_bytes([payload[0], payload[1]]);
        }
    }
}

/// RFC 6455 section 7.4.1, by what the viewer did wrong.
#[tokio::test]
async fn each_violation_has_its_code_and_ends_the_target_too() {
    let (screen, line) = (Console::new(Manner::Vnc).await, Console::new(Manner::Echo).await);
    // A seat is free a little after its target's connection: several seats keep the cases apart.
    let consoles = screen.setting("vnc") + &line.setting("serial") + "serial_viewers = \"share\"";
    let server = Running::start(&target(VM, "vm", &consoles)).await;
    let unmasked = b"\x82\x01x".to_vec();
    let huge = [&b"\x82\xff\x00\x00\x00\x00\x00\x10\x00\x01"[..], &[0; 4]].concat();
    for (what, protocol, frame, code) in [
        ("text on VNC", Protocol::Vnc, masked(0x81, b"RFB"), 1003),
        ("text that is not UTF-8", Protocol::Serial, masked(0x81, b"\xff\xfe"), 1007),
        ("a frame without a mask", Protocol::Serial, unmasked.clone(), 1002),
        ("the same inside the RFB handshake", Protocol::Vnc, unmasked, 1002),
        ("a reserved bit", Protocol::Serial, masked(0xc2, b"x"), 1002),
        ("an unknown opcode", Protocol::Serial, masked(0x83, b"x"), 1002),
        ("a long ping", Protocol::Serial, masked(0x89, &[b'x'; 126]), 1002),
        ("a continuation of nothing", Protocol::Serial, masked(0x80, b"x"), 1002),
        ("a close of one byte", Protocol::Serial, masked(0x88, b"x"), 1002),
        ("a frame of over a mebibyte", Protocol::Serial, huge, 1009),
    ] {
        let console = if protocol == Protocol::Vnc { &screen } else { &line };
        let gone = console.dialled().await;
        console.until("the last one's end", |seen| seen.gone > gone).await;
        let mut socket = raw_viewer(&server, protocol).await;
        socket.write_all(&frame).await.unwrap();
        assert_eq!(close_code(&mut socket).await, code, "{what}");
        // The viewer's half of the goodbye, and then the end from the server's side.
        socket.write_all(&masked(0x88, &code.to_be_bytes())).await.unwrap();
        within("the end", socket.read_to_end(&mut Vec::new())).await.unwrap();
        console.until("the target's end", |seen| seen.gone > gone + 1).await;
    }
}

/// Text is fine on a serial line, and what comes in pieces goes out whole.
#[tokio::test]
async fn text_pings_and_fragments_on_a_serial_line() {
    let line = Console::new(Manner::Echo).await;
    let server = Running::start(&target(VM, "vm", &line.setting("serial"))).await;
    let mut socket = raw_viewer(&server, Protocol::Serial).await;
    let frames = [
        masked(0x01, "gr\u{fc}".as_bytes()),
        masked(0x89, b"still there?"),
        masked(0x00, "\u{df}e ".as_bytes()),
        masked(0x80, b"from "),
        masked(0x82, b"here"),
    ];
    // Byte by byte: the result is the same however it is cut.
    for byte in frames.concat() {
        socket.write_all(&[byte]).await.unwrap();
    }
    let expected = "gr\u{fc}\u{df}e from here".as_bytes();
    let seen = line.until("all of it", |seen| seen.received.len() >= expected.len()).await;
    assert_eq!(seen.received, expected);
    let mut said = Vec::new();
    let pong = b"\x8a\x0cstill there?";
    while !said.windows(pong.len()).any(|window| window == pong) {
        assert!(within("the pong", socket.read_buf(&mut said)).await.unwrap() > 0);
    }
}

/// The target ends its side: what it said arrives before the close, and what the viewer says until its own
/// close arrives at the target.
#[tokio::test]
async fn a_target_that_ends_first_still_hears_the_viewer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let serial = format!("serial = \"tcp://{}\"", listener.local_addr().unwrap());
    let server = Running::start(&target(VM, "vm", &serial)).await;
    let opening = tokio::spawn(async move { within("the dial", listener.accept()).await.unwrap().0 });
    let mut viewer = raw_viewer(&server, Protocol::Serial).await;
    let mut console = opening.await.unwrap();
    console.write_all(b"logout\r\n").await.unwrap();
    console.shutdown().await.unwrap();
    assert_eq!(close_code(&mut viewer).await, 1000);
    viewer.write_all(&masked(0x82, b"one last thing")).await.unwrap();
    viewer.write_all(&masked(0x88, &1000u16.to_be_bytes())).await.unwrap();
    let mut heard = Vec::new();
    within("the end", console.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"one last thing");
    within("the end", viewer.read_to_end(&mut Vec::new())).await.unwrap();
}

/// The viewer says goodbye while the target still has things to say: they arrive before the answer.
#[tokio::test]
async fn a_viewer_that_leaves_still_gets_what_was_on_its_way() {
    let dir = temp::dir();
    let path = dir.path().join("console.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let server = Running::start(&target(VM, "vm", &format!("serial = \"unix:{}\"", path.display()))).await;
    let opening = tokio::spawn(async move { within("the dial", listener.accept()).await.unwrap().0 });
    let mut viewer = raw_viewer(&server, Protocol::Serial).await;
    let mut console = opening.await.unwrap();
    viewer
        .write_all(&[masked(0x82, b"exit\r"), masked(0x88, &1000u16.to_be_bytes())].concat())
        .await
        .unwrap();
    let mut heard = Vec::new();
    within("the viewer's end", console.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"exit\r");
    console.write_all(b"logout\r\n").await.unwrap();
    drop(console);
    let mut said = Vec::new();
    within("the end", viewer.read_to_end(&mut said)).await.unwrap();
    assert!(said.starts_with(b"\x82\x08logout\r\n\x88"), "{said:?}");
}

#[tokio::test]
async fn idle_and_longest_sessions_end_with_1008() {
    let line = Console::new(Manner::Echo).await;
    for (setting, words) in [("idle_timeout", "idle for too long"), ("max_session", "longest session")] {
        let settings = format!("[proxy]\n{setting} = \"1s\"\n");
        let server = Running::start(&(settings + &target(VM, "vm", &line.setting("serial")))).await;
        let (mut socket, _) = open(&server.ws(&server.token(VM, Protocol::Serial).await), &[]).await.unwrap();
        let (code, reason) = viewer::closed(&mut socket).await;
        assert_eq!(code, 1008);
        assert!(reason.contains(words), "{reason}");
    }
}
