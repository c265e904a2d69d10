//! A real browser comes back to its console: after a reload of the page, and by itself when the line was cut.

use std::net::SocketAddr;

use consolegate::ids::Protocol;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::console::{connected, endpoint, painted, shows};
use crate::support::chromium::{Browser, Page};
use crate::support::qemu::{Guest, PROMPT};
use crate::support::server::{Running, target};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000001";

/// The network between browser and proxy, which can be cut.
struct Wire {
    at: SocketAddr,
    cuts: watch::Sender<u32>,
    _task: tokio::task::JoinHandle<()>,
}

impl Wire {
    /// A wire that leads nowhere yet, and where it will lead to.
    async fn lay() -> (Self, watch::Sender<Option<SocketAddr>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("its address");
        let (cuts, cut) = watch::channel(0);
        let (to, led) = watch::channel(None);
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Some(to) = *led.borrow() else { continue };
                tokio::spawn(carry(near, to, cut.clone()));
            }
        });
        (Self { at, cuts, _task: task }, to)
    }

    /// Breaks every connection there is; new ones are carried.
    fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn carry(mut near: TcpStream, to: SocketAddr, mut cut: watch::Receiver<u32>) {
    cut.mark_unchanged();
    let Ok(mut far) = TcpStream::connect(to).await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
        _ = cut.changed() => {}
    }
}

async fn serve(guest: &Guest, wire: &Wire) -> Running {
    let consoles = format!("vnc = \"{}\"\nserial = \"{}\"", endpoint(guest.vnc()), endpoint(guest.serial()));
    let public = format!("[proxy]\npublic_url = \"http://{}\"\n", wire.at);
    Running::start(&format!("{public}{}", target(VM, "guest", &consoles))).await
}

/// Reloads the page and waits until the new one has its console.
async fn reload(page: &Page) {
    page.eval::<bool>("(window.before = true)").await;
    page.call("Page.reload", serde_json::json!({})).await;
    page.wait_for("window.before === undefined && document.readyState === 'complete'").await;
    connected(page).await;
}

/// Cuts the wire; the page is on again by itself.
async fn comes_back(page: &Page, wire: &Wire) {
    let watch = "window.states = []; new MutationObserver(() => \
        states.push(document.documentElement.dataset.state)).observe(document.documentElement, \
        { attributes: true, attributeFilter: ['data-state'] }); true";
    assert!(page.eval::<bool>(watch).await);
    wire.cut();
    page.wait_for("states.includes('waiting') && states.at(-1) === 'connected'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_screen_is_back_after_a_reload_and_after_a_cut() {
    let guest = Guest::boot().await;
    let (wire, to) = Wire::lay().await;
    let server = serve(&guest, &wire).await;
    to.send_replace(Some(server.at.proxy));
    let browser = Browser::launch().await;
    let url = server.issue(VM, Protocol::Vnc).await;
    let page = browser.page(&format!("{url}&reconnect=true&reconnect_delay=500")).await;
    connected(&page).await;
    painted(&page).await;
    for _ in 0..2 {
        reload(&page).await;
        painted(&page).await;
    }
    assert_eq!(page.violations().await, Vec::<String>::new());
    for _ in 0..2 {
        comes_back(&page, &wire).await;
        painted(&page).await;
    }
    // Without the cookie the link is as spent as ever.
    let stranger = Browser::launch().await;
    let again = stranger.page(&url).await;
    again.wait_for("document.body.innerText.includes('already used')").await;
    assert!(page.eval::<bool>("document.documentElement.dataset.state === 'connected'").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serial_line_is_back_after_a_reload_and_after_a_cut() {
    let guest = Guest::boot().await;
    let (wire, to) = Wire::lay().await;
    let server = serve(&guest, &wire).await;
    to.send_replace(Some(server.at.proxy));
    let browser = Browser::launch().await;
    let token = server.token(VM, Protocol::Serial).await;
    let url = format!("http://{}/?token={token}&reconnect=true&reconnect_delay=500", wire.at);
    let page = browser.page(&url).await;
    connected(&page).await;
    let answers = async |sum: &str, expected: &str| {
        page.key("Enter").await;
        page.wait_for(&shows(PROMPT.trim())).await;
        page.type_text(&format!("echo answer-$(({sum}))")).await;
        page.key("Enter").await;
        page.wait_for(&shows(expected)).await;
    };
    answers("6*7", "answer-42").await;
    reload(&page).await;
    answers("6*8", "answer-48").await;
    comes_back(&page, &wire).await;
    answers("6*9", "answer-54").await;
}
