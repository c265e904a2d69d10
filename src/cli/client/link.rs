//! From a console's link to its WebSocket: the same resolution as our pages' own, so that a link works in a terminal
//! exactly where it works in a browser.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::ids::Protocol;

/// The longest link looked at: the proxy takes 4 KiB of path and query.
const MAX_LINK: usize = 8 * 1024;

/// Where a console's WebSocket is. Shown without what opens it.
#[derive(Clone)]
pub(in crate::cli) struct Link {
    url: SecretString,
    /// Scheme, host and port.
    shown: String,
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// What the page is for, where its name says so.
    pub(super) protocol: Option<Protocol>,
}

/// Why a text is no console's link. Never quotes the text, which may hold a token.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(in crate::cli) enum LinkError {
    #[error("that is no link: expected https://, http://, wss:// or ws:// as the API gave it")]
    NotALink,
    #[error(
        "that link holds no token: it opens no console; was it cut off, or not put in quotes for the shell?"
    )]
    NoToken,
    #[error("that link's `path` leads to another server, which no console page follows")]
    Foreign,
}

impl Link {
    /// Takes the links of every dialect, and bare WebSocket URLs.
    ///
    /// A page's WebSocket is where its `path` parameter says, resolved against the page's directory and on its own
    /// origin only; else the directory itself. The token is in that path, or the page's own `token`. The fragment's
    /// parameters win over the query's, a later value over an earlier one.
    pub(in crate::cli) fn parse(text: &str) -> Result<Self, LinkError> {
        let text = text.trim();
        if text.len() > MAX_LINK {
            return Err(LinkError::NotALink);
        }
        let page = Url::parse(text).map_err(|_| LinkError::NotALink)?;
        let (url, protocol) = match page.scheme() {
            "ws" | "wss" => (page, None),
            "http" | "https" => (behind_page(&page)?, kind_of(&page)),
            _ => return Err(LinkError::NotALink),
        };
        Self::to(url, protocol)
    }

    fn to(mut url: Url, protocol: Option<Protocol>) -> Result<Self, LinkError> {
        url.set_fragment(None);
        let token = url.query_pairs().filter(|(name, _)| name == "token").last();
        if token.is_none_or(|(_, token)| token.is_empty()) {
            return Err(LinkError::NoToken);
        }
        // What a page ignores, a client does not send either.
        let _ = (url.set_username(""), url.set_password(None));
        let tls = url.scheme() == "wss";
        let host = url.host_str().ok_or(LinkError::NotALink)?;
        let port = url.port_or_known_default().ok_or(LinkError::NotALink)?;
        let shown = format!("{}://{host}:{port}", url.scheme());
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { shown, tls, host, port, protocol, url: String::from(url).into() })
    }

    /// The whole WebSocket URL, a bearer secret.
    pub(in crate::cli) fn reveal(&self) -> &str {
        self.url.expose_secret()
    }

    /// The whole URL with more parameters.
    pub(super) fn reveal_with(&self, more: impl Iterator<Item = (&'static str, String)>) -> SecretString {
        let mut url = self.reveal().to_owned();
        for (name, value) in more {
            // It has a query: the token is in it.
            url.extend(["&", name, "="]);
            url.extend(url::form_urlencoded::byte_serialize(value.as_bytes()));
        }
        url.into()
    }

    /// Whether what is sent stays on this machine.
    pub(super) fn is_loopback(&self) -> bool {
        let ip = self.host.parse::<std::net::IpAddr>();
        self.host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
    }
}

/// The page's parameter, wherever it stands.
fn parameter(page: &Url, name: &str) -> Option<String> {
    let last = |pairs: url::form_urlencoded::Parse<'_>| {
        pairs.filter(|(key, _)| key == name).last().map(|(_, value)| value.into_owned())
    };
    let fragment = page.fragment().unwrap_or_default();
    let fragment = fragment.strip_prefix('?').unwrap_or(fragment);
    last(url::form_urlencoded::parse(fragment.as_bytes())).or_else(|| last(page.query_pairs()))
}

fn behind_page(page: &Url) -> Result<Url, LinkError> {
    let directory = page.join(".").map_err(|_| LinkError::NotALink)?;
    let path = parameter(page, "path").unwrap_or_default();
    let mut url = directory.join(&path).map_err(|_| LinkError::Foreign)?;
    if url.origin() != directory.origin() {
        return Err(LinkError::Foreign);
    }
    let has_token = url.query_pairs().any(|(name, _)| name == "token");
    if let (Some(token), false) = (parameter(page, "token"), has_token) {
        url.query_pairs_mut().append_pair("token", &token);
    }
    let scheme = if page.scheme() == "https" { "wss" } else { "ws" };
    url.set_scheme(scheme).map_err(|()| LinkError::NotALink)?;
    Ok(url)
}

/// The pages' names: `vnc.html`, `vnc_lite.html`, `vnc_auto.html` are VNC, a directory is the serial page.
fn kind_of(page: &Url) -> Option<Protocol> {
    let name = page.path().rsplit('/').next().unwrap_or_default();
    match name {
        "" => Some(Protocol::Serial),
        name if name.starts_with("vnc") && name.ends_with(".html") => Some(Protocol::Vnc),
        _ => None,
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const T: &str = "0fda3eca-8232-4249-9a62-550bce390258";

    /// Each dialect's template, as `[urls]` has it by default, behind a public address with and without a path.
    #[test]
    fn the_links_of_every_dialect() {
        let (vnc, serial) = (Some(Protocol::Vnc), Some(Protocol::Serial));
        let cases = [
            // OpenStack, VNC and serial.
            ("https://c.example/vnc_lite.html?path=%3Ftoken%3DT", "wss://c.example/?token=T", vnc),
            ("https://c.example/p/vnc_lite.html?path=%3Ftoken%3DT", "wss://c.example/p/?token=T", vnc),
            ("ws://127.0.0.1:6083/?token=T", "ws://127.0.0.1:6083/?token=T", None),
            ("wss://c.example/p/?token=T#x", "wss://c.example/p/?token=T", None),
            // OTC.
            ("https://c.example:6080/?token=T", "wss://c.example:6080/?token=T", serial),
            // Huawei BMS, CloudDC, ECS.
            (
                "https://c.example/serial/pod05.eu/?token=T",
                "wss://c.example/serial/pod05.eu/?token=T",
                serial,
            ),
            (
                "https://c.example/vnc/pod05.eu/vnc_auto.html?token=T&compression=9&quality=0&resize=scale",
                "wss://c.example/vnc/pod05.eu/?token=T",
                vnc,
            ),
            (
                "http://c.example:6080/vnc_auto.html?token=T&lang=EN&tLength=70",
                "ws://c.example:6080/?token=T",
                vnc,
            ),
            // noVNC's own forms, and nova's older link.
            (
                "http://h:6080/vnc_auto.html?path=websockify%3Ftoken%3DT",
                "ws://h:6080/websockify?token=T",
                vnc,
            ),
            ("http://[::1]:6080/vnc.html#token=T&path=ws", "ws://[::1]:6080/ws?token=T", vnc),
            ("http://h/vnc.html?token=A&token=T", "ws://h/?token=T", vnc),
            ("http://h/a/vnc.html?token=T&path=/b", "ws://h/b?token=T", vnc),
            ("http://u:p@h/?token=T", "ws://h/?token=T", serial),
            ("  http://h/?token=T\n", "ws://h/?token=T", serial),
        ];
        for (text, expected, protocol) in cases {
            let link = Link::parse(
                &text.replace("token=T", &format!("token={T}")).replace("%3DT", &format!("%3D{T}")),
            );
            let link = link.unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(link.reveal(), expected.replace("=T", &format!("={T}")), "{text}");
            assert_eq!(link.protocol, protocol, "{text}");
            assert!(!format!("{link} {link:?}").contains(T), "{text}: a token is shown");
        }
    }

    #[test]
    fn a_link_knows_where_it_leads() {
        let link = Link::parse("https://[2001:db8::1]/?token=abc").unwrap();
        assert_eq!(
            (link.to_string().as_str(), link.host.as_str()),
            ("wss://[2001:db8::1]:443", "2001:db8::1")
        );
        assert!(link.tls && !link.is_loopback());
        for near in ["http://localhost/?token=a", "ws://127.0.0.9:1/?token=a", "ws://[::1]/?token=a"] {
            assert!(Link::parse(near).unwrap().is_loopback(), "{near}");
        }
        assert_eq!(
            link.reveal_with([("offset", "12".into()), ("line", "a&b".into())].into_iter()).expose_secret(),
            "wss://[2001:db8::1]/?token=abc&offset=12&line=a%26b"
        );
    }

    #[test]
    fn what_is_no_link_is_not_quoted() {
        let cases = [
            ("", LinkError::NotALink),
            ("secret", LinkError::NotALink),
            ("ftp://h/?token=secret", LinkError::NotALink),
            ("data:text/html,secret", LinkError::NotALink),
            ("https://h/vnc_lite.html", LinkError::NoToken),
            ("https://h/?token=", LinkError::NoToken),
            ("wss://h/secret", LinkError::NoToken),
            ("https://h/vnc.html?path=%2F%2Fevil%2F%3Ftoken%3Dsecret", LinkError::Foreign),
            ("https://h/vnc.html?path=http%3A%2F%2Fh%2F%3Ftoken%3Dsecret", LinkError::Foreign),
            ("https://h/vnc.html?token=secret&path=wss%3A%2F%2Fevil%2F", LinkError::Foreign),
        ];
        for (text, expected) in cases {
            let error = Link::parse(text).unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("secret"));
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_a_link_on_its_own_server_or_none(text in "\\PC{0,60}", path in "\\PC{0,30}") {
            let _ = Link::parse(&text);
            let encoded: String = url::form_urlencoded::byte_serialize(path.as_bytes()).collect();
            if let Ok(link) = Link::parse(&format!("https://h.example/d/vnc.html?token={T}&path={encoded}")) {
                prop_assert_eq!(link.to_string(), "wss://h.example:443");
            }
        }
    }
}
