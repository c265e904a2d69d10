//! The native API, for portals: a console with options, what a token would open, and taking it back.
//!
//! The order of the checks is the order of the refusals: path, method, credential, body, server, policy,
//! options, state, ability.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Method, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::ids::RequestId;

use super::{BodyError, Call, Core};

mod cause;
mod consoles;
mod refusal;
mod tokens;

#[cfg(test)]
mod tests;

use refusal::Refusal;

/// All paths begin so.
const ROOT: &str = "/console/v1/";

/// Names the request in header, body and log.
const REQUEST_ID: &str = "x-request-id";

/// Names the refusal's code, as in every dialect.
const ERROR_CODE: &str = "x-error-code";

/// Whether the path is the native API's.
pub(super) fn owns(path: &str, _query: &str) -> bool {
    path.starts_with(ROOT)
}

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
enum Route {
    /// `servers/{id}/consoles`.
    Consoles(String),
    /// `tokens/inspect`.
    Inspect,
    /// `tokens/revoke`.
    Revoke,
}

impl Route {
    fn parse(path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.strip_prefix(ROOT)?.split('/').collect();
        match segments[..] {
            ["servers", id, "consoles"] => {
                let id = percent_decode_str(id).decode_utf8().ok().filter(|id| !id.is_empty())?;
                Some(Self::Consoles(id.into_owned()))
            }
            ["tokens", "inspect"] => Some(Self::Inspect),
            ["tokens", "revoke"] => Some(Self::Revoke),
            _ => None,
        }
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
    request: RequestId,
}

/// Answers a request whose path is [owned](owns).
pub(super) async fn answer(core: &Core, call: Call) -> Response<Full<Bytes>> {
    let request = call.request;
    let route = Route::parse(&call.path);
    let template = route.as_ref().map_or("unknown", Route::template);
    let result = run(core, call, route).await;
    let mut response = match result {
        Ok((status, body)) => respond(status, &body),
        Err(refusal) => {
            let (status, cause, code) = (refusal.status.as_u16(), refusal.cause, refusal.code());
            tracing::info!(
                %request, dialect = "native", route = template, status, cause, code, "request refused"
            );
            refuse(&refusal, request)
        }
    };
    if let Ok(id) = HeaderValue::from_str(&request.to_string()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

async fn run(core: &Core, call: Call, route: Option<Route>) -> Result<(StatusCode, Value), Refusal> {
    let route = route.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "no-route", "No such path."))?;
    if call.method != Method::POST {
        let message = "This path takes POST only.";
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method", message));
    }
    let caller =
        core.authenticator.authenticate(&call.headers).await.map_err(|_| Refusal::unauthenticated())?;
    let at = Context { core, caller: &caller, request: call.request };
    if !is_json(&call.headers) {
        let message = "Send Content-Type: application/json.";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", message));
    }
    let body = call.body.await?;
    match route {
        Route::Consoles(id) => Ok((StatusCode::CREATED, consoles::create(&at, &id, parse(&body)?).await?)),
        Route::Inspect => Ok((StatusCode::OK, tokens::inspect(&at, &parse(&body)?).await?)),
        Route::Revoke => Ok((StatusCode::OK, tokens::revoke(&at, parse(&body)?).await?)),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return true };
    let kind = value.to_str().unwrap_or("?").split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

/// The body in its own type; what is wrong is said by field.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        let message = format!("The body is not JSON: line {}, column {}.", error.line(), error.column());
        Refusal::bad("malformed-body", message)
    })?;
    // A JSON array would do for a struct otherwise.
    if !value.is_object() {
        return Err(Refusal::bad("malformed-body", "The body is not a JSON object."));
    }
    serde_json::from_value(value).map_err(|error| Refusal::schema(&error.to_string()))
}

fn respond(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Answers hold tokens, or what tokens open.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn refuse(refusal: &Refusal, request: RequestId) -> Response<Full<Bytes>> {
    let code = refusal.code();
    let body =
        json!({"error": {"code": code, "message": refusal.message, "request_id": request.to_string()}});
    let mut response = respond(refusal.status, &body);
    let headers = response.headers_mut();
    headers.insert(ERROR_CODE, HeaderValue::from_static(code));
    match refusal.status {
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            headers.insert(RETRY_AFTER, HeaderValue::from(refusal.retry_after));
        }
        // The rest of such a request is not worth reading.
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    response
}
