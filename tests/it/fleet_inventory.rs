//! Targets that a fleet shares: registered at one process, served by all; stores that go and come, keys that differ.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use consolegate::ids::{Protocol, TargetId, UserId};
use consolegate::server::Role;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::operator::{ROWS, show_targets, sign_in};
use crate::support::chromium::Browser;
use crate::support::console::{Console, Manner};
use crate::support::program::Program;
use crate::support::redis::{SENTINEL_PASSWORD, Server as Redis, until};
use crate::support::server::{Answer, PROJECT, Running, Socket, config, http, open, target};
use crate::support::{temp, viewer, within};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000001";
const OTHER: &str = "6c1f2a90-0000-4000-8000-000000000002";
const ADMIN: &str = "an-admin-listeners-token";

/// The settings of every member: the store, and keys of so many times these digits.
fn settings(dir: &Path, store: &str, keys: &[&str]) -> String {
    let path = dir.join(format!("keys-{}", keys.concat()));
    let text: Vec<_> = keys.iter().map(|digits| digits.repeat(32)).collect();
    std::fs::write(&path, text.join("\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    format!(
        "[admin]\ntoken = \"{ADMIN}\"\n[tokens]\n{store}\n[inventory]\nshared = true\nkey_file = {path:?}\n"
    )
}

fn by(url: &str) -> String {
    format!("store = \"{url}\"")
}

async fn call(at: SocketAddr, method: &str, path: &str, condition: &str, body: &Value) -> Answer {
    let headers = format!("Authorization: Bearer {ADMIN}\r\n{condition}");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    Answer::parse(&http(at, method, path, &headers, &body).await)
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

/// A server whose serial line is there, for several viewers.
fn serial(line: &Console) -> Value {
    json!({"project": PROJECT, "serial": format!("tcp://{}", line.address), "serial_viewers": "share"})
}

async fn put(at: SocketAddr, id: &str, document: &Value) -> Answer {
    call(at, "PUT", &format!("/v1/targets/{id}"), "", document).await
}

/// A console by a link of `issuer`, opened at `proxy` as soon as both know the server.
async fn console(issuer: &Running, proxy: &Running, id: &str) -> Socket {
    let opened = async {
        loop {
            let (target, user) = (TargetId::from(id), UserId::from("demo"));
            tokio::task::yield_now().await;
            let Ok(url) = issuer.api.issue(&target, Protocol::Serial, &user, None).await else { continue };
            let token = crate::support::server::token_of(&url);
            if let Ok((mut socket, _)) = open(&proxy.ws(&token), &[]).await {
                viewer::echo(&mut socket, b"x").await;
                return socket;
            }
        }
    };
    within("a console", opened).await
}

/// Waits until the member answers so for this path.
async fn until_status(at: SocketAddr, path: &str, status: u16) -> Answer {
    let answered = async {
        loop {
            let answer = call(at, "GET", path, "", &Value::Null).await;
            if answer.status == status {
                return answer;
            }
        }
    };
    within(path, answered).await
}

#[tokio::test]
async fn registered_at_one_served_by_all_and_gone_everywhere() {
    let (redis, dir) = (Redis::start(&[]), temp::dir());
    let (first, second) = (Console::new(Manner::Echo).await, Console::new(Manner::Echo).await);
    let text = settings(dir.path(), &by(&redis.url()), &["a1"]);
    let issuer = Running::in_role(config(&text), Role::Issuer);
    let [b, c] = [(); 2].map(|()| Running::in_role(config(&text), Role::Proxy));
    let made = put(issuer.at.admin, VM, &serial(&first)).await;
    let body = json_of(&made);
    assert_eq!((made.status, &body["source"]), (201, &json!("shared")));
    let tag = format!("\"{}\"", body["revision"].as_str().unwrap());
    assert_eq!(made.header("etag"), Some(tag.as_str()));
    let mut at_b = console(&issuer, &b, VM).await;
    let path = format!("/v1/targets/{VM}");
    assert_eq!(json_of(&until_status(c.at.admin, &path, 200).await), body, "the same everywhere");
    // Moved by a proxy, with the revision in hand; who has the old one in hand does nothing.
    let matches = format!("If-Match: {tag}\r\n");
    assert_eq!(call(c.at.admin, "PUT", &path, &matches, &serial(&second)).await.status, 200);
    assert_eq!(
        viewer::closed(&mut at_b).await,
        (1008, "the server has moved; ask for a new link".to_owned())
    );
    for method in ["PUT", "DELETE"] {
        let refused = call(b.at.admin, method, &path, &matches, &serial(&first)).await;
        assert_eq!(
            (refused.status, refused.header("x-error-code")),
            (412, Some("admin.0020")),
            "{refused:?}"
        );
    }
    let refused = call(b.at.admin, "PUT", &path, "If-None-Match: *\r\n", &serial(&first)).await;
    assert_eq!(refused.status, 412);
    for odd in ["If-Match: x\r\n", "If-None-Match: \"x\"\r\n", "If-Match: *\r\nIf-None-Match: *\r\n"] {
        assert_eq!(call(b.at.admin, "PUT", &path, odd, &serial(&first)).await.status, 400, "{odd}");
    }
    let (mut at_b, mut at_c) = (console(&issuer, &b, VM).await, console(&issuer, &c, VM).await);
    second.until("both at the new place", |seen| seen.peers.len() == 2).await;
    let unopened = issuer.token(VM, Protocol::Serial).await;
    assert_eq!(call(issuer.at.admin, "DELETE", &path, "", &Value::Null).await.status, 204);
    for socket in [&mut at_b, &mut at_c] {
        assert_eq!(viewer::closed(socket).await, (1008, "the server was deleted".to_owned()));
    }
    assert_eq!(open(&b.ws(&unopened), &[]).await.err(), Some(403));
    until_status(b.at.admin, &path, 404).await;
    assert_eq!(call(c.at.admin, "DELETE", &path, "", &Value::Null).await.status, 404);
}

#[tokio::test]
async fn a_file_wins_where_it_is() {
    let (redis, dir) = (Redis::start(&[]), temp::dir());
    let (filed, shared) = (Console::new(Manner::Echo).await, Console::new(Manner::Echo).await);
    let text = settings(dir.path(), &by(&redis.url()), &["a1"]);
    let with_file = Running::with(config(&(text.clone() + &target(VM, "vm", &filed.setting("serial")))));
    let without = Running::with(config(&text));
    let refused = put(with_file.at.admin, VM, &serial(&shared)).await;
    assert_eq!((refused.status, refused.header("x-error-code")), (409, Some("admin.0009")));
    assert_eq!(put(without.at.admin, VM, &serial(&shared)).await.status, 201);
    let path = format!("/v1/targets/{VM}");
    let place = |answer: &Answer| json_of(answer)["target"]["serial"].as_str().unwrap().to_owned();
    let shown = call(with_file.at.admin, "GET", &path, "", &Value::Null).await;
    assert_eq!(place(&shown), format!("tcp://{}", filed.address));
    assert_eq!((&json_of(&shown)["source"], shown.header("etag")), (&json!("file"), None));
    let shown = call(without.at.admin, "GET", &path, "", &Value::Null).await;
    assert_eq!(place(&shown), format!("tcp://{}", shared.address));
}

#[tokio::test]
async fn a_store_that_goes_and_comes_back_empty_costs_no_console_and_no_target() {
    let (mut redis, dir, line) = (Redis::start(&[]), temp::dir(), Console::new(Manner::Echo).await);
    let text = settings(dir.path(), &by(&redis.url()), &["a1"]);
    let (a, b) = (Running::with(config(&text)), Running::with(config(&text)));
    assert_eq!(put(a.at.admin, VM, &serial(&line)).await.status, 201);
    let mut live = console(&a, &b, VM).await;
    redis.kill();
    for at in [a.at.admin, b.at.admin] {
        assert_eq!(json_of(&until_status(at, "/health/ready", 503).await)["status"], "store");
        let shown = call(at, "GET", &format!("/v1/targets/{VM}"), "", &Value::Null).await;
        assert_eq!(shown.status, 200, "the last that was known");
    }
    viewer::echo(&mut live, b"still here").await;
    let refused = put(a.at.admin, OTHER, &serial(&line)).await;
    assert_eq!((refused.status, refused.header("x-error-code")), (503, Some("admin.0021")), "{refused:?}");
    // Without any of its data.
    redis.restart();
    for at in [a.at.admin, b.at.admin] {
        until_status(at, "/health/ready", 200).await;
    }
    let accepted = async { while put(b.at.admin, OTHER, &serial(&line)).await.status != 201 {} };
    within("a change", accepted).await;
    viewer::echo(&mut live, b"and here").await;
    let fresh = Running::with(config(&text));
    let listed = json_of(&call(fresh.at.admin, "GET", "/v1/targets", "", &Value::Null).await);
    let ids: Vec<_> = listed["targets"].as_array().unwrap().iter().map(|one| &one["target"]["id"]).collect();
    assert_eq!(ids, [&json!(VM), &json!(OTHER)]);
    console(&fresh, &a, OTHER).await;
}

#[tokio::test]
async fn who_starts_while_the_store_is_away_is_not_ready_until_it_has_the_targets() {
    let mut redis = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let (dir, line) = (temp::dir(), Console::new(Manner::Echo).await);
    let text = settings(dir.path(), &by(&redis.url()), &["a1"]);
    let first = Running::with(config(&text));
    assert_eq!(put(first.at.admin, VM, &serial(&line)).await.status, 201);
    first.drain().await;
    redis.kill();
    let later = Running::with(config(&text));
    let ready = call(later.at.admin, "GET", "/health/ready", "", &Value::Null).await;
    assert_eq!((ready.status, &json_of(&ready)["status"]), (503, &json!("inventory")));
    let refused = put(later.at.admin, OTHER, &serial(&line)).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    redis.restart();
    until_status(later.at.admin, "/health/ready", 200).await;
    console(&later, &later, VM).await;
}

#[tokio::test]
async fn a_member_with_another_key_says_so_and_serves_what_it_can() {
    let (redis, dir, line) = (Redis::start(&[]), temp::dir(), Console::new(Manner::Echo).await);
    let store = by(&redis.url());
    let old = Running::with(config(&settings(dir.path(), &store, &["a1"])));
    assert_eq!(put(old.at.admin, VM, &serial(&line)).await.status, 201);
    // Only now: it seals anew what it finds, and the other could no longer read it.
    let both = Running::with(config(&settings(dir.path(), &store, &["b2", "a1"])));
    assert_eq!(put(both.at.admin, OTHER, &serial(&line)).await.status, 201);
    console(&both, &both, VM).await;
    let path = format!("/v1/targets/{OTHER}");
    let told = until_status(old.at.admin, &path, 503).await;
    assert_eq!(told.header("x-error-code"), Some("admin.0023"), "{told:?}");
    let listed = call(old.at.admin, "GET", "/v1/targets", "", &Value::Null).await;
    let list = json_of(&listed);
    assert_eq!(
        (&list["unusable"]["count"], &list["unusable"]["targets"][0]["id"]),
        (&json!(1), &json!(OTHER))
    );
    let reason = list["unusable"]["targets"][0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("it is sealed with the key ") && reason.contains("key_file"), "{reason}");
    assert_eq!(list["targets"][0]["target"]["id"], json!(VM));
    let metrics = call(old.at.admin, "GET", "/metrics", "", &Value::Null).await.body;
    assert!(metrics.contains("consolegate_unusable_targets 1\n"), "{metrics}");
    // The document says so as well.
    let document = json_of(&call(old.at.admin, "GET", "/openapi.json", "", &Value::Null).await);
    let mut schema =
        document["paths"]["/v1/targets"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
            .clone();
    schema["components"] = document["components"].clone();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let wrong: Vec<_> = validator.iter_errors(&list).map(|error| error.to_string()).collect();
    assert!(wrong.is_empty(), "{wrong:?} in {list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_keeps_what_the_replica_had() {
    let mut primary = Redis::start(&[]);
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &primary.port().to_string()]);
    replica.follows(&primary);
    let sentinel = Redis::sentinel("tokens", &primary);
    until("the replica's discovery", || {
        let known: Vec<Vec<String>> = sentinel.ask(&["SENTINEL", "REPLICAS", "tokens"]);
        (known.len() == 1).then_some(())
    });
    let (dir, line) = (temp::dir(), Console::new(Manner::Echo).await);
    let store = format!(
        "store = \"redis-sentinel://127.0.0.1:{}/tokens\"\nredis.sentinel_password = \"{SENTINEL_PASSWORD}\"",
        sentinel.port()
    );
    let text = settings(dir.path(), &store, &["a1"]);
    let (a, b) = (Running::with(config(&text)), Running::with(config(&text)));
    assert_eq!(put(a.at.admin, VM, &serial(&line)).await.status, 201);
    let mut live = console(&a, &b, VM).await;
    replica.follows(&primary);
    primary.kill();
    let accepted = async { while put(b.at.admin, OTHER, &serial(&line)).await.status != 201 {} };
    within("a change after the failover", accepted).await;
    assert_eq!(replica.info("role"), "master");
    viewer::echo(&mut live, b"still here").await;
    until_status(a.at.admin, &format!("/v1/targets/{OTHER}"), 200).await;
    until_status(a.at.admin, &format!("/v1/targets/{VM}"), 200).await;
    console(&b, &a, OTHER).await;
}

/// The new process has the targets before it takes a connection; the old one goes on following them. Without the store
/// nothing is taken over.
#[tokio::test(flavor = "multi_thread")]
async fn a_hot_restart_keeps_the_targets_and_both_processes_hear_of_their_end() {
    let (mut redis, dir, line) = (
        Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]),
        temp::dir(),
        Console::new(Manner::Echo).await,
    );
    let text = settings(dir.path(), &by(&redis.url()), &["a1"]);
    let elsewhere = Running::with(config(&text));
    let mut program = Program::serve(&text).await;
    assert_eq!(put(program.admin(), VM, &serial(&line)).await.status, 201);
    let token = program.issue(VM, Protocol::Serial).await;
    let mut live = open(&format!("ws://{}/?token={token}", program.at), &[]).await.expect("a console").0;
    viewer::echo(&mut live, b"before").await;
    redis.kill();
    program.signal(Signal::USR2);
    program.says("no hot restart; this process goes on").await;
    redis.restart();
    until_status(program.admin(), "/health/ready", 200).await;
    program.signal(Signal::USR2);
    let new = program.until("a new process", |said| {
        let mut lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["message"] == "a new process has taken over")?["pid"].as_u64()
    });
    let _new = Killed(new.await.try_into().expect("a process id"));
    let token = program.issue(VM, Protocol::Serial).await;
    let mut second = open(&format!("ws://{}/?token={token}", program.at), &[]).await.expect("a console").0;
    viewer::echo(&mut second, b"x").await;
    viewer::echo(&mut live, b"after").await;
    let path = format!("/v1/targets/{VM}");
    assert_eq!(call(elsewhere.at.admin, "DELETE", &path, "", &Value::Null).await.status, 204);
    for socket in [&mut live, &mut second] {
        assert_eq!(viewer::closed(socket).await, (1008, "the server was deleted".to_owned()));
    }
    until_status(program.admin(), &path, 404).await;
}

/// A process that is not our child, ended with its test.
struct Killed(i32);

impl Drop for Killed {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.0) {
            // It may have ended.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_page_of_one_shows_what_another_registers() {
    let (redis, dir) = (Redis::start(&[]), temp::dir());
    let line = Console::new(Manner::Echo).await;
    let text = settings(dir.path(), &by(&redis.url()), &["a1"]);
    let issuer = Running::in_role(config(&text), Role::Issuer);
    let proxy = Running::in_role(config(&text), Role::Proxy);
    assert_eq!(put(issuer.at.admin, VM, &serial(&line)).await.status, 201);
    let browser = Browser::launch().await;
    let page = browser.page(&format!("http://{}/", proxy.at.admin)).await;
    sign_in(&page, ADMIN).await;
    show_targets(&page).await;
    let shown = |ids: &[&str]| {
        let all: String =
            ids.iter().map(|id| format!(" && {ROWS}.some((row) => row.includes('{id}'))")).collect();
        format!("{ROWS}.length === {}{all}", ids.len())
    };
    page.wait_for(&shown(&[VM])).await;
    let rows: Vec<String> = page.eval(ROWS).await;
    assert!(rows[0].contains("shared") && rows[0].contains("Serial"), "{rows:?}");
    // While somebody looks.
    assert_eq!(put(issuer.at.admin, OTHER, &serial(&line)).await.status, 201);
    page.wait_for(&shown(&[VM, OTHER])).await;
    assert_eq!(
        call(issuer.at.admin, "DELETE", &format!("/v1/targets/{VM}"), "", &Value::Null).await.status,
        204
    );
    page.wait_for(&shown(&[OTHER])).await;
    assert_eq!(page.violations().await, Vec::<String>::new());
}
