//! What the console pages hand to the user as files, and what they say of a recording, in a real browser.

use std::path::Path;

use consolegate::ids::Protocol;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::console::{CANVAS, TOLERANCE, connected, endpoint, painted, same_screen, shows};
use crate::recording::{cramped, issue, recording};
use crate::support::chromium::{Browser, Page, downloaded};
use crate::support::picture::Picture;
use crate::support::qemu::Guest;
use crate::support::server::{Running, target};
use crate::support::{temp, within};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000071";

/// The recording's badge has this text, or there is none.
async fn badge(page: &Page, text: Option<&str>) {
    let shown = "document.querySelector('.badge.recording')?.textContent ?? null";
    page.wait_for(&format!("({shown}) === {}", json!(text))).await;
}

async fn photographed(page: &Page, name: &str) {
    if let Ok(place) = std::env::var("CONSOLEGATE_TEST_SCREENSHOTS") {
        page.screenshot(Path::new(&place).join(name)).await;
    }
}

async fn accept(machine: &TcpListener) -> TcpStream {
    within("the proxy's dial", machine.accept()).await.expect("a connection").0
}

#[tokio::test(flavor = "multi_thread")]
async fn the_serial_pages_log_is_every_byte_and_its_text_what_is_read() {
    let machine = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = machine.local_addr().expect("an address");
    let server = Running::start(&target(VM, "bm1", &format!("serial = \"tcp://{at}\"\n"))).await;
    let (browser, dir) = (Browser::launch().await, temp::dir());
    browser.saves_to(dir.path()).await;
    let page = browser.page(&server.issue(VM, Protocol::Serial).await).await;
    connected(&page).await;
    let mut line = accept(&machine).await;
    // More than one screenful, colours, what is no UTF-8, a question to the terminal.
    let mut said: Vec<u8> = (0..200).flat_map(|n| format!("line {n}\r\n").into_bytes()).collect();
    said.extend_from_slice(b"\x1b[31mgr\xc3\xbcn\x1b[0m \xff\x1b[6n\r\nlogin: ");
    line.write_all(&said).await.expect("a line");
    page.wait_for(&shows("login:")).await;
    // The last line is in the window, whole.
    let bottom = |what: &str| format!("document.querySelector('{what}').getBoundingClientRect().bottom");
    page.wait_for(&format!("{} <= {}", bottom(".xterm-screen"), bottom(".lines"))).await;
    photographed(&page, "serial.png").await;

    page.click_on(".tools > .button[aria-label='Download']").await;
    let (name, text) = downloaded(dir.path(), ".txt").await;
    assert!(name.starts_with("serial-console-20"), "{name}");
    let text = String::from_utf8(text).expect("UTF-8");
    assert!(text.starts_with("line 0\nline 1\n") && text.ends_with("line 199\ngrün \nlogin:\n"), "{text}");

    // The panel's section with the whole log.
    page.click_on(".tools > .button[aria-label='Settings']").await;
    page.click_on(".section:nth-of-type(3) > summary").await;
    page.click_on(".panel .button[aria-label='Download the log']").await;
    let (name, log) = downloaded(dir.path(), ".log").await;
    assert!(name.starts_with("serial-console-20"), "{name}");
    assert!(log == said, "{:?}", String::from_utf8_lossy(&log));
    photographed(&page, "serial-log.png").await;
    assert_eq!(page.violations().await, Vec::<String>::new());
}

/// A PNG's pixels, as the browser reads it.
async fn decoded(browser: &Browser, png: &[u8]) -> Picture {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    let page = browser.page("data:text/html,<canvas></canvas>").await;
    let draw = format!(
        "(async () => {{ const image = new Image(); image.src = 'data:image/png;base64,{}'; await image.decode();
            const canvas = document.querySelector('canvas');
            [canvas.width, canvas.height] = [image.width, image.height];
            canvas.getContext('2d').drawImage(image, 0, 0); return true; }})()",
        BASE64_STANDARD.encode(png)
    );
    assert!(page.eval::<bool>(&draw).await);
    page.canvas("canvas").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vnc_pages_screenshot_is_the_guests_screen() {
    let guest = Guest::boot().await;
    let (recordings, dir) = (temp::dir(), temp::dir());
    let console = format!("vnc = \"{}\"\nrecord = \"on\"", endpoint(guest.vnc()));
    let settings = format!("{}{}", recording(recordings.path(), ""), target(VM, "guest", &console));
    let server = Running::start(&settings).await;
    let browser = Browser::launch().await;
    browser.saves_to(dir.path()).await;
    let page = browser.page(&server.issue(VM, Protocol::Vnc).await).await;
    connected(&page).await;
    badge(&page, Some("Recording")).await;
    painted(&page).await;
    page.type_text("echo on the picture").await;
    page.key("Enter").await;
    within("the typed text", async { while !guest.screen_text().await.contains("\non the picture") {} })
        .await;
    // Also where only a part of it is in the window.
    page.viewport(500, 400).await;
    same_screen(&page, &guest).await;
    photographed(&page, "vnc-small.png").await;
    page.viewport(1280, 800).await;
    same_screen(&page, &guest).await;
    photographed(&page, "vnc-recorded.png").await;

    page.click_on(".tools > .button[aria-label='Screenshot']").await;
    let (name, png) = downloaded(dir.path(), ".png").await;
    assert!(name.contains("-20"), "{name}");
    let (saved, real) = (decoded(&browser, &png).await, guest.screendump().await);
    assert_eq!((saved.width, saved.height), (real.width, real.height));
    assert!(saved.difference(&real, TOLERANCE) <= 0.0005 && !saved.is_blank());
    assert!(saved == page.canvas(CANVAS).await, "as it is shown, to the pixel");
    assert_eq!(page.violations().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_sees_that_it_is_recorded_and_is_told_when_it_no_longer_is() {
    let machine = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let dir = temp::dir();
    let consoles =
        format!("serial = \"tcp://{}\"\nrecord = \"on\"", machine.local_addr().expect("an address"));
    let settings = recording(&dir.path().join("recordings"), "");
    // 16 KiB a file, and the disk is full.
    let (_process, at) = cramped(dir.path(), &settings, &target(VM, "bm1", &consoles), 32).await;
    let browser = Browser::launch().await;
    let page = browser.page(&format!("http://{at}/?token={}", issue(at).await)).await;
    connected(&page).await;
    badge(&page, Some("Recording")).await;
    photographed(&page, "recording.png").await;
    let mut line = accept(&machine).await;
    line.write_all(b"fits\r\n").await.expect("a line");
    page.wait_for(&shows("fits")).await;
    badge(&page, Some("Recording")).await;
    // All that is ever said from here on: the word about it comes by itself.
    let many: Vec<u8> = (0..1500).flat_map(|n| format!("line {n} is too much\r\n").into_bytes()).collect();
    line.write_all(&many).await.expect("a line");
    page.wait_for("document.querySelector('.toast')?.textContent === 'This session is no longer recorded.'")
        .await;
    badge(&page, None).await;
    photographed(&page, "recorded-no-more.png").await;
    // The console itself goes on.
    page.wait_for(&shows("line 1499 is too much")).await;
    line.write_all(b"and on\r\n").await.expect("a line");
    page.wait_for(&shows("and on")).await;
}
