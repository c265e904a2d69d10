//! Consoles issued: answers, URLs, grants, and what administrators see of a token.

use super::*;

/// The answer's URL with `T` for its token.
fn url(reply: &Reply) -> String {
    let console = reply.body.get("remote_console").or_else(|| reply.body.get("console"));
    let url = console.unwrap_or_else(|| panic!("{reply:?}"))["url"].as_str().unwrap();
    url.replace(reply.token().reveal(), "T")
}

#[test]
fn remote_consoles_answers_three_fields() {
    let fixture = Fixture::new();
    let reply = fixture.call(&remote(VM, NOVNC, AT_2_6));
    let full = format!("http://127.0.0.1:6080/vnc_lite.html?path=%3Ftoken%3D{}", reply.token().reveal());
    assert_eq!(reply.status, 200);
    assert_eq!(reply.body, json!({"remote_console": {"protocol": "vnc", "type": "novnc", "url": full}}));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("openstack-api-version"), Some("compute 2.6"));
    assert_eq!(reply.header("x-openstack-nova-api-version"), Some("2.6"));
    assert_eq!(reply.header("vary"), Some("OpenStack-API-Version, X-OpenStack-Nova-API-Version"));
    let request = reply.header("x-openstack-request-id").unwrap();
    assert_eq!(reply.header("x-compute-request-id"), Some(request));
    uuid::Uuid::parse_str(request.strip_prefix("req-").unwrap()).unwrap();

    let reply = fixture.call(&remote(VM, SERIAL, AT_2_6));
    let full = format!("ws://127.0.0.1:6080/?token={}", reply.token().reveal());
    assert_eq!(reply.body, json!({"remote_console": {"protocol": "serial", "type": "serial", "url": full}}));
}

#[test]
fn every_form_of_the_path_and_every_server_state_that_allows_it() {
    let fixture = Fixture::new();
    for prefix in ["/v2.1".to_owned(), format!("/v2.1/{PROJECT}")] {
        for (server, body) in [
            ("vm", NOVNC),
            ("vm", SERIAL),
            ("bm", NOVNC),
            ("bm", SERIAL),
            ("stopped-bm", SERIAL),
            ("no-vnc", SERIAL),
            ("unix", SERIAL),
        ] {
            let uri = format!("{prefix}/servers/{server}/remote-consoles");
            assert_eq!(fixture.call(&remote(&uri, body, AT_2_6)).status, 200, "{uri} {body}");
        }
    }
    // nova's serial URL even for bare metal: the newer API is nova's alone.
    let reply = fixture.call(&remote("/v2.1/servers/bm/remote-consoles", SERIAL, AT_2_6));
    assert_eq!(url(&reply), "ws://127.0.0.1:6080/?token=T");
}

#[test]
fn the_actions_answer_two_fields_at_every_version() {
    let fixture = Fixture::new();
    let vnc = r#"{"os-getVNCConsole":{"type":"novnc"}}"#;
    let serial = r#"{"os-getSerialConsole":{"type":"serial"}}"#;
    for version in ["2.1", "2.5", "2.6", "2.96", "2.104", "latest"] {
        for prefix in ["/v2.1", "/v2"] {
            for project in ["", PROJECT] {
                let slash = if project.is_empty() { "" } else { "/" };
                let headers = [("X-OpenStack-Nova-API-Version", version)];
                let post = |server: &str, body: &str| {
                    let uri = format!("{prefix}{slash}{project}/servers/{server}/action");
                    fixture.call(&remote(&uri, body, &headers))
                };
                let reply = post("vm", vnc);
                let full = reply.body["console"]["url"].clone();
                assert_eq!(reply.body, json!({"console": {"type": "novnc", "url": full}}));
                assert_eq!(url(&reply), "http://127.0.0.1:6080/vnc_lite.html?path=%3Ftoken%3DT");
                assert_eq!(url(&post("vm", serial)), "ws://127.0.0.1:6080/?token=T");
                assert_eq!(url(&post("bm", serial)), "http://127.0.0.1:6080/?token=T", "OTC's");
            }
        }
    }
}

#[test]
fn spice_and_mks_are_offered_where_they_have_a_template() {
    let mut settings = settings();
    settings.urls.openstack_spice = Some("{public_url}/spice_auto.html?token={token}".into());
    settings.urls.openstack_spice_direct = Some("https://kerbside.example.org/nova?token={token}".into());
    settings.urls.openstack_mks = Some("{public_url}/mks.html?token={token}".into());
    let with = Fixture::with(settings);
    let without = Fixture::new();
    let at = &[("OpenStack-API-Version", "compute 2.99")];
    for (protocol, kind, page) in [
        ("spice", "spice-html5", "http://127.0.0.1:6080/spice_auto.html?token=T"),
        ("spice", "spice-direct", "https://kerbside.example.org/nova?token=T"),
        ("mks", "webmks", "http://127.0.0.1:6080/mks.html?token=T"),
    ] {
        let body = json!({"remote_console": {"protocol": protocol, "type": kind}}).to_string();
        let reply = with.call(&remote("/v2.1/servers/many/remote-consoles", &body, at));
        assert_eq!((reply.status, url(&reply).as_str()), (200, page), "{kind}");
        // A server without such a console: past the 400 of an unset template, to the 501.
        let reply = with.call(&remote(VM, &body, at));
        assert_fault(&reply, 501, "notImplemented", "The requested functionality is not supported.");
        let reply = without.call(&remote("/v2.1/servers/many/remote-consoles", &body, at));
        assert_fault(&reply, 400, "badRequest", &format!("Unavailable console type {kind}."));
    }
    for (action, kind) in [("os-getSPICEConsole", "spice-html5"), ("os-getMKSConsole", "webmks")] {
        let body = json!({action: {"type": kind}}).to_string();
        let reply = with.call(&remote("/v2.1/servers/many/action", &body, &[]));
        assert_eq!((reply.status, &reply.body["console"]["type"]), (200, &json!(kind)));
    }
}

#[test]
fn the_grant_says_who_may_open_what() {
    let fixture = Fixture::new();
    let reply = fixture.call(&Ask { token: "admin", ..remote(VM, SERIAL, AT_2_6) });
    let peek = tokio_test::block_on(fixture.store.peek(reply.token().key())).unwrap().unwrap();
    assert_eq!(peek.remaining, Duration::from_secs(600));
    let grant = &peek.grant;
    assert_eq!(grant.target.as_str(), "vm");
    assert_eq!(grant.project.as_str(), PROJECT);
    assert_eq!(grant.user.as_str(), "admin");
    assert_eq!(grant.protocol, Protocol::Serial);
    assert_eq!(grant.generation, fixture.inventory.find(&"vm".into()).unwrap().generation);
    let RequestId(request) = grant.request;
    assert_eq!(reply.header("x-openstack-request-id"), Some(format!("req-{request}").as_str()));
}

#[test]
fn an_administrator_opens_another_projects_server() {
    let fixture = Fixture::new();
    let uri = "/v2.1/servers/foreign/remote-consoles";
    let reply = fixture.call(&Ask { token: "admin", ..remote(uri, NOVNC, AT_2_6) });
    let peek = tokio_test::block_on(fixture.store.peek(reply.token().key())).unwrap().unwrap();
    assert_eq!(peek.grant.project.as_str(), OTHER, "the server's project, not the administrator's");
}

#[test]
fn dialects_are_switched_apart() {
    let serial = r#"{"os-getSerialConsole":{"type":"serial"}}"#;
    let vnc = r#"{"os-getVNCConsole":{"type":"novnc"}}"#;
    let only =
        |dialect| Fixture::with(super::super::super::Settings { dialects: [dialect].into(), ..settings() });

    let nova = only(Dialect::Openstack);
    let reply = nova.call(&remote("/v2.1/servers/bm/action", serial, &[]));
    assert_eq!(url(&reply), "ws://127.0.0.1:6080/?token=T", "without OTC's dialect, nova's URL");

    let otc = only(Dialect::Otc);
    let reply = otc.call(&remote("/v2/servers/bm/action", serial, &[]));
    assert_eq!(url(&reply), "http://127.0.0.1:6080/?token=T");
    let reply = otc.call(&remote("/v2/servers/vm/action", serial, &[]));
    assert_fault(&reply, 404, "itemNotFound", "Instance vm could not be found.");
    let reply = otc.call(&remote("/v2/servers/bm/action", vnc, &[]));
    assert_fault(&reply, 400, "badRequest", "There is no such action: os-getVNCConsole");
    assert_eq!(otc.call(&remote("/v2.1/servers/bm/remote-consoles", SERIAL, AT_2_6)).status, 404);

    let neither = only(Dialect::Native);
    let request = hyper::Request::get("/v2.1/servers").body(http_body_util::Empty::new()).unwrap();
    assert!(neither.api.handle(None, request).is_none());
}

fn auth_token<'a>(uri: &'a str, token: &'a str, version: &'a [(&'a str, &'a str)]) -> Ask<'a> {
    Ask { uri, token, headers: version, ..Ask::default() }
}

#[test]
fn an_administrator_sees_where_a_token_leads_without_using_it() {
    let fixture = Fixture::new();
    let issue = |server: &str, body| {
        fixture.call(&remote(&format!("/v2.1/servers/{server}/remote-consoles"), body, AT_2_6)).token()
    };
    let look = |token: &str, who: &str, version: &str| {
        let headers = [("X-OpenStack-Nova-API-Version", version)];
        fixture.call(&auth_token(&format!("/v2.1/os-console-auth-tokens/{token}"), who, &headers))
    };
    let console = |server: &str, host: Value, port: u16| json!({"console": {"instance_uuid": server, "host": host, "port": port, "internal_access_path": null}});
    let vnc = issue("vm", NOVNC);
    for version in ["2.31", "2.98", "2.99", "2.104"] {
        let reply = look(vnc.reveal(), "admin", version);
        assert_eq!((reply.status, reply.body), (200, console("vm", json!("127.0.0.1"), 5901)));
    }
    let serial = issue("bm", SERIAL);
    assert_eq!(look(serial.reveal(), "admin", "2.31").body, console("bm", json!("host.example.org"), 4444));
    // A native SPICE client's port for TLS is told from 2.99 on, and of no other console.
    let mut settings = settings();
    settings.urls.openstack_spice = Some("{public_url}/spice_auto.html?token={token}".into());
    settings.urls.openstack_spice_direct = Some("https://proxy/nova?token={token}".into());
    let spice = Fixture::with(settings);
    for (kind, version, has) in
        [("spice-direct", "2.99", true), ("spice-direct", "2.98", false), ("spice-html5", "2.99", false)]
    {
        let body = format!(r#"{{"remote_console":{{"protocol":"spice","type":"{kind}"}}}}"#);
        let at = [("OpenStack-API-Version", "compute latest")];
        let token = spice.call(&remote("/v2.1/servers/many/remote-consoles", &body, &at)).token();
        let uri = format!("/v2.1/os-console-auth-tokens/{}", token.reveal());
        let headers = [("X-OpenStack-Nova-API-Version", version)];
        let mut expected = console("many", json!("127.0.0.1"), 5930);
        if has {
            expected["console"]["tls_port"] = Value::Null;
        }
        assert_eq!(spice.call(&auth_token(&uri, "admin", &headers)).body, expected, "{kind} {version}");
    }
    let unix = issue("unix", SERIAL);
    assert_eq!(look(unix.reveal(), "admin", "2.31").body, console("unix", json!(null), 0));

    let malformed = "The server could not comply with the request since it is either malformed or otherwise \
                     incorrect.";
    assert_fault(&look(vnc.reveal(), "admin", "2.30"), 400, "badRequest", malformed);
    assert_fault(&look(vnc.reveal(), "member", "2.1"), 400, "badRequest", malformed);
    let policy = "Policy doesn't allow os_compute_api:os-console-auth-tokens to be performed.";
    assert_fault(&look(vnc.reveal(), "member", "2.31"), 403, "forbidden", policy);
    assert_fault(&look("0123456789abcdef", "member", "2.31"), 403, "forbidden", policy);

    // Looking used nothing up.
    let claim = tokio_test::block_on(fixture.store.claim(vnc.key(), Nonce(1))).unwrap();
    assert!(matches!(claim, Claim::Won(_)));
    tokio_test::block_on(fixture.store.confirm(vnc.key(), Nonce(1))).unwrap();
    for token in [vnc.reveal(), "0123456789abcdef", "short"] {
        assert_fault(&look(token, "admin", "2.31"), 404, "itemNotFound", "Token not found");
    }

    // Nor does a token lead to what its server has since become.
    let mut moved = super::super::super::testing::target("bm", PROJECT);
    moved.serial = Some(crate::config::Endpoint::Unix("/elsewhere".into()));
    fixture.inventory.replace(vec![moved]);
    assert_fault(&look(serial.reveal(), "admin", "2.31"), 404, "itemNotFound", "Token not found");
    fixture.clock.advance(Duration::from_secs(600));
    assert_fault(&look(unix.reveal(), "admin", "2.31"), 404, "itemNotFound", "Token not found");
}

#[test]
fn the_operator_issues_pages_for_browsers() {
    let fixture = Fixture::new();
    let issue = |server: &str, protocol, ttl: Option<u64>| {
        let ttl = ttl.map(Duration::from_secs);
        let (server, user) = (server.into(), "root".into());
        let issued = fixture.api.issue(&server, protocol, &user, ttl);
        tokio_test::block_on(issued).map(|url| url[..url.len() - 36].to_owned()).map_err(|e| e.to_string())
    };
    let page = "http://127.0.0.1:6080/vnc_lite.html?path=%3Ftoken%3D";
    assert_eq!(issue("foreign", Protocol::Vnc, None), Ok(page.to_owned()));
    assert_eq!(issue("vm", Protocol::Serial, Some(3600)), Ok("http://127.0.0.1:6080/?token=".to_owned()));
    let error = |text: &str| Err(text.to_owned());
    assert_eq!(issue("none", Protocol::Vnc, None), error("no such server"));
    assert_eq!(issue("no-vnc", Protocol::Vnc, None), error("the server has no vnc console"));
    assert_eq!(issue("vm", Protocol::Spice, None), error("the server has no spice console"));
    assert_eq!(issue("stopped", Protocol::Vnc, None), error("the server is not ready for a console"));
    let bound = "the lifetime must be above zero and at most 1h";
    assert_eq!(issue("vm", Protocol::Vnc, Some(3601)), error(bound));
    assert_eq!(issue("vm", Protocol::Vnc, Some(0)), error(bound));
}
