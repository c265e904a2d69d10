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
    pub(super) fn fill(&self, template: &Template, token: &Token, target: &Target) -> String {
        let mut url = String::with_capacity(template.0.len() * LIKELY);
        for piece in &template.0 {
            match piece {
                Piece::Text(text) => url.push_str(text),
                Piece::Token => url.push_str(token.reveal()),
                Piece::PublicUrl => url.push_str(&self.http),
                Piece::PublicWsUrl => url.push_str(&self.ws),
                Piece::Id => url.extend(encode(target.id.as_str())),
                Piece::Zone => url.extend(encode(&target.zone)),
                Piece::Region => url.extend(encode(&target.region)),
            }
        }
        url
    }
}

/// A template taken apart, once for all URLs made of it.
#[derive(Clone, Debug)]
pub(super) struct Template(Box<[Piece]>);

/// Room for a piece, in bytes: most URLs need no more, and none is moved twice.
const LIKELY: usize = 64;

#[derive(Clone, Debug)]
enum Piece {
    Text(Box<str>),
    Token,
    PublicUrl,
    PublicWsUrl,
    Id,
    Zone,
    Region,
}

impl From<&str> for Template {
    fn from(template: &str) -> Self {
        let mut pieces = Vec::new();
        let text = |pieces: &mut Vec<Piece>, text: &str| {
            if !text.is_empty() {
                pieces.push(Piece::Text(text.into()));
            }
        };
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{')
            && let Some((name, after)) = after.split_once('}')
        {
            text(&mut pieces, before);
            pieces.extend(match name {
                "token" => Some(Piece::Token),
                "public_url" => Some(Piece::PublicUrl),
                "public_ws_url" => Some(Piece::PublicWsUrl),
                "id" => Some(Piece::Id),
                "zone" => Some(Piece::Zone),
                "region" => Some(Piece::Region),
                // Configuration lets no other name through.
                _ => None,
            });
            rest = after;
        }
        text(&mut pieces, rest);
        Self(pieces.into())
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
            assert_eq!(
                Public::new(&testing::proxy(public)).fill(&template.into(), &token, &target),
                expected
            );
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
