//! The canonical request: the one text that stands for all ways to write the same request.
//!
//! ```text
//! METHOD \n CanonicalURI \n CanonicalQuery \n CanonicalHeaders \n SignedHeaders \n hex(sha256(body))
//! ```
//!
//! Requests that are written differently but have one canonical form are one request to the signer. Where our own
//! routes would tell them apart, the form is refused: an encoded slash.

use hyper::header::HeaderName;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use crate::auth::{AuthError, Head};

pub(super) const DATE: HeaderName = HeaderName::from_static("x-sdk-date");
pub(super) const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-sdk-content-sha256");
pub(super) const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-security-token");

/// RFC 3986 section 2.3: all but unreserved characters are encoded.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The canonical request up to the body's digest.
pub(super) struct Canonical(Vec<u8>);

impl Canonical {
    pub(super) fn of(head: &Head<'_>, signed: &[&str]) -> Result<Self, AuthError> {
        let mut text = Vec::with_capacity(512);
        text.extend_from_slice(head.method.as_str().as_bytes());
        text.push(b'\n');
        path(head.path, &mut text)?;
        text.push(b'\n');
        query(head.query, &mut text);
        text.push(b'\n');
        headers(head, signed, &mut text)?;
        text.push(b'\n');
        text.extend_from_slice(signed.join(";").as_bytes());
        text.push(b'\n');
        Ok(Self(text))
    }

    /// The whole, with the body's digest in hexadecimal.
    pub(super) fn with_body(&self, digest: &str) -> Vec<u8> {
        [&self.0, digest.as_bytes()].concat()
    }
}

/// Each segment decoded and encoded again, and a slash at the end.
fn path(path: &str, text: &mut Vec<u8>) -> Result<(), AuthError> {
    if path.to_ascii_lowercase().contains("%2f") {
        // Signers decode before they split: to them this is a slash like another, to our routes it is not.
        return Err(AuthError::SignatureForm("a signed path must not hold an encoded slash"));
    }
    for segment in path.split('/') {
        let decoded: Vec<u8> = percent_decode_str(segment).collect();
        text.extend(percent_encode(&decoded, RESERVED).flat_map(str::bytes));
        text.push(b'/');
    }
    if path.ends_with('/') {
        // The last, empty segment had a slash of its own.
        text.pop();
    }
    Ok(())
}

/// Pairs decoded, sorted by key and value, encoded again. A plus is a plus: signers encode spaces as `%20`.
fn query(query: &str, text: &mut Vec<u8>) {
    let decode = |part: &str| percent_decode_str(part).collect::<Vec<u8>>();
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect();
    pairs.sort_unstable();
    for (at, (key, value)) in pairs.iter().enumerate() {
        if at > 0 {
            text.push(b'&');
        }
        text.extend(percent_encode(key, RESERVED).flat_map(str::bytes));
        text.push(b'=');
        text.extend(percent_encode(value, RESERVED).flat_map(str::bytes));
    }
}

/// `name:value\n` for each signed header. One that came twice has no one value.
fn headers(head: &Head<'_>, signed: &[&str], text: &mut Vec<u8>) -> Result<(), AuthError> {
    for name in signed {
        let mut values = head.headers.get_all(*name).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(AuthError::SignatureForm("each signed header must be in the request, once"));
        };
        text.extend_from_slice(name.as_bytes());
        text.push(b':');
        text.extend_from_slice(value.as_bytes().trim_ascii());
        text.push(b'\n');
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_path(sent: &str, expected: &str) {
        let mut text = Vec::new();
        path(sent, &mut text).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), expected, "{sent}");
    }

    #[test]
    fn paths() {
        check_path("/", "/");
        check_path("/v1", "/v1/");
        check_path("/v1/", "/v1/");
        check_path("/v1//x", "/v1//x/");
        check_path("/a%20b~c%2Bd", "/a%20b~c%2Bd/");
        check_path("/%41%7e%2b+", "/A~%2B%2B/");
        check_path("/%", "/%25/");
        check_path("/%c3%a9", "/%C3%A9/");
        for encoded in ["/a%2Fb", "/a%2fb"] {
            assert!(path(encoded, &mut Vec::new()).is_err());
        }
    }

    #[test]
    fn queries() {
        for (sent, expected) in [
            ("", ""),
            ("a", "a="),
            ("b=1&a=2&a=1", "a=1&a=2&b=1"),
            ("name=cn-north-4&a=%20x~y&a=%2F", "a=%20x~y&a=%2F&name=cn-north-4"),
            ("a=b=c", "a=b%3Dc"),
            ("a=x+y", "a=x%2By"),
            ("&&a=1&", "a=1"),
        ] {
            let mut text = Vec::new();
            query(sent, &mut text);
            assert_eq!(String::from_utf8(text).unwrap(), expected, "{sent}");
        }
    }
}
