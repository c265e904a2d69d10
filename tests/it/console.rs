//! A real guest's consoles in a real browser, from the issued link to the bytes on its screen and line.

use consolegate::ids::Protocol;

use crate::support::chromium::{Browser, Page};
use crate::support::picture::Picture;
use crate::support::qemu::{Guest, PROMPT, Place};
use crate::support::server::{Running, target};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000001";

/// noVNC's canvas.
pub(crate) const CANVAS: &str = "#stage canvas";

/// Per colour, out of 255: QEMU may send JPEG, which blurs the edges of letters.
pub(crate) const TOLERANCE: u8 = 64;

/// The share of pixels that may differ even so.
const SAME: f64 = 0.0005;

/// The share that two lines of text change at least.
pub(crate) const TYPED: f64 = 0.003;

pub(crate) fn endpoint(place: &Place) -> String {
    match place {
        Place::Unix(path) => format!("unix:{}", path.display()),
        Place::Tcp(address) => format!("tcp://{address}"),
    }
}

async fn serve(guest: &Guest) -> Running {
    let consoles = format!("vnc = \"{}\"\nserial = \"{}\"", endpoint(guest.vnc()), endpoint(guest.serial()));
    Running::start(&target(VM, "guest", &consoles)).await
}

pub(crate) async fn connected(page: &Page) {
    page.wait_for("document.documentElement.dataset.state === 'connected'").await;
}

/// Waits until the browser shows what QEMU says is on the screen, and returns it.
pub(crate) async fn same_screen(page: &Page, guest: &Guest) -> Picture {
    let mut last = 1.0;
    for _ in 0..200 {
        let (shown, real) = (page.canvas(CANVAS).await, guest.screendump().await);
        last = shown.difference(&real, TOLERANCE);
        if last <= SAME && !real.is_blank() {
            return shown;
        }
        // Lets the page draw; what is awaited is a frame, not time.
        page.eval::<bool>("new Promise(drawn => requestAnimationFrame(() => drawn(true)))").await;
    }
    panic!("the browser's picture and QEMU's differ in {:.2} % of the pixels", last * 100.0);
}

/// Waits until the canvas shows anything at all.
pub(crate) async fn painted(page: &Page) {
    let colours = format!(
        "new Set(new Uint32Array(document.querySelector('{CANVAS}').getContext('2d')
            .getImageData(0, 0, 640, 400).data.buffer)).size"
    );
    page.wait_for(&format!("{colours} > 1")).await;
}

/// Whether the terminal's page shows this text.
pub(crate) fn shows(text: &str) -> String {
    format!("document.querySelector('.xterm-rows').textContent.replaceAll('\\u00a0', ' ').includes('{text}')")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guests_screen_is_in_the_browser_and_typed_keys_change_it() {
    let guest = Guest::boot().await;
    let server = serve(&guest).await;
    let browser = Browser::launch().await;
    let url = server.issue(VM, Protocol::Vnc).await;

    let page = browser.page(&url).await;
    connected(&page).await;
    let before = same_screen(&page, &guest).await;
    assert!(!page.eval::<String>("location.href").await.contains("token"), "the token left the address bar");

    page.type_text("echo typed in a browser").await;
    page.key("Enter").await;
    let typed = guest.screen_where("the typed text", |now| now.difference(&before, TOLERANCE) > TYPED).await;
    assert!(!typed.is_blank());
    let after = same_screen(&page, &guest).await;
    assert!(after.difference(&before, TOLERANCE) > TYPED, "the browser followed");
    assert_eq!(page.violations().await, Vec::<String>::new());

    // The same URL again, in a browser of its own: told inside the console, and nothing reaches the guest.
    let stranger = Browser::launch().await;
    let again = stranger.page(&url).await;
    again.wait_for("document.body.innerText.includes('already used')").await;
    painted(&again).await;
    assert_eq!(again.violations().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_serial_page_runs_a_command_in_the_guest_and_shows_its_output() {
    let guest = Guest::boot().await;
    let server = serve(&guest).await;
    let browser = Browser::launch().await;
    let page = browser.page(&server.issue(VM, Protocol::Serial).await).await;
    connected(&page).await;

    page.key("Enter").await;
    page.wait_for(&shows(PROMPT.trim())).await;
    // Computed in the guest, so that the echo of what was typed is not taken for the answer.
    page.type_text("echo answer-$((6*7))").await;
    page.key("Enter").await;
    page.wait_for(&shows("answer-42")).await;
    // A line is as high as what hangs below it: an underscore of this font would else be cut off.
    let fits = "(() => {
        const rows = document.querySelector('.xterm-rows');
        const { fontSize, fontFamily } = getComputedStyle(rows);
        const context = document.createElement('canvas').getContext('2d');
        context.font = `${fontSize} ${fontFamily}`;
        const font = context.measureText('_');
        const height = rows.firstElementChild.getBoundingClientRect().height;
        const baseline = (height + font.fontBoundingBoxAscent - font.fontBoundingBoxDescent) / 2;
        return Math.floor(baseline) + font.actualBoundingBoxDescent <= height;
    })()";
    assert!(page.eval::<bool>(fits).await);
    assert_eq!(page.violations().await, Vec::<String>::new());
}
