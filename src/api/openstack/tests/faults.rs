//! The table of faults, row by row, and its order: of two things wrong, the earlier is told.

use hyper::Request;

use super::super::super::testing::Unfinished;
use super::*;

const UNAUTHORIZED: &str = "The request you have made requires authentication.";
const NO_ROUTE: &str = "The resource could not be found.";
const MALFORMED: &str = "Malformed request body";
const BAD_VERSION: &[(&str, &str)] = &[("OpenStack-API-Version", "compute 2.999")];

fn schema(field: &str, value: &str, list: &str) -> String {
    format!("Invalid input for field/attribute {field}. Value: {value}. '{value}' is not one of [{list}]")
}

/// Each row stands with everything of the later rows wrong as well, as far as one request can have it.
#[test]
fn the_rows_in_order() {
    let fixture = Fixture::new();
    let check = |ask: Ask<'_>, status, name: &str, message: &str| {
        assert_fault(&fixture.call(&ask), status, name, message);
    };
    let bad_type = [("OpenStack-API-Version", "compute 2.6"), ("Content-Type", "application/xml")];
    let nobody = "/v2.1/servers/nobody/remote-consoles";
    let foreign = "/v2.1/servers/foreign/remote-consoles";
    let building = "/v2.1/servers/building/remote-consoles";
    let bare = "/v2.1/servers/building-bare/remote-consoles";
    let bad_pair = r#"{"remote_console":{"protocol":"vnc","type":"serial"}}"#;
    let bad_schema = r#"{"remote_console":{"protocol":"vnc","type":"x"}}"#;

    // 1, before 2.
    for token in ["", "wrong"] {
        let reply = fixture.call(&Ask { token, ..remote(nobody, "{", BAD_VERSION) });
        let golden = json!({"error": {"code": 401, "title": "Unauthorized", "message": UNAUTHORIZED}});
        assert_eq!((reply.status, &reply.body), (401, &golden));
        assert_eq!(reply.header("www-authenticate"), Some("Keystone uri=\"http://api:8774\""));
        assert!(reply.header("openstack-api-version").is_none(), "no version was agreed on");
    }
    // 2, before 3.
    let range = "Version 2.999 is not supported by the API. Minimum is 2.1 and maximum is 2.104.";
    check(remote(nobody, "{", BAD_VERSION), 406, "computeFault", range);
    let form = "API Version String 2.x is of invalid format. Must be of format MajorNum.MinorNum.";
    check(remote(nobody, "{", &[("X-OpenStack-Nova-API-Version", "2.x")]), 400, "badRequest", form);
    // 3, the media type before the JSON, both before 4.
    check(remote(nobody, "{", &bad_type), 415, "badMediaType", "Unsupported Content-Type");
    check(remote(nobody, "{", AT_2_6), 400, "badRequest", MALFORMED);
    check(remote(nobody, "{}x", AT_2_6), 400, "badRequest", MALFORMED);
    // 4, before 5.
    let types = "'novnc', 'xvpvnc', 'spice-html5', 'serial', 'rdp-html5'";
    check(remote(nobody, bad_schema, AT_2_6), 400, "badRequest", &schema("type", "x", types));
    check(remote(nobody, "", AT_2_6), 400, "badRequest", "None is not of type 'object'");
    // 5, before 6: a reader of one project learns nothing of another's server.
    let reader = |ask| Ask { token: "reader", ..ask };
    let gone = |id: &str| format!("Instance {id} could not be found.");
    check(reader(remote(nobody, bad_pair, AT_2_6)), 404, "itemNotFound", &gone("nobody"));
    check(reader(remote(foreign, bad_pair, AT_2_6)), 404, "itemNotFound", &gone("foreign"));
    let odd = "/v2.1/servers/%00%27%22%C3%A9/remote-consoles";
    check(remote(odd, bad_pair, AT_2_6), 404, "itemNotFound", &gone("\0'\"é"));
    // 6, before 7.
    let policy = "Policy doesn't allow os_compute_api:os-remote-consoles to be performed.";
    check(reader(remote(building, bad_pair, AT_2_6)), 403, "forbidden", policy);
    // 7, before 8.
    check(remote(building, bad_pair, AT_2_6), 400, "badRequest", "Invalid console type serial");
    // 8, before 9.
    check(remote(bare, NOVNC, AT_2_6), 409, "conflictingRequest", "Instance building-bare is not ready");
    for id in ["building", "deleting", "migrating", "stopped"] {
        let uri = format!("/v2.1/servers/{id}/remote-consoles");
        let message = format!("Instance {id} is not ready");
        check(remote(&uri, NOVNC, AT_2_6), 409, "conflictingRequest", &message);
    }
    // 9.
    let unsupported = "The requested functionality is not supported.";
    check(remote("/v2.1/servers/no-vnc/remote-consoles", NOVNC, AT_2_6), 501, "notImplemented", unsupported);
    assert_eq!(fixture.store.len(), 0, "no refusal leaves a token");
}

#[test]
fn console_types_by_version() {
    let fixture = Fixture::new();
    let check = |version: &str, protocol: &str, kind: &str, status: u16, message: &str| {
        let body = json!({"remote_console": {"protocol": protocol, "type": kind}}).to_string();
        let reply = fixture.call(&remote(VM, &body, &[("X-OpenStack-Nova-API-Version", version)]));
        let name = if status == 404 { "itemNotFound" } else { "badRequest" };
        match status {
            200 => assert_eq!(reply.status, 200, "{version} {protocol} {kind}: {}", reply.body),
            _ => assert_fault(&reply, status, name, message),
        }
    };
    let protocols_26 = "'vnc', 'spice', 'serial', 'rdp'";
    let types_26 = "'novnc', 'xvpvnc', 'spice-html5', 'serial', 'rdp-html5'";
    let types_28 = "'novnc', 'xvpvnc', 'spice-html5', 'serial', 'rdp-html5', 'webmks'";
    // There is no such thing below 2.6.
    check("2.1", "vnc", "novnc", 404, NO_ROUTE);
    check("2.5", "vnc", "novnc", 404, NO_ROUTE);
    for version in ["2.6", "2.7", "2.8", "2.98", "2.99", "2.104", "latest"] {
        check(version, "vnc", "novnc", 200, "");
        check(version, "serial", "serial", 200, "");
        check(version, "rdp", "rdp-html5", 400, "Unavailable console type rdp.");
        check(version, "rdp", "novnc", 400, "Unavailable console type rdp.");
        check(version, "vnc", "xvpvnc", 400, "Invalid console type xvpvnc");
        check(version, "serial", "novnc", 400, "Invalid console type novnc");
        check(version, "vnc", "spice-html5", 400, "Invalid console type spice-html5");
        check(version, "spice", "serial", 400, "Invalid console type serial");
        check(version, "spice", "spice-html5", 400, "Unavailable console type spice-html5.");
    }
    for version in ["2.6", "2.7"] {
        check(version, "mks", "webmks", 400, &schema("protocol", "mks", protocols_26));
        check(version, "vnc", "webmks", 400, &schema("type", "webmks", types_26));
    }
    for version in ["2.8", "2.98", "2.99"] {
        check(version, "mks", "webmks", 400, "Unavailable console type webmks.");
        check(version, "mks", "novnc", 400, "Invalid console type novnc");
        check(version, "vnc", "webmks", 400, "Invalid console type webmks");
    }
    check("2.98", "spice", "spice-direct", 400, &schema("type", "spice-direct", types_28));
    check("2.99", "spice", "spice-direct", 400, "Unavailable console type spice-direct.");
    check("2.99", "vnc", "spice-direct", 400, "Invalid console type spice-direct");
}

#[test]
fn the_actions_faults() {
    let fixture = Fixture::new();
    let check = |server: &str, token, body: &str, status: u16, message: &str| {
        let uri = format!("/v2.1/servers/{server}/action");
        let reply = fixture.call(&Ask { token, ..remote(&uri, body, &[]) });
        let name = match status {
            400 => "badRequest",
            403 => "forbidden",
            404 => "itemNotFound",
            409 => "conflictingRequest",
            _ => "notImplemented",
        };
        assert_fault(&reply, status, name, message);
    };
    let vnc = r#"{"os-getVNCConsole":{"type":"novnc"}}"#;
    let field = "Invalid input for field/attribute";
    check("vm", "member", "", 400, MALFORMED);
    check("vm", "member", "[]", 400, MALFORMED);
    check("vm", "member", "{}", 400, MALFORMED);
    check("vm", "member", r#"{"os-getVNCConsole":{"type":"novnc"},"x":1}"#, 400, MALFORMED);
    check("vm", "member", r#"{"os-start":null}"#, 400, "There is no such action: os-start");
    let missing = format!("{field} os-getVNCConsole. Value: {{}}. 'type' is a required property");
    check("nobody", "member", r#"{"os-getVNCConsole":{}}"#, 400, &missing);
    let serial_type = schema("type", "x", "'serial'");
    check("nobody", "member", r#"{"os-getSerialConsole":{"type":"x"}}"#, 400, &serial_type);
    let spice_type = schema("type", "spice-direct", "'spice-html5'");
    check("vm", "member", r#"{"os-getSPICEConsole":{"type":"spice-direct"}}"#, 400, &spice_type);
    let mks_type = schema("type", "mks", "'webmks'");
    check("vm", "member", r#"{"os-getMKSConsole":{"type":"mks"}}"#, 400, &mks_type);
    check("nobody", "member", vnc, 404, "Instance nobody could not be found.");
    check("foreign", "reader", vnc, 404, "Instance foreign could not be found.");
    let policy = "Policy doesn't allow os_compute_api:os-remote-consoles to be performed.";
    check("building", "reader", vnc, 403, policy);
    let xvp = r#"{"os-getVNCConsole":{"type":"xvpvnc"}}"#;
    check("building", "member", xvp, 400, "Invalid console type xvpvnc");
    for (action, kind) in [("os-getSPICEConsole", "spice-html5"), ("os-getMKSConsole", "webmks")] {
        let body = json!({action: {"type": kind}}).to_string();
        check("building", "member", &body, 400, &format!("Unavailable console type {kind}."));
    }
    check("building", "member", r#"{"os-getRDPConsole":null}"#, 400, "Unavailable console type rdp.");
    check("building", "member", vnc, 409, "Instance building is not ready");
    check("no-vnc", "member", vnc, 501, "The requested functionality is not supported.");
}

#[test]
fn below_v2_versions_are_not_known_and_more_properties_pass() {
    let fixture = Fixture::new();
    let body = r#"{"os-getVNCConsole":{"type":"novnc","more":1}}"#;
    let reply = fixture.call(&remote("/v2/servers/vm/action", body, BAD_VERSION));
    assert_eq!(reply.status, 200);
    for header in ["openstack-api-version", "x-openstack-nova-api-version", "vary"] {
        assert_eq!(reply.header(header), None);
    }
    assert_eq!(fixture.call(&remote("/v2.1/servers/vm/action", body, &[])).status, 400);
    let reply = fixture.call(&remote("/v2/servers/vm/remote-consoles", NOVNC, AT_2_6));
    assert_fault(&reply, 404, "itemNotFound", NO_ROUTE);
}

#[test]
fn methods_and_routes() {
    let fixture = Fixture::new();
    let wrong = "The method specified is not allowed for this resource.";
    for (method, uri, allow) in [
        ("GET", VM, "POST"),
        ("HEAD", VM, "POST"),
        ("PUT", VM, "POST"),
        ("GET", "/v2.1/servers/vm/action", "POST"),
        ("POST", "/v2.1/servers", "GET, HEAD"),
        ("DELETE", "/v2.1/servers/vm", "GET, HEAD"),
        ("POST", "/v2.1/servers/detail", "GET, HEAD"),
        ("DELETE", "/v2.1/os-console-auth-tokens/0123456789abcdef", "GET, HEAD"),
        ("POST", "/v2.1", "GET, HEAD"),
        ("POST", "/", "GET, HEAD"),
    ] {
        let reply = fixture.call(&Ask { method, uri, headers: AT_2_6, ..Ask::default() });
        assert_fault(&reply, 405, "badMethod", wrong);
        assert_eq!(reply.header("allow"), Some(allow), "{method} {uri}");
    }
    for uri in ["/v2.1/images", "/v2.1/servers/vm/remote-consoles/1", "/v2/flavors/detail"] {
        assert_fault(&fixture.call(&Ask { uri, ..Ask::default() }), 404, "itemNotFound", NO_ROUTE);
        assert_eq!(fixture.call(&Ask { uri, token: "", ..Ask::default() }).status, 401);
    }
    for uri in ["/v2.1/servers", "/v2.1/servers/vm"] {
        assert_eq!(fixture.call(&Ask { uri, method: "HEAD", ..Ask::default() }).status, 200);
    }
}

#[test]
fn the_project_in_the_url_is_the_callers() {
    let fixture = Fixture::new();
    let message = format!(
        "Malformed request URL: URL's project_id '{OTHER}' doesn't match Context's project_id '{PROJECT}'"
    );
    for token in ["member", "admin"] {
        for path in ["servers", "servers/foreign", "os-console-auth-tokens/0123456789abcdef"] {
            let uri = format!("/v2.1/{OTHER}/{path}");
            let reply = fixture.call(&Ask { uri: &uri, token, ..Ask::default() });
            assert_fault(&reply, 400, "badRequest", &message);
        }
        let uri = format!("/v2/{OTHER}/servers/foreign/action");
        let reply = fixture.call(&Ask { token, ..remote(&uri, r#"{"os-start":1}"#, &[]) });
        assert_fault(&reply, 400, "badRequest", &message);
    }
}

#[test]
fn media_types() {
    let fixture = Fixture::new();
    let check = |kind: &str, status: u16| {
        let headers = [("OpenStack-API-Version", "compute 2.6"), ("Content-Type", kind)];
        assert_eq!(fixture.call(&remote(VM, NOVNC, &headers)).status, status, "{kind}");
    };
    check("application/json", 200);
    check("Application/JSON; charset=utf-8", 200);
    check("application/vnd.openstack.compute+json", 200);
    check("text/plain", 200);
    check("application/x-www-form-urlencoded", 415);
    check("application/jsonx", 415);
    check("text/html", 415);
}

#[test]
fn a_full_store_is_a_503_with_a_time_to_come_back() {
    let mut settings = settings();
    settings.tokens.capacity = 1;
    let fixture = Fixture::with(settings);
    assert_eq!(fixture.call(&remote(VM, NOVNC, AT_2_6)).status, 200);
    let reply = fixture.call(&remote(VM, NOVNC, AT_2_6));
    let message = "The service is temporarily unavailable. Try again later.";
    assert_fault(&reply, 503, "serviceUnavailable", message);
    assert_eq!(reply.header("retry-after"), Some("5"));
    fixture.clock.advance(Duration::from_secs(600));
    assert_eq!(fixture.call(&remote(VM, NOVNC, AT_2_6)).status, 200);
}

#[test]
fn bodies_are_bounded() {
    let fixture = Fixture::new();
    let padded = |len: usize| format!("{NOVNC}{}", " ".repeat(len - NOVNC.len()));
    assert_eq!(fixture.call(&remote(VM, &padded(65_536), AT_2_6)).status, 200);
    let reply = fixture.call(&remote(VM, &padded(65_537), AT_2_6));
    assert_fault(&reply, 413, "overLimit", "the body is larger than 65536 bytes");
    assert_eq!(reply.header("connection"), Some("close"));
}

/// The runtime's clock stands still but for what it waits for: ten seconds pass at once.
#[tokio::test(start_paused = true)]
async fn bodies_have_a_deadline() {
    let fixture = Fixture::new();
    let post = async |body, token: &str| {
        let request =
            Request::post(VM).header("X-Auth-Token", token).header("OpenStack-API-Version", "compute 2.6");
        fixture.api.handle(None, request.body(body).unwrap()).unwrap().await
    };
    let begun = tokio::time::Instant::now();
    let reply = post(Unfinished { broken: false }, "member").await;
    assert_eq!((reply.status().as_u16(), begun.elapsed()), (408, Duration::from_secs(10)));
    assert_eq!(reply.headers()["connection"], "close");
    assert_eq!(post(Unfinished { broken: true }, "member").await.status(), 400);
    // Nobody known, nothing read.
    let begun = tokio::time::Instant::now();
    let reply = post(Unfinished { broken: false }, "wrong").await;
    assert_eq!((reply.status().as_u16(), begun.elapsed()), (401, Duration::ZERO));
}
