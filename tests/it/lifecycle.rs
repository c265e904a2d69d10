//! The real program: signals, `check`, `issue`.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;

use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::support::binary::{Binary, run};
use crate::support::console::{Console, Manner};
use crate::support::server::{Answer, TOKEN, http, open, target, token_of};
use crate::support::{temp, viewer};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000001";
const OTHER: &str = "6c1f2a90-0000-4000-8000-000000000002";

async fn serve(more: &str, targets: &str) -> Binary {
    Binary::serve(more, targets, "text", &[]).await
}

/// `consolegate issue`; its standard output, trimmed.
async fn issue(server: &Binary, arguments: &[&str]) -> String {
    let api = format!("http://{}/v2.1", server.api);
    let arguments = [&["issue", "--api", &api], arguments].concat();
    let output = run(&arguments, &[("CONSOLEGATE_TOKEN", TOKEN)]).await;
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

#[tokio::test]
async fn issue_prints_a_url_that_opens_a_console_by_name_and_by_id() {
    let (screen, line) = (Console::new(Manner::Vnc).await, Console::new(Manner::Echo).await);
    let server = serve("", &target(VM, "web-1", &(screen.setting("vnc") + &line.setting("serial")))).await;
    for name in ["web-1", VM] {
        let url = issue(&server, &[name]).await;
        assert!(url.starts_with(&format!("http://{}/vnc_lite.html?path=", server.proxy)), "{url}");
        let url = format!("ws://{}/?token={}", server.proxy, token_of(&url));
        let (mut socket, _) = open(&url, &[]).await.unwrap();
        assert_eq!(viewer::rfb(&mut socket).await, "fake-vnc");
    }
    let url = issue(&server, &["--protocol", "serial", "web-1"]).await;
    let (mut socket, _) = open(&url, &[]).await.unwrap();
    viewer::echo(&mut socket, b"login: ").await;
    let json: serde_json::Value = serde_json::from_str(&issue(&server, &["--json", VM]).await).unwrap();
    assert_eq!(json["remote_console"]["type"], "novnc");
}

#[tokio::test]
async fn issue_says_what_is_wrong() {
    let screen = Console::new(Manner::Vnc).await;
    let twins = target(VM, "twin", &screen.setting("vnc")) + &target(OTHER, "twin", &screen.setting("vnc"));
    let server = serve("", &twins).await;
    let api = format!("http://{}/v2.1", server.api);
    let good = ("CONSOLEGATE_TOKEN", TOKEN);
    let cases: [(&str, &[(&str, &str)], &[&str]); 5] = [
        ("nobody", &[good], &["404", "nobody"]),
        ("twin", &[good], &["2 servers", VM, OTHER]),
        (VM, &[], &["CONSOLEGATE_TOKEN"]),
        (VM, &[("CONSOLEGATE_TOKEN", "wrong-token-wrong-token")], &["401"]),
        (VM, &[good, ("CONSOLEGATE_API", "http://127.0.0.1:1/v2.1")], &["is it running?"]),
    ];
    for (name, environment, expected) in cases {
        let own = environment.iter().any(|(key, _)| *key == "CONSOLEGATE_API");
        let arguments: &[&str] = if own { &["issue", name] } else { &["issue", "--api", &api, name] };
        let output = run(arguments, environment).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(output.stdout, b"");
        for words in expected {
            assert!(said.contains(words), "{name}: no {words:?} in {said}");
        }
        assert!(!said.contains("wrong-token"), "{said}");
    }
}

#[tokio::test]
async fn sigterm_says_goodbye_and_ends_well() {
    let screen = Console::new(Manner::Vnc).await;
    let mut server = serve("[proxy]\ndrain = \"0s\"", &target(VM, "vm", &screen.setting("vnc"))).await;
    let url = format!("ws://{}/?token={}", server.proxy, token_of(&issue(&server, &[VM]).await));
    let (mut socket, _) = open(&url, &[]).await.unwrap();
    viewer::rfb(&mut socket).await;
    server.signal(Signal::TERM);
    assert_eq!(viewer::closed(&mut socket).await.0, 1001);
    assert!(server.ended().await.success(), "{}", server.said());
    assert!(TcpStream::connect(server.proxy).await.is_err());
    assert!(server.said().contains("cause=drain"), "{}", server.said());
}

#[tokio::test]
async fn sigterm_waits_for_the_live_ones() {
    let screen = Console::new(Manner::Vnc).await;
    let mut server = serve("[proxy]\ndrain = \"10m\"", &target(VM, "vm", &screen.setting("vnc"))).await;
    let url = format!("ws://{}/?token={}", server.proxy, token_of(&issue(&server, &[VM]).await));
    let (mut socket, _) = open(&url, &[]).await.unwrap();
    viewer::rfb(&mut socket).await;
    server.signal(Signal::TERM);
    server.until_said("draining").await;
    let ready = Answer::parse(&http(server.admin, "GET", "/health/ready", "", "").await);
    assert_eq!(ready.status, 503, "{}", ready.body);
    viewer::echo(&mut socket, b"saving my file").await;
    assert_eq!(viewer::goodbye(&mut socket).await.0, 1000);
    assert!(server.ended().await.success(), "{}", server.said());
}

/// The file is changed so that only SIGHUP can tell: same length, same inode, same time.
#[tokio::test]
async fn sighup_reloads_the_inventory_and_leaves_sessions_alone() {
    let screen = Console::new(Manner::Vnc).await;
    let mut server = serve("", &target(VM, "before", &screen.setting("vnc"))).await;
    let url = format!("ws://{}/?token={}", server.proxy, token_of(&issue(&server, &["before"]).await));
    let (mut socket, _) = open(&url, &[]).await.unwrap();
    viewer::rfb(&mut socket).await;

    let path = server.targets();
    let then = fs::metadata(&path).unwrap();
    let text = fs::read_to_string(&path).unwrap().replace("before", "behind");
    fs::write(&path, text).unwrap();
    File::options().write(true).open(&path).unwrap().set_modified(then.modified().unwrap()).unwrap();
    let now = fs::metadata(&path).unwrap();
    assert_eq!((now.len(), now.ino()), (then.len(), then.ino()));

    server.signal(Signal::HUP);
    server.until_said("inventory reloaded").await;
    assert!(issue(&server, &["behind"]).await.starts_with("http://"));
    viewer::echo(&mut socket, b"undisturbed").await;
    // What is broken stays out, and the old stays in.
    fs::write(&path, "[[target]]\nid = 5\n").unwrap();
    server.signal(Signal::HUP);
    server.until_said("inventory not reloaded").await;
    assert!(issue(&server, &["behind"]).await.starts_with("http://"));
}

#[tokio::test]
async fn check_names_file_line_key_and_remedy() {
    let dir = temp::dir();
    let path = dir.path().join("broken.toml");
    let text = "[listen]\napi = \"127.0.0.1:8774\"\nprxy = \"127.0.0.1:6080\"\n\n[proxy]\nping = \"soon\"\n\n\
                [tokens]\nttl = 600\n";
    fs::write(&path, text).unwrap();
    let file = path.to_str().unwrap();
    let output = run(&["check", "--config", file], &[]).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(output.stdout, b"");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    for (line, place, words) in [
        (lines[0], ":3: listen.prxy: ", "proxy"),
        (lines[1], ":6: proxy.ping: ", "\"30s\""),
        (lines[2], ":9: tokens.ttl: ", "\"10m\""),
    ] {
        let from = format!("error: {file}{place}");
        assert!(line.starts_with(&from) && line[from.len()..].contains(words), "{line}");
    }
    let serve = run(&["serve", "--config", file], &[]).await;
    let refused = String::from_utf8(serve.stderr).unwrap();
    assert_eq!(serve.status.code(), Some(1), "{refused}");
    assert!(refused.contains(":6: proxy.ping: "), "{refused}");

    fs::write(&path, "[listen]\napi = \"127.0.0.1:8774\"\n").unwrap();
    let output = run(&["check", "--config", file], &[]).await;
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "The configuration is right: 0 target(s).\n");
    let output = run(&["check", "--json", "--config", file], &[]).await;
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["ok"], true);
    let absent = run(&["check", "--config", "/nonexistent.toml"], &[]).await;
    assert_eq!(absent.status.code(), Some(1));
    assert!(String::from_utf8(absent.stderr).unwrap().contains("/nonexistent.toml"));
}
