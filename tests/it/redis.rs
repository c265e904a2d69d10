//! Issuers and proxies of their own over one Redis, as a fleet runs them.

use consolegate::ids::Protocol;
use consolegate::server::{Role, Server, ServerError};
use futures_util::future::join_all;

use crate::support::console::{Console, Manner};
use crate::support::redis::Server as Redis;
use crate::support::server::{
    ADMIN_TOKEN, Answer, PROJECT, Running, TOKEN, config, http, open, raw, refused, target,
};
use crate::support::signer::Signer;
use crate::support::viewer;

const VM: &str = "6c1f2a90-0000-4000-8000-000000000001";

/// What every process of the fleet is told.
fn shared(redis: &Redis, console: &Console) -> String {
    format!("[tokens]\nstore = \"{}\"\n{}", redis.url(), target(VM, "vm", &console.setting("vnc")))
}

struct Fleet {
    issuer: Running,
    proxies: [Running; 3],
}

impl Fleet {
    fn start(redis: &Redis, console: &Console) -> Self {
        let text = shared(redis, console);
        let process = |role| Running::in_role(config(&text), role);
        Self { issuer: process(Role::Issuer), proxies: [(); 3].map(|()| process(Role::Proxy)) }
    }

    /// A console URL by the compute API, and what the issuer said.
    async fn ask(&self) -> Answer {
        let headers = format!(
            "X-Auth-Token: {TOKEN}\r\nContent-Type: application/json\r\nOpenStack-API-Version: compute 2.8\r\n"
        );
        let body = "{\"remote_console\": {\"protocol\": \"vnc\", \"type\": \"novnc\"}}";
        let path = format!("/v2.1/servers/{VM}/remote-consoles");
        Answer::parse(&http(self.issuer.at.api, "POST", &path, &headers, body).await)
    }

    async fn token(&self) -> String {
        self.issuer.token(VM, Protocol::Vnc).await
    }
}

#[tokio::test]
async fn of_99_viewers_at_three_proxies_one_gets_in() {
    let (redis, console) = (Redis::start(&[]), Console::new(Manner::Vnc).await);
    let fleet = Fleet::start(&redis, &console);
    for _ in 0..3 {
        // Looking is a dial of its own.
        let before = console.dialled().await + 1;
        let token = fleet.token().await;
        let urls: Vec<_> = fleet.proxies.iter().map(|proxy| proxy.ws(&token)).collect();
        let tries = join_all((0..99).map(|n| open(&urls[n % urls.len()], &[]))).await;
        let refusals: Vec<_> = tries.iter().filter_map(|tried| tried.as_ref().err()).collect();
        assert_eq!(refusals, vec![&403; 98]);
        assert_eq!(console.dialled().await - before, 1, "and only the winner's console was dialled");
    }
}

#[tokio::test]
async fn each_role_serves_its_part_and_no_other() {
    let (redis, console) = (Redis::start(&[]), Console::new(Manner::Vnc).await);
    let fleet = Fleet::start(&redis, &console);
    let asked = fleet.ask().await;
    assert_eq!(asked.status, 200, "{asked:?}");
    let proxy = fleet.proxies[0].at;
    // What a role does not serve is not bound: its address is as it was written, with port 0.
    assert_eq!((fleet.issuer.at.proxy.port(), proxy.api.port()), (0, 0));
    let page = http(fleet.issuer.at.api, "GET", "/vnc_lite.html", "", "").await;
    assert_eq!(Answer::parse(&page).status, 404, "no pages at the issuer");
    let versions = http(proxy.proxy, "GET", "/v2.1", "", "").await;
    assert_eq!(Answer::parse(&versions).status, 404, "no API at the proxy");
    refused(fleet.issuer.at.api, &format!("/?token={}", fleet.token().await)).await;
    assert_eq!(console.dialled().await, 0, "no consoles at the issuer");
    for at in [fleet.issuer.at, proxy] {
        assert_eq!(Answer::parse(&http(at.admin, "GET", "/health/live", "", "").await).status, 200);
    }
    for role in [Role::Issuer, Role::Proxy] {
        let alone = Server::with_clock(config(""), role, consolegate::clock::Clock::system());
        assert!(matches!(alone, Err(ServerError::Alone)));
    }
}

#[tokio::test]
async fn revoked_at_the_issuer_is_refused_by_every_proxy() {
    let (redis, console) = (Redis::start(&[]), Console::new(Manner::Vnc).await);
    let fleet = Fleet::start(&redis, &console);
    let revoke = async |body: String| {
        let headers = format!("X-Auth-Token: {ADMIN_TOKEN}\r\nContent-Type: application/json\r\n");
        let answer = http(fleet.issuer.at.api, "POST", "/console/v1/tokens/revoke", &headers, &body).await;
        Answer::parse(&answer).body
    };
    let tokens = [fleet.token().await, fleet.token().await, fleet.token().await];
    let one = revoke(format!("{{\"token\": \"{}\"}}", tokens[0])).await;
    assert!(one.contains("\"tokens\":1"), "{one}");
    let rest = revoke(format!("{{\"server_id\": \"{VM}\"}}")).await;
    assert!(rest.contains("\"tokens\":2"), "{rest}");
    for (token, proxy) in tokens.iter().zip(&fleet.proxies) {
        refused(proxy.at.proxy, &format!("/?token={token}")).await.assert_bare(403, "revoked");
    }
    assert_eq!(console.dialled().await, 0);
}

#[tokio::test]
async fn without_the_store_nothing_is_issued_nothing_opens_and_what_runs_goes_on() {
    let (mut redis, console) = (Redis::start(&[]), Console::new(Manner::Vnc).await);
    let fleet = Fleet::start(&redis, &console);
    let proxy = &fleet.proxies[0];
    let (mut live, _) = open(&proxy.ws(&fleet.token().await), &[]).await.unwrap();
    viewer::rfb(&mut live).await;
    let unspent = fleet.token().await;
    let ready = async |at| Answer::parse(&http(at, "GET", "/health/ready", "", "").await).status;
    let admins = [fleet.issuer.at.admin, proxy.at.admin];
    for at in admins {
        assert_eq!(ready(at).await, 200);
    }
    redis.kill();
    for at in admins {
        assert_eq!(ready(at).await, 503);
    }
    let answer = fleet.ask().await;
    assert_eq!((answer.status, answer.header("x-error-code")), (503, Some("console.0022")), "{answer:?}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert!(!answer.body.contains("127.0.0.1") && !answer.body.contains("edis"), "{answer:?}");
    refused(proxy.at.proxy, &format!("/?token={unspent}")).await.assert_bare(503, "no store");
    viewer::echo(&mut live, b"still here").await;
    redis.restart();
    // It came back empty: what was outstanding is gone, what is issued now opens.
    refused(proxy.at.proxy, &format!("/?token={unspent}")).await.assert_bare(403, "forgotten");
    for at in admins {
        assert_eq!(ready(at).await, 200);
    }
    let (mut next, _) = open(&proxy.ws(&fleet.token().await), &[]).await.unwrap();
    viewer::rfb(&mut next).await;
    viewer::echo(&mut live, b"still here").await;
    assert_eq!(console.dialled().await, 2);
}

/// A signed request for the VNC console, of the date that all servers' clocks say.
fn signed(server: &str) -> String {
    let date = "20260102T030405Z";
    let path = format!("/v1/{PROJECT}/cloudservers/{server}/remote_console");
    let body = "{\"remote_console\":{\"protocol\":\"vnc\",\"type\":\"novnc\"}}";
    let headers = [("host", "issuer.example"), ("x-sdk-date", date)];
    let signer = Signer { access_key: "AK", secret_key: "a-secret-key-for-tests", date };
    let authorization = signer.sign(("POST", &path), &headers, "host;x-sdk-date", body);
    format!(
        "POST {path} HTTP/1.1\r\nHost: issuer.example\r\nX-Sdk-Date: {date}\r\n{authorization}\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn a_signed_request_is_good_once_at_all_issuers_together() {
    let mut redis = Redis::start(&[]);
    let key = format!(
        "[[auth.access_key]]\naccess_key = \"AK\"\nsecret_key = \"a-secret-key-for-tests\"\nuser = \"demo\"\n\
         project = \"{PROJECT}\"\nroles = [\"member\"]\n"
    );
    let targets: String =
        ["one", "two"].iter().map(|id| target(id, id, "vnc = \"tcp://127.0.0.1:5901\"")).collect();
    let text = format!("[tokens]\nstore = \"{}\"\n{key}{targets}", redis.url());
    let then = humantime::parse_rfc3339("2026-01-02T03:04:05Z").unwrap();
    let issuer = || Running::at(config(&text), consolegate::clock::Clock::manual_at(then));
    let (one, other) = (issuer(), issuer());
    let ask = async |issuer: &Running, request: &str| {
        let answer = Answer::parse(&raw(issuer.at.api, request.as_bytes()).await);
        (answer.status, answer.header("x-error-code").map(str::to_owned))
    };
    let replayed = (401, Some("console.0031".to_owned()));
    assert_eq!(ask(&one, &signed("one")).await, (200, None));
    assert_eq!(ask(&other, &signed("one")).await, replayed);
    assert_eq!(ask(&one, &signed("one")).await, replayed);
    redis.kill();
    let down = (503, Some("console.0022".to_owned()));
    assert_eq!(ask(&one, &signed("two")).await, down);
    redis.restart();
    assert_eq!(ask(&one, &signed("two")).await, (200, None), "the same request: nothing came of it before");
    assert_eq!(ask(&other, &signed("two")).await, replayed);
}

#[tokio::test]
async fn an_unfit_redis_stops_the_start() {
    let redis = Redis::start(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lfu"]);
    let text = format!("[tokens]\nstore = \"{}\"", redis.url());
    let Err(error) = Server::new(config(&text)) else { panic!("was started") };
    let error = error.to_string();
    assert!(error.starts_with("tokens.store: maxmemory-policy is allkeys-lfu"), "{error}");
}

#[test]
fn every_process_has_the_command_line_of_its_role() {
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_consolegate")).args(arguments).output();
        let output = output.unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for role in ["issuer", "proxy"] {
        let (fine, said) = run(&["serve", "--role", role]);
        assert!(!fine && said.contains("--role proxy need a store they share"), "{said}");
    }
    let (fine, said) = run(&["serve", "--role", "both"]);
    assert!(!fine && said.contains("[possible values: issuer, proxy, all]"), "{said}");
}
