//! View-only on VNC: what such a viewer sends does nothing to a real guest, and it goes on seeing it.

use consolegate::ids::Protocol;
use serde_json::{Value, json};

use crate::support::qemu::{Guest, Options, Place};
use crate::support::rfb::{Rfb, Screen};
use crate::support::server::{Running, TOKEN, http, target};
use crate::support::wire::Frame;
use crate::support::within;

const VM: &str = "00000007-0000-4000-8000-000000000000";
const WATCHED: &str = "00000008-0000-4000-8000-000000000000";

/// A token by the native API, with these options.
async fn token(server: &Running, options: Value) -> String {
    let headers = format!("X-Auth-Token: {TOKEN}\r\nContent-Type: application/json\r\n");
    let path = format!("/console/v1/servers/{VM}/consoles");
    let answer = http(server.at.api, "POST", &path, &headers, &options.to_string()).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    assert!(head.starts_with("HTTP/1.1 201 "), "{answer}");
    let body: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(body["console"]["view_only"], options["view_only"]);
    crate::support::server::token_of(body["console"]["url"].as_str().expect("a URL"))
}

/// Opens a console, its desktop shared or not.
async fn open(server: &Running, token: &str, shared: u8) -> (Rfb, Screen) {
    let mut viewer = Rfb::open(server.at.proxy, token).await.expect("the console");
    viewer.choose(1).await;
    assert_eq!(viewer.message().await, [0; 4], "SecurityResult");
    viewer.send(&[shared]).await;
    let screen = viewer.screen().await;
    (viewer, screen)
}

/// KeyEvents for each character, and Return.
fn typed(text: &str) -> Vec<u8> {
    let keysyms = text.chars().map(u32::from).chain([0xff0d]);
    let event = |down: u8, keysym: u32| [&[4, down, 0, 0][..], &keysym.to_be_bytes()].concat();
    keysyms.flat_map(|keysym| [event(1, keysym), event(0, keysym)].concat()).collect()
}

/// Everything else by which a viewer acts: pointer, clipboard, QEMU's keys, a new size, power.
fn acts() -> Vec<u8> {
    [
        b"\x05\x01\0\x10\0\x10\x05\0\0\x10\0\x10".as_slice(),
        b"\x06\0\0\0\0\0\0\x04\x03\0\0\0",
        b"\xff\0\0\x01\0\0\0a\0\0\0\x1e\xff\0\0\0\0\0\0a\0\0\0\x1e",
        b"\xfb\0\x03\x20\x02\x58\x01\0\0\0\0\0\0\0\0\0\x03\x20\x02\x58\0\0\0\0",
        b"\xfa\0\x01\x02",
    ]
    .concat()
}

async fn watches(server: &Running, token: &str, guest: &Guest, trace: &str) {
    // Somebody who types stays connected whatever the watcher's ClientInit says.
    let full = server.token(VM, Protocol::Vnc).await;
    let (mut typist, screen) = open(server, &full, 1).await;
    let (mut watcher, seen) = open(server, token, 0).await;
    assert_eq!(seen, screen);
    // Split where it hurts: a message a frame would be too easy.
    let all = [typed(&format!("echo watcher-{trace}")), acts()].concat();
    for piece in all.chunks(7) {
        watcher.send(piece).await;
    }
    // QEMU takes messages in their order: when this picture is there, all before it has been taken or dropped.
    let before = watcher.picture(&seen).await;
    assert!(!before.is_blank());
    typist.send(&typed(&format!("echo typist-{trace}"))).await;
    let wanted = format!("\ntypist-{trace}");
    let text = within("the typist's text", async {
        loop {
            let text = guest.screen_text().await;
            if text.contains(&wanted) {
                return text;
            }
        }
    });
    let text = text.await;
    assert!(!text.contains("watcher"), "{text}");
    let watched = async { while watcher.picture(&seen).await == before {} };
    within("the watcher to see it", watched).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_watch_types_nothing_and_sees_all() {
    let guest = Guest::boot_with(Options { tcp: true, vnc_password: None, ..Options::default() }).await;
    let Place::Tcp(address) = guest.vnc() else { panic!("{:?}", guest.vnc()) };
    let vnc = format!("vnc = \"tcp://{address}\"");
    let targets =
        target(VM, "vm", &vnc) + &target(WATCHED, "watched", &format!("{vnc}\nvnc_view_only = true"));
    let server = Running::start(&targets).await;
    let by_grant = token(&server, json!({"protocol": "vnc", "view_only": true})).await;
    watches(&server, &by_grant, &guest, "one").await;
    let by_target = server.token(WATCHED, Protocol::Vnc).await;
    watches(&server, &by_target, &guest, "two").await;

    // What cannot be filtered ends the session: the next border is anybody's guess.
    let unknown = token(&server, json!({"protocol": "vnc", "view_only": true})).await;
    let (mut watcher, _) = open(&server, &unknown, 1).await;
    watcher.send(&[252, 0, 0, 0]).await;
    loop {
        match watcher.frame().await {
            Frame::Close(code, reason) => {
                assert_eq!(
                    (code, reason.as_str()),
                    (1008, "viewer sent a message of type 252, which cannot be filtered")
                );
                break;
            }
            Frame::Data(_) | Frame::Ping(_) | Frame::Pong(_) => {}
            Frame::End => panic!("an end without a close"),
        }
    }
}

/// What comes in one piece with the handshake is filtered like the rest.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_slips_in_behind_client_init() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let vnc = format!("vnc = \"tcp://{}\"\nvnc_view_only = true", listener.local_addr().unwrap());
    let server = Running::start(&target(VM, "vm", &vnc)).await;
    let token = server.token(VM, Protocol::Vnc).await;
    let console = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"RFB 003.003\n\0\0\0\x01").await.unwrap();
        let mut heard = [0; 13];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"RFB 003.003\n\x01", "shared, whatever the viewer said");
        stream.write_all(crate::support::console::SERVER_INIT).await.unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.unwrap();
        heard
    };
    let update = b"\x03\0\0\0\0\0\0\x01\0\x01".as_slice();
    let view = async {
        let mut viewer = Rfb::open(server.at.proxy, &token).await.expect("the console");
        // All at once: handshake, keys, the first byte of an update request; then its rest, and keys.
        let first = [b"RFB 003.008\n\x01\0".as_slice(), &typed("reboot"), &update[..1]].concat();
        viewer.send(&first).await;
        while !viewer.message().await.ends_with(b"fake-vnc") {}
        viewer.send(&[&update[1..], &typed("reboot"), update].concat()).await;
        viewer.close().await;
    };
    let (heard, ()) = tokio::join!(within("the console", console), view);
    assert_eq!(heard, [update, update].concat());
}
