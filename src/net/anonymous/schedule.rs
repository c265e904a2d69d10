//! From the shared secret to keys and to Finished (RFC 5246 sections 5, 6.3, 7.4.9, 8.1; RFC 7627 section 4).

use aws_lc_rs::digest::{SHA256, SHA384, digest};
use aws_lc_rs::tls_prf::{Algorithm, P_SHA256, P_SHA384, Secret};
use zeroize::Zeroizing;

use crate::net::record::Cipher;

use super::error::Error;

/// Bytes of the master secret (RFC 5246 section 8.1).
const MASTER: usize = 48;

/// Bytes of Finished's `verify_data` (RFC 5246 section 7.4.9).
pub(super) const VERIFY: usize = 12;

/// The part of a nonce that is a key's (RFC 5288 section 3).
const SALT: usize = 4;

/// The suites that are offered (RFC 5288 section 3), the better one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suite {
    /// `TLS_DH_anon_WITH_AES_256_GCM_SHA384`.
    Aes256 = 0x00a7,
    /// `TLS_DH_anon_WITH_AES_128_GCM_SHA256`.
    Aes128 = 0x00a6,
}

impl Suite {
    pub(super) const ALL: [Self; 2] = [Self::Aes256, Self::Aes128];

    pub(super) fn from_wire(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| *suite as u16 == number)
    }

    fn key_len(self) -> usize {
        match self {
            Self::Aes256 => 32,
            Self::Aes128 => 16,
        }
    }

    /// The PRF, over labels and seeds in the clear (RFC 5246 section 5).
    fn prf(self, secret: &[u8], label: &[u8], seed: &[u8], length: usize) -> Result<Secret, Error> {
        let hash: &'static Algorithm = match self {
            Self::Aes256 => &P_SHA384,
            Self::Aes128 => &P_SHA256,
        };
        let secret = Secret::new(hash, secret).map_err(|_| Error::Internal)?;
        secret.derive(label, seed, length).map_err(|_| Error::Internal)
    }

    fn hash(self, said: &[u8]) -> impl AsRef<[u8]> {
        let hash = match self {
            Self::Aes256 => &SHA384,
            Self::Aes128 => &SHA256,
        };
        digest(hash, said)
    }
}

/// The master secret of a connection, bound to all that was said up to ClientKeyExchange.
pub(super) struct Schedule {
    suite: Suite,
    master: Zeroizing<[u8; MASTER]>,
}

/// The ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Client,
    Server,
}

/// Both directions' keys, each for the one who sends.
pub(super) struct Keys {
    pub(super) client: Cipher,
    pub(super) server: Cipher,
}

impl Schedule {
    /// `said` is every message up to ClientKeyExchange, with their headers (RFC 7627 section 4).
    pub(super) fn new(suite: Suite, secret: &[u8], said: &[u8]) -> Result<Self, Error> {
        let master = suite.prf(secret, b"extended master secret", suite.hash(said).as_ref(), MASTER)?;
        let master = Zeroizing::new(<[u8; MASTER]>::try_from(master).map_err(|_| Error::Internal)?);
        Ok(Self { suite, master })
    }

    /// RFC 5246 section 6.3, for AEADs: no keys of MACs.
    pub(super) fn keys(&self, client_random: &[u8; 32], server_random: &[u8; 32]) -> Result<Keys, Error> {
        let length = self.suite.key_len();
        let seed = [&server_random[..], client_random].concat();
        let block = self.suite.prf(&self.master[..], b"key expansion", &seed, 2 * (length + SALT))?;
        let (keys, salts) = block.as_ref().split_at(2 * length);
        let cipher = |key: &[u8], salt: &[u8]| {
            let salt = <[u8; SALT]>::try_from(salt).map_err(|_| Error::Internal)?;
            Cipher::gcm_of_tls12(key, salt).map_err(|_| Error::Internal)
        };
        Ok(Keys {
            client: cipher(&keys[..length], &salts[..SALT])?,
            server: cipher(&keys[length..], &salts[SALT..])?,
        })
    }

    /// What `end` says in Finished when `said` are all messages before it.
    pub(super) fn verify_data(&self, end: End, said: &[u8]) -> Result<[u8; VERIFY], Error> {
        let label: &[u8] = match end {
            End::Client => b"client finished",
            End::Server => b"server finished",
        };
        let data = self.suite.prf(&self.master[..], label, self.suite.hash(said).as_ref(), VERIFY)?;
        <[u8; VERIFY]>::try_from(data).map_err(|_| Error::Internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(byte).collect()
    }

    /// The vectors for TLS 1.2's PRF that were sent to the working group's list, and that its libraries check.
    #[test]
    fn the_prf_gives_the_known_vectors() {
        let check = |suite: Suite, secret: &str, seed: &str, expected: &str| {
            let expected = hex(expected);
            let out = suite.prf(&hex(secret), b"test label", &hex(seed), expected.len()).unwrap();
            assert_eq!(out.as_ref(), expected, "{suite:?}");
        };
        check(
            Suite::Aes128,
            "9bbe436ba940f017b17652849a71db35",
            "a0ba9f936cda311827a6f796ffd5198c",
            "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af0f\
             a022f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff70187347b\
             66",
        );
        check(
            Suite::Aes256,
            "b80b733d6ceefcdc71566ea48e5567df",
            "cd665cf6a8447dd6ff8b27555edb7465",
            "7b0c18e9ced410ed1804f2cfa34a336a1c14dffb4900bb5fd7942107e81c83cde9ca0faa60be9fe34f82b1233c9146a0e5\
             34cb400fed2700884f9dc236f80edd8bfa961144c9e8d792eca722a7b32fc3d416d473ebc2c5fd4abfdad05d9184259b5bf8\
             cd4d90fa0d31e2dec479e4f1a26066f2eea9a69236a3e52655c9e9aee691c8f3a26854308d5eaa3be85e0990703d73e56f",
        );
    }

    #[test]
    fn both_ends_say_something_else() {
        for suite in Suite::ALL {
            let schedule = Schedule::new(suite, b"shared", b"said").unwrap();
            let data = |end, said: &[u8]| schedule.verify_data(end, said).unwrap();
            assert_ne!(data(End::Client, b"x"), data(End::Server, b"x"));
            assert_ne!(data(End::Client, b"x"), data(End::Client, b"y"));
            let other = Schedule::new(suite, b"shared", b"said otherwise").unwrap();
            assert_ne!(data(End::Client, b"x"), other.verify_data(End::Client, b"x").unwrap());
        }
    }
}
