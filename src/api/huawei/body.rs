//! The body of a POST: `{"remote_console": {"protocol": ..., "type": ...}}`, of which one pair is right.
//!
//! As Huawei's gateways do, further properties are passed over.

use hyper::StatusCode;
use serde_json::Value;

use super::super::body::{Named, Sent};
use super::super::{Call, Payload, answer};
use super::Refusal;

/// Protocol and type as a dialect names them.
pub(in crate::api) struct Pair {
    pub(in crate::api) protocol: &'static str,
    pub(in crate::api) kind: &'static str,
}

impl Pair {
    /// Reads the body and holds it to the pair.
    pub(super) async fn check(&self, call: &Call, body: &mut Payload) -> Result<(), Refusal> {
        if !answer::is_json(&call.headers) {
            let message = "The body must be JSON: send Content-Type: application/json.";
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", message));
        }
        // SDKs send nothing if they were given nothing.
        let body = Sent::read(&body.read().await?).map_err(|_| Refusal::malformed_body())?;
        let right = Named { outer: "remote_console", protocol: Some(self.protocol), kind: Some(self.kind) };
        if body.named() == Some(right) {
            return Ok(());
        }
        let matches = self.matches(&body.value());
        matches.map_err(|message| Refusal::new(StatusCode::BAD_REQUEST, "schema", message))
    }

    fn matches(&self, body: &Value) -> Result<(), String> {
        let console = body.get("remote_console").filter(|console| console.is_object());
        let console = console.ok_or_else(|| {
            format!(
                "The body must be {{\"remote_console\":{{\"protocol\":\"{}\",\"type\":\"{}\"}}}}.",
                self.protocol, self.kind
            )
        })?;
        for (name, right) in [("protocol", self.protocol), ("type", self.kind)] {
            if console.get(name).and_then(Value::as_str) != Some(right) {
                return Err(format!("remote_console.{name} must be \"{right}\"."));
            }
        }
        Ok(())
    }
}
