//! Two browsers on one serial line: who types, what was said before, what is missing, and what is sent to the line.

use consolegate::ids::Protocol;
use serde_json::{Value, json};
use serial2_tokio::SerialPort;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::support::chromium::{Browser, Page};
use crate::support::line::Pair;
use crate::support::server::{Running, TOKEN, http, target};
use crate::support::within;

use super::console::{connected, shows};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000001";

async fn serve(serial: &str) -> Running {
    let consoles = format!("serial = \"{serial}\"\nserial_viewers = \"hub\"");
    Running::start(&target(VM, "bm1", &consoles)).await
}

async fn come(browser: &Browser, server: &Running) -> Page {
    let page = browser.page(&server.issue(VM, Protocol::Serial).await).await;
    connected(&page).await;
    page
}

/// The link of a guest who may only watch.
async fn guest_link(server: &Running) -> String {
    let headers = format!("X-Auth-Token: {TOKEN}\r\nContent-Type: application/json\r\n");
    let path = format!("/console/v1/servers/{VM}/consoles");
    let body = json!({"protocol": "serial", "view_only": true}).to_string();
    let answer = http(server.at.api, "POST", &path, &headers, &body).await;
    let (_, body) = answer.split_once("\r\n\r\n").expect("an answer");
    let body: Value = serde_json::from_str(body).expect("JSON");
    body["console"]["url"].as_str().expect("a URL").to_owned()
}

async fn reads(far: &mut SerialPort, expected: &str) {
    let mut typed = vec![0; expected.len()];
    within("what was typed", far.read_exact(&mut typed)).await.expect("a line");
    assert_eq!(String::from_utf8_lossy(&typed), expected);
}

/// Waits until the strip says who types, and offers these buttons.
async fn strip(page: &Page, text: &str, buttons: &[&str]) {
    page.wait_for(&format!(
        "document.querySelector('.pen .text').textContent === {} && JSON.stringify(
            [...document.querySelectorAll('.pen button')].map(b => b.textContent.trim())) === {}",
        json!(text),
        json!(json!(buttons).to_string()),
    ))
    .await;
}

/// Presses the strip's button with this text.
async fn press(page: &Page, button: usize) {
    page.click_on(&format!(".pen button:nth-child({button})")).await;
}

fn toast(text: &str) -> String {
    format!("document.querySelector('.toast').textContent === {}", json!(text))
}

const MINE: &str = "You type at this console; others are watching.";
const THEIRS: &str = "demo types at this console. You are watching.";

#[tokio::test(flavor = "multi_thread")]
async fn two_browsers_share_a_line() {
    let pair = Pair::new().await;
    let server = serve(&format!("tty:{}", pair.ours().display())).await;
    let mut far = pair.far();
    let browser = Browser::launch().await;
    let anne = come(&browser, &server).await;
    anne.wait_for("document.querySelector('.pen').hidden").await;
    far.write_all(b"boot of the machine\r\nlogin: ").await.expect("a line");
    anne.wait_for(&shows("login:")).await;

    // Who comes later has what was said before above the live line, and watches.
    let bert = come(&browser, &server).await;
    bert.wait_for(&shows("boot of the machine")).await;
    strip(&bert, THEIRS, &["Ask to type", "Take over"]).await;
    strip(&anne, MINE, &["Hand over"]).await;
    anne.wait_for("document.querySelector('.badge.viewers').textContent === '2 viewers'").await;

    // What a terminal answers by itself goes to the line from one of them, and is no typing of the other's.
    far.write_all(b"\x1b[5n").await.expect("a line");
    reads(&mut far, "\x1b[0n").await;
    assert!(bert.eval::<bool>("document.querySelector('.toast')?.hidden ?? true").await);
    bert.type_text("lost").await;
    bert.wait_for(&toast("demo types at this console. Ask, or take over.")).await;
    anne.type_text("one").await;
    reads(&mut far, "one").await;

    press(&bert, 1).await;
    strip(&anne, "demo asks to type.", &["Hand over", "Not now"]).await;
    press(&anne, 1).await;
    strip(&bert, MINE, &["Hand over"]).await;
    strip(&anne, THEIRS, &["Ask to type", "Take over"]).await;
    bert.type_text("two").await;
    reads(&mut far, "two").await;
    press(&anne, 2).await;
    strip(&anne, MINE, &["Hand over"]).await;
    anne.type_text("three").await;
    reads(&mut far, "three").await;

    // A guest watches for ever, and is shown so.
    let guest = browser.page(&guest_link(&server).await).await;
    connected(&guest).await;
    guest.wait_for("document.querySelector('.badge.view-only').textContent === 'View only'").await;
    strip(&guest, THEIRS, &[]).await;
    guest.wait_for(&shows("login:")).await;

    // Found, and found in what was said before.
    bert.key("Control+Shift+F").await;
    bert.type_text("machine").await;
    bert.wait_for("document.querySelector('.find .count').textContent === '1 of 1'").await;
    // The find bar hides none of the strip's buttons.
    strip(&bert, THEIRS, &["Ask to type", "Take over"]).await;
    bert.wait_for(
        "document.querySelector('.find').getBoundingClientRect().top >=
            document.querySelector('.pen').getBoundingClientRect().bottom",
    )
    .await;
    for page in [&anne, &bert, &guest] {
        assert_eq!(page.violations().await, Vec::<String>::new());
    }
}

/// Reads what the proxy sends to a terminal server until these bytes have come.
async fn until(line: &mut TcpStream, expected: &[u8]) {
    let (mut heard, mut buffer) = (Vec::new(), [0; 256]);
    while !heard.windows(expected.len()).any(|window| window == expected) {
        let count = within("a break", line.read(&mut buffer)).await.expect("a line");
        assert!(count > 0, "the end after {heard:x?}");
        heard.extend_from_slice(&buffer[..count]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_break_and_a_sysrq_are_sent_from_the_page() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = serve(&format!("telnet://{}", listener.local_addr().expect("an address"))).await;
    let browser = Browser::launch().await;
    let page = come(&browser, &server).await;
    let (mut line, _) = within("the hub", listener.accept()).await.expect("a connection");
    let find = |label: &str| {
        format!(
            "[...document.querySelectorAll('.sheet button')].find(b => b.textContent.trim() === {})",
            json!(label)
        )
    };
    page.click_on(".tools .anchor > .button").await;
    page.eval::<bool>(&format!("({}.click(), true)", find("Break"))).await;
    // RFC 854: Interpret As Command, Break.
    until(&mut line, b"\xff\xf3").await;
    page.eval::<bool>(
        "(() => { const s = document.querySelector('.sheet select'); s.value = 's'; return true; })()",
    )
    .await;
    page.eval::<bool>(&format!("({}.click(), true)", find("Send"))).await;
    until(&mut line, b"\xff\xf3s").await;
    assert_eq!(page.violations().await, Vec::<String>::new());
}
