//! The metrics: the exposition is well-formed, its sums are those of the traffic that was driven, and it
//! names nobody.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use consolegate::ids::Protocol;

use crate::support::console::{Console, Manner, dead_port};
use crate::support::server::{Answer, PROJECT, Running, TOKEN, http, open, target};
use crate::support::{viewer, within};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000021";
const DOWN: &str = "6c1f2a90-0000-4000-8000-000000000022";

/// Each sample by its name and labels, as they are written.
type Samples = BTreeMap<String, f64>;

/// Reads OpenMetrics text (version 1.0.0), and checks what a scraper would stumble over.
fn parse(text: &str) -> Samples {
    let mut samples = Samples::new();
    let mut kinds = BTreeMap::new();
    let body = text.strip_suffix("# EOF\n").expect("the end of the exposition");
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} twice");
        } else if !line.starts_with("# ") {
            let (sample, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
            let name = sample.split('{').next().unwrap();
            let suffixes: &[&str] = match kinds.iter().rfind(|(family, _)| name.starts_with(*family)) {
                Some((_, kind)) if kind == "counter" => &["_total"],
                Some((_, kind)) if kind == "histogram" => &["_sum", "_count", "_bucket"],
                Some((_, kind)) if kind == "info" => &["_info"],
                Some(_) => &[""],
                None => panic!("{line}: no TYPE"),
            };
            let is_one =
                |suffix: &&str| name.strip_suffix(*suffix).is_some_and(|family| kinds.contains_key(family));
            assert!(suffixes.iter().any(is_one), "{line}");
            assert!(samples.insert(sample.to_owned(), value.parse().unwrap()).is_none(), "{sample} twice");
        }
    }
    samples
}

async fn text(admin: SocketAddr) -> String {
    let answer = http(admin, "GET", "/metrics", "", "").await;
    let parsed = Answer::parse(&answer);
    assert_eq!(parsed.status, 200);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(parsed.header("content-type"), Some(kind));
    parsed.body
}

async fn scrape(admin: SocketAddr) -> Samples {
    parse(&text(admin).await)
}

/// The sample's value; 0 if it was never counted.
fn value(samples: &Samples, sample: &str) -> f64 {
    samples.get(&format!("consolegate_{sample}")).copied().unwrap_or(0.0)
}

#[tokio::test]
async fn the_sums_are_those_of_the_traffic() {
    let (screen, line) = (Console::new(Manner::Vnc).await, Console::new(Manner::Echo).await);
    let down = format!("vnc = \"tcp://{}\"", dead_port().await);
    let here = screen.setting("vnc") + &line.setting("serial") + "serial_viewers = \"share\"\n";
    let server = Running::start(&(target(VM, "vm", &here) + &target(DOWN, "down", &down))).await;
    let admin = server.at.admin;
    let fresh = scrape(admin).await;
    assert_eq!(value(&fresh, "targets"), 2.0);
    assert_eq!(value(&fresh, "relayed_bytes_total{direction=\"to_viewer\"}"), 0.0);

    // Three serial sessions of known sizes: two end, one stays; a scrape in between sees each byte once.
    let sizes = [1000_usize, 20_000, 300];
    let mut sessions = Vec::new();
    for size in sizes {
        let token = server.token(VM, Protocol::Serial).await;
        let (mut session, _) = open(&server.ws(&token), &[]).await.unwrap();
        viewer::echo(&mut session, &vec![b'x'; size]).await;
        sessions.push(session);
    }
    let moved: f64 = sizes.iter().sum::<usize>() as f64;
    let check_bytes = |samples: &Samples| {
        for direction in ["to_viewer", "to_target"] {
            let bytes = value(samples, &format!("relayed_bytes_total{{direction=\"{direction}\"}}"));
            assert_eq!(bytes, moved, "{direction}");
        }
    };
    let live = scrape(admin).await;
    check_bytes(&live);
    assert_eq!(value(&live, "sessions{protocol=\"serial\"}"), 3.0);
    for mut session in sessions.drain(..2) {
        viewer::goodbye(&mut session).await;
    }
    // One VNC console; its token again; one that nobody issued; a console that is down; a foreign page.
    let token = server.token(VM, Protocol::Vnc).await;
    let (mut console, _) = open(&server.ws(&token), &[]).await.unwrap();
    viewer::rfb(&mut console).await;
    assert_eq!(open(&server.ws(&token), &[]).await.err(), Some(403));
    assert_eq!(open(&server.ws("0fda3eca-8232-4249-9a62-550bce390258"), &[]).await.err(), Some(403));
    let unreached = server.token(DOWN, Protocol::Vnc).await;
    assert_eq!(open(&server.ws(&unreached), &[]).await.err(), Some(502));
    assert_eq!(open(&server.ws(&unreached), &[("origin", "http://evil.example")]).await.err(), Some(403));
    // One issued by an API, one refused there, one at the admin listener.
    let path = format!("/v1/{PROJECT}/cloudservers/{VM}/remote_console");
    let body = r#"{"remote_console": {"protocol": "vnc", "type": "novnc"}}"#;
    for (token, status) in [(TOKEN, 200), ("nobody", 401)] {
        let headers = format!("X-Auth-Token: {token}\r\nContent-Type: application/json\r\n");
        assert_eq!(Answer::parse(&http(server.at.api, "POST", &path, &headers, body).await).status, status);
    }
    assert_eq!(Answer::parse(&http(admin, "GET", "/v1/sessions", "", "").await).status, 401);

    // Sessions end a moment after their viewers have been told.
    let ended = "sessions_closed_total{protocol=\"serial\",cause=\"viewer_closed\"}";
    let after = within("two sessions' ends", async {
        loop {
            let samples = scrape(admin).await;
            if value(&samples, ended) == 2.0 && value(&samples, "sessions{protocol=\"serial\"}") == 1.0 {
                return samples;
            }
        }
    })
    .await;
    let greeting = value(&after, "relayed_bytes_total{direction=\"to_viewer\"}") - moved;
    assert!((0.0..100.0).contains(&greeting), "ended and live sessions, each byte once: {greeting}");
    for (sample, expected) in [
        ("sessions{protocol=\"vnc\"}", 1.0),
        ("sessions_opened_total{protocol=\"serial\"}", 3.0),
        ("sessions_opened_total{protocol=\"vnc\"}", 1.0),
        ("urls_issued_total{dialect=\"operator\",protocol=\"serial\"}", 3.0),
        ("urls_issued_total{dialect=\"operator\",protocol=\"vnc\"}", 2.0),
        ("urls_issued_total{dialect=\"huawei-ecs\",protocol=\"vnc\"}", 1.0),
        ("refusals_total{via=\"proxy\",cause=\"token_spent\"}", 1.0),
        ("refusals_total{via=\"proxy\",cause=\"token_unknown\"}", 1.0),
        ("refusals_total{via=\"proxy\",cause=\"target_unreached\"}", 1.0),
        ("refusals_total{via=\"proxy\",cause=\"origin\"}", 1.0),
        ("refusals_total{via=\"huawei-ecs\",cause=\"unauthenticated\"}", 1.0),
        ("refusals_total{via=\"admin\",cause=\"ADMIN.0001\"}", 1.0),
        // Four opened, one unreached, one spent, one unknown; the foreign page never got so far.
        ("setup_seconds_count{phase=\"claim\"}", 7.0),
        ("setup_seconds_count{phase=\"dial\"}", 5.0),
        ("setup_seconds_count{phase=\"greet\"}", 1.0),
        ("setup_seconds_count{phase=\"confirm\"}", 4.0),
        ("setup_seconds_count{phase=\"total\"}", 4.0),
        ("store_seconds_count{call=\"create\",answer=\"ok\"}", 6.0),
        ("store_seconds_count{call=\"claim\",answer=\"ok\"}", 7.0),
        ("store_seconds_count{call=\"confirm\",answer=\"ok\"}", 4.0),
        ("store_seconds_count{call=\"release\",answer=\"ok\"}", 1.0),
        ("draining", 0.0),
    ] {
        assert_eq!(value(&after, sample), expected, "{sample} in {after:#?}");
    }
    for phase in ["claim", "dial", "greet", "confirm", "total"] {
        let last = format!("setup_seconds_bucket{{le=\"+Inf\",phase=\"{phase}\"}}");
        let count = format!("setup_seconds_count{{phase=\"{phase}\"}}");
        assert_eq!(value(&after, &last), value(&after, &count), "{phase}");
    }
    let said = text(admin).await;
    for name in [VM, DOWN, PROJECT, TOKEN, token.as_str(), unreached.as_str(), "demo", "127.0.0.1"] {
        assert!(!said.contains(name), "{name} in\n{said}");
    }
    server.begin_drain().await;
    within("the drain in the metrics", async { while value(&scrape(admin).await, "draining") != 1.0 {} })
        .await;
    viewer::goodbye(&mut console).await;
    viewer::goodbye(&mut sessions[0]).await;
    server.drain().await;
}
