//! Recordings on the admin listener: listed, read, removed, played in a browser, each with its line in the audit log.

use std::net::SocketAddr;
use std::path::Path;

use consolegate::ids::Protocol;
use serde_json::{Value, json};

use crate::console::{TOLERANCE, connected, endpoint, painted, same_screen, shows};
use crate::support::chromium::{Browser, Page};
use crate::support::console::{Console, Manner};
use crate::support::news::Viewer;
use crate::support::picture::Picture;
use crate::support::qemu::{Guest, PROMPT};
use crate::support::server::{Answer, Running, http, open, target};
use crate::support::{temp, viewer, within};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000072";
const ADMIN: &str = "an-admin-listeners-token";

async fn call(at: SocketAddr, method: &str, path: &str) -> Answer {
    Answer::parse(&http(at, method, path, &format!("Authorization: Bearer {ADMIN}\r\n"), "").await)
}

async fn json_of(at: SocketAddr, method: &str, path: &str, status: u16) -> Value {
    let answer = call(at, method, path).await;
    assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    serde_json::from_str(&answer.body).unwrap_or_default()
}

fn settings(dir: &Path) -> String {
    format!(
        "[admin]\ntoken = \"{ADMIN}\"\n[audit]\nfile = {:?}\n[recording]\ndirectory = {:?}\nrecord = \"on\"\n",
        dir.join("audit.jsonl"),
        dir.join("recordings"),
    )
}

/// The audit log's lines of this kind, their causes.
fn causes(dir: &Path, event: &str) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join("audit.jsonl")).expect("an audit log");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let mine = lines.filter(|line| line["event"] == event);
    mine.map(|line| line["cause"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Waits until the recording is closed, and returns what is said of it.
async fn closed(at: SocketAddr, id: &str) -> Value {
    let path = format!("/v1/recordings/{id}");
    let done = async {
        loop {
            let found = json_of(at, "GET", &path, 200).await["recording"].clone();
            if found["ended"].is_object() && found["live"] == false {
                return found;
            }
        }
    };
    within("the recording's end", done).await
}

#[tokio::test]
async fn recordings_are_listed_read_and_removed() {
    let echo = Console::new(Manner::Echo).await;
    let dir = temp::dir();
    let targets = target(VM, "bm1", &format!("{}serial_viewers = \"share\"", echo.setting("serial")));
    let server = Running::start(&format!("{}{targets}", settings(dir.path()))).await;
    let at = server.at.admin;
    let mut ids = Vec::new();
    let mut sockets = Vec::new();
    for words in ["first", "second"] {
        let token = server.token(VM, Protocol::Serial).await;
        let (mut socket, _) = open(&server.ws(&token), &[]).await.expect("the console");
        viewer::echo(&mut socket, words.as_bytes()).await;
        let sessions = json_of(at, "GET", "/v1/sessions", 200).await;
        // Those begun in one moment are listed in no order that anybody promised.
        let mut listed = sessions["sessions"].as_array().expect("a list").iter();
        let new = listed.find(|one| one["id"].as_str().is_some_and(|id| !ids.contains(&id.to_owned())));
        let new = new.expect("a new session");
        assert_eq!(new["recording"], true, "{new}");
        ids.push(new["id"].as_str().expect("an id").to_owned());
        sockets.push(socket);
    }
    let live = json_of(at, "GET", &format!("/v1/recordings/{}", ids[1]), 200).await;
    assert_eq!((&live["recording"]["live"], &live["recording"]["ended"]), (&json!(true), &Value::Null));
    let refused = json_of(at, "DELETE", &format!("/v1/recordings/{}", ids[1]), 409).await;
    assert_eq!(refused["error"]["code"], "ADMIN.0017");
    for mut socket in sockets {
        socket.close(None).await.expect("a goodbye");
    }
    let about = closed(at, &ids[0]).await;
    closed(at, &ids[1]).await;
    assert_eq!((&about["format"], &about["target"]), (&json!("asciicast-v2"), &json!(VM)));
    assert_eq!(about["ended"]["cause"], "viewer_closed");

    // All of them; those begun in one second are in no order that anybody promised.
    let all = json_of(at, "GET", "/v1/recordings", 200).await;
    let mut listed: Vec<&str> =
        all["recordings"].as_array().expect("a list").iter().filter_map(|one| one["id"].as_str()).collect();
    listed.sort_unstable();
    let mut expected: Vec<&str> = ids.iter().map(String::as_str).collect();
    expected.sort_unstable();
    assert_eq!((listed, &all["next"]), (expected, &Value::Null));
    let page = json_of(at, "GET", "/v1/recordings?limit=1", 200).await;
    let rest = format!("/v1/recordings?limit=1&marker={}", page["next"].as_str().expect("there is more"));
    let rest = json_of(at, "GET", &rest, 200).await;
    assert_eq!(
        [&page["recordings"][0], &rest["recordings"][0]],
        [&all["recordings"][0], &all["recordings"][1]]
    );
    let none = json_of(at, "GET", "/v1/recordings?target=other", 200).await;
    assert_eq!(none["recordings"], json!([]));
    json_of(at, "GET", "/v1/recordings?limit=0", 400).await;
    json_of(at, "GET", "/v1/recordings?marker=00000000-0000-4000-8000-000000000000", 404).await;

    let file = |part: &str| format!("/v1/recordings/{}/{part}", ids[0]);
    let data = call(at, "GET", &file("data")).await;
    let name = about["files"]["data"].as_str().expect("a name");
    assert_eq!(data.header("content-type"), Some("application/x-asciicast"));
    assert_eq!(
        data.header("content-disposition"),
        Some(&*format!("attachment; filename=\"{name}\"").to_lowercase())
    );
    let kept = std::fs::read_to_string(dir.path().join("recordings").join(name)).expect("the file");
    assert!(data.body == kept && kept.contains("\"first\""), "{}", data.body);
    assert!(call(at, "GET", &file("journal")).await.body.starts_with("{\"recording\":"));
    assert_eq!(call(at, "GET", &file("input")).await.status, 404, "none was recorded");
    assert_eq!(call(at, "GET", &file("../etc")).await.status, 404);
    assert_eq!(call(at, "PUT", &file("data")).await.status, 405);
    let bare = http(at, "GET", &file("data"), "", "").await;
    assert_eq!(Answer::parse(&bare).status, 401, "a session's id opens nothing");

    json_of(at, "DELETE", &format!("/v1/recordings/{}", ids[0]), 204).await;
    json_of(at, "GET", &file("data"), 404).await;
    assert_eq!(std::fs::read_dir(dir.path().join("recordings")).expect("a directory").count(), 2);
    server.drain().await;
    assert_eq!(causes(dir.path(), "admin"), ["recording-downloaded", "recording-removed"]);
    let mut recorded = causes(dir.path(), "record");
    recorded.sort_unstable();
    assert_eq!(recorded, ["ended", "ended", "started", "started"]);
}

#[tokio::test]
async fn the_viewer_is_told_of_it() {
    let echo = Console::new(Manner::Echo).await;
    let dir = temp::dir();
    let off = target("off", "bm2", &format!("{}record = \"off\"", echo.setting("serial")));
    let on = target(VM, "bm1", &echo.setting("serial"));
    let server = Running::start(&format!("{}{on}{off}", settings(dir.path()))).await;
    for (id, recorded) in [(VM, true), ("off", false)] {
        let token = server.token(id, Protocol::Serial).await;
        let viewer = Viewer::open(&server, &token, "").await;
        assert_eq!(viewer.hello["recording"], recorded, "{}", viewer.hello);
    }
}

#[tokio::test]
async fn the_document_says_what_is_answered() {
    let echo = Console::new(Manner::Echo).await;
    let dir = temp::dir();
    let server =
        Running::start(&format!("{}{}", settings(dir.path()), target(VM, "bm1", &echo.setting("serial"))))
            .await;
    let at = server.at.admin;
    let document: Value =
        serde_json::from_str(&Answer::parse(&http(at, "GET", "/openapi.json", "", "").await).body)
            .expect("a document that needs no token");
    let token = server.token(VM, Protocol::Serial).await;
    let (mut socket, _) = open(&server.ws(&token), &[]).await.expect("the console");
    viewer::echo(&mut socket, b"words").await;
    let id = json_of(at, "GET", "/v1/sessions", 200).await["sessions"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let place = path.replace("{id}", if path.contains("targets") { VM } else { &id });
        for method in ["get", "put", "post", "delete"] {
            if methods[method].is_null() {
                continue;
            }
            // What changes things is not done here: that there is such a route is enough.
            let (real, wrong) = if method == "get" { ("GET", None) } else { ("PATCH", Some(405)) };
            let answer = call(at, real, &place).await;
            let found = match wrong {
                Some(status) => status == answer.status,
                None => {
                    methods["get"]["responses"].get(answer.status.to_string()).is_some()
                        || path.contains("input")
                }
            };
            assert!(found, "{method} {path}: {answer:?}");
            let schema = &methods[method]["responses"]["200"]["content"]["application/json"]["schema"];
            if answer.status == 200 && schema.is_object() {
                let mut schema = schema.clone();
                schema["components"] = document["components"].clone();
                let validator = jsonschema::validator_for(&schema).expect("a schema");
                let body: Value = serde_json::from_str(&answer.body).expect("JSON");
                let wrong: Vec<String> =
                    validator.iter_errors(&body).map(|error| error.to_string()).collect();
                assert!(wrong.is_empty(), "{path}: {wrong:?} in {body}");
            }
        }
    }
    socket.close(None).await.expect("a goodbye");
    server.drain().await;
}

async fn unlocked(browser: &Browser, at: SocketAddr) -> Page {
    let page = browser.page(&format!("http://{at}/recordings.html")).await;
    page.wait_for("document.querySelector('.gate input') !== null").await;
    page.type_text(ADMIN).await;
    page.key("Enter").await;
    page
}

/// Waits until the player's screen shows this picture, or no longer does.
async fn canvas(page: &Page, picture: &Picture, wanted: bool) {
    let shown = async {
        while (page.canvas(".screen canvas").await.difference(picture, TOLERANCE) <= 0.0005) != wanted {
            page.eval::<bool>("new Promise(drawn => requestAnimationFrame(() => drawn(true)))").await;
        }
    };
    within("the recorded picture", shown).await;
}

async fn listed(page: &Page, count: usize) {
    page.wait_for(&format!("document.querySelectorAll('tbody tr').length === {count}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_kinds_are_played_in_a_browser() {
    let guest = Guest::boot().await;
    let dir = temp::dir();
    let consoles = format!("vnc = \"{}\"\nserial = \"{}\"", endpoint(guest.vnc()), endpoint(guest.serial()));
    let server = Running::start(&format!("{}{}", settings(dir.path()), target(VM, "guest", &consoles))).await;
    let browser = Browser::launch().await;

    // A line, with a word that comes only when it was typed.
    let page = browser.page(&server.issue(VM, Protocol::Serial).await).await;
    connected(&page).await;
    page.key("Enter").await;
    page.wait_for(&shows(PROMPT.trim())).await;
    page.type_text("echo recorded-$((6*7))").await;
    page.key("Enter").await;
    page.wait_for(&shows("recorded-42")).await;
    page.goto("about:blank").await.expect("a blank page");
    // A screen.
    let page = browser.page(&server.issue(VM, Protocol::Vnc).await).await;
    connected(&page).await;
    painted(&page).await;
    page.type_text("echo on the screen").await;
    page.key("Enter").await;
    within("the typed text", async { while !guest.screen_text().await.contains("\non the screen") {} }).await;
    same_screen(&page, &guest).await;
    let real = guest.screendump().await;
    page.goto("about:blank").await.expect("a blank page");

    let page = unlocked(&browser, server.at.admin).await;
    listed(&page, 2).await;
    let ended =
        "[...document.querySelectorAll('tbody td:nth-child(7)')].every(td => td.textContent.includes('_'))";
    while !page.eval::<bool>(ended).await {
        page.goto(&format!("http://{}/recordings.html", server.at.admin)).await.expect("the page again");
        listed(&page, 2).await;
    }
    if let Ok(place) = std::env::var("CONSOLEGATE_TEST_SCREENSHOTS") {
        page.screenshot(Path::new(&place).join("recordings.png")).await;
    }
    let open = |protocol: &str| {
        format!(
            "[...document.querySelectorAll('tbody tr')].find(tr => tr.cells[3].textContent === '{protocol}')
                .querySelector('a').click()"
        )
    };
    let seek = |share: &str| {
        format!(
            "(() => {{ const s = document.querySelector('.seek'); s.value = String(Number(s.max) * {share});
                s.dispatchEvent(new Event('input')); }})()"
        )
    };
    page.eval::<Value>(&open("serial")).await;
    page.wait_for("document.querySelector('.xterm-rows') !== null").await;
    page.eval::<Value>(&seek("1")).await;
    page.wait_for(&shows("recorded-42")).await;
    page.wait_for("document.documentElement.dataset.playing === 'false'").await;
    page.eval::<Value>(&seek("0")).await;
    page.wait_for(&format!("!({})", shows("recorded-42"))).await;
    // And once more by itself, faster.
    page.eval::<Value>(
        "(() => { const s = document.querySelector('.controls select'); s.value = '16'; s.dispatchEvent(new Event('change')); })()",
    )
    .await;
    page.click_on(".controls button").await;
    page.wait_for(&shows("recorded-42")).await;
    if let Ok(place) = std::env::var("CONSOLEGATE_TEST_SCREENSHOTS") {
        page.screenshot(Path::new(&place).join("recording-serial.png")).await;
    }
    page.eval::<Value>("history.back()").await;
    listed(&page, 2).await;
    page.eval::<Value>(&open("vnc")).await;
    page.wait_for("document.querySelector('.screen canvas')?.width > 0").await;
    page.eval::<Value>(&seek("1")).await;
    canvas(&page, &real, true).await;
    if let Ok(place) = std::env::var("CONSOLEGATE_TEST_SCREENSHOTS") {
        page.screenshot(Path::new(&place).join("recording-vnc.png")).await;
    }
    // Back in time, where the text was not yet typed. It has come to its end, and does not go on by itself.
    page.wait_for("document.documentElement.dataset.playing === 'false'").await;
    page.eval::<Value>(&seek("0")).await;
    page.wait_for("document.querySelector('.screen canvas')?.width > 0").await;
    canvas(&page, &real, false).await;
    assert_eq!(page.violations().await, Vec::<String>::new());
    server.drain().await;
}
