//! Huawei's dialects as a client sees them: whole requests, whole answers.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use hyper::Request;
use serde_json::{Value, json};

use crate::auth::AuthError;
use crate::config::{Dialect, Os, State};
use crate::ids::Protocol;
use crate::tokens::Store;

use super::super::identity::UnknownCaller;
use super::super::issue::Pace;
use super::super::testing::{Ask, Fixture, OTHER, PROJECT, Reply, Unfinished, logged, settings, target};
use super::super::{Settings, huawei_bms, huawei_clouddc, huawei_ecs};
use super::*;

const CONSOLES: [&Console; 3] = [&huawei_bms::CONSOLE, &huawei_clouddc::CONSOLE, &huawei_ecs::CONSOLE];

const SERIAL: &str = r#"{"remote_console":{"protocol":"serial","type":"serial"}}"#;
const NOVNC: &str = r#"{"remote_console":{"protocol":"vnc","type":"novnc"}}"#;

/// A good request for a server of the dialect.
struct Good {
    uri: String,
    body: &'static str,
}

impl Good {
    fn of(console: &Console, project: &str, server: &str) -> Self {
        let (collection, resource, body) = match console.dialect {
            Dialect::HuaweiBms => ("baremetalservers", "remote_console", SERIAL),
            Dialect::HuaweiClouddc => ("physicalservers", "remote-console-address", ""),
            _ => ("cloudservers", "remote_console", NOVNC),
        };
        Self { uri: format!("/v1/{project}/{collection}/{server}/{resource}"), body }
    }

    fn ask(&self) -> Ask<'_> {
        let method = if self.body.is_empty() { "GET" } else { "POST" };
        Ask { method, uri: &self.uri, body: self.body, ..Ask::default() }
    }
}

/// A server that the dialect sees.
fn server(console: &Console) -> &'static str {
    if console.kind == Kind::Vm { "vm" } else { "bm" }
}

#[track_caller]
fn assert_refused(reply: &Reply, status: u16, code: &str, message: &str) {
    let request = reply.header("x-request-id").expect("a request id");
    assert!(request.starts_with("req-"), "{request}");
    assert_eq!(reply.body, json!({"error_code": code, "error_msg": message, "request_id": request}));
    assert_eq!((reply.status, reply.header("x-error-code")), (status, Some(code)));
}

fn url(reply: &Reply) -> &str {
    let url = reply.body.get("url").unwrap_or_else(|| &reply.body["remote_console"]["url"]);
    url.as_str().unwrap_or_else(|| panic!("no URL: {reply:?}"))
}

fn token(reply: &Reply) -> crate::tokens::Token {
    let (_, rest) = url(reply).split_once("token=").unwrap();
    crate::tokens::Token::parse(&rest[..36]).unwrap()
}

#[test]
fn each_answers_as_its_document_says() {
    let fixture = Fixture::new();
    let check = |console: &Console, golden: fn(&str) -> Value, page: &str| {
        let good = Good::of(console, PROJECT, server(console));
        for headers in
            [&[][..], &[("X-Project-Id", PROJECT)], &[("Content-Type", "application/json;charset=utf-8")]]
        {
            let reply = fixture.call(&Ask { headers, ..good.ask() });
            assert_eq!((reply.status, &reply.body), (200, &golden(url(&reply))));
            assert_eq!(url(&reply).replace(token(&reply).reveal(), "T"), page);
            assert_eq!(reply.header("cache-control"), Some("no-store"));
            assert!(reply.header("x-request-id").is_some_and(|id| id.starts_with("req-")));
            assert!(reply.header("x-error-code").is_none());
        }
    };
    check(
        &huawei_bms::CONSOLE,
        |url| json!({"remote_console": {"type": "serial", "protocol": "serial", "url": url}}),
        "http://127.0.0.1:6080/serial/az1.region-01/?token=T",
    );
    check(
        &huawei_clouddc::CONSOLE,
        |url| json!({"url": url}),
        "http://127.0.0.1:6080/vnc/az1.region-01/vnc_auto.html?token=T",
    );
    check(
        &huawei_ecs::CONSOLE,
        |url| json!({"remote_console": {"type": "novnc", "protocol": "vnc", "url": url}}),
        "http://127.0.0.1:6080/vnc_auto.html?token=T&lang=EN&tLength=70",
    );
}

/// Each check stands with everything that later ones look at wrong as well.
#[test]
fn the_checks_in_order() {
    let fixture = Fixture::new();
    for console in CONSOLES {
        let check = |ask: Ask<'_>, status, code, message: &str| {
            assert_refused(&fixture.call(&ask), status, code, message);
        };
        let lost = Good::of(console, OTHER, "nobody");
        let wrong =
            Ask { method: "PUT", body: "{", headers: &[("Content-Type", "application/xml")], ..lost.ask() };
        let credential = "Send a valid credential: X-Auth-Token, or a request signed with SDK-HMAC-SHA256.";
        for token in ["", "wrong"] {
            check(Ask { token, ..wrong }, 401, "CONSOLE.0001", credential);
        }
        let allowed = console.form.methods();
        check(wrong, 405, "CONSOLE.0006", &format!("Use {allowed}."));
        let wrong = Ask { method: allowed, ..wrong };
        let elsewhere = "The project in the URL is not the one your credential is for.";
        check(wrong, 403, "CONSOLE.0002", elsewhere);
        check(Ask { token: "admin", ..wrong }, 403, "CONSOLE.0002", elsewhere);
        let lost = Good::of(console, PROJECT, "nobody");
        let claimed = "The project in X-Project-Id is not the one your credential is for.";
        let headers = &[("X-Project-Id", OTHER), ("Content-Type", "application/xml")];
        check(Ask { uri: &lost.uri, headers, ..wrong }, 403, "CONSOLE.0002", claimed);
        let wrong = Ask { uri: &lost.uri, ..wrong };
        if let Form::RemoteConsole(pair) = &console.form {
            let kind = "The body must be JSON: send Content-Type: application/json.";
            check(wrong, 415, "CONSOLE.0007", kind);
            check(Ask { headers: &[], ..wrong }, 400, "CONSOLE.0008", "The body is not JSON.");
            let body = r#"{"remote_console":{"type":"x"}}"#;
            let message = format!("remote_console.protocol must be \"{}\".", pair.protocol);
            check(Ask { headers: &[], body, ..wrong }, 400, "CONSOLE.0009", &message);
        }
        // A server of another project, also for administrators, and one of the other kind, are not there.
        let other_kind = if console.kind == Kind::Vm { "bm" } else { "vm" };
        for server in ["nobody", "foreign", other_kind, "%00%27"] {
            let good = Good::of(console, PROJECT, server);
            let name = if server.starts_with('%') { "\0'" } else { server };
            let message = format!("Server {name} could not be found.");
            check(Ask { token: "reader", ..good.ask() }, 404, "CONSOLE.0004", &message);
            check(Ask { token: "admin", ..good.ask() }, 404, "CONSOLE.0004", &message);
        }
        let good = Good::of(console, PROJECT, server(console));
        let permission = format!("You need the permission {}.", console.permission.name());
        check(Ask { token: "reader", ..good.ask() }, 403, "CONSOLE.0003", &permission);
        assert_eq!(fixture.call(&Ask { token: "admin", ..good.ask() }).status, 200);
    }
}

#[test]
fn bodies_that_are_not_the_pair() {
    let fixture = Fixture::new();
    let check = |console: &Console, body: &str, message: &str| {
        let good = Good::of(console, PROJECT, server(console));
        assert_refused(&fixture.call(&Ask { body, ..good.ask() }), 400, "CONSOLE.0009", message);
    };
    let form = "The body must be {\"remote_console\":{\"protocol\":\"serial\",\"type\":\"serial\"}}.";
    for body in ["", "null", "[]", "1", "{}", r#"{"remote_console":null}"#, r#"{"remote_console":[]}"#] {
        check(&huawei_bms::CONSOLE, body, form);
    }
    let (bms, ecs) = (&huawei_bms::CONSOLE, &huawei_ecs::CONSOLE);
    check(bms, NOVNC, "remote_console.protocol must be \"serial\".");
    check(bms, r#"{"remote_console":{"protocol":"serial"}}"#, "remote_console.type must be \"serial\".");
    check(
        bms,
        r#"{"remote_console":{"protocol":"serial","type":1}}"#,
        "remote_console.type must be \"serial\".",
    );
    check(ecs, SERIAL, "remote_console.protocol must be \"vnc\".");
    check(
        ecs,
        r#"{"remote_console":{"protocol":"vnc","type":"xvpvnc"}}"#,
        "remote_console.type must be \"novnc\".",
    );
    // The order of keys and further ones are all the same.
    let body = r#"{"x":1,"remote_console":{"type":"novnc","y":{},"protocol":"vnc"}}"#;
    let good = Good::of(ecs, PROJECT, "vm");
    assert_eq!(fixture.call(&Ask { body, ..good.ask() }).status, 200);
    // CloudDC's GET has no body, whatever is sent along.
    let good = Good::of(&huawei_clouddc::CONSOLE, PROJECT, "bm");
    assert_eq!(fixture.call(&Ask { body: "{", ..good.ask() }).status, 200);
}

#[test]
fn servers_that_cannot() {
    let fixture = Fixture::new();
    let own = |id: &str, kind| Target { kind, ..target(id, PROJECT) };
    let mut targets = Vec::new();
    for (id, state) in [
        ("building", State::Building),
        ("deleting", State::Deleting),
        ("migrating", State::Migrating),
        ("stopped", State::Stopped),
    ] {
        targets.push(Target { state, ..own(&format!("{id}-vm"), Kind::Vm) });
        targets.push(Target { state, ..own(&format!("{id}-bm"), Kind::Baremetal) });
    }
    for (id, kind) in [("bare-vm", Kind::Vm), ("bare-bm", Kind::Baremetal)] {
        targets.push(Target { vnc: None, serial: None, ..own(id, kind) });
    }
    let windows = Target { os: Os::Windows, ..own("windows-bm", Kind::Baremetal) };
    targets.push(Target { os: Os::Windows, ..own("windows-vm", Kind::Vm) });
    targets.push(Target { id: "windows-building-bm".into(), state: State::Building, ..windows.clone() });
    targets.push(windows);
    fixture.inventory.replace(targets);

    for console in CONSOLES {
        let suffix = if console.kind == Kind::Vm { "vm" } else { "bm" };
        let call =
            |server: &str| fixture.call(&Good::of(console, PROJECT, &format!("{server}-{suffix}")).ask());
        for state in ["building", "deleting", "migrating"] {
            let message = format!("Server {state}-{suffix} is not ready.");
            assert_refused(&call(state), 409, "CONSOLE.0015", &message);
        }
        match console.kind {
            Kind::Vm => {
                assert_refused(&call("stopped"), 409, "CONSOLE.0015", "Server stopped-vm is not ready.")
            }
            Kind::Baremetal => assert_eq!(call("stopped").status, 200, "to watch it power on"),
        }
        let message = format!("Server bare-{suffix} has no {} console.", console.protocol);
        assert_refused(&call("bare"), 400, "CONSOLE.0016", &message);
        if console.dialect == Dialect::HuaweiBms {
            for server in ["windows", "windows-building"] {
                let message = format!("BMS {server}-bm runs Windows, which does not support remote login.");
                assert_refused(&call(server), 400, "CONSOLE.0017", &message);
            }
        } else {
            assert_eq!(call("windows").status, 200);
        }
    }
}

#[test]
fn the_grant_says_who_may_open_what_and_how_long() {
    let lifetimes = BTreeMap::from([(Dialect::HuaweiBms, Duration::from_secs(60))]);
    let fixture = Fixture::with(Settings { lifetimes, ..settings() });
    for console in CONSOLES {
        let reply = fixture.call(&Good::of(console, PROJECT, server(console)).ask());
        let peek = tokio_test::block_on(fixture.store.peek(token(&reply).key())).unwrap().unwrap();
        let own = console.dialect == Dialect::HuaweiBms;
        assert_eq!(peek.remaining, Duration::from_secs(if own { 60 } else { 600 }));
        assert_eq!(peek.grant.target.as_str(), server(console));
        assert_eq!((peek.grant.project.as_str(), peek.grant.user.as_str()), (PROJECT, "member"));
        assert_eq!(peek.grant.protocol == Protocol::Serial, own);
        assert_eq!(reply.header("x-request-id"), Some(peek.grant.request.to_string().as_str()));
    }
}

#[test]
fn methods_and_paths() {
    let fixture = Fixture::new();
    for console in CONSOLES {
        let good = Good::of(console, PROJECT, server(console));
        let allowed = console.form.methods();
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let reply = fixture.call(&Ask { method, ..good.ask() });
            match method == allowed {
                true => assert_eq!(reply.status, 200),
                false => {
                    assert_refused(&reply, 405, "CONSOLE.0006", &format!("Use {allowed}."));
                    assert_eq!(reply.header("allow"), Some(allowed));
                }
            }
        }
        let slash = format!("{}/", good.uri);
        assert_eq!(fixture.call(&Ask { uri: &slash, ..good.ask() }).status, 200);
    }
    for uri in ["/v1/p/cloudservers", "/v1/p/cloudservers/s/action", "/v1/"] {
        let reply = fixture.call(&Ask { uri, ..Ask::default() });
        assert_refused(&reply, 404, "CONSOLE.0005", "There is no such API here.");
        assert_eq!(fixture.call(&Ask { uri, token: "", ..Ask::default() }).status, 401);
    }
}

#[test]
fn an_sdk_finds_its_project_by_the_regions_name() {
    let fixture = Fixture::new();
    let list = |query: &str| {
        let reply = fixture.call(&Ask { uri: &format!("/v3/projects{query}"), ..Ask::default() });
        assert_eq!(reply.status, 200);
        let projects = reply.body["projects"].as_array().unwrap().clone();
        assert!(projects.iter().all(|project| project["id"] == PROJECT), "the caller's and no other");
        projects.iter().map(|project| project["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list("?name=region-01"), ["region-01"]);
    assert_eq!(list("?enabled=true&name=eu%2Dde+x"), ["eu-de x"]);
    assert_eq!(list(""), ["region-01"], "the regions of its servers");
    assert_eq!(list("?name="), ["region-01"]);
    let uri = "/v3/projects?name=x";
    assert_eq!(fixture.call(&Ask { uri, token: "", ..Ask::default() }).status, 401);
    let reply = fixture.call(&Ask { uri, method: "POST", ..Ask::default() });
    assert_refused(&reply, 405, "CONSOLE.0006", "Use GET, HEAD.");
}

#[test]
fn dialects_are_switched_apart() {
    for only in CONSOLES {
        let fixture = Fixture::with(Settings { dialects: [only.dialect].into(), ..settings() });
        for console in CONSOLES {
            let reply = fixture.call(&Good::of(console, PROJECT, server(console)).ask());
            match console.dialect == only.dialect {
                true => assert_eq!(reply.status, 200),
                false => assert_refused(&reply, 404, "CONSOLE.0005", "There is no such API here."),
            }
        }
    }
    let nova = Fixture::with(Settings { dialects: [Dialect::Openstack].into(), ..settings() });
    for uri in ["/v1/p/cloudservers/s/remote_console", "/v3/projects"] {
        let request = Request::get(uri).body(http_body_util::Empty::<Bytes>::new()).unwrap();
        assert!(nova.api.handle(None, request).is_none());
    }
}

#[test]
fn limits_are_a_429_with_a_time_to_come_back() {
    for console in CONSOLES {
        let mut fixture = Fixture::with(Settings { outstanding: 4, ..settings() });
        fixture.api.core.pace = Pace::new(1);
        let server = server(console);
        let good = Good::of(console, PROJECT, server);
        for _ in 0..3 {
            assert_eq!(fixture.call(&good.ask()).status, 200);
        }
        let reply = fixture.call(&good.ask());
        let message = "Too many console addresses at once. Try again later.";
        assert_refused(&reply, 429, "CONSOLE.0018", message);
        assert_eq!(reply.header("retry-after"), Some("1"));
        assert_eq!(
            fixture.call(&Ask { token: "admin", ..good.ask() }).status,
            200,
            "each caller has its own"
        );
        fixture.clock.advance(Duration::from_secs(1));
        let reply = fixture.call(&good.ask());
        let message = format!(
            "Server {server} has 4 console addresses that were not opened. Open one, or wait until one expires."
        );
        assert_refused(&reply, 429, "CONSOLE.0019", &message);
        assert_eq!(reply.header("retry-after"), Some("30"));
        fixture.clock.advance(Duration::from_secs(599));
        assert_eq!(fixture.call(&good.ask()).status, 200, "the first ones have expired");
    }
}

#[test]
fn the_log_has_what_the_answer_says_and_no_secret() {
    let fixture = Fixture::new();
    let mut replies = Vec::new();
    let log = logged(|| {
        for console in CONSOLES {
            let good = Good::of(console, PROJECT, server(console));
            replies.push(fixture.call(&good.ask()));
            replies.push(fixture.call(&Ask { token: "credential-secret", ..good.ask() }));
            let lost = Good::of(console, PROJECT, "a%0Ab");
            replies.push(fixture.call(&lost.ask()));
        }
    });
    for (at, reply) in replies.iter().enumerate() {
        let request = reply.header("x-request-id").unwrap();
        let line =
            log.lines().find(|line| line.contains(request)).unwrap_or_else(|| panic!("{request}: {log}"));
        let dialect = CONSOLES[at / 3].dialect.as_str();
        assert!(line.contains(&format!("dialect=\"{dialect}\" route=\"/v1/{{project_id}}/")), "{line}");
        match reply.body.get("error_code") {
            Some(code) => {
                assert!(line.contains("request refused") && line.contains(&format!("code={code}")), "{line}")
            }
            None => {
                assert!(line.contains("console issued") && line.contains("user=\"member\""), "{line}");
                assert!(!log.contains(token(reply).reveal()), "{log}");
            }
        }
    }
    assert!(log.contains(r#"target="a\nb""#) && !log.contains("secret"), "{log}");
}

#[test]
fn a_full_store_is_a_503() {
    let mut settings = settings();
    settings.tokens.capacity = 1;
    let fixture = Fixture::with(settings);
    let good = Good::of(&huawei_ecs::CONSOLE, PROJECT, "vm");
    assert_eq!(fixture.call(&good.ask()).status, 200);
    let reply = fixture.call(&good.ask());
    let message = "The service is temporarily unavailable. Try again later.";
    assert_refused(&reply, 503, "CONSOLE.0022", message);
    assert_eq!(reply.header("retry-after"), Some("5"));
}

#[test]
fn bodies_are_bounded() {
    let fixture = Fixture::new();
    let good = Good::of(&huawei_ecs::CONSOLE, PROJECT, "vm");
    let padded = |len: usize| format!("{NOVNC}{}", " ".repeat(len - NOVNC.len()));
    assert_eq!(fixture.call(&Ask { body: &padded(65_536), ..good.ask() }).status, 200);
    let reply = fixture.call(&Ask { body: &padded(65_537), ..good.ask() });
    assert_refused(&reply, 413, "CONSOLE.0020", "the body is larger than 65536 bytes");
    assert_eq!(reply.header("connection"), Some("close"));
}

/// The runtime's clock stands still but for what it waits for: ten seconds pass at once.
#[tokio::test(start_paused = true)]
async fn bodies_have_a_deadline() {
    let fixture = Fixture::new();
    let uri = Good::of(&huawei_ecs::CONSOLE, PROJECT, "vm").uri;
    let post = async |broken: bool, token: &str| {
        let request = Request::post(&uri).header("X-Auth-Token", token);
        fixture.api.handle(None, request.body(Unfinished { broken }).unwrap()).unwrap().await
    };
    let begun = tokio::time::Instant::now();
    let reply = post(false, "member").await;
    assert_eq!((reply.status().as_u16(), begun.elapsed()), (408, Duration::from_secs(10)));
    assert_eq!(reply.headers()["x-error-code"], "CONSOLE.0021");
    assert_eq!(post(true, "member").await.status(), 400);
    // Nobody known, nothing read.
    let begun = tokio::time::Instant::now();
    assert_eq!((post(false, "wrong").await.status().as_u16(), begun.elapsed()), (401, Duration::ZERO));
}

#[test]
fn a_key_that_signs_too_much_is_told_when_to_come_back() {
    let refusal = Refusal::from(UnknownCaller::Auth(AuthError::TooMany));
    let message = "Too many signed requests with this access key: try again later.";
    let expected = json!({"error_code": "CONSOLE.0033", "error_msg": message, "request_id": "req-1"});
    assert_eq!(refusal.body("req-1"), expected);
    assert_eq!((refusal.status.as_u16(), refusal.more), (429, answer::More::RetryAfter(5)));
}
