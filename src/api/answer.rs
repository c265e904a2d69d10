//! Answers on their way out: JSON, and the headers that refusals of any dialect may carry.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Response, StatusCode};
use serde::Serialize;
use serde_json::Value;

use crate::json::quote;

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

/// A body of JSON, rendered.
#[derive(Debug)]
pub(super) struct Body(Bytes);

impl Body {
    /// `{"NAME": "TEXT", ...}`, within `{"OUTER": ...}` if there is one. Names are ours and need no escapes.
    pub(super) fn texts(outer: Option<&'static str>, fields: &[(&'static str, &str)]) -> Self {
        // To the byte, if nothing is escaped: then the bytes that go out are these, with nothing allocated beside them.
        let room =
            fields.iter().map(|(name, value)| name.len() + value.len() + "{\"\":\"\"".len()).sum::<usize>();
        let around = outer.map_or("}".len(), |outer| outer.len() + "{\"\":}}".len());
        let mut text = String::with_capacity(room + around);
        if let Some(outer) = outer {
            text.extend(["{\"", outer, "\":"]);
        }
        for (at, (name, value)) in fields.iter().enumerate() {
            text.extend([if at == 0 { "{\"" } else { ",\"" }, *name, "\":"]);
            quote(&mut text, value);
        }
        text.push_str(if outer.is_some() { "}}" } else { "}" });
        Self(text.into())
    }

    /// Of what is no map with computed keys, so that it cannot fail.
    pub(super) fn of(value: &impl Serialize) -> Self {
        let mut text = Vec::with_capacity(256);
        let _ = serde_json::to_writer(&mut text, value);
        Self(text.into())
    }
}

impl From<String> for Body {
    /// Of what is JSON already.
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Value> for Body {
    fn from(value: Value) -> Self {
        Self::of(&value)
    }
}

pub(super) fn json(status: StatusCode, body: impl Into<Body>) -> Response<Full<Bytes>> {
    let Body(bytes) = body.into();
    let mut response = Response::new(Full::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A request's id as a header's value.
pub(super) fn id(request: &str) -> HeaderValue {
    // Its form is visible ASCII.
    HeaderValue::from_str(request).unwrap_or_else(|_| HeaderValue::from_static("req-"))
}

/// The headers of all answers of one kind, but for the request's id: put together once, since a copy of them all takes
/// less time than to look for the place of each.
pub(super) struct Shape(HeaderMap);

impl Shape {
    /// JSON, with the request's id under these names and the headers that `more` adds.
    pub(super) fn new(ids: &[HeaderName], more: impl FnOnce(&mut HeaderMap)) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for name in ids {
            headers.insert(name, HeaderValue::from_static(""));
        }
        more(&mut headers);
        Self(headers)
    }

    /// An answer to the request of this id.
    pub(super) fn answer(
        &self,
        status: StatusCode,
        Body(bytes): Body,
        request: &str,
    ) -> Response<Full<Bytes>> {
        let mut headers = self.0.clone();
        for place in headers.values_mut().filter(|value| value.is_empty()) {
            // Each of its own: to share one takes as many allocations, and counts.
            *place = id(request);
        }
        let mut response = Response::new(Full::from(bytes));
        (*response.status_mut(), *response.headers_mut()) = (status, headers);
        response
    }
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
    if value == "application/json" {
        return true;
    }
    let kind = value.to_str().unwrap_or("?").split(';').next().unwrap_or_default().trim();
    let known = ["", "text/plain", "application/json", "application/vnd.openstack.compute+json"];
    known.iter().any(|known| kind.eq_ignore_ascii_case(known))
}
