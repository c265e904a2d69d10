//! The admin listener: who may, targets that outlive a kill, sessions that an operator sees and ends.

use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use consolegate::ids::Protocol;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_tungstenite::tungstenite::Message;

use crate::support::process::Process;
use crate::support::server::{PROJECT, Running, Socket, http, open, target};
use crate::support::{temp, within};

const ADMIN: &str = "an-admin-listeners-token";

async fn call(at: SocketAddr, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let headers = format!("Authorization: Bearer {ADMIN}\r\n");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = http(at, method, path, &headers, &body).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

fn settings(dir: &Path) -> String {
    let database = dir.join("targets.redb");
    format!("[admin]\ntoken = \"{ADMIN}\"\n[inventory]\ndatabase = {database:?}\n")
}

async fn closed_with(viewer: &mut Socket) -> u16 {
    loop {
        if let Message::Close(frame) = within("the close", viewer.next()).await.expect("a close").unwrap() {
            return frame.expect("a code").code.into();
        }
    }
}

#[tokio::test]
async fn only_the_token_opens_it() {
    let dir = temp::dir();
    let server = Running::start(&settings(dir.path())).await;
    let status = async |path: &str, headers: &str| {
        let answer = http(server.at.admin, "GET", path, headers, "").await;
        answer[9..12].parse::<u16>().unwrap()
    };
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(status(path, "").await, 200);
    }
    let good = format!("Authorization: Bearer {ADMIN}\r\n");
    let bad = ["", "Authorization: Bearer x\r\n", "Authorization: Basic eDp5\r\n", "X-Auth-Token: x\r\n"];
    for path in ["/v1/targets", "/v1/targets/a", "/v1/sessions", "/v1/none", "/none"] {
        for headers in bad {
            assert_eq!(status(path, headers).await, 401, "{path} {headers}");
        }
        assert_eq!(status(path, &good.repeat(2)).await, 401, "{path}");
    }
    assert_eq!(status("/v1/targets", &good).await, 200);
    assert_eq!(status("/v1/targets?limit=0", &good).await, 400);
    assert_eq!(status("/v1/none", &good).await, 404);
    server.drain().await;
}

#[tokio::test]
async fn a_target_registered_is_open_at_once_and_closed_when_it_goes() {
    let dir = temp::dir();
    let console = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let more = settings(dir.path()) + &target("in-file", "f", "");
    let server = Running::start(&more).await;
    let at = server.at.admin;
    let serial = format!("tcp://{}", console.local_addr().unwrap());
    let document = json!({"project": PROJECT, "name": "new", "serial": serial});
    let (status, body) = call(at, "PUT", "/v1/targets/new-1", &document).await;
    assert_eq!((status, &body["source"], &body["target"]["kind"]), (201, &json!("database"), &json!("vm")));
    let (status, again) = call(at, "PUT", "/v1/targets/new-1", &body["target"]).await;
    assert_eq!((status, &again["target"], &again["source"]), (200, &body["target"], &body["source"]));
    assert_ne!(again["revision"], body["revision"], "each change has its own");
    assert_eq!(call(at, "GET", "/v1/targets/new-1", &Value::Null).await, (200, again));
    let (status, body) = call(at, "PUT", "/v1/targets/in-file", &document).await;
    assert_eq!((status, &body["error"]["code"]), (409, &json!("ADMIN.0009")));
    let (status, body) = call(at, "PUT", "/v1/targets/b", &json!({"project": PROJECT, "vcn": "x"})).await;
    let problem = json!({"key": "vcn", "message": "unknown setting; did you mean vnc?"});
    assert_eq!((status, &body["error"]["problems"]), (400, &json!([problem])));
    let (_, page) = call(at, "GET", "/v1/targets?limit=1", &Value::Null).await;
    assert_eq!((&page["targets"][0]["source"], &page["next"]), (&json!("file"), &json!("in-file")));
    let (_, page) = call(at, "GET", "/v1/targets?limit=1&marker=in-file", &Value::Null).await;
    assert_eq!((&page["targets"][0]["target"]["id"], &page["next"]), (&json!("new-1"), &Value::Null));

    let session = async || {
        let token = server.token("new-1", Protocol::Serial).await;
        let viewer = open(&server.ws(&token), &[]).await.unwrap_or_else(|status| panic!("{status}")).0;
        (viewer, within("the dial", console.accept()).await.unwrap().0)
    };
    let (mut viewer, _line) = session().await;
    let (_, listed) = call(at, "GET", "/v1/sessions", &Value::Null).await;
    let one = &listed["sessions"][0];
    assert_eq!((&one["target"], &one["protocol"]), (&json!("new-1"), &json!("serial")), "{listed}");
    assert_eq!((&one["source"], &one["user"]), (&json!("127.0.0.1"), &json!("demo")), "{listed}");
    let path = format!("/v1/sessions/{}", one["id"].as_str().unwrap());
    assert_eq!(call(at, "DELETE", &path, &Value::Null).await.0, 204);
    assert_eq!(closed_with(&mut viewer).await, 1008);
    // The seat is free when the console has been let go, a moment after the viewer.
    let gone =
        async { while call(at, "GET", "/v1/sessions", &Value::Null).await.1["sessions"] != json!([]) {} };
    within("the session's end", gone).await;

    let (mut viewer, _line) = session().await;
    let unspent = server.token("new-1", Protocol::Serial).await;
    assert_eq!(call(at, "DELETE", "/v1/targets/new-1", &Value::Null).await.0, 204);
    assert_eq!(closed_with(&mut viewer).await, 1008);
    assert_eq!(open(&server.ws(&unspent), &[]).await.err(), Some(403));
    assert_eq!(call(at, "DELETE", "/v1/targets/new-1", &Value::Null).await.0, 404);
    assert_eq!(call(at, "DELETE", "/v1/targets/in-file", &Value::Null).await.0, 409);
    server.drain().await;
}

/// Starts the program itself; it writes where it listens.
async fn serve(dir: &Path) -> (Process, SocketAddr) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_consolegate"));
    command.args(["serve", "--config"]).arg(dir.join("c.toml")).env("RUST_LOG", "info");
    let mut process = Process::start("consolegate", command, dir);
    let log = dir.join("consolegate.log");
    let find = async || {
        let said = std::fs::read_to_string(&log).ok()?;
        let line = said.lines().find(|line| line.contains("role=\"admin\""))?;
        line.split_once("address=")?.1.split(' ').next()?.parse::<SocketAddr>().ok()
    };
    let at = process.ready("the admin listener", find).await;
    (process, at)
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_kill() {
    let dir = temp::dir();
    let listen = "[listen]\napi = \"127.0.0.1:0\"\nproxy = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n";
    let mut file = std::fs::OpenOptions::new();
    let mut file =
        file.write(true).create(true).truncate(true).mode(0o600).open(dir.path().join("c.toml")).unwrap();
    std::io::Write::write_all(&mut file, format!("{listen}{}", settings(dir.path())).as_bytes()).unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..4 {
        let (process, at) = serve(dir.path()).await;
        let (_, listed) = call(at, "GET", "/v1/targets", &Value::Null).await;
        let there: Vec<_> =
            listed["targets"].as_array().unwrap().iter().map(|t| &t["target"]["id"]).collect();
        for id in &acknowledged {
            assert!(there.contains(&&json!(id)), "{id} is lost after round {round}: {listed}");
        }
        let document = json!({"project": PROJECT, "vnc": "tcp://127.0.0.1:5901"});
        for n in 0..5 {
            let id = format!("t-{round}-{n}");
            assert_eq!(call(at, "PUT", &format!("/v1/targets/{id}"), &document).await.0, 201);
            acknowledged.push(id);
        }
        // Killed with writes under way, which may have come through or not.
        let writes: Vec<_> = (0..4)
            .map(|n| {
                let (path, document) = (format!("/v1/targets/x-{round}-{n}"), document.clone());
                tokio::spawn(async move { call(at, "PUT", &path, &document).await })
            })
            .collect();
        tokio::task::yield_now().await;
        drop(process);
        for write in writes {
            // Whether it was answered before the kill is chance.
            let _ = write.await;
        }
    }
}
