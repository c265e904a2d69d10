//! The documents' examples in a real browser: each URL opens a console that a guest answers on.

use crate::console::{TOLERANCE, TYPED, connected, endpoint, painted, shows};
use crate::support::chromium::{Browser, Page};
use crate::support::examples::{EXAMPLES, Example, start, taken_apart, url};
use crate::support::qemu::{Guest, PROMPT};
use crate::support::server::open;

/// The page's path and what is left of its query once its token is gone.
async fn address(page: &Page) -> String {
    page.eval("location.pathname + location.search").await
}

/// What is typed into the page is on the guest's screen, and the page shows a screen.
async fn on_the_screen(page: &Page, guest: &Guest, example: &Example) {
    painted(page).await;
    let before = guest.screendump().await;
    page.type_text(&format!("echo {}", example.name)).await;
    page.key("Enter").await;
    guest.screen_where("the typed text", |now| now.difference(&before, TOLERANCE) > TYPED).await;
}

/// What is typed into the page runs in the guest, and the page shows what it says.
async fn on_the_line(page: &Page, number: usize) {
    page.key("Enter").await;
    page.wait_for(&shows(PROMPT.trim())).await;
    // Computed in the guest, so that the echo of what was typed is not taken for the answer.
    page.type_text(&format!("echo answer-$(({number}*7))")).await;
    page.key("Enter").await;
    page.wait_for(&shows(&format!("answer-{}", number * 7))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_documents_url_opens_a_console_in_a_browser() {
    let guest = Guest::boot().await;
    let server = start(&endpoint(guest.vnc()), &endpoint(guest.serial())).await;
    let browser = Browser::launch().await;
    for (number, example) in EXAMPLES.into_iter().enumerate() {
        let answer = example.ask(&server).await;
        let (path, token) = taken_apart(url(&answer));
        let page = browser.page(url(&answer)).await;
        connected(&page).await;
        let (directory, _) = path.split_once('?').expect("a query");
        let shown = address(&page).await;
        assert!(shown.starts_with(directory) && !shown.contains(token), "{}: {shown}", example.name);
        match example.serial {
            true => on_the_line(&page, 60 + number).await,
            false => on_the_screen(&page, &guest, example).await,
        }
        assert_eq!(page.violations().await, Vec::<String>::new(), "{}", example.name);
        assert_eq!(open(&server.ws(token), &[]).await.unwrap_err(), 403, "a second use: {}", example.name);
        // The guest's line takes one viewer at a time.
        page.goto("about:blank").await.expect("an empty page");
    }
}

/// The documents' parameters do what noVNC's do, and unknown ones do nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_parameters_of_the_documents_urls_count() {
    let guest = Guest::boot().await;
    let server = start(&endpoint(guest.vnc()), &endpoint(guest.serial())).await;
    let browser = Browser::launch().await;
    for (name, settings, rest) in [
        ("Huawei CloudDC", "scale,0,9", "?compression=9&quality=0&resize=scale"),
        ("Huawei ECS", "scale,6,2", "?lang=EN&tLength=70"),
        ("OpenStack", "scale,6,2", ""),
    ] {
        let example = EXAMPLES.into_iter().find(|example| example.name == name).expect("an example");
        let page = browser.page(url(&example.ask(&server).await)).await;
        connected(&page).await;
        let shown = address(&page).await;
        assert!(shown.ends_with(&format!(".html{rest}")), "{shown}");
        let read = "[document.querySelector('.panel select'), ...document.querySelectorAll('.panel input[type=range]')]
            .map((field) => field.value).join()";
        assert_eq!(page.eval::<String>(read).await, settings, "{name}");
        assert_eq!(page.eval::<String>("document.documentElement.lang").await, "en", "{name}");
    }
}
