//! The handshake's messages: what ClientHello offers, and what of the server's is let in.

use super::error::Error;
use super::group::{Group, MAX_VALUE};
use super::schedule::{Suite, VERIFY};

/// A message's type and length (RFC 5246 section 7.4).
pub(super) const HEAD: usize = 4;

/// TLS 1.2 on the wire.
pub(super) const TLS12: [u8; 2] = [3, 3];

/// The messages that a handshake without certificates has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Type {
    ClientHello = 1,
    ServerHello = 2,
    ServerKeyExchange = 12,
    ServerHelloDone = 14,
    ClientKeyExchange = 16,
    Finished = 20,
}

impl Type {
    /// As errors name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ClientHello => "ClientHello",
            Self::ServerHello => "ServerHello",
            Self::ServerKeyExchange => "ServerKeyExchange",
            Self::ServerHelloDone => "ServerHelloDone",
            Self::ClientKeyExchange => "ClientKeyExchange",
            Self::Finished => "Finished",
        }
    }

    /// The longest body that the server's can have, so that a longer one is refused at its head.
    pub(super) fn longest(self) -> usize {
        match self {
            // Version, random, session, suite, compression, and the two extensions of ours.
            Self::ServerHello => 2 + 32 + 33 + 2 + 1 + 2 + 4 + 5,
            // Three values with their lengths; GnuTLS puts a zero before one whose first bit is set.
            Self::ServerKeyExchange => 3 * (2 + 1 + MAX_VALUE),
            Self::Finished => VERIFY,
            Self::ServerHelloDone | Self::ClientHello | Self::ClientKeyExchange => 0,
        }
    }
}

/// RFC 7627.
const EXTENDED_MASTER_SECRET: u16 = 23;
/// RFC 5746.
const RENEGOTIATION_INFO: u16 = 0xff01;
/// RFC 7919: without it, what is built on a newer GnuTLS has no group to choose (Xvnc).
const SUPPORTED_GROUPS: u16 = 10;
/// ffdhe2048 to ffdhe8192 (RFC 7919 section 2).
const GROUPS: std::ops::RangeInclusive<u16> = 0x0100..=0x0104;

/// A message with its head.
pub(super) fn message(kind: Type, body: &[u8]) -> Vec<u8> {
    // All of ours are under a kilobyte or two.
    let [.., a, b, c] = body.len().to_be_bytes();
    [&[kind as u8, a, b, c], body].concat()
}

fn vector16(body: &[u8]) -> Vec<u8> {
    let [.., high, low] = body.len().to_be_bytes();
    [&[high, low], body].concat()
}

fn numbers(numbers: impl Iterator<Item = u16>) -> Vec<u8> {
    vector16(&numbers.flat_map(u16::to_be_bytes).collect::<Vec<_>>())
}

/// ClientHello (RFC 5246 section 7.4.1.2): no session, no compression, no ticket.
pub(super) fn client_hello(random: &[u8; 32]) -> Vec<u8> {
    let extension = |kind: u16, body: &[u8]| [&kind.to_be_bytes()[..], &vector16(body)].concat();
    let extensions = [
        extension(EXTENDED_MASTER_SECRET, &[]),
        extension(RENEGOTIATION_INFO, &[0]),
        extension(SUPPORTED_GROUPS, &numbers(GROUPS)),
    ];
    let suites = numbers(Suite::ALL.into_iter().map(|suite| suite as u16));
    let body = [&TLS12[..], random, &[0], &suites, &[1, 0], &vector16(&extensions.concat())];
    message(Type::ClientHello, &body.concat())
}

/// ClientDiffieHellmanPublic (RFC 5246 section 7.4.7.2).
pub(super) fn client_key_exchange(public: &[u8]) -> Vec<u8> {
    message(Type::ClientKeyExchange, &vector16(public))
}

/// What ServerHello decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServerHello {
    pub(super) random: [u8; 32],
    pub(super) suite: Suite,
}

/// Takes a message's body apart.
struct Fields<'a>(&'a [u8], Type);

impl<'a> Fields<'a> {
    fn malformed(&self) -> Error {
        Error::Malformed(self.1.name())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(|| self.malformed())?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Error> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u16, Error> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn vector(&mut self) -> Result<&'a [u8], Error> {
        let count = self.number()?;
        self.take(count.into())
    }

    fn end(&self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(self.malformed()) }
    }
}

/// Reads ServerHello (RFC 5246 section 7.4.1.3): it takes of ClientHello's offers, and both extensions are there.
pub(super) fn server_hello(body: &[u8]) -> Result<ServerHello, Error> {
    let mut fields = Fields(body, Type::ServerHello);
    let version = fields.take(2)?;
    if version != TLS12 {
        return Err(Error::Version(version[0], version[1]));
    }
    let random = fields.take(32)?.try_into().map_err(|_| Error::Internal)?;
    // Ours was empty: any is a new session's, which we do not keep.
    let session = fields.byte()?;
    if session > 32 {
        return Err(fields.malformed());
    }
    fields.take(session.into())?;
    let number = fields.number()?;
    let suite = Suite::from_wire(number).ok_or(Error::Suite(number))?;
    if fields.byte()? != 0 {
        return Err(Error::Compression);
    }
    let (mut bound, mut safe) = (false, false);
    if !fields.0.is_empty() {
        let mut extensions = Fields(fields.vector()?, Type::ServerHello);
        fields.end()?;
        while !extensions.0.is_empty() {
            let kind = extensions.number()?;
            let content = extensions.vector()?;
            let (seen, expected): (_, &[u8]) = match kind {
                EXTENDED_MASTER_SECRET => (&mut bound, &[]),
                RENEGOTIATION_INFO => (&mut safe, &[0]),
                _ => return Err(Error::Extension(kind)),
            };
            if std::mem::replace(seen, true) {
                return Err(Error::Extension(kind));
            }
            if content != expected {
                return Err(extensions.malformed());
            }
        }
    }
    match (bound, safe) {
        (false, _) => Err(Error::Missing("extended_master_secret (RFC 7627)")),
        (_, false) => Err(Error::Missing("renegotiation_info (RFC 5746)")),
        (true, true) => Ok(ServerHello { random, suite }),
    }
}

/// Reads ServerDHParams (RFC 5246 section 7.4.3), which nobody has signed.
pub(super) fn server_key_exchange(body: &[u8]) -> Result<Group, Error> {
    let mut fields = Fields(body, Type::ServerKeyExchange);
    let (prime, generator, public) = (fields.vector()?, fields.vector()?, fields.vector()?);
    fields.end()?;
    Group::new(prime, generator, public)
}
