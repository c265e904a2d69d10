//! Where viewers go: `ws`, `wss`, or, to measure a proxy that knows no WebSocket, `tcp` and `tls`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use anyhow::{Context as _, bail};

use crate::cli::client::ConsoleLink;

/// Where one viewer connects. The path may hold a token: shown without it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ViewerUrl {
    pub(super) tls: bool,
    /// Whether a WebSocket is spoken inside.
    pub(super) websocket: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// Path and query.
    pub(super) path: String,
}

impl ViewerUrl {
    /// Straight to an address, with nothing around the bytes.
    pub(super) fn direct(address: std::net::SocketAddr) -> Self {
        let (host, port) = (address.ip().to_string(), address.port());
        Self { tls: false, websocket: false, host, port, path: String::new() }
    }

    /// Whether the host is this machine, by name or number.
    pub(super) fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// From a console URL of the issuer, of whatever form.
    pub(super) fn from_console(url: &str) -> anyhow::Result<Self> {
        ConsoleLink::parse(url)?.reveal().parse()
    }
}

impl FromStr for ViewerUrl {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (scheme, rest) = text.split_once("://").context("expected ws://, wss://, tcp:// or tls://")?;
        let (tls, websocket) = match scheme {
            "ws" => (false, true),
            "wss" => (true, true),
            "tcp" => (false, false),
            "tls" => (true, false),
            other => bail!("expected ws, wss, tcp or tls, found {other:?}"),
        };
        let cut = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(cut);
        let bare =
            authority.rsplit_once(':').filter(|(host, _)| !host.ends_with(']') || authority.contains("]:"));
        let (host, port) = match bare {
            Some((host, port)) if !authority.ends_with(']') => {
                (host, port.parse().context("the port is no number")?)
            }
            _ if websocket => (authority, if tls { 443 } else { 80 }),
            _ => bail!("tcp:// and tls:// need a port"),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() || path.contains(char::is_whitespace) {
            bail!("expected a host, and no spaces");
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { tls, websocket, host, port, path })
    }
}

impl fmt::Display for ViewerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (self.websocket, self.tls) {
            (true, false) => "ws",
            (true, true) => "wss",
            (false, false) => "tcp",
            (false, true) => "tls",
        };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}", self.host, self.port)
    }
}

impl fmt::Debug for ViewerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_shown_without_their_tokens() {
        let cases = [
            ("ws://127.0.0.1:6080/?token=T", "ws://127.0.0.1:6080", "/?token=T", true),
            ("wss://console.example?token=T", "wss://console.example:443", "/?token=T", false),
            ("ws://[::1]:6080/x", "ws://[::1]:6080", "/x", true),
            ("ws://[::1]/x", "ws://[::1]:80", "/x", true),
            ("tcp://localhost:7000", "tcp://localhost:7000", "/", true),
        ];
        for (text, shown, path, loopback) in cases {
            let url: ViewerUrl = text.parse().unwrap();
            assert_eq!((url.to_string().as_str(), url.path.as_str()), (shown, path));
            assert_eq!(url.is_loopback(), loopback, "{text}");
        }
        for wrong in ["127.0.0.1:1", "http://x", "tcp://x", "ws://:1", "ws://a:b", "ws://a/ b"] {
            assert!(wrong.parse::<ViewerUrl>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn console_urls_of_both_kinds_lead_to_their_socket() {
        let vnc = "https://c.example:6080/vnc_lite.html?path=%3Ftoken%3Dabc-1&x=1";
        let serial = "wss://c.example:6080/?token=abc-1";
        for url in [vnc, serial] {
            let url = ViewerUrl::from_console(url).unwrap();
            assert_eq!(
                (url.to_string().as_str(), url.path.as_str()),
                ("wss://c.example:6080", "/?token=abc-1")
            );
        }
        assert!(ViewerUrl::from_console("https://c.example/").is_err());
    }
}
