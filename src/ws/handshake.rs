//! The opening handshake (RFC 6455 section 4.2), stricter than the HTTP library beneath it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderName};
use http::{Method, Request, Version};
use sha1::{Digest, Sha1};

/// Longest request target accepted, in bytes: a console URL is under 300, proxies add prefixes.
const MAX_URI: usize = 4096;

/// RFC 6455 section 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The subprotocol of viewers that speak our control channel: binary frames are the console's bytes, each text
/// message is one JSON object between the viewer and the proxy.
pub const CONTROL: &str = "consolegate.v1";

/// A well-formed upgrade: what to answer with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// `Sec-WebSocket-Accept`.
    pub accept: String,
    /// Whether the client offered the `binary` subprotocol, which is then chosen.
    pub binary: bool,
    /// Whether it offered [`CONTROL`], which is chosen before `binary`.
    pub control: bool,
}

/// Why an upgrade is refused before anything else is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// Not a request RFC 6455 allows; the text says which rule.
    #[error("{0}")]
    Malformed(&'static str),
    /// Another version of the protocol: answered with 426 and the version we speak.
    #[error("Sec-WebSocket-Version is not 13")]
    Version,
    /// A request target above the limit.
    #[error("request target is longer than {MAX_URI} bytes")]
    UriTooLong,
}

/// Whether the client asks for a WebSocket at all.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    has_token(headers, &header::UPGRADE, "websocket")
}

/// Checks a request against RFC 6455 section 4.2.1, every rule of it.
pub fn check_request<B>(request: &Request<B>) -> Result<Offer, HandshakeError> {
    use HandshakeError::Malformed;
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err(Malformed("the method must be GET"));
    }
    if request.version() != Version::HTTP_11 {
        return Err(Malformed("the version must be HTTP/1.1"));
    }
    if request.uri().scheme().is_some() || !request.uri().path().starts_with('/') {
        return Err(Malformed("the request target must be a path"));
    }
    if request.uri().path_and_query().is_some_and(|target| target.as_str().len() > MAX_URI) {
        return Err(HandshakeError::UriTooLong);
    }
    let host = single(headers, &header::HOST).ok_or(Malformed("exactly one Host header is required"))?;
    if host.is_empty() {
        return Err(Malformed("the Host header is empty"));
    }
    if !has_token(headers, &header::CONNECTION, "upgrade") {
        return Err(Malformed("Connection must list upgrade"));
    }
    if headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0")
    {
        return Err(Malformed("an upgrade has no body"));
    }
    let version = single(headers, &header::SEC_WEBSOCKET_VERSION)
        .ok_or(Malformed("exactly one Sec-WebSocket-Version header is required"))?;
    if version != "13" {
        return Err(HandshakeError::Version);
    }
    let key = single(headers, &header::SEC_WEBSOCKET_KEY)
        .ok_or(Malformed("exactly one Sec-WebSocket-Key header is required"))?;
    if STANDARD.decode(key).map(|bytes| bytes.len()) != Ok(16) {
        return Err(Malformed("Sec-WebSocket-Key must be 16 bytes in base64"));
    }
    let offered = |name| has_token(headers, &header::SEC_WEBSOCKET_PROTOCOL, name);
    let (binary, control) = (offered("binary"), offered(CONTROL));
    // Nothing offered is fine; only others offered is not: the client could not read our frames.
    if headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL) && !binary && !control {
        return Err(Malformed("of the offered subprotocols none is `binary`"));
    }
    Ok(Offer { accept: accept(key), binary, control })
}

fn accept(key: &str) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// The header's value, if there is exactly one and it is visible ASCII.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?.trim();
    values.next().is_none().then_some(value)
}

/// Whether one of the header's comma-separated tokens is `token`, in any case.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(change: impl FnOnce(&mut Request<()>)) -> Request<()> {
        let mut request = Request::get("/x/?token=T")
            .header("Host", "h")
            .header("Upgrade", "websocket")
            .header("Connection", "keep-alive, Upgrade")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .body(())
            .unwrap();
        change(&mut request);
        request
    }

    /// RFC 6455 section 1.3: the sample key and its answer.
    #[test]
    fn the_rfcs_sample() {
        let offer = check_request(&request(|_| {})).unwrap();
        assert_eq!(
            offer,
            Offer { accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into(), binary: false, control: false }
        );
    }

    #[test]
    fn every_departure_is_refused() {
        let refused = |name: &str, change: &dyn Fn(&mut Request<()>)| {
            let result = check_request(&request(change));
            assert!(matches!(result, Err(HandshakeError::Malformed(_))), "{name}: {result:?}");
        };
        refused("method", &|r| *r.method_mut() = Method::POST);
        refused("version", &|r| *r.version_mut() = Version::HTTP_10);
        refused("absolute form", &|r| *r.uri_mut() = "http://h/?token=T".parse().unwrap());
        refused("body", &|r| drop(r.headers_mut().insert("content-length", "1".parse().unwrap())));
        refused("chunked", &|r| {
            drop(r.headers_mut().insert("transfer-encoding", "chunked".parse().unwrap()))
        });
        for name in ["host", "connection", "sec-websocket-version", "sec-websocket-key"] {
            refused(name, &|r| drop(r.headers_mut().remove(name)));
        }
        for name in ["host", "sec-websocket-version", "sec-websocket-key"] {
            refused(name, &|r| {
                let value = r.headers()[name].clone();
                r.headers_mut().append(HeaderName::from_static(name), value);
            });
        }
        refused("connection", &|r| drop(r.headers_mut().insert("connection", "close".parse().unwrap())));
        for key in ["short", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "dGhlIHNhbXBsZSBub25jZQ"] {
            refused(key, &|r| drop(r.headers_mut().insert("sec-websocket-key", key.parse().unwrap())));
        }
        for offered in ["base64", "chat, base64"] {
            refused(offered, &|r| {
                r.headers_mut().insert("sec-websocket-protocol", offered.parse().unwrap());
            });
        }
    }

    #[test]
    fn version_uri_and_subprotocol() {
        let other = request(|r| drop(r.headers_mut().insert("sec-websocket-version", "8".parse().unwrap())));
        assert_eq!(check_request(&other), Err(HandshakeError::Version));
        let long = request(|r| *r.uri_mut() = format!("/{}", "x".repeat(MAX_URI)).parse().unwrap());
        assert_eq!(check_request(&long), Err(HandshakeError::UriTooLong));
        let both = request(|r| {
            r.headers_mut().insert("sec-websocket-protocol", "base64, binary".parse().unwrap());
        });
        let offer = check_request(&both).unwrap();
        assert!(offer.binary && !offer.control);
        let ours = request(|r| {
            r.headers_mut().insert("sec-websocket-protocol", "consolegate.v1, binary".parse().unwrap());
        });
        let offer = check_request(&ours).unwrap();
        assert!(offer.binary && offer.control);
        assert!(is_upgrade(both.headers()));
    }
}
