//! Native clients: `connect` (a serial console in the terminal) and `tunnel` (a local port for a VNC viewer).
//!
//! ```text
//! link (URL -> WebSocket), or issuer (--server) -> socket (open) -> session (keys, escape, control) | tunnel (bytes)
//! ```

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use secrecy::{ExposeSecret as _, SecretString};

use crate::config::ServerCheck;
use crate::ids::Protocol;
use crate::net::secure;

use super::issuer::{Issuer, tls};
use super::print;

mod backoff;
pub(super) mod connect;
mod control;
mod escape;
mod exit;
mod link;
mod outgoing;
mod session;
mod socket;
mod streams;
mod terminal;
pub(super) mod tunnel;
mod until;

use link::Link;
use socket::Opener;

pub(super) use link::Link as ConsoleLink;

/// Links are read from this variable, too: an argument is seen by everybody who lists processes.
const URL_VARIABLE: &str = "CONSOLEGATE_URL";

/// The longest line that is read as a link.
const MAX_LINE: usize = 8 * 1024;

/// Where the console is.
#[derive(Debug, clap::Args)]
struct Where {
    /// The console's link, as an API gave it: https://, http://, wss:// or ws://; put it in quotes. `-` reads it from
    /// the first line of standard input, and without it CONSOLEGATE_URL is read: an argument, and with it the token,
    /// is seen by everybody who can list this machine's processes.
    #[arg(value_name = "URL", conflicts_with = "server")]
    url: Option<Written>,
    /// Ask the API for a link to this server, by id or name, as the credential in the environment: OS_AUTH_URL and
    /// what openstackclient reads beside it, or CONSOLEGATE_TOKEN, or CONSOLEGATE_USERNAME and CONSOLEGATE_PASSWORD.
    #[arg(long, short, value_name = "NAME")]
    server: Option<String>,
    /// The compute API, e.g. https://console.example:8774/v2.1, where Keystone's catalogue is not to be asked.
    #[arg(long, value_name = "URL", env = "CONSOLEGATE_API")]
    api: Option<String>,
    /// Trust these certificate authorities (PEM) instead of the system's.
    #[arg(long, value_name = "FILE", env = "OS_CACERT")]
    cacert: Option<PathBuf>,
    /// Take the console proxy's certificate with this SHA-256 (64 hex digits) and no other, whoever signed it. What
    /// the API shows is checked as ever.
    #[arg(long, value_name = "SHA256")]
    pin: Option<Pin>,
}

/// A link as it was written: never shown.
#[derive(Clone, Debug)]
struct Written(SecretString);

impl From<String> for Written {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

/// A certificate's fingerprint.
#[derive(Clone, Copy, Debug)]
struct Pin([u8; 32]);

impl FromStr for Pin {
    type Err = String;

    /// With colons as `openssl x509 -fingerprint -sha256` writes it, or without.
    fn from_str(text: &str) -> Result<Self, String> {
        let digits: String = text.chars().filter(|c| *c != ':').collect();
        let wrong = || "expected 64 hex digits".to_owned();
        if digits.len() != 64 || !digits.is_ascii() {
            return Err(wrong());
        }
        let mut pin = [0; 32];
        for (byte, pair) in pin.iter_mut().zip(digits.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Self(pin))
    }
}

/// Where links come from.
enum Source {
    /// One link, good for one session.
    Link(Link),
    /// A new one whenever it is asked for.
    Issuer { issuer: Box<Issuer>, server: String, protocol: Protocol },
}

impl Source {
    /// The next link to open.
    async fn next(&self) -> anyhow::Result<Link> {
        match self {
            Self::Link(link) => Ok(link.clone()),
            Self::Issuer { issuer, server, protocol } => {
                let id = issuer.server_id(server).await?;
                let console = issuer.console(&id, *protocol).await?;
                Link::parse(console.url()).context("the API's link")
            }
        }
    }

    /// Whether [`Source::next`] gives a link that was not used yet.
    fn gives_new_ones(&self) -> bool {
        matches!(self, Self::Issuer { .. })
    }
}

impl Where {
    /// Whether the link is on standard input.
    fn is_stdin(&self) -> bool {
        self.url.as_ref().is_some_and(|url| url.0.expose_secret() == "-")
    }

    fn source(&self, protocol: Protocol) -> anyhow::Result<Source> {
        if let Some(server) = &self.server {
            let issuer = Box::new(Issuer::new(self.api.as_deref(), self.cacert.as_deref())?);
            return Ok(Source::Issuer { issuer, server: server.clone(), protocol });
        }
        let text: SecretString = match &self.url {
            Some(_) if self.is_stdin() => first_line(std::io::stdin())?.into(),
            Some(url) => url.0.clone(),
            None => match std::env::var(URL_VARIABLE) {
                Ok(url) if !url.is_empty() => url.into(),
                _ => {
                    bail!("which console? Give its link, or --server NAME to ask the API for one; see --help")
                }
            },
        };
        let link = Link::parse(text.expose_secret())?;
        if !link.tls && !link.is_loopback() {
            print::note(format_args!(
                "{link}: this link is not encrypted; others on the way can read all of it"
            ));
        }
        Ok(Source::Link(link))
    }

    fn opener(&self) -> anyhow::Result<Opener> {
        Ok(Opener::new(match self.pin {
            Some(pin) => secure::client_config(&ServerCheck::Pin(pin.0))?,
            None => tls::client(self.cacert.as_deref())?,
        }))
    }
}

/// The first line, byte by byte: what follows is for the console.
fn first_line(mut from: impl std::io::Read) -> anyhow::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while from.read(&mut byte)? > 0 && byte[0] != b'\n' {
        line.push(byte[0]);
        ensure!(line.len() <= MAX_LINE, "the first line is no link: it is longer than {MAX_LINE} bytes");
    }
    String::from_utf8(line).ok().context("the first line is no link: it is not text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_on_standard_input_is_one_line() {
        let mut input = std::io::Cursor::new(b"https://h/?token=abc\nuname -a\n".to_vec());
        assert_eq!(first_line(&mut input).unwrap(), "https://h/?token=abc");
        assert_eq!(input.position(), 21, "what follows is for the console");
        assert!(first_line(&[b'x'; 9000][..]).is_err());
    }

    #[test]
    fn fingerprints_are_read_as_openssl_writes_them() {
        let colons = "AB:".repeat(31) + "cd";
        let Pin(pin) = colons.parse().unwrap();
        assert_eq!((pin[0], pin[31]), (0xab, 0xcd));
        for wrong in ["", "ab", &"g".repeat(64), &"é".repeat(32)] {
            assert!(wrong.parse::<Pin>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_written_link_is_not_in_debug() {
        assert!(!format!("{:?}", Written::from("https://h/?token=secret".to_owned())).contains("secret"));
    }
}
