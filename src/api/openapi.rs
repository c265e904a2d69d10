//! `/openapi.json`: an OpenAPI 3.1 document of the dialects that are switched on, and `/openapi.html`, the same
//! to read. Both are made once, at start, from one piece a dialect.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Response, StatusCode};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::config::Dialect;

mod page;

#[cfg(test)]
mod tests;

/// What each dialect adds: a tag, paths, schemas, responses.
static PIECES: &[(Dialect, &str)] = &[
    (Dialect::Openstack, include_str!("openapi/openstack.json")),
    (Dialect::Otc, include_str!("openapi/otc.json")),
    (Dialect::HuaweiBms, include_str!("openapi/huawei_bms.json")),
    (Dialect::HuaweiClouddc, include_str!("openapi/huawei_clouddc.json")),
    (Dialect::HuaweiEcs, include_str!("openapi/huawei_ecs.json")),
    (Dialect::Native, include_str!("openapi/native.json")),
];

/// The document in its two forms.
pub(super) struct Document {
    json: Bytes,
    page: Bytes,
    policy: HeaderValue,
}

impl Document {
    /// Of these dialects.
    pub(super) fn new(is_on: impl Fn(Dialect) -> bool) -> Self {
        let document = assemble(is_on);
        let style = STANDARD.encode(Sha256::digest(page::STYLE));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        );
        Self {
            json: document.to_string().into(),
            page: page::render(&document).into(),
            // Base64 and fixed words: always a header value.
            policy: HeaderValue::from_str(&policy)
                .unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'")),
        }
    }

    /// The answer, if the path is one of the document's.
    pub(super) fn respond(&self, method: &Method, path: &str) -> Option<Response<Full<Bytes>>> {
        let (body, kind) = match path {
            "/openapi.json" => (&self.json, "application/json"),
            "/openapi.html" => (&self.page, "text/html; charset=utf-8"),
            _ => return None,
        };
        let mut response = Response::new(Full::new(body.clone()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if method != Method::GET && method != Method::HEAD {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            *response.body_mut() = Full::default();
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        }
        Some(response)
    }
}

fn assemble(is_on: impl Fn(Dialect) -> bool) -> Value {
    let (mut tags, mut paths) = (Vec::new(), Map::new());
    let (mut schemas, mut responses) = (Map::new(), Map::new());
    for (_, text) in PIECES.iter().filter(|(dialect, _)| is_on(*dialect)) {
        // The pieces are constants that a test reads.
        let Ok(Value::Object(mut piece)) = serde_json::from_str(text) else { continue };
        tags.extend(piece.remove("tag"));
        for (key, all) in [("paths", &mut paths), ("schemas", &mut schemas), ("responses", &mut responses)] {
            if let Some(Value::Object(more)) = piece.remove(key) {
                all.extend(more);
            }
        }
    }
    let token = json!({"type": "apiKey", "in": "header", "name": "X-Auth-Token"});
    let signature = json!({
        "type": "apiKey", "in": "header", "name": "Authorization",
        "description": "SDK-HMAC-SHA256 over the request, as Huawei's SDKs sign it.",
    });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "consolegate",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Console URLs with one-time tokens.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": tags,
        "paths": paths,
        "components": {"schemas": schemas, "responses": responses, "securitySchemes": {"token": token, "signature": signature}},
    })
}
