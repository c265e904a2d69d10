//! The operator's page in a browser: who is on which console, in real time; an end to a session; thousands of them.

use consolegate::ids::Protocol;
use serde_json::{Value, json};

use crate::support::chromium::{Browser, Page};
use crate::support::console::{Console, Manner};
use crate::support::server::{Running, Socket, open, target};
use crate::support::viewer;

const TOKEN: &str = "an-admin-listeners-token";

const ALPHA: &str = "6c1f2a90-0000-4000-8000-0000000000a1";
const BETA: &str = "6c1f2a90-0000-4000-8000-0000000000b2";

/// The rows of the table in view, as text.
pub(crate) const ROWS: &str =
    "[...document.querySelectorAll('.table:not([hidden]) .rows .row')].map((row) => row.innerText)";

struct Desk {
    server: Running,
    browser: Browser,
    _console: Console,
}

impl Desk {
    async fn new() -> Self {
        let console = Console::new(Manner::Echo).await;
        let serial = console.setting("serial");
        let server = Running::start(&format!(
            "[admin]\ntoken = \"{TOKEN}\"\n{}{}",
            target(ALPHA, "alpha", &serial),
            target(BETA, "beta", &format!("{serial}zone = \"pod05\"\nregion = \"eu\"\n"))
        ))
        .await;
        Self { server, browser: Browser::launch().await, _console: console }
    }

    fn url(&self) -> String {
        format!("http://{}/", self.server.at.admin)
    }

    async fn viewer(&self, id: &str) -> Socket {
        let token = self.server.token(id, Protocol::Serial).await;
        open(&self.server.ws(&token), &[]).await.expect("a console").0
    }
}

pub(crate) async fn sign_in(page: &Page, token: &str) {
    page.wait_for("document.activeElement.type === 'password'").await;
    page.type_text(token).await;
    page.key("Enter").await;
}

/// Turns from the sessions to the targets.
pub(crate) async fn show_targets(page: &Page) {
    page.eval::<Value>("[...document.querySelectorAll('[role=tab]')][1].click()").await;
}

/// Answers a question of the page's own.
async fn choose(page: &Page, label: &str) {
    let button = format!(
        "[...document.querySelectorAll('dialog button')].find((b) => b.innerText === {})",
        json!(label)
    );
    page.wait_for(&format!("{button}.getBoundingClientRect().width > 0")).await;
    page.eval::<Value>(&format!("{button}.click()")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_sessions_as_they_come_and_ends_one() {
    let desk = Desk::new().await;
    let mut first = desk.viewer(ALPHA).await;
    let page = desk.browser.page(&desk.url()).await;
    sign_in(&page, TOKEN).await;
    let only = format!("{ROWS}.length === 1 && {ROWS}[0].includes('alpha') && {ROWS}[0].includes('demo')");
    page.wait_for(&only).await;
    // What moves is shown as a rate; who comes is shown as well, without anybody's asking.
    let moving = async {
        loop {
            viewer::echo(&mut first, &[b'x'; 2000]).await;
            tokio::task::yield_now().await;
        }
    };
    let rate = format!("/B\\/s/.test({ROWS}[0])");
    tokio::select! {
        () = page.wait_for(&rate) => {}
        () = moving => {}
    }
    let mut second = desk.viewer(BETA).await;
    page.wait_for(&format!("{ROWS}.length === 2")).await;

    // Found by the keyboard.
    page.key("/").await;
    page.type_text("BET dem").await;
    page.wait_for(&format!("{ROWS}.length === 1 && {ROWS}[0].includes('beta')")).await;
    page.wait_for("document.querySelector('.count').innerText === '1 of 2 sessions shown'").await;

    // Ended, after a question; no is no.
    page.click_on(".sessions .rows .button.danger").await;
    page.wait_for("document.querySelector('dialog').innerText.includes('demo is cut off from beta')").await;
    choose(&page, "Keep it").await;
    page.wait_for("!document.querySelector('dialog')").await;
    viewer::echo(&mut second, b"still here").await;
    page.click_on(".sessions .rows .row .cell").await;
    page.wait_for(
        "document.querySelector('.detail').innerText.includes('6c1f2a90-0000-4000-8000-0000000000b2')",
    )
    .await;
    page.click_on(".detail .button.danger").await;
    choose(&page, "End the session").await;
    assert_eq!(viewer::closed(&mut second).await, (1008, "ended by an operator".to_owned()));
    page.wait_for(&format!("{ROWS}.length === 0")).await;
    page.wait_for("document.querySelector('.detail').innerText.includes('This session has ended.')").await;
    page.wait_for("document.querySelector('.nothing').innerText.includes('BET dem')").await;
    // The other one stays. What was on its way when the rate was seen comes first.
    viewer::send(&mut first, b"stays").await;
    while !viewer::frame(&mut first).await.ends_with(b"stays") {}
    assert_eq!(page.violations().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_are_shown_with_their_state_and_sessions() {
    let desk = Desk::new().await;
    let _viewer = desk.viewer(BETA).await;
    let page = desk.browser.page(&desk.url()).await;
    sign_in(&page, TOKEN).await;
    page.wait_for(&format!("{ROWS}.length === 1")).await;
    show_targets(&page).await;
    page.wait_for(&format!("{ROWS}.length === 2 && {ROWS}[0].includes('alpha')")).await;
    let rows: Vec<String> = page.eval(ROWS).await;
    for word in ["beta", "vm", "active", "Serial", "eu / pod05", "file", "1"] {
        assert!(rows[1].contains(word), "{word}: {rows:?}");
    }
    // From a target to who is on it.
    page.click_on(".targets .rows .row:nth-child(2) .cell").await;
    page.wait_for("document.querySelector('.detail').innerText.includes('tcp://127.0.0.1')").await;
    page.click_on(".detail .actions .button").await;
    page.wait_for(&format!("{ROWS}.length === 1 && {ROWS}[0].includes('beta') && {ROWS}[0].includes('End')"))
        .await;
    assert_eq!(page.violations().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_kept_by_the_tab_alone_and_forgotten_on_the_way_out() {
    let desk = Desk::new().await;
    let _viewer = desk.viewer(ALPHA).await;
    let page = desk.browser.page(&desk.url()).await;
    sign_in(&page, "wrong").await;
    page.wait_for("document.querySelector('.wrong').innerText === 'This token was refused.'").await;
    page.eval::<Value>("document.querySelector('input[type=password]').value = ''").await;
    sign_in(&page, TOKEN).await;
    page.wait_for(&format!("{ROWS}.length === 1")).await;
    let kept: (String, String, usize, String) = page
        .eval("[location.href, document.cookie, localStorage.length, sessionStorage.getItem('consolegate.admin')]")
        .await;
    assert_eq!(kept, (desk.url(), String::new(), 0, TOKEN.to_owned()));
    assert!(!page.eval::<String>("document.documentElement.outerHTML").await.contains(TOKEN));
    // A reload stays; another tab asks.
    page.goto(&desk.url()).await.unwrap();
    page.wait_for(&format!("{ROWS}.length === 1")).await;
    let other = desk.browser.page(&desk.url()).await;
    other.wait_for("document.activeElement.type === 'password'").await;
    page.eval::<Value>("[...document.querySelectorAll('.bar button')].at(-1).click()").await;
    page.wait_for("document.activeElement.type === 'password'").await;
    let left: (Option<String>, usize) = page
        .eval("[sessionStorage.getItem('consolegate.admin'), document.querySelectorAll('.rows .row').length]")
        .await;
    assert_eq!(left, (None, 0), "nothing of what was shown is left");
    // What a wrong token gets is the browser's only complaint.
    let complaints = page.violations().await;
    assert!(complaints.iter().all(|line| line.contains("401")), "{complaints:?}");
}

/// The API's answers are made up here: the page's own part is what thousands of sessions are hard for.
#[tokio::test(flavor = "multi_thread")]
async fn eight_thousand_sessions_are_a_list_like_another() {
    let desk = Desk::new().await;
    let page = desk.browser.blank().await;
    let many = "const real = window.fetch;
        window.fetch = async (path, options) => {
            if (path !== '/v1/sessions') return real(path, options);
            const sessions = Array.from({ length: 8000 }, (_, n) => ({
                id: `id-${n}`, grant: `g-${n}`, target: `target-${n}`, protocol: n % 2 ? 'vnc' : 'serial', project: 'p',
                user: `user-${String(n).padStart(4, '0')}`, source: '192.0.2.1', proxy: `edge-${n % 3}`, view_only: false,
                since: '2026-01-01T00:00:00Z', bytes_to_viewer: n, bytes_to_target: 0 }));
            return new Response(JSON.stringify({ sessions }), { headers: { 'content-type': 'application/json' } });
        };";
    page.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": many })).await;
    page.goto(&desk.url()).await.unwrap();
    sign_in(&page, TOKEN).await;
    page.wait_for("document.querySelector('.count').innerText === '8,000 sessions'").await;
    let made: usize = page.eval("document.querySelectorAll('.rows .row').length").await;
    assert!((10..100).contains(&made), "{made} rows are elements");
    // A fleet's proxies have their column.
    page.wait_for(&format!("/edge-\\d/.test({ROWS}[0])")).await;
    // By user, from the last one on, and down to the first.
    let head =
        "[...document.querySelectorAll('.sessions .sort')].find((b) => b.innerText.startsWith('User'))";
    page.eval::<Value>(&format!("{head}.click(), {head}.click()")).await;
    page.wait_for(&format!("{ROWS}.some((row) => row.includes('user-7999'))")).await;
    page.eval::<Value>("document.querySelector('.sessions .scroller').scrollTop = 1e9").await;
    page.wait_for(&format!("{ROWS}.some((row) => row.includes('user-0000'))")).await;
    page.eval::<Value>("document.querySelector('input[type=search]').focus()").await;
    page.type_text("user-41 vnc").await;
    page.wait_for("document.querySelector('.count').innerText === '50 of 8,000 sessions shown'").await;
    assert_eq!(page.violations().await, Vec::<String>::new());
}
