//! A real guest's consoles in a real browser, from the issued link to the bytes on its screen and line.

use consolegate::ids::Protocol;

use crate::support::chromium::Browser;
use crate::support::qemu::{Guest, Place};
use crate::support::server::{Running, target};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000001";

fn endpoint(place: &Place) -> String {
    match place {
        Place::Unix(path) => format!("unix:{}", path.display()),
        Place::Tcp(address) => format!("tcp://{address}"),
    }
}

async fn serve(guest: &Guest) -> Running {
    let consoles = format!("vnc = \"{}\"\nserial = \"{}\"", endpoint(guest.vnc()), endpoint(guest.serial()));
    Running::start(&target(VM, "guest", &consoles)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guests_screen_is_in_the_browser_and_keys_change_it() {
    let guest = Guest::boot().await;
    let server = serve(&guest).await;
    let browser = Browser::launch().await;
    let url = server.issue(VM, Protocol::Vnc).await;
    let page = browser.page(&url).await;
    page.screenshot("/tmp/one.png").await;
}
