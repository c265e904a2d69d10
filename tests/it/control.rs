//! The control channel, from outside: who is here, what may be asked of a console, and what is no message.

use std::path::Path;

use consolegate::ids::Protocol;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::console::{Console, Manner};
use crate::support::news::Viewer;
use crate::support::server::{Running, open, target};
use crate::support::{viewer, within};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000001";

async fn serve(extra: &str) -> Running {
    Running::start(&target(VM, "bm1", extra)).await
}

async fn echo(more: &str) -> (Running, Console) {
    let console = Console::new(Manner::Echo).await;
    (serve(&format!("{}{more}", console.setting("serial"))).await, console)
}

async fn join(server: &Running) -> Viewer {
    let token = server.token(VM, Protocol::Serial).await;
    Viewer::open(server, &token, "").await
}

#[tokio::test]
async fn the_hello_comes_first_and_others_are_told_of() {
    let (server, _console) = echo("serial_viewers = \"share\"").await;
    let mut first = join(&server).await;
    let session = first.hello["session"].clone();
    assert_eq!(session.as_str().map(str::len), Some(36));
    let hello = json!({
        "type": "hello", "session": session, "protocol": "serial", "role": "writer", "viewers": 1,
        "view_only": false, "recording": false, "break": false, "resize": false, "offset": 0,
    });
    assert_eq!(first.hello, hello);
    let mut second = join(&server).await;
    assert_eq!(second.hello["viewers"], 2);
    assert_eq!(first.news("joined").await, json!({"type": "joined", "user": "demo", "viewers": 2}));
    // One without the channel counts, and is told nothing.
    let token = server.token(VM, Protocol::Serial).await;
    let mut stock = open(&server.ws(&token), &[]).await.expect("a console").0;
    assert_eq!(first.news("joined").await["viewers"], 3);
    assert_eq!(second.news("joined").await["viewers"], 3);
    viewer::echo(&mut stock, b"plain").await;
    assert_eq!(viewer::goodbye(&mut second.socket).await.0, 1000);
    assert_eq!(first.news("left").await, json!({"type": "left", "user": "demo", "viewers": 2}));
    first.types(b"abc").await;
    assert_eq!(first.read_to(b"abc").await, b"abc");
}

#[tokio::test]
async fn a_vnc_viewer_is_told_between_the_frames() {
    let console = Console::new(Manner::Vnc).await;
    let server = serve(&console.setting("vnc")).await;
    let token = server.token(VM, Protocol::Vnc).await;
    let mut first = Viewer::open(&server, &token, "").await;
    assert_eq!((&first.hello["protocol"], &first.hello["role"]), (&json!("vnc"), &json!("writer")));
    first.read_to(b"RFB 003.008\n").await;
    first.types(b"RFB 003.008\n").await;
    first.read_to(b"\x01\x01").await;
    // A message in the middle of the handshake is none of the console's bytes.
    first.says("break").await;
    first.types(b"\x01").await;
    first.read_to(b"\0\0\0\0").await;
    first.types(b"\x01").await;
    let token = server.token(VM, Protocol::Vnc).await;
    let second = Viewer::open(&server, &token, "").await;
    assert_eq!(first.news("joined").await["viewers"], 2);
    drop(second);
    assert_eq!(first.news("left").await["viewers"], 1);
}

#[tokio::test]
async fn who_is_thrown_out_is_told_by_whom_it_was() {
    let (server, _console) = echo("serial_viewers = \"steal\"").await;
    let mut first = join(&server).await;
    let _second = join(&server).await;
    assert_eq!(viewer::closed(&mut first.socket).await, (1008, "taken over by another viewer".to_owned()));
}

#[tokio::test]
async fn a_commands_terminal_takes_the_viewers_size() {
    let script = "echo ready; while :; do stty size; sleep 0.1; done";
    let extra = format!(
        "serial = \"command:{}\"\n[target.serial_line]\nargs = {:?}\nreconnect = \"1m\"",
        Path::new("/bin/bash").display(),
        ["-c", script]
    );
    let server = serve(&extra).await;
    let mut tab = join(&server).await;
    assert_eq!((&tab.hello["resize"], &tab.hello["break"]), (&json!(true), &json!(false)));
    tab.read_to(b"ready").await;
    let resize = |columns, rows| {
        Message::text(json!({"type": "resize", "columns": columns, "rows": rows}).to_string())
    };
    tab.send(resize(132, 43)).await;
    tab.read_to(b"43 132").await;
    // Sizes no terminal has are let pass by.
    tab.send(resize(0, 0)).await;
    tab.send(resize(65535, 50)).await;
    tab.send(resize(100, 30)).await;
    assert!(!tab.read_to(b"30 100").await.windows(5).any(|w| w == b"65535"));
}

#[tokio::test]
async fn what_is_no_message_ends_the_session() {
    let (server, _console) = echo("serial_viewers = \"share\"").await;
    let cases = [
        (vec![Message::text("hello")], 1002),
        (vec![Message::text("{\"no\":\"type\"}")], 1002),
        (vec![Message::text(format!("{{\"type\":\"x\",\"y\":\"{}\"}}", "z".repeat(5000)))], 1009),
        (vec![Message::text("{\"type\":\"unheard of\"}"); 500], 1008),
    ];
    for (messages, code) in cases {
        let mut tab = join(&server).await;
        for message in messages {
            // The server may have closed already.
            let sent = futures_util::SinkExt::send(&mut tab.socket, message);
            if within("room to send", sent).await.is_err() {
                break;
            }
        }
        assert_eq!(viewer::closed(&mut tab.socket).await.0, code);
    }
}
