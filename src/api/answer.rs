//! Answers on their way out: JSON, and the headers that refusals of any dialect may carry.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Response, StatusCode};
use serde_json::Value;

/// A header some refusals need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum More {
    Nothing,
    Allow(&'static str),
    RetryAfter(u32),
    /// The rest of the request is not worth reading.
    Close,
}

impl More {
    pub(super) fn set(self, headers: &mut HeaderMap) {
        match self {
            Self::Nothing => {}
            Self::Allow(methods) => set(headers, ALLOW, methods),
            Self::RetryAfter(seconds) => set(headers, RETRY_AFTER, &seconds.to_string()),
            Self::Close => set(headers, CONNECTION, "close"),
        }
    }
}

pub(super) fn json(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// All values come from here and are visible ASCII.
pub(super) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Whether the body is JSON by its type, as nova has it: no type and `text/plain`, some libraries' default,
/// are taken for JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return true };
    let kind = value.to_str().unwrap_or("?").split(';').next().unwrap_or_default().trim();
    let known = ["", "text/plain", "application/json", "application/vnd.openstack.compute+json"];
    known.iter().any(|known| kind.eq_ignore_ascii_case(known))
}
