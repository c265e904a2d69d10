//! The dialect as a client sees it: whole requests, whole answers.

use std::time::Duration;

use serde_json::{Value, json};

use crate::config::Dialect;
use crate::ids::{Protocol, RequestId};
use crate::tokens::{Claim, Nonce, Store};

use super::super::testing::{Ask, Fixture, OTHER, PROJECT, Reply, settings};

mod consoles;
mod faults;
mod log;
mod lookups;

/// A `remote-consoles` request for a server.
fn remote<'a>(uri: &'a str, body: &'a str, headers: &'a [(&'a str, &'a str)]) -> Ask<'a> {
    Ask { method: "POST", uri, body, headers, ..Ask::default() }
}

const NOVNC: &str = r#"{"remote_console":{"protocol":"vnc","type":"novnc"}}"#;
const SERIAL: &str = r#"{"remote_console":{"type":"serial","protocol":"serial"}}"#;
const AT_2_6: &[(&str, &str)] = &[("OpenStack-API-Version", "compute 2.6")];
const VM: &str = "/v2.1/servers/vm/remote-consoles";

/// The answer is a fault of this status, name and message.
fn assert_fault(reply: &Reply, status: u16, name: &str, message: &str) {
    assert_eq!(reply.body, json!({name: {"code": status, "message": message}}));
    assert_eq!(reply.status, status);
}
