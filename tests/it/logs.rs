//! A token appears in no log (security rule 4): the real program at its most talkative, through every path that
//! a token takes, and then a search of everything it said.

use rustix::process::Signal;

use crate::support::binary::{Binary, run};
use crate::support::console::{Console, Manner, dead_port};
use crate::support::server::{ADMIN_TOKEN, PROJECT, TOKEN, http, open, raw, target, token_of, upgrade};
use crate::support::{temp, viewer, within};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000001";
const DOWN: &str = "6c1f2a90-0000-4000-8000-000000000002";
const WRONG: &str = "a-wrong-credential-for-tests";
const OPERATOR: &str = "an-operators-token-for-tests";

/// Every secret that went in or came out.
struct Secrets(Vec<String>);

impl Secrets {
    fn add(&mut self, token: String) -> String {
        self.0.push(token.clone());
        token
    }

    /// Asks the API for a console.
    async fn issue(&mut self, server: &Binary, id: &str, kind: (&str, &str)) -> String {
        let body = format!("{{\"remote_console\":{{\"protocol\":\"{}\",\"type\":\"{}\"}}}}", kind.0, kind.1);
        let headers = format!(
            "X-Auth-Token: {TOKEN}\r\nContent-Type: application/json\r\nOpenStack-API-Version: compute 2.99\r\n"
        );
        let path = format!("/v2.1/{PROJECT}/servers/{id}/remote-consoles");
        let answer = http(server.api, "POST", &path, &headers, &body).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        self.add(token_of(&answer))
    }
}

/// Everything a token can go through.
async fn exercise(server: &Binary) -> Secrets {
    let mut secrets = Secrets(vec![TOKEN.into(), ADMIN_TOKEN.into(), WRONG.into(), OPERATOR.into()]);
    let (novnc, serial) = (("vnc", "novnc"), ("serial", "serial"));
    let origin = format!("http://{}", server.proxy);
    let ws = |path: &str| format!("ws://{}{path}", server.proxy);

    // Opened by query, then used, bare and painted.
    let token = secrets.issue(server, VM, novnc).await;
    let by_query = ws(&format!("/prefix/vnc.html?token={token}&x=1"));
    let (mut session, _) = open(&by_query, &[]).await.unwrap();
    viewer::rfb(&mut session).await;
    assert_eq!(open(&by_query, &[]).await.unwrap_err(), 403);
    let (mut painted, _) = open(&by_query, &[("origin", &origin)]).await.unwrap();
    assert!(viewer::rfb(&mut painted).await.contains("already used"));
    viewer::goodbye(&mut painted).await;
    // Looked up by the API, used and unused.
    let fresh = secrets.issue(server, VM, novnc).await;
    for token in [&token, &fresh] {
        let path = format!("/v2.1/os-console-auth-tokens/{token}");
        let headers = format!("X-Auth-Token: {ADMIN_TOKEN}\r\nOpenStack-API-Version: compute 2.99\r\n");
        http(server.api, "GET", &path, &headers, "").await;
    }
    // By cookie, on a serial line.
    let token = secrets.issue(server, VM, serial).await;
    let cookie = format!("a=b; token={token}");
    let (mut line, _) = open(&ws("/websockify"), &[("cookie", &cookie)]).await.unwrap();
    viewer::echo(&mut line, b"hello").await;
    let token = secrets.issue(server, VM, serial).await;
    assert_eq!(open(&ws(&format!("/?token={token}")), &[]).await.unwrap_err(), 429);
    // A console that is down; a foreign page; a page load; a malformed upgrade; a wrong method.
    let token = secrets.issue(server, DOWN, novnc).await;
    assert_eq!(open(&ws(&format!("/?token={token}")), &[]).await.unwrap_err(), 502);
    assert_eq!(
        open(&ws(&format!("/?token={token}")), &[("origin", "http://evil.example")]).await.unwrap_err(),
        403
    );
    http(
        server.proxy,
        "GET",
        &format!("/vnc.html?token={token}"),
        &format!("Referer: /?token={token}\r\n"),
        "",
    )
    .await;
    let request = upgrade(&format!("/?token={token}"));
    for change in
        [("Version: 13", "Version: 8"), ("GET", "POST"), ("HTTP/1.1", "HTTP/9.9"), ("Host:", "Host\x01:")]
    {
        raw(server.proxy, request.replacen(change.0, change.1, 1).as_bytes()).await;
    }
    // What nobody issued, in several forms; what expired.
    let unknown = secrets.add("0fda3eca-8232-4249-9a62-550bce390258".to_owned());
    let strange = secrets.add("zzzz-not-a-token-zzzz".to_owned());
    let expired = secrets.issue(server, VM, novnc).await;
    let look_up = format!("/v2.1/os-console-auth-tokens/{expired}");
    let headers = format!("X-Auth-Token: {ADMIN_TOKEN}\r\nOpenStack-API-Version: compute 2.99\r\n");
    within("the expiry", async {
        while http(server.api, "GET", &look_up, &headers, "").await.starts_with("HTTP/1.1 200") {}
    })
    .await;
    for token in [&unknown, &strange, &expired] {
        assert_eq!(open(&ws(&format!("/?token={token}")), &[]).await.unwrap_err(), 403);
    }
    // Wrong credentials.
    http(server.api, "GET", "/v2.1/servers", &format!("X-Auth-Token: {WRONG}\r\n"), "").await;
    http(server.api, "GET", &format!("/v2.1/servers?token={strange}"), "", "").await;
    secrets
}

async fn check(format: &str, more: &str) {
    let (screen, line) = (Console::new(Manner::Vnc).await, Console::new(Manner::Echo).await);
    let down = format!("vnc = \"tcp://{}\"", dead_port().await);
    let here = screen.setting("vnc") + &line.setting("serial");
    let targets = target(VM, "vm", &here) + &target(DOWN, "down", &down);
    let dir = temp::dir();
    let audit = dir.path().join("audit.jsonl");
    let mut server = Binary::serve(
        &format!(
            "[proxy]\ndrain = \"0s\"\n{more}\n[admin]\ntoken = \"{OPERATOR}\"\n[audit]\nfile = {audit:?}"
        ),
        &targets,
        format,
        &[("RUST_LOG", "trace")],
    )
    .await;
    let mut secrets = exercise(&server).await;
    let api = format!("http://{}/v2.1", server.api);
    let environment = [("CONSOLEGATE_TOKEN", TOKEN), ("RUST_LOG", "trace")];
    let issued = run(&["issue", "--log", format, "--api", &api, VM], &environment).await;
    let url = String::from_utf8(issued.stdout).unwrap();
    secrets.add(token_of(&url));
    server.signal(Signal::TERM);
    assert!(server.ended().await.success());

    let said = server.said();
    let audited = std::fs::read_to_string(audit).unwrap();
    assert!(audited.contains("token_spent") && audited.contains("\"event\":\"issue\""), "{audited}");
    let others = [("issue", String::from_utf8_lossy(&issued.stderr)), ("audit", audited.into())];
    for (who, said) in [("serve", said.as_str().into())].into_iter().chain(others) {
        for secret in &secrets.0 {
            let line = said.lines().find(|line| line.contains(secret.as_str()));
            assert_eq!(line, None, "{who} logged a secret");
        }
    }
    // It did speak, of all of this; and JSON is JSON.
    for cause in ["token_spent", "token_unknown", "target_unreached", "target_in_use", "origin", "malformed"]
    {
        assert!(said.contains(cause), "no {cause} in the log:\n{said}");
    }
    assert!(said.contains("DEBUG") && said.contains("console issued") && said.contains("opened"), "{said}");
    if format == "json" {
        let lines: Vec<serde_json::Value> = said
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
            .collect();
        assert!(lines.iter().all(serde_json::Value::is_object));
        // From the API call to the session's end: its request id leads to each line about it.
        let of = |message: &str| lines.iter().find(|line| line["message"] == message).cloned().unwrap();
        let request = &of("console issued")["request"];
        for message in ["opened", "closed", "refused"] {
            let same = |line: &&serde_json::Value| {
                line["message"] == message && line["span"]["issued_by"] == *request
            };
            // The first console was opened and closed; of the second try the token says nothing any more.
            assert_eq!(lines.iter().any(|line| same(&line)), message != "refused", "{message} of {request}");
        }
    }
}

#[tokio::test]
async fn no_secret_is_in_the_text_log() {
    check("text", "[tokens]\nttl = \"2s\"").await;
}

#[tokio::test]
async fn no_secret_is_in_the_json_log() {
    check("json", "[tokens]\nttl = \"2s\"").await;
}
