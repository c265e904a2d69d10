//! Why there is no anonymous TLS with a server, and the alert that it is told.

use crate::net::record::Alert;

use super::group::{MAX_PRIME, MIN_PRIME};

/// Why a handshake ended. Nothing of the server's text is in it: TLS has none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Its first bytes are none of TLS.
    #[error("the server does not speak TLS")]
    NotTls,
    /// It gave up (RFC 5246 section 7.2).
    #[error("the server gave up with TLS alert {0}{hint}", hint = hint(*.0))]
    Alert(u8),
    /// It wants another version.
    #[error("the server chose TLS version {0}.{1} on the wire; 3.3 (TLS 1.2) was asked for")]
    Version(u8, u8),
    /// It chose what was not offered.
    #[error("the server chose cipher suite {0:#06x}, which was not offered")]
    Suite(u16),
    /// It wants to compress.
    #[error("the server chose compression, which was not offered")]
    Compression,
    /// It answers what was not asked.
    #[error("the server sent extension {0}, which was not asked for, or twice")]
    Extension(u16),
    /// It is too old to bind keys to the handshake, or to refuse a second handshake.
    #[error("the server does not know {0}, which is required")]
    Missing(&'static str),
    /// Its prime is too short to keep a listener out, or longer than anybody's.
    #[error("the server's Diffie-Hellman prime has {0} bits; {MIN_PRIME} to {MAX_PRIME} are accepted")]
    PrimeLength(usize),
    /// A value that would give the secret away, or that no server needs.
    #[error("the server's Diffie-Hellman {0}")]
    Parameter(&'static str),
    /// A message or record out of its place.
    #[error("the server sent something else where its {0} was due")]
    Order(&'static str),
    /// A message whose lengths do not fit.
    #[error("the server's {0} is malformed")]
    Malformed(&'static str),
    /// A record that cannot be one, or that is not the server's.
    #[error("the server's TLS records are broken: {0}")]
    Record(Alert),
    /// Both have not said and heard the same.
    #[error("the server's Finished does not fit what was said; somebody may be on the way to it")]
    Finished,
    /// A library refused, or we were called out of turn.
    #[error("the TLS handshake failed inside")]
    Internal,
}

fn hint(alert: u8) -> &'static str {
    match alert {
        0 => " (close_notify)",
        10 => " (unexpected_message)",
        20 => " (bad_record_mac)",
        40 => {
            " (handshake_failure): it has no cipher suite of DH_anon with AES-GCM, or no group of 2048 bits"
        }
        47 => " (illegal_parameter)",
        50 => " (decode_error)",
        51 => " (decrypt_error)",
        70 => " (protocol_version): it does not speak TLS 1.2",
        71 => " (insufficient_security)",
        80 => " (internal_error)",
        _ => "",
    }
}

impl Error {
    /// What the server is told (RFC 5246 section 7.2.2); nothing if it has given up itself.
    pub(super) fn alert(&self) -> Option<u8> {
        Some(match self {
            Self::Alert(_) => return None,
            Self::NotTls | Self::Order(_) => 10,
            Self::Version(..) => 70,
            Self::Suite(_) | Self::Compression | Self::Parameter(_) => 47,
            Self::Extension(_) => 110,
            Self::Missing(_) => 40,
            Self::PrimeLength(_) => 71,
            Self::Malformed(_) => 50,
            Self::Record(alert) => *alert as u8,
            Self::Finished => 51,
            Self::Internal => 80,
        })
    }
}
