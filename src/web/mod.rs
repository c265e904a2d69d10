//! The console pages and the operator's, embedded in the binary: routing, caching and the headers that keep a page honest.
//!
//! Never reads a file, never redirects, never touches a token: a page load spends nothing.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};

mod files;
mod policy;
mod route;

use files::{EMBEDDED, File};
pub use policy::InvalidFrameAncestor;
use policy::Policies;
use route::{OPERATOR_PAGE, Place, RECORDINGS_PAGE, route};

/// A page, an asset or a refusal, whole.
pub type Page = Response<Full<Bytes>>;

/// What a page request gets when the binary was built without its pages.
const MISSING: &str = "This consolegate was built without its console pages.\n\
    Build it with `cargo xtask build`, which makes the pages first and embeds them.\n\
    Consoles themselves work: any noVNC or WebSocket client can open them.\n";

/// Whether the binary carries its pages. A plain `cargo build` without `npm run build` before it does not.
#[must_use]
pub fn embedded() -> bool {
    !EMBEDDED.is_empty()
}

/// Serves the embedded pages.
#[derive(Clone, Debug)]
pub struct Web {
    files: &'static [File],
    policies: Policies,
    https: bool,
}

impl Web {
    /// `frame_ancestors`: CSP sources that may show a page in a frame; empty is nobody. `https`: browsers reach
    /// the pages over TLS, ours or a load balancer's, so HSTS is sent.
    ///
    /// # Errors
    /// A source that is no single CSP source expression.
    pub fn new(frame_ancestors: &[String], https: bool) -> Result<Self, InvalidFrameAncestor> {
        Ok(Self { files: EMBEDDED, policies: Policies::new(frame_ancestors)?, https })
    }

    /// Answers a request for a page or asset; `None` if the path is neither, and the caller says 404.
    ///
    /// The caller takes upgrades first: `GET /vnc.html?token=T` with `Upgrade: websocket` is a console, not a page.
    #[must_use]
    pub fn respond<B>(&self, request: &Request<B>) -> Option<Page> {
        let response = match route(request.uri().path(), request.uri().query())? {
            Place::Page(name) => self.page(name),
            Place::Asset(name) if is_operators(name) => return None,
            Place::Asset(name) => self.asset(name, request.headers())?,
        };
        Some(self.finish(request, response))
    }

    /// As [`Web::respond`] for the listener of operators, which has two pages, at `/` and `/recordings.html`, and shows
    /// them in no frame.
    #[must_use]
    pub fn operator<B>(&self, request: &Request<B>) -> Option<Page> {
        let response = match request.uri().path() {
            "/" => self.page(OPERATOR_PAGE),
            path if path.strip_prefix('/') == Some(RECORDINGS_PAGE) => self.page(RECORDINGS_PAGE),
            path => self.asset(path.strip_prefix("/assets/")?, request.headers())?,
        };
        Some(self.finish(request, response))
    }

    fn finish<B>(&self, request: &Request<B>, mut response: Page) -> Page {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            response = plain(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD.\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        self.common_headers(response.headers_mut());
        if request.method() == Method::HEAD {
            *response.body_mut() = Full::default();
        }
        response
    }

    fn page(&self, name: &str) -> Page {
        let Some(file) = self.files.iter().find(|file| file.name == name) else {
            return plain(StatusCode::SERVICE_UNAVAILABLE, MISSING);
        };
        // no-store: the URL of a page carries a token, so nothing about it is kept.
        let mut response = ok(file, file.body);
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CONTENT_SECURITY_POLICY, self.policies.of(name).clone());
        response
    }

    /// Asset names carry a digest of their content, so a name never changes its bytes.
    fn asset(&self, name: &str, request: &HeaderMap) -> Option<Page> {
        let file = self.files.iter().find(|file| file.name.strip_prefix("assets/") == Some(name))?;
        let packed = file.gzip.filter(|_| accepts_gzip(request));
        let etag = format!("\"{}{}\"", file.etag, if packed.is_some() { "-gz" } else { "" });
        let mut response = if matches_etag(request, &etag) {
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            ok(file, packed.unwrap_or(file.body))
        };
        let headers = response.headers_mut();
        if packed.is_some() && headers.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if file.gzip.is_some() {
            headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        headers.insert(ETAG, HeaderValue::from_str(&etag).ok()?);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
        headers.insert(CONTENT_SECURITY_POLICY, self.policies.asset().clone());
        Some(response)
    }

    fn common_headers(&self, headers: &mut HeaderMap) {
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.https {
            // Two years, what browsers' preload lists ask for at least.
            headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=63072000"));
        }
    }
}

/// What the operator's page is made of; viewers have no use for it.
fn is_operators(asset: &str) -> bool {
    asset.starts_with("admin-") || asset.starts_with("player-")
}

fn ok(file: &File, body: &'static [u8]) -> Page {
    let mut response = Response::new(Full::new(Bytes::from_static(body)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.content_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    response
}

fn plain(status: StatusCode, text: &'static str) -> Page {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// `If-None-Match` of RFC 9110 section 13.1.2: a list, compared weakly, or `*`.
fn matches_etag(request: &HeaderMap, etag: &str) -> bool {
    list(request, &IF_NONE_MATCH).any(|item| item == "*" || item.strip_prefix("W/").unwrap_or(item) == etag)
}

/// `Accept-Encoding` of RFC 9110 section 12.5.3: `gzip` named, and not with a weight of zero.
fn accepts_gzip(request: &HeaderMap) -> bool {
    list(request, &ACCEPT_ENCODING).any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let gzip = parts.next().is_some_and(|coding| coding.eq_ignore_ascii_case("gzip"));
        let refused = parts.any(|weight| {
            weight.strip_prefix("q=").is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q <= 0.0))
        });
        gzip && !refused
    })
}

fn list<'a>(headers: &'a HeaderMap, name: &'a HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(str::trim)
}

#[cfg(test)]
mod tests;
