//! The native API, for portals: a console with options, what a token would open, and taking it back.
//!
//! The order of the checks is the order of the refusals: path, method, credential, body, server, policy,
//! options, state, ability, limits.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::{HeaderMap, Method, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::config::Dialect;
use crate::ids::RequestId;

use super::answer::{self, Body, Shape, set};
use super::trail::Trail;
use super::{Call, Core, Payload, cause};

mod consoles;
mod refusal;
mod tokens;

#[cfg(test)]
mod tests;

use refusal::Refusal;

/// All paths begin so.
const ROOT: &str = "/console/v1/";

/// Names the request in header, body and log.
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The headers of answers that refuse nothing.
static SHAPE: LazyLock<Shape> = LazyLock::new(|| Shape::new(std::slice::from_ref(&REQUEST_ID), unkept));

/// Answers hold tokens, or what tokens open.
fn unkept(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// Whether the path is the native API's.
pub(super) fn owns(path: &str, _query: &str) -> bool {
    path.starts_with(ROOT)
}

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
enum Route<'a> {
    /// `servers/{id}/consoles`.
    Consoles(Cow<'a, str>),
    /// `tokens/inspect`.
    Inspect,
    /// `tokens/revoke`.
    Revoke,
}

impl<'a> Route<'a> {
    fn parse(path: &'a str) -> Option<Self> {
        let path = path.strip_prefix(ROOT)?;
        match path {
            "tokens/inspect" => return Some(Self::Inspect),
            "tokens/revoke" => return Some(Self::Revoke),
            _ => {}
        }
        let id = path.strip_prefix("servers/")?.strip_suffix("/consoles").filter(|id| !id.contains('/'))?;
        let id = percent_decode_str(id).decode_utf8().ok().filter(|id| !id.is_empty())?;
        Some(Self::Consoles(id))
    }

    /// A name for logs, without anybody's ids.
    fn template(&self) -> &'static str {
        match self {
            Self::Consoles(_) => "/console/v1/servers/{id}/consoles",
            Self::Inspect => "/console/v1/tokens/inspect",
            Self::Revoke => "/console/v1/tokens/revoke",
        }
    }
}

/// One request whose caller is known.
struct Context<'a> {
    core: &'a Core,
    caller: &'a Caller,
}

/// Answers a request whose path is [owned](owns).
pub(super) async fn handle(core: &Core, call: &Call, body: &mut Payload) -> Response<Full<Bytes>> {
    let route = Route::parse(call.path());
    let template = route.as_ref().map_or("unknown", Route::template);
    let mut id = [0; RequestId::LEN];
    let id = call.request.encode(&mut id);
    let mut trail = Trail::new((call, id), Dialect::Native, template);
    let result = run(core, call, body, route.as_ref(), &mut trail).await;
    trail.log(core, result.as_ref().err().map(|refusal| (refusal.status, refusal.cause)));
    let mut response = match result {
        Ok((status, body)) => return SHAPE.answer(status, body, id),
        Err(refusal) => refuse(&refusal, id),
    };
    let headers = response.headers_mut();
    headers.insert(&REQUEST_ID, answer::id(id));
    unkept(headers);
    response
}

async fn run<'a>(
    core: &Core,
    call: &Call,
    body: &mut Payload,
    route: Option<&'a Route<'a>>,
    trail: &mut Trail<'a>,
) -> Result<(StatusCode, Body), Refusal> {
    let route = route.ok_or_else(Refusal::no_route)?;
    if call.method != Method::POST {
        return Err(Refusal::method());
    }
    let caller = core.caller(call, body).await?;
    trail.caller = Some(Arc::clone(&caller));
    let at = Context { core, caller: &caller };
    if !answer::is_json(&call.headers) {
        let message = "Send Content-Type: application/json.";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", message));
    }
    let body = body.read().await?;
    match route {
        Route::Consoles(id) => {
            let console = consoles::create(&at, id, &parse(&body)?, trail).await?;
            Ok((StatusCode::CREATED, console))
        }
        Route::Inspect => Ok((StatusCode::OK, tokens::inspect(&at, &parse(&body)?).await?.into())),
        Route::Revoke => Ok((StatusCode::OK, tokens::revoke(&at, parse(&body)?, trail).await?.into())),
    }
}

/// The body in its own type; what is wrong is said by field.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    // A JSON array would do for a struct otherwise.
    if body.trim_ascii_start().starts_with(b"{")
        && let Ok(value) = serde_json::from_slice(body)
    {
        return Ok(value);
    }
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        let message = format!("The body is not JSON: line {}, column {}.", error.line(), error.column());
        Refusal::bad("malformed-body", message)
    })?;
    if !value.is_object() {
        return Err(Refusal::bad("malformed-body", "The body is not a JSON object."));
    }
    serde_json::from_value(value).map_err(|error| Refusal::schema(&error.to_string()))
}

fn refuse(refusal: &Refusal, request: &str) -> Response<Full<Bytes>> {
    let code = cause::code(refusal.cause);
    let body = json!({"error": {"code": code, "message": refusal.message, "request_id": request}});
    let mut response = answer::json(refusal.status, body);
    let headers = response.headers_mut();
    set(headers, HeaderName::from_static(cause::HEADER), code);
    if refusal.status == StatusCode::UNAUTHORIZED {
        // RFC 9110 section 15.5.2 wants a challenge.
        set(headers, WWW_AUTHENTICATE, "X-Auth-Token");
    }
    refusal.more.set(headers);
    response
}
