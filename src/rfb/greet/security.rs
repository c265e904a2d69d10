//! Security types towards a target: their numbers, their names, and what is proved with them.

use std::fmt;

use des::Des;
use des::cipher::{BlockCipherEncrypt, KeyInit};
use zeroize::Zeroizing;

use super::{CHALLENGE_LEN, NONE, VNC};

/// Security type VeNCrypt (rfbproto, "VeNCrypt"): TLS, and what is proved inside it, chosen by a second number.
pub(super) const VENCRYPT: u8 = 19;

/// The first bytes of a VNC password that count (RFC 6143 section 7.2.2): a DES key.
const KEY_LEN: usize = 8;

/// A security type we may use towards a target ourselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// None (type 1): the target trusts whoever reaches it.
    None,
    /// VNC Authentication (type 2): a challenge answered with DES; what follows is not encrypted.
    Vnc,
    /// VeNCrypt TLSNone (type 19, 257): TLS without a certificate. Who is on the way is not noticed.
    TlsNone,
    /// VeNCrypt TLSVnc (type 19, 258): VNC Authentication inside it.
    TlsVnc,
    /// VeNCrypt TLSPlain (type 19, 259): user name and password inside it.
    TlsPlain,
    /// VeNCrypt X509None (type 19, 260): TLS with the target's certificate.
    X509None,
    /// VeNCrypt X509Vnc (type 19, 261): VNC Authentication inside it.
    X509Vnc,
    /// VeNCrypt X509Plain (type 19, 262): user name and password inside it.
    X509Plain,
}

impl Security {
    /// The number the target offers it under at first.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::None => NONE,
            Self::Vnc => VNC,
            Self::TlsNone | Self::TlsVnc | Self::TlsPlain => VENCRYPT,
            Self::X509None | Self::X509Vnc | Self::X509Plain => VENCRYPT,
        }
    }

    /// Its number among VeNCrypt's, if it is one of them.
    pub(super) fn subtype(self) -> Option<u32> {
        match self {
            Self::None | Self::Vnc => None,
            Self::TlsNone => Some(257),
            Self::TlsVnc => Some(258),
            Self::TlsPlain => Some(259),
            Self::X509None => Some(260),
            Self::X509Vnc => Some(261),
            Self::X509Plain => Some(262),
        }
    }

    /// Whether its TLS is without a certificate.
    pub fn is_anonymous(self) -> bool {
        matches!(self, Self::TlsNone | Self::TlsVnc | Self::TlsPlain)
    }
}

impl fmt::Display for Security {
    /// The name of the registry (rfbproto, "Security Types").
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Vnc => "VncAuth",
            Self::TlsNone => "TLSNone",
            Self::TlsVnc => "TLSVnc",
            Self::TlsPlain => "TLSPlain",
            Self::X509None => "X509None",
            Self::X509Vnc => "X509Vnc",
            Self::X509Plain => "X509Plain",
        })
    }
}

/// One of VeNCrypt's numbers and its name.
pub(super) fn describe_subtype(subtype: u32) -> String {
    let name = match subtype {
        256 => "Plain",
        257 => "TLSNone",
        258 => "TLSVnc",
        259 => "TLSPlain",
        260 => "X509None",
        261 => "X509Vnc",
        262 => "X509Plain",
        263 => "TLSSASL",
        264 => "X509SASL",
        _ => return subtype.to_string(),
    };
    format!("{subtype} ({name})")
}

/// What is proved to a target. Cleared when dropped, never shown.
#[derive(Clone, Default)]
pub struct Credentials {
    username: Zeroizing<String>,
    password: Zeroizing<String>,
}

impl Credentials {
    /// `username` is for TLSPlain and X509Plain alone.
    pub fn new(username: &str, password: &str) -> Self {
        Self { username: Zeroizing::new(username.to_owned()), password: Zeroizing::new(password.to_owned()) }
    }

    /// The answer to VNC Authentication's challenge (RFC 6143 section 7.2.2): the challenge encrypted with the
    /// password as key, the bits of each of its bytes in reverse, as the first implementation had it.
    pub(super) fn answer(&self, challenge: &[u8]) -> [u8; CHALLENGE_LEN] {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        for (place, byte) in key.iter_mut().zip(self.password.bytes()) {
            *place = byte.reverse_bits();
        }
        let cipher = Des::new(&(*key).into());
        let mut answer = [0; CHALLENGE_LEN];
        for (to, from) in answer.chunks_exact_mut(8).zip(challenge.chunks_exact(8)) {
            let mut block = [0; 8];
            block.copy_from_slice(from);
            let mut block = block.into();
            cipher.encrypt_block(&mut block);
            to.copy_from_slice(&block);
        }
        answer
    }

    /// VeNCrypt's Plain message: both lengths, then both texts.
    pub(super) fn plain(&self) -> Zeroizing<Vec<u8>> {
        let mut message = Zeroizing::new(Vec::with_capacity(8 + self.username.len() + self.password.len()));
        for text in [&self.username, &self.password] {
            message.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        }
        message.extend_from_slice(self.username.as_bytes());
        message.extend_from_slice(self.password.as_bytes());
        message
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_answered_as_vnc_servers_expect() {
        // DES with the key 0e862686e6a64e46 ("padagerb", bits of each byte reversed), computed with
        // `openssl enc -des-ecb -provider legacy -nopad`.
        let challenge: [u8; 16] = std::array::from_fn(|at| u8::try_from(at).expect("small"));
        let answer = Credentials::new("", "padagerb").answer(&challenge);
        assert_eq!(answer, ANSWER);
        assert_eq!(Credentials::new("", "padagerbXYZ").answer(&challenge), answer, "eight bytes count");
        assert_ne!(Credentials::new("", "padages").answer(&challenge), answer);
    }

    const ANSWER: [u8; 16] =
        [0xd5, 0x31, 0x6c, 0x16, 0x60, 0xf1, 0x18, 0x5c, 0x0b, 0x87, 0x53, 0x54, 0x34, 0x14, 0x05, 0x1a];

    #[test]
    fn plain_has_both_lengths_first() {
        let message = Credentials::new("anne", "pass wörd").plain();
        assert_eq!(&message[..], "\0\0\0\x04\0\0\0\x0aannepass wörd".as_bytes());
    }

    #[test]
    fn nothing_shows_a_password() {
        assert_eq!(format!("{:?}", Credentials::new("anne", "secret")), "Credentials(..)");
    }
}
