//! The native API as callers meet it: answers, refusals in their order, and what never leaks.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::{Dialect, Record};
use crate::tokens::{Options, Token};

use super::super::Settings;
use super::super::cause;
use super::super::testing::{Ask, Fixture, PROJECT, Reply, settings};

const CONSOLES: &str = "/console/v1/servers/vm/consoles";
const INSPECT: &str = "/console/v1/tokens/inspect";
const REVOKE: &str = "/console/v1/tokens/revoke";

fn post(fixture: &Fixture, token: &str, uri: &str, body: &Value) -> Reply {
    let body = body.to_string();
    fixture.call(&Ask { method: "POST", uri, token, body: &body, ..Ask::default() })
}

/// The causes of the refusals below.
const WORDS: &[&str] = &[
    "unauthenticated",
    "no-server",
    "policy",
    "not-ready",
    "no-console",
    "not-offered",
    "malformed-body",
    "schema",
    "ttl",
    "view-only",
    "uses",
    "record",
    "no-route",
    "method",
    "media-type",
    "no-token",
    "not-owner",
];

/// The refusal's status and cause; every one has its code and request id in header and body.
fn refused(reply: &Reply) -> (u16, &'static str) {
    let error = &reply.body["error"];
    assert_eq!(error["code"].as_str(), reply.header("x-error-code"), "{reply:?}");
    assert_eq!(error["request_id"].as_str(), reply.header("x-request-id"), "{reply:?}");
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty() && message.len() < 310));
    let word = WORDS.iter().find(|word| error["code"] == cause::code(word));
    (reply.status, word.unwrap_or_else(|| panic!("{reply:?}")))
}

fn issue(fixture: &Fixture, token: &str, body: &Value) -> (Reply, Token) {
    let reply = post(fixture, token, CONSOLES, body);
    assert_eq!(reply.status, 201, "{reply:?}");
    let url = reply.body["console"]["url"].as_str().unwrap().to_owned();
    (reply, Token::parse(&url[url.len() - 36..]).unwrap())
}

#[test]
fn a_console_with_every_option() {
    let fixture = Fixture::new();
    let body = json!({
        "protocol": "serial", "ttl": 60, "view_only": true, "client_address": "::ffff:192.0.2.7", "uses": 1,
        "record": false, "enforce_expiry": true, "viewers": "deny",
    });
    let (reply, token) = issue(&fixture, "member", &body);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let console = &reply.body["console"];
    assert!(console["url"].as_str().unwrap().starts_with("http://127.0.0.1:6080/?token="));
    let expected = json!({
        "id": console["id"], "url": console["url"], "server_id": "vm", "protocol": "serial", "expires_in": 60,
        "view_only": true, "enforce_expiry": true, "client_address": "192.0.2.7", "viewers": "deny",
        "uses": 1, "record": "off",
    });
    assert_eq!(*console, expected);
    let peek =
        tokio_test::block_on(crate::tokens::Store::peek(&*fixture.store, token.key())).unwrap().unwrap();
    let address: IpAddr = "192.0.2.7".parse().unwrap();
    let options = Options {
        view_only: true,
        enforce_expiry: true,
        client_address: Some(address),
        viewers: Some(crate::tokens::Sharing::Deny),
        ..Options::default()
    };
    assert_eq!((peek.grant.options, peek.remaining), (options, Duration::from_secs(60)));
}

#[test]
fn a_console_that_is_recorded() {
    let fixture = Fixture::with(Settings { record: Some(Record::Off), ..settings() });
    let with = |protocol: &str, record: Value, expected: &str| {
        let (reply, token) = issue(&fixture, "member", &json!({"protocol": protocol, "record": record}));
        assert_eq!(reply.body["console"]["record"], expected);
        let seen = post(&fixture, "member", INSPECT, &json!({"token": token.reveal()}));
        assert_eq!(seen.body["token"]["record"], expected);
        let peek = tokio_test::block_on(crate::tokens::Store::peek(&*fixture.store, token.key()));
        assert_eq!(peek.unwrap().unwrap().grant.options.record.as_str(), expected);
    };
    with("serial", json!(false), "off");
    with("vnc", json!(true), "on");
    with("serial", json!("required"), "required");
    for wrong in [json!("yes"), json!(1), json!(null)] {
        let reply = post(&fixture, "member", CONSOLES, &json!({"protocol": "vnc", "record": wrong}));
        assert_eq!(refused(&reply), (400, "schema"), "{wrong}");
    }
    // What the configuration wants of all, no grant takes back.
    let all = Fixture::with(Settings { record: Some(Record::On), ..settings() });
    let (reply, _) = issue(&all, "member", &json!({"protocol": "vnc", "record": "off"}));
    assert_eq!(reply.body["console"]["record"], "on");
}

#[test]
fn a_console_with_none() {
    let lifetimes = [(Dialect::Native, Duration::from_secs(300))].into();
    let fixture = Fixture::with(Settings { lifetimes, ..settings() });
    let (reply, _) = issue(&fixture, "member", &json!({"protocol": "vnc"}));
    let console = &reply.body["console"];
    assert!(console["url"].as_str().unwrap().contains("/vnc_lite.html?path=%3Ftoken%3D"));
    assert_eq!(console["expires_in"], 300, "the dialect's own lifetime");
    assert_eq!((&console["view_only"], &console["client_address"]), (&json!(false), &Value::Null));
}

#[test]
fn refusals_of_consoles() {
    let fixture = Fixture::new();
    let check = |token: &str, uri: &str, body: Value, status: u16, cause: &str| {
        assert_eq!(refused(&post(&fixture, token, uri, &body)), (status, cause), "{uri} {body}");
    };
    let vnc = || json!({"protocol": "vnc"});
    let at = |id: &str| format!("/console/v1/servers/{id}/consoles");
    check("", CONSOLES, vnc(), 401, "unauthenticated");
    check("nobody", CONSOLES, vnc(), 401, "unauthenticated");
    check("member", &at("none"), vnc(), 404, "no-server");
    check("member", &at("foreign"), vnc(), 404, "no-server");
    check("reader", CONSOLES, vnc(), 403, "policy");
    check("member", &at("building"), vnc(), 409, "not-ready");
    check("member", &at("no-vnc"), vnc(), 400, "no-console");
    check("member", CONSOLES, json!({"protocol": "spice"}), 400, "not-offered");
    check("member", CONSOLES, json!([]), 400, "malformed-body");
    check("member", CONSOLES, json!({}), 400, "schema");
    check("member", CONSOLES, json!({"protocol": "rdp"}), 400, "schema");
    check("member", CONSOLES, json!({"protocol": "vnc", "x": 1}), 400, "schema");
    check("member", CONSOLES, json!({"protocol": "vnc", "x".repeat(5000): 1}), 400, "schema");
    check("member", CONSOLES, json!({"protocol": "vnc", "client_address": "h"}), 400, "schema");
    check("member", CONSOLES, json!({"protocol": "vnc", "viewers": "hub"}), 400, "schema");
    check("member", CONSOLES, json!({"protocol": "vnc", "ttl": 1.5}), 400, "schema");
    check("member", CONSOLES, json!({"protocol": "vnc", "ttl": 0}), 400, "ttl");
    check("member", CONSOLES, json!({"protocol": "vnc", "ttl": 3601}), 400, "ttl");
    check("member", CONSOLES, json!({"protocol": "vnc", "ttl": u64::MAX}), 400, "ttl");
    check("member", CONSOLES, json!({"protocol": "mks", "view_only": true}), 400, "view-only");
    check("member", CONSOLES, json!({"protocol": "vnc", "uses": 2}), 400, "uses");
    check("member", CONSOLES, json!({"protocol": "vnc", "record": true}), 400, "record");
    check("member", "/console/v1/", vnc(), 404, "no-route");
    check("member", "/console/v1/servers//consoles", vnc(), 404, "no-route");
    assert!(fixture.store.is_empty(), "no refusal leaves a token");
    issue(&fixture, "admin", &vnc());
    let reply = fixture.call(&Ask { uri: CONSOLES, ..Ask::default() });
    assert_eq!((refused(&reply), reply.header("allow")), ((405, "method"), Some("POST")));
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let reply =
        fixture.call(&Ask { method: "POST", uri: CONSOLES, headers: &form, body: "a=b", ..Ask::default() });
    assert_eq!(refused(&reply), (415, "media-type"));
    let reply = fixture.call(&Ask { method: "POST", uri: CONSOLES, body: "{", ..Ask::default() });
    assert_eq!(refused(&reply), (400, "malformed-body"));
}

#[test]
fn looking_spends_nothing_and_tells_only_those_who_may_know() {
    let fixture = Fixture::new();
    let (reply, token) =
        issue(&fixture, "member", &json!({"protocol": "serial", "ttl": 60, "view_only": true}));
    let body = json!({"token": token.reveal()});
    for caller in ["member", "colleague", "admin", "member"] {
        let seen = post(&fixture, caller, INSPECT, &body);
        let expected = json!({"token": {
            "id": reply.body["console"]["id"], "server_id": "vm", "server_name": "name-of-vm",
            "project_id": PROJECT, "user_id": "member", "protocol": "serial", "expires_in": 60, "ready": true,
            "view_only": true, "enforce_expiry": false, "client_address": null, "viewers": null,
            "uses": 1, "record": "off",
        }});
        assert_eq!((seen.status, &seen.body), (200, &expected), "{caller}");
    }
    assert_eq!(refused(&post(&fixture, "stranger", INSPECT, &body)), (404, "no-token"));
    assert_eq!(refused(&post(&fixture, "reader", INSPECT, &body)), (403, "policy"));
    assert_eq!(refused(&post(&fixture, "member", INSPECT, &json!({"token": "x"}))), (404, "no-token"));
    assert_eq!(refused(&post(&fixture, "member", INSPECT, &json!({"token": 1}))), (400, "schema"));
    fixture.inventory.replace(Vec::new());
    assert_eq!(refused(&post(&fixture, "member", INSPECT, &body)), (404, "no-token"));
    fixture.clock.advance(Duration::from_secs(60));
    assert_eq!(refused(&post(&fixture, "member", INSPECT, &body)), (404, "no-token"));
}

#[test]
fn a_token_is_its_users_to_take_back() {
    let fixture = Fixture::new();
    let vnc = json!({"protocol": "vnc"});
    let gone = |reply: Reply, tokens: usize, sessions: usize| {
        let expected = json!({"revoked": {"tokens": tokens, "sessions": sessions}});
        assert_eq!((reply.status, reply.body), (200, expected));
    };
    let (_, token) = issue(&fixture, "member", &vnc);
    let body = json!({"token": token.reveal()});
    assert_eq!(refused(&post(&fixture, "stranger", REVOKE, &body)), (404, "no-token"));
    assert_eq!(refused(&post(&fixture, "reader", REVOKE, &body)), (403, "policy"));
    assert_eq!(refused(&post(&fixture, "colleague", REVOKE, &body)), (403, "not-owner"));
    gone(post(&fixture, "member", REVOKE, &body), 1, 0);
    assert_eq!(refused(&post(&fixture, "member", INSPECT, &body)), (404, "no-token"));
    assert_eq!(refused(&post(&fixture, "member", REVOKE, &body)), (404, "no-token"));

    // Spent, and its session open: the same owner, the same call.
    let (_, token) = issue(&fixture, "member", &vnc);
    let body = json!({"token": token.reveal()});
    let store = &*fixture.store;
    let peek = tokio_test::block_on(crate::tokens::Store::peek(store, token.key())).unwrap().unwrap();
    tokio_test::block_on(async {
        let nonce = crate::tokens::Nonce(1);
        crate::tokens::Store::claim(store, token.key(), nonce).await.unwrap();
        crate::tokens::Store::confirm(store, token.key(), nonce).await.unwrap();
    });
    fixture.sessions.0.lock().unwrap().push((token.key(), Arc::clone(&peek.grant)));
    assert_eq!(refused(&post(&fixture, "colleague", REVOKE, &body)), (403, "not-owner"));
    gone(post(&fixture, "admin", REVOKE, &body), 0, 1);
    assert_eq!(refused(&post(&fixture, "admin", REVOKE, &body)), (404, "no-token"));
}

#[test]
fn administrators_take_back_by_server_project_and_user() {
    let fixture = Fixture::new();
    let vnc = json!({"protocol": "vnc"});
    for (field, value) in [("server_id", "vm"), ("project_id", PROJECT), ("user_id", "member")] {
        let body = json!({field: value});
        issue(&fixture, "member", &vnc);
        assert_eq!(refused(&post(&fixture, "member", REVOKE, &body)), (403, "policy"));
        let reply = post(&fixture, "admin", REVOKE, &body);
        assert_eq!(reply.body, json!({"revoked": {"tokens": 1, "sessions": 0}}), "{field}");
        assert_eq!(post(&fixture, "admin", REVOKE, &body).body["revoked"]["tokens"], 0, "{field}");
    }
    for body in [json!({}), json!({"server_id": "vm", "user_id": "member"}), json!({"server": "vm"})] {
        assert_eq!(refused(&post(&fixture, "admin", REVOKE, &body)), (400, "schema"), "{body}");
    }
}
