//! The native API against the proxy: what a link's options forbid does not happen, and revoked sessions end.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use crate::support::server::{ADMIN_TOKEN, Running, Socket, TOKEN, http, open, target};
use crate::support::within;

const VM: &str = "6c1f2a90-0000-4000-8000-000000000003";

/// A server whose serial console is this listener.
async fn start() -> (Running, TcpListener) {
    let console = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let serial = format!("serial = \"tcp://{}\"\nserial_viewers = \"share\"", console.local_addr().unwrap());
    (Running::start(&target(VM, "vm", &serial)).await, console)
}

/// Status and body of a call to the native API.
async fn call(server: &Running, token: &str, path: &str, body: &Value) -> (u16, Value) {
    let headers = format!("X-Auth-Token: {token}\r\nContent-Type: application/json\r\n");
    let path = format!("/console/v1/{path}");
    let answer = http(server.at.api, "POST", &path, &headers, &body.to_string()).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}")))
}

async fn issue(server: &Running, options: Value) -> String {
    let (status, body) = call(server, TOKEN, &format!("servers/{VM}/consoles"), &options).await;
    assert_eq!(status, 201, "{body}");
    body["console"]["url"].as_str().unwrap().rsplit_once("token=").unwrap().1.to_owned()
}

async fn session(server: &Running, console: &TcpListener, token: &str) -> (Socket, TcpStream) {
    let (viewer, _) = open(&server.ws(token), &[]).await.unwrap_or_else(|status| panic!("refused: {status}"));
    (viewer, within("the dial", console.accept()).await.unwrap().0)
}

async fn closed_with(viewer: &mut Socket) -> (u16, String) {
    loop {
        match within("the close", viewer.next()).await.expect("an end without close").unwrap() {
            Message::Close(Some(frame)) => return (frame.code.into(), frame.reason.to_string()),
            Message::Close(None) => panic!("a close without a code"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_link_for_looking_carries_no_keys() {
    let (server, console) = start().await;
    let token = issue(&server, json!({"protocol": "serial", "view_only": true})).await;
    let (mut viewer, mut line) = session(&server, &console, &token).await;
    viewer.send(Message::Binary("reboot\r".into())).await.unwrap();
    line.write_all(b"login: ").await.unwrap();
    assert_eq!(within("the prompt", viewer.next()).await.unwrap().unwrap().into_data(), "login: ".as_bytes());
    viewer.close(None).await.unwrap();
    let mut typed = Vec::new();
    within("the line's end", line.read_to_end(&mut typed)).await.unwrap();
    assert_eq!(typed, b"");
    server.drain().await;
}

#[tokio::test]
async fn a_link_for_another_address_neither_opens_nor_is_spent() {
    let (server, console) = start().await;
    let token = issue(&server, json!({"protocol": "serial", "client_address": "192.0.2.1"})).await;
    assert_eq!(open(&server.ws(&token), &[]).await.err(), Some(403));
    let (status, _) = call(&server, TOKEN, "tokens/inspect", &json!({"token": token})).await;
    assert_eq!(status, 200, "still good for whom it is for");
    let token = issue(&server, json!({"protocol": "serial", "client_address": "127.0.0.1"})).await;
    let (viewer, _line) = session(&server, &console, &token).await;
    let (status, body) = call(&server, TOKEN, "tokens/inspect", &json!({"token": token})).await;
    assert_eq!((status, &body["error"]["code"]), (404, &json!("CONSOLE.0025")), "spent");
    drop(viewer);
    server.drain().await;
}

#[tokio::test]
async fn what_is_revoked_ends_live_or_never_opens() {
    let (server, console) = start().await;
    let by = |token: &str| [json!({"token": token}), json!({"server_id": VM}), json!({"user_id": "demo"})];
    for way in 0..3 {
        let (open_one, fresh) = (
            issue(&server, json!({"protocol": "serial"})).await,
            issue(&server, json!({"protocol": "serial"})).await,
        );
        let (mut viewer, _line) = session(&server, &console, &open_one).await;
        let revoke = &by(&open_one)[way];
        let caller = if way == 0 { TOKEN } else { ADMIN_TOKEN };
        let (status, body) = call(&server, caller, "tokens/revoke", revoke).await;
        let tokens = usize::from(way > 0);
        assert_eq!((status, body), (200, json!({"revoked": {"tokens": tokens, "sessions": 1}})), "{revoke}");
        assert_eq!(closed_with(&mut viewer).await, (1008, "ended by an operator".to_owned()));
        if way == 0 {
            let (status, _) = call(&server, TOKEN, "tokens/revoke", &json!({"token": fresh})).await;
            assert_eq!(status, 200);
        }
        assert_eq!(open(&server.ws(&fresh), &[]).await.err(), Some(403));
    }
    server.drain().await;
}
