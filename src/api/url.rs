//! Console URLs: the operator's template with one token in it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

use crate::config::{Proxy, Target};
use crate::tokens::Token;

/// What a target's own names keep in a URL: the unreserved characters of RFC 3986 section 2.3.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A name as it stands in a path or query.
pub(super) fn encode(name: &str) -> PercentEncode<'_> {
    utf8_percent_encode(name, NAME)
}

/// The public address that templates refer to.
#[derive(Clone, Debug)]
pub(super) struct Public {
    http: String,
    ws: String,
}

impl Public {
    /// As browsers reach pages and WebSockets.
    pub(super) fn new(proxy: &Proxy) -> Self {
        Self { http: proxy.public_url.clone(), ws: proxy.public_ws_url() }
    }

    /// The template with its placeholders filled in one pass, so that nothing filled in is read again.
    /// The target's names are percent-encoded; a token needs none, by its alphabet.
    pub(super) fn fill(&self, template: &str, token: &Token, target: &Target) -> String {
        let mut url = String::with_capacity(template.len() + 96);
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            url.push_str(before);
            let Some((name, after)) = after.split_once('}') else { break };
            match name {
                "token" => url.push_str(token.reveal()),
                "public_url" => url.push_str(&self.http),
                "public_ws_url" => url.push_str(&self.ws),
                "id" => url.extend(encode(target.id.as_str())),
                "zone" => url.extend(encode(&target.zone)),
                "region" => url.extend(encode(&target.region)),
                // Configuration lets no other name through.
                _ => {}
            }
            rest = after;
        }
        url.push_str(rest);
        url
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn fills_every_placeholder_once() {
        let check = |public: &str, template: &str, expected: &str| {
            let target = Target {
                id: "a/b?{token}".into(),
                zone: "pod 05".into(),
                region: "région-01".into(),
                ..testing::target("x", "p")
            };
            let token = Token::parse("0123456789abcdef").unwrap();
            assert_eq!(Public::new(&testing::proxy(public)).fill(template, &token, &target), expected);
        };
        let (plain, tls) = ("http://h:1", "https://h/http");
        check(plain, "{public_url}/?token={token}", "http://h:1/?token=0123456789abcdef");
        check(plain, "{public_ws_url}/?token={token}", "ws://h:1/?token=0123456789abcdef");
        check(tls, "{public_ws_url}/?token={token}", "wss://h/http/?token=0123456789abcdef");
        check(
            tls,
            "{public_url}/vnc_lite.html?path=%3Ftoken%3D{token}",
            "https://h/http/vnc_lite.html?path=%3Ftoken%3D0123456789abcdef",
        );
        check(plain, "x/{zone}.{region}/{token}", "x/pod%2005.r%C3%A9gion-01/0123456789abcdef");
        check(plain, "{id}#{token}", "a%2Fb%3F%7Btoken%7D#0123456789abcdef");
        check(plain, "https://other/{token}{token}", "https://other/0123456789abcdef0123456789abcdef");
    }
}
