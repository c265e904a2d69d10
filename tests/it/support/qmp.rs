//! QEMU's machine protocol: one JSON object a line, greeting first, events between the answers.
//! Source: docs/interop/qmp-spec.rst of QEMU.

use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::within;

/// A connection in command mode.
pub(crate) struct Qmp(BufReader<UnixStream>);

impl Qmp {
    /// Connects if the socket is there yet, and leaves negotiation mode.
    pub(crate) async fn connect(socket: &Path) -> Option<Self> {
        let stream = UnixStream::connect(socket).await.ok()?;
        let mut qmp = Self(BufReader::new(stream));
        let greeting = qmp.line().await;
        assert!(greeting.get("QMP").is_some(), "a QMP greeting, not {greeting}");
        qmp.call("qmp_capabilities", json!({})).await;
        Some(qmp)
    }

    /// Runs a command and returns what it returned.
    pub(crate) async fn call(&mut self, command: &str, arguments: Value) -> Value {
        let line = format!("{}\n", json!({ "execute": command, "arguments": arguments }));
        self.0.get_mut().write_all(line.as_bytes()).await.expect("QEMU reads commands");
        loop {
            let mut answer = self.line().await;
            if answer.get("event").is_some() {
                continue;
            }
            return match answer.get_mut("return") {
                Some(value) => value.take(),
                None => panic!("QMP {command}: {answer}"),
            };
        }
    }

    async fn line(&mut self) -> Value {
        let mut line = String::new();
        let read = within("an answer of QEMU's monitor", self.0.read_line(&mut line)).await;
        assert!(read.expect("QEMU's monitor") > 0, "QEMU closed its monitor");
        serde_json::from_str(&line).expect("JSON from QEMU's monitor")
    }
}
