//! What an upgrade request says: its token, its origin, where it comes from.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use http::header::{self, HeaderMap, HeaderName};
use http::{HeaderValue, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Bytes;
use percent_encoding::percent_decode_str;
use uuid::Uuid;

use crate::tokens::Token;
use crate::ws::{CONTROL, HandshakeError, Offer};

use super::hub::Seen;

/// Seconds to wait, told with 429 and 503: limits free up as sessions end, and a store comes back in seconds.
const RETRY_AFTER: &str = "5";

/// Where a request says it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// No `Origin`: not a browser.
    Absent,
    /// The public host, or on the allowed list.
    Allowed,
    /// Anything else, `null` among it.
    Foreign,
}

/// The one `Origin`, in lower case; `None` if there is none, or several.
pub(super) fn origin_text(headers: &HeaderMap) -> Option<Box<str>> {
    let mut values = headers.get_all(header::ORIGIN).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().map(|origin| origin.to_ascii_lowercase().into()),
        _ => None,
    }
}

/// Judges the `Origin` header against configuration: exact scheme, host and port. Never against `Host`, which
/// a rebinding attacker controls (CVE-2015-0259).
pub(super) fn origin(headers: &HeaderMap, allowed: &BTreeSet<String>) -> Origin {
    match origin_text(headers) {
        Some(origin) if allowed.contains(&*origin) => Origin::Allowed,
        None if !headers.contains_key(header::ORIGIN) => Origin::Absent,
        _ => Origin::Foreign,
    }
}

/// The token: the last `token` of the query on any path, else the cookie `token`.
pub(super) fn token(uri: &Uri, headers: &HeaderMap) -> Option<Token> {
    let from_query = || query_value(uri, "token").and_then(|value| Token::parse(&value).ok());
    let from_cookie = || {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs =
            cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = pairs.find(|(name, _)| *name == "token")?;
        Token::parse(value.trim_matches('"')).ok()
    };
    if query_value(uri, "token").is_some() { from_query() } else { from_cookie() }
}

/// The last value of `name` in the query, percent-decoded.
pub(super) fn query_value(uri: &Uri, name: &str) -> Option<String> {
    let mut pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.rfind(|(key, _)| *key == name)?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}

/// How much of a shared line's output the viewer has seen, by its own account.
pub(super) fn seen(uri: &Uri) -> Option<Seen> {
    let offset = query_value(uri, "offset")?.parse().ok()?;
    // A name that is none of ours is another line's.
    let line = query_value(uri, "line").map(|line| line.parse().unwrap_or(Uuid::nil()));
    Some(Seen { offset, line })
}

/// The viewer's address: the peer's, or what a trusted peer says, read from the right past every trusted one.
pub(super) fn source(peer: SocketAddr, headers: &HeaderMap, trusted: &[IpAddr]) -> IpAddr {
    static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    let mut source = peer.ip().to_canonical();
    if trusted.is_empty() {
        return source;
    }
    let lines: Vec<&str> =
        headers.get_all(&FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
    let mut hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
    while trusted.contains(&source) {
        match hops.next().and_then(|hop| hop.trim().parse::<IpAddr>().ok()) {
            Some(hop) => source = hop.to_canonical(),
            None => break,
        }
    }
    source
}

/// The answer that makes the connection a WebSocket (RFC 6455 section 4.2.2).
pub(super) fn switching(offer: &Offer, cookie: Option<HeaderValue>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = HeaderValue::from_str(&offer.accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if offer.control || offer.binary {
        let chosen = if offer.control { CONTROL } else { "binary" };
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(chosen));
    }
    if let Some(cookie) = cookie {
        headers.insert(header::SET_COOKIE, cookie);
    }
    response
}

/// A refusal to a client that is no browser: a status, no body, and the end of the connection. Tempest fails
/// on a body.
pub(super) fn refused(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
    }
    response
}

/// A request that is no WebSocket handshake after all.
pub(super) fn malformed(error: HandshakeError) -> Response<Full<Bytes>> {
    match error {
        HandshakeError::Malformed(_) => refused(StatusCode::BAD_REQUEST),
        HandshakeError::UriTooLong => refused(StatusCode::URI_TOO_LONG),
        HandshakeError::Version => {
            let mut response = refused(StatusCode::UPGRADE_REQUIRED);
            let version = HeaderValue::from_static("13");
            response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, version);
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "0fda3eca-8232-4249-9a62-550bce390258";
    const B: &str = "2a794f06-15ec-4f3d-a55b-06aca8e3dcbc";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        map
    }

    #[test]
    fn the_token_is_found_wherever_clients_put_it() {
        let cookie = format!("a=b; token={B}; c=d");
        let cases: &[(String, &str, Option<&str>)] = &[
            (format!("/?token={A}"), "", Some(A)),
            (format!("/vnc/zone.region/vnc.html?x=1&token={A}&y"), "", Some(A)),
            (format!("/?token={A}&token={B}"), "", Some(B)),
            (format!("/?token={}", A.replace('-', "%2D")), "", Some(A)),
            ("/websockify".into(), &cookie, Some(B)),
            (format!("/?token={A}"), &cookie, Some(A)),
            ("/?token=".into(), &cookie, None),
            ("/?token=../../etc/passwd".into(), "", None),
            ("/".into(), "", None),
            ("/?tokens=x".into(), "mytoken=x", None),
        ];
        for (uri, cookie, expected) in cases {
            let headers = if cookie.is_empty() { HeaderMap::new() } else { headers(&[("cookie", cookie)]) };
            let found = token(&uri.parse().unwrap(), &headers);
            assert_eq!(found.as_ref().map(Token::reveal), *expected, "{uri} {cookie}");
        }
    }

    #[test]
    fn origins_are_compared_whole() {
        let allowed =
            BTreeSet::from(["https://console.example".to_owned(), "http://127.0.0.1:6080".to_owned()]);
        let judge = |value: &str| origin(&headers(&[("origin", value)]), &allowed);
        assert_eq!(origin(&HeaderMap::new(), &allowed), Origin::Absent);
        assert_eq!(judge("https://console.example"), Origin::Allowed);
        assert_eq!(judge("HTTPS://Console.Example"), Origin::Allowed);
        for foreign in [
            "null",
            "",
            "http://console.example",
            "https://console.example:8443",
            "https://console.example.evil",
            "https://evil/https://console.example",
            "http://127.0.0.1",
        ] {
            assert_eq!(judge(foreign), Origin::Foreign, "{foreign}");
        }
        let twice = headers(&[("origin", "https://console.example"), ("origin", "https://console.example")]);
        assert_eq!(origin(&twice, &allowed), Origin::Foreign);
    }

    #[test]
    fn only_trusted_peers_may_say_who_they_speak_for() {
        let lb: IpAddr = "10.0.0.1".parse().unwrap();
        let from = |peer: &str, forwarded: &[(&'static str, &str)]| {
            source(peer.parse().unwrap(), &headers(forwarded), &[lb]).to_string()
        };
        let lie = [("x-forwarded-for", "1.1.1.1, 192.0.2.7")];
        assert_eq!(from("203.0.113.9:1", &lie), "203.0.113.9");
        assert_eq!(from("10.0.0.1:1", &lie), "192.0.2.7");
        assert_eq!(from("[::ffff:10.0.0.1]:1", &[("x-forwarded-for", "192.0.2.7, 10.0.0.1")]), "192.0.2.7");
        assert_eq!(
            from("10.0.0.1:1", &[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2")]),
            "2.2.2.2"
        );
        assert_eq!(from("10.0.0.1:1", &[("x-forwarded-for", "garbage")]), "10.0.0.1");
        assert_eq!(from("10.0.0.1:1", &[]), "10.0.0.1");
    }
}
