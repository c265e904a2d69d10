//! The admin listener: whether the process lives and whether it takes new consoles.

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;

use crate::proxy::Proxy;

/// Answers a request on the admin listener. `draining` is true from SIGTERM on.
pub fn respond<B>(request: &Request<B>, proxy: &Proxy, draining: bool) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response =
            json(StatusCode::METHOD_NOT_ALLOWED, &serde_json::json!({"error": "only GET and HEAD"}));
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let sessions = proxy.sessions().count();
    match request.uri().path() {
        "/health/live" => json(StatusCode::OK, &serde_json::json!({"status": "live"})),
        "/health/ready" if draining => {
            let body = serde_json::json!({"status": "draining", "sessions": sessions});
            json(StatusCode::SERVICE_UNAVAILABLE, &body)
        }
        "/health/ready" => {
            json(StatusCode::OK, &serde_json::json!({"status": "ready", "sessions": sessions}))
        }
        _ => {
            let paths = ["/health/live", "/health/ready"];
            json(StatusCode::NOT_FOUND, &serde_json::json!({"error": "not found", "paths": paths}))
        }
    }
}

fn json(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{body}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
