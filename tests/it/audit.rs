//! The audit log: every decision has its line, no line an altered byte, and a full disk does what was
//! configured.

use std::os::unix::fs::symlink;
use std::path::Path;

use consolegate::ids::Protocol;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::binary::{Binary, run};
use crate::support::console::{Console, Manner, dead_port};
use crate::support::line::Pair;
use crate::support::server::{ADMIN_TOKEN, Answer, PROJECT, Running, TOKEN, http, open, target, token_of};
use crate::support::{temp, viewer, within};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000011";
const DOWN: &str = "6c1f2a90-0000-4000-8000-000000000012";
const ADMIN: &str = "an-admin-listeners-token";

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A request to the issuer, as the user of `token`.
async fn ask(at: std::net::SocketAddr, token: &str, method: &str, path: &str, body: &Value) -> Answer {
    let headers = format!("X-Auth-Token: {token}\r\nContent-Type: application/json\r\n");
    Answer::parse(&http(at, method, path, &headers, &body.to_string()).await)
}

/// The same at the admin listener.
async fn operate(at: std::net::SocketAddr, method: &str, path: &str, body: &str) -> u16 {
    let headers = format!("Authorization: Bearer {ADMIN}\r\n");
    Answer::parse(&http(at, method, path, &headers, body).await).status
}

/// A serial console's token, and the id of the request it came from.
async fn issue(at: std::net::SocketAddr, server: &str) -> (String, String) {
    let path = format!("/v1/{PROJECT}/cloudservers/{server}/remote_console");
    let body = json!({"remote_console": {"protocol": "vnc", "type": "novnc"}});
    let answer = ask(at, TOKEN, "POST", &path, &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let request = answer.header("x-request-id").unwrap().to_owned();
    (token_of(&answer.body), request)
}

/// What is in `line`, without what differs at each run.
fn said(line: &Value) -> Value {
    let mut line = line.clone();
    let map = line.as_object_mut().unwrap();
    for key in ["seq", "time", "hash", "request", "issued_by", "grant", "token", "session", "seconds"] {
        map.remove(key);
    }
    line
}

#[tokio::test]
async fn one_console_can_be_followed_from_its_request_to_its_end() {
    let dir = temp::dir();
    let file = dir.path().join("audit.jsonl");
    let screen = Console::new(Manner::Vnc).await;
    let more = format!("[audit]\nfile = {file:?}\n") + &target(VM, "vm", &screen.setting("vnc"));
    let server = Running::start(&more).await;
    let (token, request) = issue(server.at.api, VM).await;
    let (mut console, _) = open(&server.ws(&token), &[]).await.unwrap();
    viewer::rfb(&mut console).await;
    viewer::echo(&mut console, &[7; 1000]).await;
    viewer::goodbye(&mut console).await;
    assert_eq!(open(&server.ws(&token), &[]).await.err(), Some(403));
    server.drain().await;

    let all = lines(&file);
    let by_event = |event: &str| all.iter().filter(|line| line["event"] == event).collect::<Vec<_>>();
    let [begin, stop] = [by_event("begin")[0], by_event("stop")[0]];
    assert_eq!((begin, stop), (&all[0], &all[all.len() - 1]));
    let who =
        json!({"source": "127.0.0.1", "user": "demo", "project": PROJECT, "target": VM, "protocol": "vnc"});
    let expect = |event: &str, more: Value| {
        let mut expected = who.clone();
        let map = expected.as_object_mut().unwrap();
        map.insert("event".into(), event.into());
        map.extend(more.as_object().unwrap().clone());
        let [line] = by_event(event)[..] else { panic!("not one {event}: {all:?}") };
        assert_eq!(said(line), expected);
        line
    };
    let issued = expect("issue", json!({"via": "huawei-ecs"}));
    assert_eq!((&issued["request"], &issued["seconds"]), (&json!(request), &json!(600)));
    let claimed = expect("claim", json!({"via": "proxy"}));
    let opened = expect("open", json!({"via": "proxy"}));
    // Of the greeting the proxy's own part is not payload; the echo is.
    let closed = by_event("close")[0];
    let (down, up) =
        (closed["bytes_to_viewer"].as_u64().unwrap(), closed["bytes_to_target"].as_u64().unwrap());
    assert!((1000..1100).contains(&down) && (1000..1100).contains(&up), "{closed}");
    let sizes =
        json!({"via": "proxy", "cause": "viewer_closed", "bytes_to_viewer": down, "bytes_to_target": up});
    expect("close", sizes);
    let refused = by_event("refuse")[0];
    let expected = json!({"event": "refuse", "source": "127.0.0.1", "via": "proxy", "cause": "token_spent", "status": 403});
    assert_eq!(said(refused), expected);
    for line in [claimed, opened, closed] {
        assert_eq!(line["issued_by"], json!(request), "{line}");
        assert_eq!((&line["grant"], &line["token"]), (&issued["grant"], &issued["token"]));
        assert_eq!(line["request"], claimed["request"]);
    }
    assert_eq!((&refused["token"], &opened["session"]), (&issued["token"], &closed["session"]));
    assert_ne!(refused["request"], claimed["request"]);
    assert!(!std::fs::read_to_string(&file).unwrap().contains(&token));
}

#[tokio::test]
async fn refusals_revocations_and_what_operators_do_are_written_down() {
    let dir = temp::dir();
    let file = dir.path().join("audit.jsonl");
    let line = Console::new(Manner::Echo).await;
    let down = format!("serial = \"tcp://{}\"", dead_port().await);
    let database = dir.path().join("targets.redb");
    let more = format!(
        "[audit]\nfile = {file:?}\n[admin]\ntoken = \"{ADMIN}\"\n[inventory]\ndatabase = {database:?}\n{}{}",
        target(VM, "vm", &line.setting("serial")),
        target(DOWN, "down", &down),
    );
    let server = Running::start(&more).await;
    let at = server.at;
    // Nobody; the wrong server; a foreign page; what is no handshake; a console that is down.
    let path = format!("/console/v1/servers/{VM}/consoles");
    assert_eq!(ask(at.api, "nobody", "POST", &path, &json!({})).await.status, 401);
    let path = "/console/v1/servers/another/consoles";
    assert_eq!(ask(at.api, TOKEN, "POST", path, &json!({"protocol": "serial"})).await.status, 404);
    let token = server.token(DOWN, Protocol::Serial).await;
    assert_eq!(open(&server.ws(&token), &[("origin", "http://evil.example")]).await.err(), Some(403));
    assert_eq!(open(&server.ws(&token), &[]).await.err(), Some(502));
    let request = crate::support::server::upgrade("/").replace("Version: 13", "Version: 8");
    crate::support::server::raw(at.proxy, request.as_bytes()).await;
    // Revoked by its user; ended by an operator, who then registers and removes a server.
    let token = server.token(VM, Protocol::Serial).await;
    let (mut console, _) = open(&server.ws(&token), &[]).await.unwrap();
    let revoke = async |who: &str, what: Value| {
        ask(at.api, who, "POST", "/console/v1/tokens/revoke", &what).await.status
    };
    assert_eq!(revoke(TOKEN, json!({"token": token})).await, 200);
    viewer::closed(&mut console).await;
    assert_eq!(revoke(ADMIN_TOKEN, json!({"user_id": "demo"})).await, 200);
    let token = server.token(VM, Protocol::Serial).await;
    let (mut console, _) = within("a seat", async {
        loop {
            // The seat of the session before is free a moment after its viewer was told.
            if let Ok(opened) = open(&server.ws(&token), &[]).await {
                return opened;
            }
        }
    })
    .await;
    let headers = format!("Authorization: Bearer {ADMIN}\r\n");
    let listed = Answer::parse(&http(at.admin, "GET", "/v1/sessions", &headers, "").await).body;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let session = listed["sessions"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(operate(at.admin, "DELETE", &format!("/v1/sessions/{session}"), "").await, 204);
    viewer::closed(&mut console).await;
    let document = json!({"project": PROJECT, "serial": "tcp://127.0.0.1:9"}).to_string();
    assert_eq!(operate(at.admin, "PUT", "/v1/targets/new", &document).await, 201);
    assert_eq!(operate(at.admin, "DELETE", "/v1/targets/new", "").await, 204);
    assert_eq!(operate(at.admin, "DELETE", "/v1/targets/new", "").await, 404);
    server.reload().await;
    server.drain().await;

    let all = lines(&file);
    let has = |expected: Value| {
        let expected = expected.as_object().unwrap();
        let fits = |line: &&Value| expected.iter().all(|(key, value)| line[key] == *value);
        assert!(all.iter().any(|line| fits(&line)), "no {expected:?} in {all:#?}");
    };
    let here = "127.0.0.1";
    has(
        json!({"event": "refuse", "source": here, "via": "native", "status": 401, "cause": "unauthenticated"}),
    );
    has(
        json!({"event": "refuse", "via": "native", "user": "demo", "target": "another", "cause": "no-server"}),
    );
    has(json!({"event": "issue", "via": "operator", "user": "demo", "target": DOWN}));
    has(json!({"event": "refuse", "via": "proxy", "source": here, "cause": "origin", "status": 403}));
    has(
        json!({"event": "refuse", "via": "proxy", "cause": "target_unreached", "target": DOWN, "user": "demo"}),
    );
    has(json!({"event": "refuse", "via": "proxy", "cause": "malformed", "status": 426}));
    has(
        json!({"event": "revoke", "via": "native", "source": here, "user": "demo", "cause": "token", "sessions": 1}),
    );
    has(json!({"event": "revoke", "user": "root", "cause": "user", "subject": "demo", "tokens": 1}));
    has(json!({"event": "close", "cause": "revoked", "target": VM}));
    has(
        json!({"event": "admin", "via": "admin", "source": here, "cause": "session-ended", "session": session}),
    );
    has(json!({"event": "admin", "cause": "target-put", "target": "new", "tokens": 0}));
    has(json!({"event": "admin", "cause": "target-removed", "target": "new"}));
    has(json!({"event": "refuse", "via": "admin", "status": 404, "cause": "ADMIN.0008"}));
    has(json!({"event": "admin", "cause": "inventory-reloaded", "count": 0}));
    let numbers: Vec<_> = all.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert!(numbers.iter().copied().eq(1..=all.len() as u64), "{numbers:?}");
}

#[tokio::test]
async fn a_spice_viewers_channels_go_back_to_one_claim_and_breaks_are_written_down() {
    let (dir, pair, guest) = (temp::dir(), Pair::new().await, Console::new(Manner::Echo).await);
    let file = dir.path().join("audit.jsonl");
    let consoles = format!("serial = \"tty:{}\"\n{}", pair.ours().display(), guest.setting("spice"));
    let urls = "[urls]\nopenstack_spice = \"{public_url}/spice_auto.html?token={token}\"";
    let more = format!("[audit]\nfile = {file:?}\n[admin]\ntoken = \"{ADMIN}\"\n{urls}\n");
    let server = Running::start(&(more + &target(VM, "vm", &consoles))).await;
    let token = server.token(VM, Protocol::Serial).await;
    let (mut console, _) = open(&server.ws(&token), &[]).await.unwrap();
    let headers = format!("Authorization: Bearer {ADMIN}\r\n");
    let listed = Answer::parse(&http(server.at.admin, "GET", "/v1/sessions", &headers, "").await).body;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let session = &listed["sessions"][0]["id"];
    let path = format!("/v1/sessions/{}/break", session.as_str().unwrap());
    assert_eq!(operate(server.at.admin, "POST", &path, "").await, 204);
    viewer::goodbye(&mut console).await;

    let token = server.token(VM, Protocol::Spice).await;
    let (mut main, _) = open(&server.ws(&token), &[]).await.unwrap();
    let (mut display, _) = open(&server.ws(&token), &[]).await.unwrap();
    viewer::echo(&mut display, &[7; 100]).await;
    viewer::goodbye(&mut main).await;
    viewer::closed(&mut display).await;
    assert_eq!(open(&server.ws(&token), &[]).await.err(), Some(403));
    server.drain().await;

    let all = lines(&file);
    let sent: Vec<_> = all.iter().filter(|line| line["cause"] == "break-sent").map(said).collect();
    let line = json!({"event": "admin", "via": "admin", "source": "127.0.0.1", "cause": "break-sent"});
    assert_eq!(sent, [line]);
    assert!(all.iter().any(|line| line["cause"] == "break-sent" && line["session"] == *session));
    let of = |event: &str| {
        let of_spice = |line: &&Value| line["event"] == event && line["protocol"] == "spice";
        all.iter().filter(of_spice).collect::<Vec<_>>()
    };
    let (issued, claimed, opened, closed) = (of("issue"), of("claim"), of("open"), of("close"));
    assert_eq!((issued.len(), claimed.len(), opened.len(), closed.len()), (1, 1, 2, 2), "{all:#?}");
    for line in opened.iter().chain(&closed) {
        assert_eq!((&line["grant"], &line["token"]), (&issued[0]["grant"], &issued[0]["token"]), "{line}");
        assert_eq!(line["issued_by"], issued[0]["request"], "{line}");
    }
    assert_eq!(claimed[0]["request"], opened[0]["request"]);
    assert_ne!(opened[0]["session"], opened[1]["session"]);
    let closed_by = |cause: &str| closed.iter().find(|line| line["cause"] == cause).unwrap();
    assert_eq!(closed_by("viewer_closed")["session"], opened[0]["session"]);
    let other = closed_by("main_channel");
    assert_eq!((&other["session"], &other["bytes_to_viewer"]), (&opened[1]["session"], &json!(100)));
}

async fn verify(files: &[&Path]) -> (bool, String) {
    let files = files.iter().map(|file| file.to_str().unwrap());
    let arguments: Vec<&str> = ["audit", "verify"].into_iter().chain(files).collect();
    let done = run(&arguments, &[]).await;
    (done.status.success(), String::from_utf8([done.stdout, done.stderr].concat()).unwrap())
}

/// A server whose audit log is the name `audit.jsonl` in `dir`, which is a link to `first` there.
async fn start(dir: &Path, policy: &str, screen: &Console) -> Binary {
    symlink(dir.join("first"), dir.join("audit.jsonl")).unwrap();
    let more = format!("[audit]\nfile = {:?}\non_failure = \"{policy}\"", dir.join("audit.jsonl"));
    Binary::serve(&more, &target(VM, "vm", &screen.setting("vnc")), "text", &[]).await
}

/// What logrotate does, with a disk of our choice: another file by the same name, and SIGHUP.
fn turn_to(server: &Binary, dir: &Path, next: &Path) {
    std::fs::remove_file(dir.join("audit.jsonl")).unwrap();
    symlink(next, dir.join("audit.jsonl")).unwrap();
    server.signal(Signal::HUP);
}

#[tokio::test]
async fn a_full_disk_stops_what_needs_a_line_and_nothing_else() {
    let (dir, screen) = (temp::dir(), Console::new(Manner::Vnc).await);
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let mut server = start(dir.path(), "refuse", &screen).await;
    let ws = |token: &str| format!("ws://{}/?token={token}", server.proxy);
    let (before, kept) = (issue(server.api, VM).await.0, issue(server.api, VM).await.0);
    let (ws_before, ws_kept) = (ws(&before), ws(&kept));
    let (mut console, _) = open(&ws_before, &[]).await.unwrap();
    viewer::rfb(&mut console).await;

    turn_to(&server, dir.path(), Path::new("/dev/full"));
    server.until_said("the audit log cannot be written").await;
    let path = format!("/v1/{PROJECT}/cloudservers/{VM}/remote_console");
    let body = json!({"remote_console": {"protocol": "vnc", "type": "novnc"}});
    let answer = ask(server.api, TOKEN, "POST", &path, &body).await;
    assert_eq!((answer.status, answer.header("x-error-code")), (503, Some("console.0041")), "{answer:?}");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(open(&ws_kept, &[]).await.err(), Some(503));
    viewer::echo(&mut console, b"who is in stays in").await;

    turn_to(&server, dir.path(), &second);
    server.until_said("the audit log is written again").await;
    let (mut other, _) = open(&ws_kept, &[]).await.expect("the token was not touched");
    viewer::rfb(&mut other).await;
    issue(server.api, VM).await;
    viewer::goodbye(&mut console).await;
    viewer::goodbye(&mut other).await;
    server.signal(Signal::TERM);
    assert!(server.ended().await.success());

    let (right, said) = verify(&[&first, &second]).await;
    assert!(right && said.contains("as it was written"), "{said}");
    let refused: Vec<_> = lines(&second).into_iter().filter(|line| line["cause"] == "audit").collect();
    assert_eq!(refused.len(), 2, "what was refused meanwhile is not lost: {refused:?}");
    let (right, said) = verify(&[&second, &first]).await;
    assert!(!right && said.contains("first:1: a log begins here"), "{said}");
    let text = std::fs::read_to_string(&second).unwrap().replacen("127.0.0.1", "192.0.2.66", 1);
    let changed = 1 + text.lines().position(|line| line.contains("192.0.2.66")).unwrap();
    std::fs::write(&second, text).unwrap();
    let (right, said) = verify(&[&first, &second]).await;
    assert!(
        !right && said.contains(&format!("second:{changed}: number ")) && said.contains("altered"),
        "{said}"
    );
}

#[tokio::test]
async fn a_full_disk_is_counted_where_that_is_wanted() {
    let (dir, screen) = (temp::dir(), Console::new(Manner::Vnc).await);
    let mut server = start(dir.path(), "continue", &screen).await;
    turn_to(&server, dir.path(), Path::new("/dev/full"));
    server.until_said("the audit log cannot be written").await;
    let (token, request) = issue(server.api, VM).await;
    let (mut console, _) = open(&format!("ws://{}/?token={token}", server.proxy), &[]).await.unwrap();
    viewer::rfb(&mut console).await;
    viewer::goodbye(&mut console).await;
    let second = dir.path().join("second");
    turn_to(&server, dir.path(), &second);
    server.until_said("the audit log is written again").await;
    server.signal(Signal::TERM);
    assert!(server.ended().await.success());
    let (right, said) = verify(&[&dir.path().join("first"), &second]).await;
    assert!(right, "{said}");
    let issued = lines(&second).into_iter().find(|line| line["event"] == "issue").unwrap();
    assert_eq!(issued["request"], json!(request), "there was room in the queue");
}
