//! One listener for everything, or one for each: which path is whose.

use consolegate::config::Config;
use consolegate::ids::Protocol;

use crate::support::console::{Console, Manner};
use crate::support::server::{Answer, Running, config, http, open, raw, target, upgrade};
use crate::support::viewer;

const VM: &str = "6c1f2a90-0000-4000-8000-000000000001";

async fn get(address: std::net::SocketAddr, path: &str) -> Answer {
    Answer::parse(&http(address, "GET", path, "", "").await)
}

/// Two addresses of loopback, so that they are two listeners with ports of the system's choice.
fn apart(more: &str) -> Config {
    let mut config = config(more);
    config.listen.api = "127.0.0.2:0".parse().unwrap();
    config
}

#[tokio::test]
async fn one_listener_carries_api_pages_and_consoles() {
    let console = Console::new(Manner::Echo).await;
    let server = Running::start(&target(VM, "vm", &console.setting("serial"))).await;
    assert_eq!(server.at.api, server.at.proxy);
    let token = server.token(VM, Protocol::Serial).await;
    for path in ["/", "/v2", "/v2.1", "/v2.1/"] {
        let answer = get(server.at.proxy, path).await;
        assert!(matches!(answer.status, 200 | 300) && answer.body.contains("version"), "{path}: {answer:?}");
    }
    for path in [format!("/?token={token}"), format!("/serial/pod.region/?token={token}")] {
        let answer = get(server.at.proxy, &path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.head);
        assert!(answer.header("content-type").is_some_and(|t| t.starts_with("text/html")), "{}", answer.head);
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
    }
    for path in
        ["/nothing", "/serial", "/serial/pod.region", "/v3", "/health/live", "/assets/nothing.js", "/.."]
    {
        assert_eq!(get(server.at.proxy, path).await.status, 404, "{path}");
    }
    let (mut socket, _) = open(&server.ws(&token), &[]).await.unwrap();
    viewer::echo(&mut socket, b"none of it spent the token").await;
}

#[tokio::test]
async fn separate_listeners_keep_to_their_own() {
    let console = Console::new(Manner::Echo).await;
    let server = Running::with(apart(&target(VM, "vm", &console.setting("serial"))));
    assert_ne!(server.at.api, server.at.proxy);
    let token = server.token(VM, Protocol::Serial).await;
    let path = format!("/?token={token}");
    assert_eq!(get(server.at.api, "/").await.status, 200);
    assert_eq!(get(server.at.api, &path).await.status, 404, "no page at the issuer");
    assert_eq!(get(server.at.api, "/vnc.html").await.status, 404);
    assert_eq!(get(server.at.proxy, "/").await.status, 404, "no discovery at the proxy");
    assert_eq!(get(server.at.proxy, "/v2.1/servers").await.status, 404);
    assert_eq!(get(server.at.proxy, &path).await.status, 200);
    assert_eq!(get(server.at.admin, "/health/live").await.status, 200);
    // The operator's page, which asks who is there, and knows nothing itself.
    assert_eq!(get(server.at.admin, "/").await.status, 200);
    assert_eq!(get(server.at.admin, "/v1/sessions").await.status, 401, "an administrator first");
    for (other, status) in [(server.at.api, 404), (server.at.admin, 200)] {
        let request = upgrade(&path).replace("Connection: Upgrade", "Connection: Upgrade, close");
        let answer = Answer::parse(&raw(other, request.as_bytes()).await);
        assert_eq!(answer.status, status, "no console at {other}");
    }
    let (mut socket, _) = open(&server.ws(&token), &[]).await.unwrap();
    viewer::echo(&mut socket, b"here").await;
}
