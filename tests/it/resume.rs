//! Coming back by the same URL after a drop or a reload, with the cookie of the 101; and what that never opens.

use std::time::Duration;

use consolegate::ids::Protocol;
use consolegate::server::Role;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::Response;

use crate::support::console::{Console, Manner};
use crate::support::redis::Server as Redis;
use crate::support::server::{ADMIN_TOKEN, Answer, Running, Socket, config, http, open, target};
use crate::support::{viewer, within};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000001";
const OPERATOR: &str = "an-operators-token-for-tests";
const GRACE: Duration = Duration::from_secs(60);
const INSTANT: Duration = Duration::from_millis(1);

/// What a browser does with a 101's cookie: name and value go back, the rest it heeds.
fn cookie(response: &Response) -> Option<(String, String)> {
    let text = response.headers().get("set-cookie")?.to_str().expect("text");
    let (pair, attributes) = text.split_once("; ").expect("attributes");
    Some((pair.to_owned(), attributes.to_owned()))
}

/// A viewer's console, and what it may come back with.
async fn enter(url: &str, cookies: &str) -> Result<(Socket, String), u16> {
    let headers: &[(&'static str, &str)] = if cookies.is_empty() { &[] } else { &[("cookie", cookies)] };
    let (socket, response) = open(url, headers).await?;
    Ok((socket, cookie(&response).expect("a cookie").0))
}

async fn serial(more: &str, line: &Console) -> Running {
    let line = target(VM, "vm", &line.setting("serial"));
    Running::start(&format!("[admin]\ntoken = \"{OPERATOR}\"\n{more}{line}")).await
}

fn operator() -> String {
    format!("Authorization: Bearer {OPERATOR}\r\n")
}

/// Takes back, by the native API, what `which` names.
async fn revoke(server: &Running, which: Value) {
    let headers = format!("X-Auth-Token: {ADMIN_TOKEN}\r\nContent-Type: application/json\r\n");
    let answer = http(server.at.api, "POST", "/console/v1/tokens/revoke", &headers, &which.to_string()).await;
    assert_eq!(Answer::parse(&answer).status, 200, "{answer}");
}

/// The admin API's sessions.
async fn sessions(server: &Running) -> Vec<Value> {
    let answer = Answer::parse(&http(server.at.admin, "GET", "/v1/sessions", &operator(), "").await);
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"));
    body["sessions"].as_array().unwrap_or_else(|| panic!("{body}")).clone()
}

/// Waits until nobody has a session: what the store is told of an end was told by then.
async fn until_nobody(server: &Running) {
    within("the session's end", async { while !sessions(server).await.is_empty() {} }).await;
}

/// Waits until a process has no viewer by its own count, whoever is at others.
async fn until_vacant(server: &Running) {
    within("the viewer's place", async {
        while !http(server.at.admin, "GET", "/health/ready", "", "").await.contains("\"sessions\":0") {}
    })
    .await;
}

#[tokio::test]
async fn the_cookie_opens_the_same_url_again_and_nothing_else_does() {
    let line = Console::new(Manner::Echo).await;
    let server = serial("", &line).await;
    let token = server.token(VM, Protocol::Serial).await;
    let url = format!("ws://{}/a/path/?token={token}", server.at.proxy);
    let (mut socket, response) = open(&url, &[]).await.unwrap();
    let (pair, attributes) = cookie(&response).unwrap();
    assert_eq!(attributes, "Path=/a/path/; HttpOnly; Secure; SameSite=Strict");
    let (name, secret) = pair.split_once('=').unwrap();
    assert!(name.strip_prefix("cg_resume_").is_some_and(|hex| hex.len() == 16), "{name}");
    viewer::echo(&mut socket, b"before").await;
    viewer::goodbye(&mut socket).await;
    until_nobody(&server).await;

    let other = server.token(VM, Protocol::Serial).await;
    let strange = format!("{name}={}", "A".repeat(43));
    let others = format!("cg_resume_0000000000000000={secret}; token={secret}");
    for wrong in ["", &strange, &others, &format!("{name}=")] {
        let headers: &[(&'static str, &str)] = &[("cookie", wrong)];
        assert_eq!(open(&url, headers).await.unwrap_err(), 403, "{wrong}");
    }
    // Another token's viewer does not come in with it, but by its own token.
    let (_other, theirs) = enter(&server.ws(&other), &pair).await.unwrap();
    assert_ne!(theirs.split_once('=').unwrap().0, name);
    drop(_other);
    until_nobody(&server).await;

    let (mut back, next) = enter(&url, &format!("a=b; {pair}")).await.unwrap();
    assert_ne!(next, pair, "a fresh secret");
    assert_eq!(next.split_once('=').unwrap().0, name);
    viewer::echo(&mut back, b"after").await;
}

#[tokio::test]
async fn a_half_dead_connection_is_taken_over_at_once() {
    // The line is for one viewer: what is left behind must make room.
    let line = Console::new(Manner::Echo).await;
    let server = serial("", &line).await;
    let url = server.ws(&server.token(VM, Protocol::Serial).await);
    let (mut first, pair) = enter(&url, "").await.unwrap();
    viewer::echo(&mut first, b"one").await;
    // It neither reads nor closes; its successor does not wait for that.
    let (mut second, next) = enter(&url, &pair).await.unwrap();
    viewer::echo(&mut second, b"two").await;
    assert_eq!(viewer::closed(&mut first).await, (1008, "taken over by another viewer".to_owned()));
    // The 101 with `next` may have been lost on the way: the one before is good once more.
    let (mut third, _) = enter(&url, &pair).await.unwrap();
    viewer::echo(&mut third, b"three").await;
    assert_eq!(viewer::closed(&mut second).await.0, 1008);
    let (mut fourth, last) = enter(&url, &pair).await.unwrap();
    viewer::echo(&mut fourth, b"four").await;
    let (_fifth, _) = enter(&url, &last).await.unwrap();
    assert_eq!(
        open(&url, &[("cookie", &pair)]).await.unwrap_err(),
        403,
        "its successor's successor was used"
    );
    assert_eq!(open(&url, &[("cookie", &next)]).await.unwrap_err(), 403);
}

#[tokio::test]
async fn of_viewers_who_come_back_at_once_one_stays() {
    let line = Console::new(Manner::Echo).await;
    let server = serial("", &line).await;
    let url = server.ws(&server.token(VM, Protocol::Serial).await);
    let (_first, pair) = enter(&url, "").await.unwrap();
    let headers: &[(&'static str, &str)] = &[("cookie", &pair)];
    let tries = futures_util::future::join_all((0..20).map(|_| open(&url, headers))).await;
    let refused = tries.iter().filter_map(|tried| tried.as_ref().err());
    assert!(refused.clone().all(|status| matches!(*status, 403 | 429)), "{:?}", refused.collect::<Vec<_>>());
    let opened: Vec<_> = tries.into_iter().filter_map(Result::ok).collect();
    assert!(!opened.is_empty());
    within("one session", async { while sessions(&server).await.len() != 1 {} }).await;
    let count = opened.len();
    let mut alive = 0;
    for (mut socket, _) in opened {
        // A closed one refuses what is sent, or answers with its close.
        let _ = socket.send(Message::binary(b"x".to_vec())).await;
        let answer = within("an answer", socket.next()).await;
        alive += usize::from(matches!(answer, Some(Ok(Message::Binary(payload))) if payload == b"x"[..]));
    }
    assert_eq!(alive, 1, "of {count}");
}

#[tokio::test]
async fn the_grace_is_strict_and_begins_with_the_drop() {
    let line = Console::new(Manner::Echo).await;
    let server = serial("", &line).await;
    let url = server.ws(&server.token(VM, Protocol::Serial).await);
    let (mut socket, pair) = enter(&url, "").await.unwrap();
    // Longer than the grace, but not than a session's renewals.
    server.clock.advance(GRACE + Duration::from_secs(30));
    viewer::goodbye(&mut socket).await;
    until_nobody(&server).await;
    server.clock.advance(GRACE - INSTANT);
    let (mut socket, next) = enter(&url, &pair).await.unwrap();
    viewer::goodbye(&mut socket).await;
    until_nobody(&server).await;
    server.clock.advance(GRACE);
    assert_eq!(open(&url, &[("cookie", &next)]).await.unwrap_err(), 403);
}

#[tokio::test]
async fn so_often_and_no_more() {
    let line = Console::new(Manner::Echo).await;
    let server = serial("[tokens]\nresume_times = 2\n", &line).await;
    let url = server.ws(&server.token(VM, Protocol::Serial).await);
    let (_first, mut pair) = enter(&url, "").await.unwrap();
    let mut kept = Vec::new();
    for _ in 0..2 {
        let (socket, next) = enter(&url, &pair).await.unwrap();
        (pair, _) = (next, kept.push(socket));
    }
    assert_eq!(open(&url, &[("cookie", &pair)]).await.unwrap_err(), 403);
    viewer::echo(kept.last_mut().unwrap(), b"the last one stays").await;
}

#[tokio::test]
async fn a_console_that_is_down_does_not_use_it_up() {
    let line = Console::new(Manner::Echo).await;
    let server = serial("[tokens]\nresume_times = 1\n", &line).await;
    let url = server.ws(&server.token(VM, Protocol::Serial).await);
    let (socket, pair) = enter(&url, "").await.unwrap();
    let down = line.stop().await;
    drop(socket);
    for _ in 0..3 {
        assert_eq!(open(&url, &[("cookie", &pair)]).await.unwrap_err(), 502);
    }
    let _up = Console::at(down, Manner::Echo).await;
    let (mut back, _) = enter(&url, &pair).await.unwrap();
    viewer::echo(&mut back, b"up again").await;
}

#[tokio::test]
async fn what_was_revoked_or_ended_stays_so() {
    let line = Console::new(Manner::Echo).await;
    let idle = "[proxy]\nidle_timeout = \"1s\"\n";
    for (what, settings) in [("token", ""), ("target", ""), ("session", ""), ("idle", idle)] {
        let server = serial(settings, &line).await;
        let token = server.token(VM, Protocol::Serial).await;
        let url = server.ws(&token);
        let (mut socket, pair) = enter(&url, "").await.unwrap();
        match what {
            "token" => revoke(&server, json!({ "token": token })).await,
            "target" => revoke(&server, json!({ "server_id": VM })).await,
            "session" => {
                let path = format!("/v1/sessions/{}", sessions(&server).await[0]["id"].as_str().unwrap());
                let answer = http(server.at.admin, "DELETE", &path, &operator(), "").await;
                assert_eq!(Answer::parse(&answer).status, 204, "{answer}");
            }
            _ => {}
        }
        assert_eq!(viewer::closed(&mut socket).await.0, 1008, "{what}");
        until_nobody(&server).await;
        assert_eq!(open(&url, &[("cookie", &pair)]).await.unwrap_err(), 403, "{what}");
    }
    // Within the grace, when no session is there to be ended.
    let server = serial("", &line).await;
    for way in 0..3 {
        let token = server.token(VM, Protocol::Serial).await;
        let (mut socket, pair) = enter(&server.ws(&token), "").await.unwrap();
        viewer::goodbye(&mut socket).await;
        until_nobody(&server).await;
        let ways = [json!({ "token": token }), json!({ "server_id": VM }), json!({ "user_id": "demo" })];
        revoke(&server, ways[way].clone()).await;
        assert_eq!(open(&server.ws(&token), &[("cookie", &pair)]).await.unwrap_err(), 403, "{way}");
    }
}

#[tokio::test]
async fn a_sessions_longest_time_is_not_prolonged() {
    let line = Console::new(Manner::Echo).await;
    let server = serial("[tokens]\nenforce = true\nttl = \"3s\"\n", &line).await;
    let url = server.ws(&server.token(VM, Protocol::Serial).await);
    let (mut socket, pair) = enter(&url, "").await.unwrap();
    viewer::goodbye(&mut socket).await;
    until_nobody(&server).await;
    // By the store's clock, which a test turns; the session's own timers go on.
    server.clock.advance(Duration::from_millis(2_900));
    let (mut back, pair) = enter(&url, &pair).await.unwrap();
    let (code, reason) = viewer::closed(&mut back).await;
    assert!(code == 1008 && reason.contains("longest"), "{code} {reason}");
    until_nobody(&server).await;
    assert_eq!(open(&url, &[("cookie", &pair)]).await.unwrap_err(), 403);
}

#[tokio::test]
async fn it_can_be_switched_off_and_is_off_on_plain_http_beyond_loopback() {
    let line = Console::new(Manner::Echo).await;
    for off in ["[tokens]\nresume_grace = \"0s\"\n", "[proxy]\npublic_url = \"http://console.example\"\n"] {
        let server = serial(off, &line).await;
        let url = server.ws(&server.token(VM, Protocol::Serial).await);
        let (_socket, response) = open(&url, &[]).await.unwrap();
        assert!(cookie(&response).is_none(), "{off}");
    }
    // Something in front speaks TLS, and a dashboard elsewhere shows the page.
    let settings = "[proxy]\npublic_url = \"https://console.example\"\n\
                    frame_ancestors = [\"https://dashboard.example\"]\n";
    let server = serial(settings, &line).await;
    let url = server.ws(&server.token(VM, Protocol::Serial).await);
    let (_socket, response) = open(&url, &[]).await.unwrap();
    let (_, attributes) = cookie(&response).unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; Secure; SameSite=None; Partitioned");
}

#[tokio::test]
async fn another_proxy_takes_the_viewer_back() {
    let (redis, line) = (Redis::start(&[]), Console::new(Manner::Echo).await);
    let admin = format!("[admin]\ntoken = \"{OPERATOR}\"\n");
    let text = format!(
        "{admin}[tokens]\nstore = \"{}\"\n{}",
        redis.url(),
        target(VM, "vm", &line.setting("serial"))
    );
    let process = |role| Running::in_role(config(&text), role);
    let (issuer, one, two) = (process(Role::Issuer), process(Role::Proxy), process(Role::Proxy));
    let token = issuer.token(VM, Protocol::Serial).await;
    let (mut socket, pair) = enter(&one.ws(&token), "").await.unwrap();
    viewer::echo(&mut socket, b"one").await;
    // The first proxy goes down: its viewers are told, and go elsewhere.
    one.begin_drain().await;
    viewer::goodbye(&mut socket).await;
    one.drain().await;
    let (mut socket, next) = enter(&two.ws(&token), &pair).await.unwrap();
    viewer::echo(&mut socket, b"two").await;
    assert_eq!(open(&two.ws(&token), &[]).await.unwrap_err(), 403);
    viewer::goodbye(&mut socket).await;
    until_nobody(&two).await;
    revoke(&issuer, json!({ "server_id": VM })).await;
    assert_eq!(open(&two.ws(&token), &[("cookie", &next)]).await.unwrap_err(), 403, "revoked at the issuer");
}

/// A serial console takes one viewer, and the first proxy does not know yet that its viewer has gone.
#[tokio::test]
async fn another_proxy_takes_a_half_dead_session_over_at_once() {
    let (redis, line) = (Redis::start(&[]), Console::new(Manner::Echo).await);
    let only = "sessions_per_target = 1\nsessions_per_project = 1\nsessions_per_source = 1\n";
    let text = format!(
        "[tokens]\nstore = \"{}\"\n[limits]\n{only}{}",
        redis.url(),
        target(VM, "vm", &line.setting("serial"))
    );
    let process = |role| Running::in_role(config(&text), role);
    let (issuer, one, two) = (process(Role::Issuer), process(Role::Proxy), process(Role::Proxy));
    let token = issuer.token(VM, Protocol::Serial).await;
    let (mut dead, mut pair) = enter(&one.ws(&token), "").await.unwrap();
    viewer::echo(&mut dead, b"x").await;
    let stranger = issuer.token(VM, Protocol::Serial).await;
    let mut before = &one;
    for proxy in [&two, &one, &two] {
        let (mut socket, next) = enter(&proxy.ws(&token), &pair).await.unwrap();
        assert_eq!(viewer::closed(&mut dead).await, (1008, "taken over by another viewer".to_owned()));
        // A process' own limits count a viewer for a moment after it has heard of the end.
        until_vacant(before).await;
        before = proxy;
        viewer::echo(&mut socket, b"back").await;
        // Anybody else still meets it.
        assert_eq!(open(&proxy.ws(&stranger), &[]).await.unwrap_err(), 429);
        (dead, pair) = (socket, next);
    }
}

/// On a line for one viewer: what it left behind at the other proxy makes room.
#[tokio::test]
async fn a_session_that_lives_at_another_proxy_is_taken_over() {
    let (redis, line) = (Redis::start(&[]), Console::new(Manner::Echo).await);
    let text =
        format!("[tokens]\nstore = \"{}\"\n{}", redis.url(), target(VM, "vm", &line.setting("serial")));
    let process = |role| Running::in_role(config(&text), role);
    let (issuer, proxies) = (process(Role::Issuer), [process(Role::Proxy), process(Role::Proxy)]);
    let token = issuer.token(VM, Protocol::Serial).await;
    let (mut socket, mut pair) = enter(&proxies[0].ws(&token), "").await.unwrap();
    for at in [1, 0, 0, 1] {
        let url = proxies[at].ws(&token);
        let (back, told) = tokio::join!(enter(&url, &pair), viewer::closed(&mut socket));
        assert_eq!(told, (1008, "taken over by another viewer".to_owned()));
        (socket, pair) = back.unwrap_or_else(|status| panic!("at {at}: {status}"));
        viewer::echo(&mut socket, b"here").await;
    }
    // Somebody else's console it stays.
    let other = issuer.token(VM, Protocol::Serial).await;
    assert_eq!(open(&proxies[0].ws(&other), &[]).await.unwrap_err(), 429);
}
