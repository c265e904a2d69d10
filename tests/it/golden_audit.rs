//! What every dialect answers while the audit log has no room, byte for byte: `tests/data/golden/audit.txt`.

use crate::golden::{Case, case, compare, targets, tell};
use crate::support::server::{Running, http};
use crate::support::within;

/// A device on which no byte finds room (full(4)).
const FULL: &str = "[audit]\nfile = \"/dev/full\"\n";

#[tokio::test]
async fn nothing_is_issued_that_cannot_be_written_down() {
    let running = Running::start(&format!("{FULL}{}", targets())).await;
    // The log's own thread finds out with its first line.
    within("the audit log to fail", async {
        while !http(running.at.admin, "GET", "/metrics", "", "").await.contains("consolegate_audit_failing 1")
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let remote = r#"{"remote_console":{"protocol":"vnc","type":"novnc"}}"#;
    let newest: &[_] = &[("OpenStack-API-Version", "compute latest")];
    let mut story = String::new();
    for case in [
        Case { headers: newest, ..case("openstack", "POST /v2.1/servers/vm/remote-consoles", remote) },
        case("huawei", "POST /v1/{P}/cloudservers/vm/remote_console", remote),
        case("native", "POST /console/v1/servers/vm/consoles", r#"{"protocol":"vnc"}"#),
    ] {
        story += &tell(&running, &case).await;
    }
    compare("audit.txt", &story);
}
