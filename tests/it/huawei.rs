//! Huawei's own SDKs, unmodified, from a signed request to an open console.

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::python;
use crate::support::server::{PROJECT, Running, TOKEN, http, open, target};
use crate::support::xvnc::Xvnc;

const SK: &str = "a-secret-key-for-tests";
const SECURITY_TOKEN: &str = "a-security-token-for-tests";

/// One run of the script: who asks how for what.
#[derive(Clone, Copy)]
struct Sdk<'a> {
    /// `bms`, `clouddc` or `ecs`.
    call: &'a str,
    server: &'a str,
    access_key: &'a str,
    secret_key: &'a str,
    options: &'a [&'a str],
}

impl Sdk<'_> {
    async fn ask(&self, running: &Running) -> Value {
        let script = format!("{}/tests/python/huawei_console.py", env!("CARGO_MANIFEST_DIR"));
        let endpoint = format!("http://{}", running.at.api);
        let args = [&[script.as_str(), &endpoint, self.call, self.server], self.options].concat();
        let environment = [("AK", self.access_key), ("SK", self.secret_key)];
        let said = python::run("python", &args, &environment).await.success();
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error} in {said}"))
    }
}

/// Fixed signing keys: two of a member, a temporary one, a reader's, and one of another project.
fn keys() -> String {
    let mut all = String::new();
    for (key, project, role, more) in [
        ("AK-MEMBER", PROJECT, "member", ""),
        ("AK-ANOTHER", PROJECT, "member", ""),
        ("AK-TEMPORARY", PROJECT, "member", "security_token = \"a-security-token-for-tests\"\n"),
        ("AK-READER", PROJECT, "reader", ""),
        ("AK-STRANGER", "somebody-elses", "member", ""),
    ] {
        all += &format!(
            "[[auth.access_key]]\naccess_key = \"{key}\"\nsecret_key = \"{SK}\"\nuser = \"demo\"\n\
             project = \"{project}\"\nroles = [\"{role}\"]\n{more}"
        );
    }
    all
}

fn bare_metal(id: &str, more: &str) -> String {
    target(id, id, more).replace("kind = \"vm\"", "kind = \"baremetal\"")
}

/// The answer's URL and its path, with `TOKEN` for the token.
fn url(answer: &Value) -> (&str, String) {
    let url = answer.pointer("/remote_console/url").or_else(|| answer.get("url")).and_then(Value::as_str);
    let url = url.unwrap_or_else(|| panic!("no URL: {answer}"));
    let (_, rest) = url.split_once("://").expect("no scheme");
    let path = &rest[rest.find('/').expect("no path")..];
    let start = path.find("token=").expect("no token") + 6;
    (url, path.replace(&path[start..start + 36], "TOKEN"))
}

#[tokio::test(flavor = "multi_thread")]
async fn unmodified_sdks_get_urls_that_open_consoles() {
    let screen = Xvnc::start(None).await;
    let line = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = "zone = \"pod05ironic\"\nregion = \"region-01\"\nserial_viewers = \"share\"";
    let consoles = format!(
        "vnc = \"tcp://{}\"\nserial = \"tcp://{}\"\n{place}",
        screen.address(),
        line.local_addr().unwrap()
    );
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = line.accept().await {
            tokio::spawn(async move {
                let _ = socket.write_all(b"login: ").await;
                let _ = socket.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    let running =
        Running::start(&[keys(), target("vm", "vm", &consoles), bare_metal("bm", &consoles)].concat()).await;
    for (call, server, path, region) in [
        ("bms", "bm", "/serial/pod05ironic.region-01/?token=TOKEN", "region-a"),
        (
            "clouddc",
            "bm",
            "/vnc/pod05ironic.region-01/vnc_auto.html?token=TOKEN&compression=9&quality=0&resize=scale",
            "region-b",
        ),
        ("ecs", "vm", "/vnc_auto.html?token=TOKEN&lang=EN&tLength=70", "region-c"),
    ] {
        // Different keys and regions: the same request signed twice in a second is a replay.
        for (access_key, options) in [
            ("AK-MEMBER", &["--project", PROJECT][..]),
            ("AK-ANOTHER", &["--region", region]),
            ("AK-TEMPORARY", &["--project", PROJECT, "--security-token", SECURITY_TOKEN]),
        ] {
            let answer = Sdk { call, server, access_key, secret_key: SK, options }.ask(&running).await;
            let (url, found) = url(&answer);
            assert_eq!(found, path, "{call} {access_key}");
            match call {
                "bms" => assert_eq!(answer["remote_console"]["type"], "serial"),
                "ecs" => assert_eq!(answer["remote_console"]["protocol"], "vnc"),
                _ => assert_eq!(answer, json!({"url": url})),
            }
            let socket = url.replacen("http", "ws", 1);
            let (mut console, _) =
                open(&socket, &[]).await.unwrap_or_else(|status| panic!("{status}: {call} {access_key}"));
            let first = console.next().await.unwrap().unwrap().into_data();
            let expected: &[u8] = if call == "bms" { b"login: " } else { b"RFB 003.008\n" };
            assert_eq!(first, expected, "{call} {access_key}");
            assert_eq!(open(&socket, &[]).await.unwrap_err(), 403, "a second use");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdks_exceptions_carry_our_codes() {
    let consoles = "vnc = \"tcp://127.0.0.1:5901\"\nserial = \"tcp://127.0.0.1:4444\"";
    let targets = [
        target("vm", "vm", consoles),
        target("building", "building", &format!("{consoles}\nstate = \"building\"")),
        target("bare", "bare", ""),
        bare_metal("bm", consoles),
        bare_metal("windows", &format!("os = \"windows\"\n{consoles}")),
    ];
    let limits = "[limits]\noutstanding_per_target = 1\n";
    let running = Running::start(&[limits.to_owned(), keys(), targets.concat()].concat()).await;
    let own = &["--project", PROJECT][..];
    let good = Sdk { call: "ecs", server: "vm", access_key: "AK-MEMBER", secret_key: SK, options: own };
    let cases = [
        (Sdk { secret_key: "wrong", ..good }, 401, "CONSOLE.0001"),
        (Sdk { access_key: "AK-NOBODY", ..good }, 401, "CONSOLE.0001"),
        (Sdk { access_key: "AK-TEMPORARY", ..good }, 401, "CONSOLE.0001"),
        (Sdk { access_key: "AK-STRANGER", ..good }, 403, "CONSOLE.0002"),
        (Sdk { access_key: "AK-READER", ..good }, 403, "CONSOLE.0003"),
        (Sdk { server: "nobody", ..good }, 404, "CONSOLE.0004"),
        (Sdk { server: "bm", ..good }, 404, "CONSOLE.0004"),
        (Sdk { options: &["--project", PROJECT, "--type", "xvpvnc"], ..good }, 400, "CONSOLE.0009"),
        (Sdk { server: "building", ..good }, 409, "CONSOLE.0015"),
        (Sdk { server: "bare", ..good }, 400, "CONSOLE.0016"),
        (Sdk { call: "bms", server: "windows", ..good }, 400, "CONSOLE.0017"),
        (Sdk { call: "clouddc", server: "vm", ..good }, 404, "CONSOLE.0004"),
    ];
    for (sdk, status, code) in cases {
        let answer = sdk.ask(&running).await;
        assert_eq!(
            (answer["status"].as_u64(), answer["code"].as_str()),
            (Some(status), Some(code)),
            "{answer}"
        );
        assert_eq!(answer["exception"], "ClientRequestException", "{answer}");
        assert!(answer["request"].as_str().is_some_and(|id| id.starts_with("req-")), "{answer}");
    }
    // The one URL the limit allows, then one too many.
    let path = format!("/v1/{PROJECT}/cloudservers/vm/remote_console");
    let body = r#"{"remote_console":{"protocol":"vnc","type":"novnc"}}"#;
    let said = http(running.at.api, "POST", &path, &format!("X-Auth-Token: {TOKEN}\r\n"), body).await;
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    let answer = good.ask(&running).await;
    assert_eq!(
        (answer["status"].as_u64(), &answer["exception"]),
        (Some(429), &json!("ClientRequestException"))
    );
}
