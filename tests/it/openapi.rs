//! The OpenAPI document against a running server: what schemathesis makes of it, and its page in a browser.

use crate::support::chromium::Browser;
use crate::support::python;
use crate::support::server::{Running, TOKEN, http, target};

/// Both consoles, so that nothing is refused for the server's lack of one. Nobody opens them.
const CONSOLES: &str = "vnc = \"tcp://127.0.0.1:1\"\nserial = \"tcp://127.0.0.1:2\"\n";

/// Inputs made for each operation: enough for every field to go wrong once, few enough for every run of the tests.
const EXAMPLES: &str = "15";

/// What is made of the answers. Not whether input outside the schema is refused: nova takes more than it says.
const CHECKS: &str =
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

#[tokio::test]
async fn made_up_requests_find_no_fault_of_ours_and_no_answer_but_the_documented() {
    // The ids are the document's examples. No limits: what is behind them is what is tested.
    let more = target("vm", "vm", CONSOLES)
        + &target("bm", "bm", CONSOLES).replace("\"vm\"", "\"baremetal\"")
        + "[limits]\nissue_per_second = 0\noutstanding_per_target = 0\n";
    let server = Running::start(&more).await;
    let url = format!("http://{}/openapi.json", server.at.api);
    let header = format!("X-Auth-Token: {TOKEN}");
    let arguments = [
        "run",
        &url,
        "--header",
        &header,
        "--checks",
        CHECKS,
        "--max-examples",
        EXAMPLES,
        "--max-time",
        "40",
        "--seed",
        "1",
        "--generation-database",
        "none",
        "--phases",
        "examples,coverage,fuzzing",
        "--no-color",
        "--warnings",
        "off",
    ];
    let said = python::run("schemathesis", &arguments, &[]).await.success();
    assert!(said.contains("No issues found"), "{said}");
    server.drain().await;
}

#[tokio::test]
async fn the_page_is_styled_and_keeps_its_own_policy() {
    let server = Running::start("").await;
    let browser = Browser::launch().await;
    let page = browser.page(&format!("http://{}/openapi.html", server.at.api)).await;
    page.wait_for("document.readyState === 'complete'").await;
    let operations: usize = page.eval("document.querySelectorAll('h3').length").await;
    assert!(operations > 10, "{operations}");
    assert_eq!(page.eval::<String>("getComputedStyle(document.querySelector('.m')).fontWeight").await, "700");
    assert_eq!(
        page.eval::<String>("document.querySelector('a').href.split('/').pop()").await,
        "openapi.json"
    );
    let violations = page.violations().await;
    let own = |words: &&String| !words.contains("favicon");
    assert_eq!(violations.iter().filter(own).collect::<Vec<_>>(), Vec::<&String>::new());
    drop(browser);
    server.drain().await;
}

#[tokio::test]
async fn the_document_shows_what_is_switched_on() {
    let server = Running::start("[api]\ndialects = [\"native\"]\n").await;
    let answer = http(server.at.api, "GET", "/openapi.json", "", "").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("/console/v1/"), "{answer}");
    assert!(!answer.contains("remote-consoles") && !answer.contains("baremetalservers"), "{answer}");
    server.drain().await;
}
