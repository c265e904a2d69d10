//! Serial consoles behind terminal servers and on ports of this machine, byte for byte.

use consolegate::ids::Protocol;
use serial2_tokio::SerialPort;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::console::{Console, Manner};
use crate::support::line::Pair;
use crate::support::server::{Running, Socket, http, open, refused, target};
use crate::support::{viewer, within};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000001";

/// A server with one serial console; `line` is its `[target.serial_line]`.
async fn serve(serial: &str, line: &str) -> Running {
    let consoles = format!("serial = \"{serial}\"\n[target.serial_line]\n{line}");
    Running::start(&target(VM, "bm1", &consoles)).await
}

async fn watch(server: &Running) -> Socket {
    let token = server.token(VM, Protocol::Serial).await;
    open(&server.ws(&token), &[]).await.expect("a console").0
}

/// Every byte there is, new lines in each form, and Telnet's own bytes among them.
fn everything() -> Vec<u8> {
    let all: Vec<u8> = (0..=255).collect();
    [&all[..], b"\r\n\r\0\n\r\r\n", &[255, 255, 253, 1, 255, 240, 13], &all].concat()
}

/// What is sent from each side arrives at the other as it is.
async fn both_ways(socket: &mut Socket, far: &mut SerialPort) {
    let sent = everything();
    viewer::send(socket, &sent).await;
    let mut there = vec![0; sent.len()];
    within("what was typed", far.read_exact(&mut there)).await.unwrap();
    assert_eq!(there, sent);
    within("room on the line", far.write_all(&sent)).await.unwrap();
    let mut here = Vec::new();
    while here.len() < sent.len() {
        here.extend(viewer::frame(socket).await);
    }
    assert_eq!(here, sent);
}

#[tokio::test]
async fn ser2net_raw() {
    let pair = Pair::new().await;
    let (_ser2net, at) = pair.ser2net("").await;
    let server = serve(&format!("tcp://{at}"), "").await;
    let mut far = pair.far();
    let mut socket = watch(&server).await;
    both_ways(&mut socket, &mut far).await;
    assert_eq!(viewer::goodbye(&mut socket).await.0, 1000);
}

#[tokio::test]
async fn ser2net_telnet_is_set_by_rfc_2217_and_carries_every_byte() {
    let pair = Pair::new().await;
    let (_ser2net, at) = pair.ser2net("telnet(rfc2217),").await;
    let server = serve(&format!("telnet://{at}"), "baud = 19200\nstop_bits = 2\ndtr = true").await;
    let mut far = pair.far();
    // Once more after the end of the first: the line is free again when the viewer has its answer.
    for _ in 0..2 {
        let mut socket = watch(&server).await;
        both_ways(&mut socket, &mut far).await;
        pair.set_to((19200, true)).await;
        assert_eq!(viewer::goodbye(&mut socket).await.0, 1000);
    }
}

/// Asks for a break on the only session; the answer's status.
async fn send_break(server: &Running) -> String {
    let headers = "Authorization: Bearer an-admin-listeners-token\r\n";
    let sessions = http(server.at.admin, "GET", "/v1/sessions", headers, "").await;
    let (_, body) = sessions.split_once("\r\n\r\n").unwrap();
    let sessions: serde_json::Value = serde_json::from_str(body).unwrap();
    let path = format!("/v1/sessions/{}/break", sessions["sessions"][0]["id"].as_str().unwrap());
    http(server.at.admin, "POST", &path, headers, "").await[9..12].to_owned()
}

#[tokio::test]
async fn a_break_goes_where_there_is_a_line() {
    let admin = "[admin]\ntoken = \"an-admin-listeners-token\"\n";
    let pair = Pair::new().await;
    let (_ser2net, at) = pair.ser2net("telnet(rfc2217),").await;
    let serial = format!("serial = \"telnet://{at}\"\nserial_line.reconnect = \"1m\"");
    let server = Running::start(&(target(VM, "bm1", &serial) + admin)).await;
    let mut socket = watch(&server).await;
    let mut far = pair.far();
    assert_eq!(send_break(&server).await, "204");
    // A pty has no break to show; the line goes on.
    both_ways(&mut socket, &mut far).await;

    let console = Console::new(Manner::Echo).await;
    let server = Running::start(&(target(VM, "bm1", &console.setting("serial")) + admin)).await;
    let _socket = watch(&server).await;
    assert_eq!(send_break(&server).await, "409");
    let headers = "Authorization: Bearer an-admin-listeners-token\r\n";
    let none = http(server.at.admin, "POST", "/v1/sessions/none/break", headers, "").await;
    assert_eq!(&none[9..12], "404");
}

#[tokio::test]
async fn ser2net_telnet_without_rfc_2217_still_carries_every_byte() {
    let pair = Pair::new().await;
    let (_ser2net, at) = pair.ser2net("telnet,").await;
    let server = serve(&format!("telnet://{at}"), "baud = 19200").await;
    let mut far = pair.far();
    let mut socket = watch(&server).await;
    both_ways(&mut socket, &mut far).await;
    assert_eq!(pair.settings().0, 115_200, "the server's own speed");
}

#[tokio::test]
async fn a_tty_is_set_locked_and_given_back() {
    let pair = Pair::new().await;
    let endpoint = format!("tty:{}", pair.ours().display());
    let server = serve(&endpoint, "baud = 38400\nstop_bits = 2").await;
    let mut far = pair.far();
    for _ in 0..2 {
        let mut socket = watch(&server).await;
        assert_eq!(pair.settings(), (38400, true));
        both_ways(&mut socket, &mut far).await;
        // Another process of ours, say, of which this one knows nothing.
        let other = serve(&endpoint, "").await;
        let token = other.token(VM, Protocol::Serial).await;
        refused(other.at.proxy, &format!("/?token={token}")).await.assert_bare(502, "a port in use");
        assert_eq!(viewer::goodbye(&mut socket).await.0, 1000);
    }
}

#[tokio::test]
async fn a_port_that_is_none_keeps_the_link_good() {
    let server = serve("tty:/dev/null", "").await;
    let token = server.token(VM, Protocol::Serial).await;
    for _ in 0..2 {
        refused(server.at.proxy, &format!("/?token={token}")).await.assert_bare(502, "no terminal");
    }
}

/// Reads until `text` has come.
async fn reads(socket: &mut Socket, text: &str) {
    let mut said = String::new();
    while !said.contains(text) {
        said.push_str(&String::from_utf8_lossy(&viewer::frame(socket).await));
    }
}

#[tokio::test]
async fn a_line_that_comes_back_finds_its_viewer() {
    let console = Console::new(Manner::Echo).await;
    let server = serve(&format!("tcp://{}", console.address), "reconnect = \"5m\"").await;
    let mut socket = watch(&server).await;
    viewer::echo(&mut socket, b"before\xff").await;
    let at = console.stop().await;
    reads(&mut socket, "was lost").await;
    viewer::send(&mut socket, b"typed blindly").await;
    let console = Console::at(at, Manner::Echo).await;
    reads(&mut socket, "is back").await;
    viewer::echo(&mut socket, b"after").await;
    let seen = console.until("what was typed", |seen| seen.received.ends_with(b"after")).await;
    assert_eq!(seen.received, b"after", "keys for a line that was down are not kept");
    assert_eq!(viewer::goodbye(&mut socket).await.0, 1000);
    console.until("the end", |seen| seen.gone == 1).await;
}

#[tokio::test]
async fn a_line_that_does_not_come_back_ends_the_session() {
    let console = Console::new(Manner::Echo).await;
    let server = serve(&format!("tcp://{}", console.address), "reconnect = \"700ms\"").await;
    let mut socket = watch(&server).await;
    viewer::echo(&mut socket, b"before").await;
    console.stop().await;
    reads(&mut socket, "was lost").await;
    assert_eq!(viewer::closed(&mut socket).await, (1000, "the console closed the connection".to_owned()));
}

#[tokio::test]
async fn a_viewer_who_leaves_ends_the_waiting_for_the_line() {
    let console = Console::new(Manner::Echo).await;
    let server = serve(&format!("tcp://{}", console.address), "reconnect = \"1h\"").await;
    let mut socket = watch(&server).await;
    viewer::echo(&mut socket, b"before").await;
    console.stop().await;
    reads(&mut socket, "was lost").await;
    assert_eq!(viewer::goodbye(&mut socket).await.0, 1000);
    server.drain().await;
}
