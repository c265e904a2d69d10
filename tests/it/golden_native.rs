//! Every success and every fault of the native API, byte for byte: `tests/data/golden/native*.txt`.

use consolegate::ids::Protocol;

use crate::golden::{Case, READER, case, compare, dialect, targets, tell};
use crate::support::server::{ADMIN_TOKEN, PROJECT, Running};

const COLLEAGUE: &str = "a-colleagues-token-for-tests";

#[tokio::test(flavor = "multi_thread")]
async fn consoles() {
    let path = "POST /console/v1/servers/vm/consoles";
    let vnc = r#"{"protocol":"vnc"}"#;
    let good = [
        case("a VNC console", path, vnc),
        case(
            "a serial console with options",
            path,
            r#"{"protocol":"serial","ttl":60,"view_only":true,"client_address":"192.0.2.1","enforce_expiry":true}"#,
        ),
    ];
    let large = format!("{vnc}{}", " ".repeat(64 * 1024));
    let faults = [
        case("no such server", "POST /console/v1/servers/nobody/consoles", vnc),
        case("another project's server", "POST /console/v1/servers/foreign/consoles", vnc),
        case("a server that is being built", "POST /console/v1/servers/building-vm/consoles", vnc),
        case("a server without a console", "POST /console/v1/servers/bare-vm/consoles", vnc),
        case("another method", "GET /console/v1/servers/vm/consoles", ""),
        case("no such path", "POST /console/v1/servers/vm/console", vnc),
        Case { headers: &[("Content-Type", "application/xml")], ..case("another media type", path, vnc) },
        case("a body that is not JSON", path, "{"),
        case("a body that is no object", path, "[]"),
        case("an unknown field", path, r#"{"protocol":"vnc","x":1}"#),
        case("an unknown protocol", path, r#"{"protocol":"ssh"}"#),
        case("a console type without a template", path, r#"{"protocol":"spice"}"#),
        case("a lifetime too long", path, r#"{"protocol":"vnc","ttl":86401}"#),
        case("a lifetime of nothing", path, r#"{"protocol":"vnc","ttl":0}"#),
        case("for viewing only where that is not kept", path, r#"{"protocol":"mks","view_only":true}"#),
        case("several uses", path, r#"{"protocol":"vnc","uses":2}"#),
        case("a recording", path, r#"{"protocol":"vnc","record":true}"#),
        case("a body that is too large", path, &large),
    ];
    dialect("native.txt", &good, &faults).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens() {
    let (inspect, revoke) = ("POST /console/v1/tokens/inspect", "POST /console/v1/tokens/revoke");
    let colleague = format!(
        "[[auth.token]]\ntoken = \"{COLLEAGUE}\"\nuser = \"colleague\"\nproject = \"{PROJECT}\"\n{}",
        targets()
    );
    let running = Running::start(&colleague).await;
    let token = running.token("vm", Protocol::Vnc).await;
    let own = format!(r#"{{"token":"{token}"}}"#);
    let unknown = r#"{"token":"0123456789abcdef"}"#;
    let by = |token, case| Case { token, ..case };
    let mut story = String::new();
    for case in [
        case("what a token would open", inspect, &own),
        by(READER, case("what a token would open, for a reader", inspect, &own)),
        case("what no token would open", inspect, unknown),
        case("no token to look at", inspect, "{}"),
        by(READER, case("taken back by a reader", revoke, &own)),
        by(COLLEAGUE, case("taken back by a colleague", revoke, &own)),
        case("taken back by its user", revoke, &own),
        case("taken back again", revoke, &own),
        case("all of a server, by a member", revoke, r#"{"server_id":"vm"}"#),
        by(ADMIN_TOKEN, case("all of a server", revoke, r#"{"server_id":"vm"}"#)),
        by(ADMIN_TOKEN, case("all of a project", revoke, r#"{"project_id":"somebody-elses"}"#)),
        by(ADMIN_TOKEN, case("all of a user", revoke, r#"{"user_id":"demo"}"#)),
        by(ADMIN_TOKEN, case("all of two", revoke, r#"{"user_id":"demo","server_id":"vm"}"#)),
    ] {
        story += &tell(&running, &case).await;
    }
    compare("native-tokens.txt", &story);
}
