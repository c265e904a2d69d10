//! The record layer of TLS 1.3 and 1.2 once a handshake is over: bytes in, bytes out, no socket, no time.
//!
//! rustls does the handshake, checks certificates and derives keys, now and at each key update. What is ours is
//! what is done with every byte relayed: cutting records, sealing, opening. Why not leave that to rustls too: it
//! seals into a new vector for each record, copies payload in and records out, and opens in a buffer from which
//! payload is copied again, also by its unbuffered interface (its `WriteTraffic::encrypt` seals into a vector
//! first). Here a record is sealed from the relay's buffer straight into the one that is written, and opened from
//! the one that was read straight into the relay's: one pass of the cipher and no copy. BENCHMARKING.md has both.
//!
//! What has to be right for that to be safe, and where it is:
//! - a nonce is used once for a key: `cipher.rs` alone counts, and a number is spent before it is used;
//! - nothing that was not authenticated is handed on: `Cipher::open` says how many bytes are, or an alert;
//! - a key of AES-GCM seals 2^24 records at most (RFC 8446 section 5.5), then a key update, or in TLS 1.2 the end;
//! - lengths, types, fragments and their order as RFC 8446 section 5 has them: `connection.rs`, `messages.rs`.

mod cipher;
mod connection;
mod messages;
pub mod oracle;
#[cfg(test)]
mod tests;

use rustls::ConnectionTrafficSecrets;

pub use cipher::{Cipher, Version};
pub use connection::{Fault, Received, Records, SendError};

/// Type, version and length (RFC 8446 section 5.1).
pub const HEADER: usize = 5;

/// Payload bytes of a record at most (RFC 8446 section 5.1).
pub const MAX_PLAIN: usize = 1 << 14;

/// What sealing adds to a record at most: header, TLS 1.2's explicit nonce, and the tag.
pub const MAX_OVERHEAD: usize = HEADER + 8 + 16;

/// Room for what may have to go out besides payload: a key update and an alert.
pub const CONTROL_ROOM: usize = 2 * (MAX_OVERHEAD + 5);

/// A record's content type (RFC 8446 section 5.1; RFC 5246 section 6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// `change_cipher_spec`, which has no place after a handshake.
    ChangeCipherSpec = 20,
    /// `alert`.
    Alert = 21,
    /// `handshake`.
    Handshake = 22,
    /// `application_data`.
    Data = 23,
}

impl Kind {
    pub(super) fn from_wire(byte: u8) -> Option<Self> {
        Some(match byte {
            20 => Self::ChangeCipherSpec,
            21 => Self::Alert,
            22 => Self::Handshake,
            23 => Self::Data,
            _ => return None,
        })
    }
}

/// The alerts that this layer sends (RFC 8446 section 6; RFC 5246 section 7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[repr(u8)]
pub enum Alert {
    /// The end of what we send.
    #[error("close_notify")]
    CloseNotify = 0,
    /// A record or message that has no place here.
    #[error("unexpected_message")]
    UnexpectedMessage = 10,
    /// A record that is not the peer's, or not this one in its order.
    #[error("bad_record_mac")]
    BadRecordMac = 20,
    /// A record longer than any may be.
    #[error("record_overflow")]
    RecordOverflow = 22,
    /// A field with a value that it cannot have.
    #[error("illegal_parameter")]
    IllegalParameter = 47,
    /// A message of a wrong length.
    #[error("decode_error")]
    DecodeError = 50,
    /// A record of another version, in TLS 1.2.
    #[error("protocol_version")]
    ProtocolVersion = 70,
    /// Something of ours failed.
    #[error("internal_error")]
    InternalError = 80,
    /// A second handshake on a connection of TLS 1.2.
    #[error("no_renegotiation")]
    NoRenegotiation = 100,
}

/// Derives the next keys of a connection of TLS 1.3 (RFC 8446 section 7.2).
pub trait Rekey: Send + Sync {
    /// The next keys for what we send.
    ///
    /// # Errors
    /// If there are none: the connection is one of TLS 1.2.
    fn next_tx(&mut self) -> Result<ConnectionTrafficSecrets, rustls::Error>;

    /// The next keys for what the peer sends.
    ///
    /// # Errors
    /// If there are none: the connection is one of TLS 1.2.
    fn next_rx(&mut self) -> Result<ConnectionTrafficSecrets, rustls::Error>;
}

/// Which end of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The client, which is sent tickets.
    Client,
    /// The server.
    Server,
}

/// The length of the record that `bytes` begin with, header included; `None` while it cannot be told.
///
/// # Errors
/// If no record of a connection whose handshake is over can begin so.
pub fn record_len(bytes: &[u8], version: Version) -> Result<Option<usize>, Alert> {
    let Some(&[kind, major, minor, high, low]) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let longest = match version {
        // RFC 8446 section 5.2. All records are disguised as data; the version in them says nothing.
        Version::Tls13 if kind != Kind::Data as u8 => return Err(Alert::UnexpectedMessage),
        Version::Tls13 => MAX_PLAIN + 256,
        // RFC 5246 section 6.2.3.
        Version::Tls12 if Kind::from_wire(kind).is_none() => return Err(Alert::UnexpectedMessage),
        Version::Tls12 if [major, minor] != [3, 3] => return Err(Alert::ProtocolVersion),
        Version::Tls12 => MAX_PLAIN + 2048,
    };
    if length > longest { Err(Alert::RecordOverflow) } else { Ok(Some(HEADER + length)) }
}
