//! A serial line shared by a hub, over real lines: history, the pen, capture, loss and return.

use consolegate::ids::Protocol;
use serde_json::{Value, json};
use serial2_tokio::SerialPort;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::fleet::{ADMIN, until_listed};
use crate::support::line::{Pair, listens};
use crate::support::news::Viewer;
use crate::support::qemu::{Guest, Options, PROMPT};
use crate::support::server::{Running, TOKEN, http, open, refused, target, token_of};
use crate::support::{viewer, within};

use super::console::endpoint;

const VM: &str = "6c1f2a90-0000-4000-8000-000000000001";

/// A server whose one line is shared; `more` goes into its table.
async fn serve(serial: &str, more: &str) -> Running {
    let consoles = format!("serial = \"{serial}\"\nserial_viewers = \"hub\"\n{more}");
    Running::start(&format!("[admin]\ntoken = \"{ADMIN}\"\n{}", target(VM, "bm1", &consoles))).await
}

async fn join(server: &Running) -> Viewer {
    let token = server.token(VM, Protocol::Serial).await;
    Viewer::open(server, &token, "").await
}

/// The token of a grant that is narrowed so.
async fn granted(server: &Running, options: Value) -> String {
    let mut body = options;
    body["protocol"] = "serial".into();
    let headers = format!("X-Auth-Token: {TOKEN}\r\nContent-Type: application/json\r\n");
    let path = format!("/console/v1/servers/{VM}/consoles");
    let answer = http(server.at.api, "POST", &path, &headers, &body.to_string()).await;
    let (_, body) = answer.split_once("\r\n\r\n").expect("an answer");
    let body: Value = serde_json::from_str(body).expect("JSON");
    token_of(body["console"]["url"].as_str().unwrap_or_else(|| panic!("{answer}")))
}

async fn reads(far: &mut SerialPort, expected: &[u8]) {
    let mut typed = vec![0; expected.len()];
    within("what was typed", far.read_exact(&mut typed)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&typed), String::from_utf8_lossy(expected));
}

async fn says(far: &mut SerialPort, text: &[u8]) {
    within("room on the line", far.write_all(text)).await.unwrap();
}

fn role(news: &Value) -> (&str, Option<&str>) {
    (news["role"].as_str().expect("a role"), news["writer"].as_str())
}

#[tokio::test]
async fn whoever_comes_reads_what_was_said_and_one_types() {
    let pair = Pair::new().await;
    // It takes one connection: both viewers are on it.
    let (_ser2net, at) = pair.ser2net("").await;
    let server = serve(&format!("tcp://{at}"), "").await;
    let mut far = pair.far();
    let mut first = join(&server).await;
    assert_eq!((&first.hello["role"], &first.hello["offset"]), (&json!("writer"), &json!(0)));
    assert_eq!(role(&first.news("role").await), ("writer", Some("demo")));
    says(&mut far, b"boot\x1b[6n\r\nlogin: ").await;
    assert_eq!(first.read_to(b"login: ").await, b"boot\x1b[6n\r\nlogin: ");

    let mut second = join(&server).await;
    assert_eq!((&second.hello["role"], &second.hello["viewers"]), (&json!("watcher"), &json!(2)));
    assert_eq!(role(&second.news("role").await), ("watcher", Some("demo")));
    assert_eq!(second.read_to(b"login: ").await, b"boot\0\0\0\0\r\nlogin: ", "no question of old");

    second.types(b"lost").await;
    first.types(b"one.").await;
    reads(&mut far, b"one.").await;
    second.says("ask").await;
    assert_eq!(first.news("asked").await["user"], "demo");
    first.says("give").await;
    assert_eq!(role(&second.news("role").await), ("writer", Some("demo")));
    assert_eq!(role(&first.news("role").await), ("watcher", Some("demo")));
    first.types(b"lost").await;
    second.types(b"two.").await;
    reads(&mut far, b"two.").await;
    first.says("take").await;
    assert_eq!(role(&first.news("role").await), ("writer", Some("demo")));
    first.types(b"three.").await;
    reads(&mut far, b"three.").await;
    says(&mut far, b"to both").await;
    first.read_to(b"to both").await;
    second.read_to(b"to both").await;

    assert_eq!(viewer::goodbye(&mut first.socket).await.0, 1000);
    assert_eq!(second.news("left").await["viewers"], 1);
    // The only one left has the pen.
    second.types(b"four.").await;
    reads(&mut far, b"four.").await;
}

#[tokio::test]
async fn a_viewer_without_the_channel_shares_too() {
    let pair = Pair::new().await;
    let (_ser2net, at) = pair.ser2net("").await;
    let server = serve(&format!("tcp://{at}"), "").await;
    let mut far = pair.far();
    let stock = async || {
        let token = server.token(VM, Protocol::Serial).await;
        open(&server.ws(&token), &[]).await.expect("a console").0
    };
    let mut first = stock().await;
    viewer::send(&mut first, b"one.").await;
    reads(&mut far, b"one.").await;
    says(&mut far, b"said").await;
    assert_eq!(viewer::frame(&mut first).await, b"said");
    let mut second = stock().await;
    assert_eq!(viewer::frame(&mut second).await, b"said", "history");
    viewer::send(&mut second, b"lost").await;
    viewer::send(&mut first, b"two.").await;
    reads(&mut far, b"two.").await;
    assert_eq!(viewer::goodbye(&mut first).await.0, 1000);
    viewer::send(&mut second, b"three.").await;
    reads(&mut far, b"three.").await;
}

#[tokio::test]
async fn a_viewer_goes_on_where_it_was() {
    let pair = Pair::new().await;
    let server = serve(&format!("tty:{}", pair.ours().display()), "").await;
    let mut far = pair.far();
    let mut first = join(&server).await;
    says(&mut far, b"0123456789").await;
    first.read_to(b"9").await;
    drop(first);
    // Nobody is here; the line is, for as long as it lingers.
    says(&mut far, b"abcdef.").await;
    let token = server.token(VM, Protocol::Serial).await;
    let mut again = Viewer::open(&server, &token, "&offset=10").await;
    assert_eq!(again.hello["offset"], 10);
    assert_eq!(again.read_to(b".").await, b"abcdef.");
    let token = server.token(VM, Protocol::Serial).await;
    let mut stranger = Viewer::open(&server, &token, "&offset=1000").await;
    assert_eq!(stranger.hello["offset"], 0, "an offset of another line's");
    assert_eq!(stranger.read_to(b".").await, b"0123456789abcdef.");
}

#[tokio::test]
async fn a_captured_line_is_read_before_anybody_comes() {
    let pair = Pair::new().await;
    let serial = format!("tty:{}", pair.ours().display());
    let line = "serial_line.baud = 19200\nserial_line.stop_bits = 2";
    let hub = "serial_hub = { capture = true, first = 8, last = 4096 }";
    let server = serve(&serial, &format!("{line}\n{hub}")).await;
    // The server has opened it, by itself.
    pair.set_to((19200, true)).await;
    let mut far = pair.far();
    let boot: Vec<u8> = (0..10_000).flat_map(|n| format!("line {n:04}\r\n").into_bytes()).collect();
    says(&mut far, &boot).await;
    says(&mut far, b"login: ").await;
    let total = boot.len() + 7;
    let mut first = join(&server).await;
    // It may have come before the last of it: then that is live.
    let shown = first.read_to(b"login: ").await;
    assert!(shown.starts_with(b"line 000"), "{:?}", String::from_utf8_lossy(&shown[..20]));
    // And if it was slow then, something is missing of that too.
    let mut known = shown.len() as u64;
    while known < total as u64 {
        known += first.news("gap").await["bytes"].as_u64().unwrap();
    }
    assert_eq!(known, total as u64);
    let tail = [&boot[boot.len() - 2000..], b"login: "].concat();
    assert!(shown.ends_with(&tail));
    // It stays when its viewers go.
    assert_eq!(viewer::goodbye(&mut first.socket).await.0, 1000);
    says(&mut far, b"still here.").await;
    let token = server.token(VM, Protocol::Serial).await;
    let mut again = Viewer::open(&server, &token, &format!("&offset={total}")).await;
    assert_eq!(again.read_to(b".").await, b"still here.");
}

#[tokio::test]
async fn a_lost_line_comes_back_under_its_viewers() {
    let pair = Pair::new().await;
    let (ser2net, at) = pair.ser2net("").await;
    let server = serve(&format!("tcp://{at}"), "serial_line.reconnect = \"5m\"").await;
    let mut far = pair.far();
    let mut first = join(&server).await;
    let mut second = join(&server).await;
    says(&mut far, b"before.").await;
    first.read_to(b"before.").await;
    drop(ser2net);
    second.read_to(b"was lost").await;
    let _ser2net = pair.ser2net_at("", at).await;
    first.read_to(b"is back.").await;
    second.read_to(b"is back.").await;
    assert!(listens(at));
    first.types(b"after.").await;
    reads(&mut far, b"after.").await;
    says(&mut far, b"and on.").await;
    second.read_to(b"and on.").await;
    let mut third = join(&server).await;
    let shown = third.read_to(b"and on.").await;
    assert!(shown.starts_with(b"before."), "{:?}", String::from_utf8_lossy(&shown));
}

#[tokio::test]
async fn a_link_to_watch_watches_for_ever() {
    let pair = Pair::new().await;
    let server = serve(&format!("tty:{}", pair.ours().display()), "").await;
    let mut far = pair.far();
    let token = granted(&server, json!({"view_only": true})).await;
    let mut guest = Viewer::open(&server, &token, "").await;
    assert_eq!(
        (&guest.hello["role"], &guest.hello["view_only"], &guest.hello["break"]),
        (&json!("watcher"), &json!(true), &json!(false))
    );
    assert_eq!(role(&guest.news("role").await), ("watcher", None));
    for wish in ["take", "ask", "break"] {
        guest.says(wish).await;
    }
    guest.types(b"lost").await;
    let mut writer = join(&server).await;
    assert_eq!((&writer.hello["role"], &writer.hello["break"]), (&json!("writer"), &json!(true)));
    guest.says("take").await;
    writer.types(b"typed").await;
    reads(&mut far, b"typed").await;
    // A break reaches a line that has none to show, and does no harm.
    writer.says("break").await;
    writer.types(b".").await;
    reads(&mut far, b".").await;
}

#[tokio::test]
async fn a_grant_may_be_stricter_than_its_target() {
    let pair = Pair::new().await;
    let server = serve(&format!("tty:{}", pair.ours().display()), "").await;
    let mut first = join(&server).await;
    let alone = granted(&server, json!({"viewers": "deny"})).await;
    refused(server.at.proxy, &format!("/?token={alone}")).await.assert_bare(429, "somebody is there");
    let thief = granted(&server, json!({"viewers": "steal"})).await;
    let mut thief = Viewer::open(&server, &thief, "").await;
    assert_eq!(viewer::closed(&mut first.socket).await, (1008, "taken over by another viewer".to_owned()));
    assert_eq!(viewer::goodbye(&mut thief.socket).await.0, 1000);
    // The goodbye is answered before the seat is free.
    until_listed(server.at.admin, 0).await;
    // The refused link is still good, and now its viewer is alone for good.
    let _alone = Viewer::open(&server, &alone, "").await;
    for wish in [json!({}), json!({"viewers": "share"}), json!({"viewers": "steal"})] {
        let token = granted(&server, wish).await;
        refused(server.at.proxy, &format!("/?token={token}")).await.assert_bare(429, "one who is alone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_reboots_under_its_viewers() {
    let guest = Guest::boot_with(Options { reboots: true, ..Options::default() }).await;
    let server = serve(&endpoint(guest.serial()), "").await;
    let mut first = join(&server).await;
    let mut second = join(&server).await;
    first.types(b"\n").await;
    first.read_to(PROMPT.as_bytes()).await;
    first.types(b"echo before-$((6*7))\n").await;
    second.read_to(b"before-42").await;
    first.read_to(b"before-42").await;
    // The one before the reset is not to be taken for the one after it.
    second.read_to(PROMPT.as_bytes()).await;
    guest.reset().await;
    second.read_to(PROMPT.as_bytes()).await;
    first.types(b"echo after-$((6*7))\n").await;
    second.read_to(b"after-42").await;
    let mut third = join(&server).await;
    let shown = String::from_utf8_lossy(&third.read_to(b"after-42").await).into_owned();
    assert!(shown.contains("before-42"), "{shown}");
}
