//! TLS without a certificate, for VeNCrypt's TLSNone, TLSVnc and TLSPlain: a client's handshake of TLS 1.2 with
//! anonymous Diffie-Hellman.
//!
//! It keeps out who listens, and nobody who is on the way: such a one can be the server to us and us to the server.
//! That is why rustls rightly has none of it, and why it is used only where an operator names it; many hypervisors
//! offer nothing else. It is ours because another TLS library in the process, in C, is too much for a mode without
//! authentication. It is small: one version, two suites (RFC 5288, `TLS_DH_anon_WITH_AES_*_GCM_*`), no sessions,
//! no renegotiation. Arithmetic is crypto-bigint's, hashes and the PRF aws-lc's, records are `net/record`'s.
//!
//! What has to be right for it to be safe, and where it is:
//! - the server's prime is long enough and its values are no trivial ones, our exponent is random, used once and
//!   long enough, and the power is computed in a time that does not tell it: `group.rs`;
//! - the keys hang on every byte that both said (RFC 7627, required), and both prove it by Finished: `schedule.rs`,
//!   `client.rs`. Who changes the offer is noticed, unless it is somebody who is both ends at once;
//! - every message comes in its place and once, nothing in the clear after the change of ciphers: `client.rs`;
//! - no length is believed before it is checked, and no field that was not asked for: `messages.rs`.

mod client;
mod drive;
mod error;
mod group;
mod messages;
pub mod oracle;
mod schedule;
#[cfg(test)]
mod tests;

pub use client::Client;
pub use drive::connect;
pub use error::Error;
pub use group::{Agreed, Agreement, EXPONENT, MAX_PRIME, MIN_PRIME};

use std::fmt;

use zeroize::Zeroizing;

/// What a handshake needs that nobody else may know before, or ever: used once, for one connection.
pub struct Random {
    /// ClientHello's, which the server is told.
    pub hello: [u8; 32],
    /// The exponent, which nobody is told.
    pub exponent: Zeroizing<[u8; EXPONENT]>,
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random(..)")
    }
}
