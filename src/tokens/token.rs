//! The bearer secret itself, the hash it is stored under, and the fingerprint that may be logged.

use std::fmt;
use std::hash::{Hash, Hasher};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use siphasher::sip::SipHasher24;
use zeroize::Zeroizing;

use crate::config::TokenFormat;
use crate::json;

use super::random::random;

/// The shortest value that can be a token: anything shorter could be guessed, so it is not even looked up.
const MIN_LEN: usize = 16;

/// The longest: our own are 36 and 43 characters; the rest is room for tokens issued by other means.
const MAX_LEN: usize = 128;

/// A bearer secret for one grant. It can be neither shown nor formatted; [`Token::reveal`] is the one door.
/// Its memory is cleared on drop.
pub struct Token(Zeroizing<String>);

/// Why there is no token.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenError {
    /// The value is not 16 to 128 characters of `[A-Za-z0-9_-]`. The value itself is not repeated.
    #[error("not a token: expected {MIN_LEN} to {MAX_LEN} characters of [A-Za-z0-9_-]")]
    Malformed,
    /// The operating system gave no random bytes; nothing weaker takes their place.
    #[error("the operating system's random generator failed")]
    Generator,
}

impl Token {
    /// A fresh token from the operating system's generator.
    pub fn generate(format: TokenFormat) -> Result<Self, TokenError> {
        Ok(Self(Zeroizing::new(match format {
            TokenFormat::Uuid => {
                let uuid = uuid::Builder::from_random_bytes(*random::<16>()?).into_uuid();
                let mut text = vec![0; uuid::fmt::Hyphenated::LENGTH];
                uuid.hyphenated().encode_lower(&mut text);
                // ASCII, all of it.
                String::from_utf8(text).map_err(|_| TokenError::Generator)?
            }
            TokenFormat::Base64Url => URL_SAFE_NO_PAD.encode(*random::<32>()?),
        })))
    }

    /// Reads a token from a URL or cookie value, already percent-decoded.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !(MIN_LEN..=MAX_LEN).contains(&text.len()) || !text.bytes().all(plain) {
            return Err(TokenError::Malformed);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The secret in the clear, to put into a URL and nowhere else.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The name of the cookie that its viewer comes back with: 16 hex digits of HMAC-SHA256 under the token.
    pub fn resume_name(&self) -> String {
        // Any length of key is taken; ours fits the block.
        let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(self.0.as_bytes());
        let tag = mac.map(|mac| mac.chain_update(b"consolegate resume").finalize().into_bytes());
        let first = tag.ok().and_then(|tag| tag.first_chunk().copied()).unwrap_or_default();
        format!("cg_resume_{}", hex(u64::from_be_bytes(first)))
    }

    /// The hash it is stored under.
    pub fn key(&self) -> TokenKey {
        TokenKey(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

/// SHA-256 of a token: what stores keep. A store that leaks gives away no token.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TokenKey([u8; 32]);

impl TokenKey {
    /// The 32 bytes, for a store's own key.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<TokenKey> for String {
    fn from(key: TokenKey) -> Self {
        URL_SAFE_NO_PAD.encode(key.0)
    }
}

impl TryFrom<String> for TokenKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or("expected 32 bytes in base64url")
    }
}

impl From<[u8; 32]> for TokenKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl Hash for TokenKey {
    /// Eight of its bytes are hash enough: the key is a SHA-256 already, and what an attacker can insert is
    /// drawn by our generator, so collisions cannot be made on purpose.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [_, a, b, c, d, e, f, g, h, ..] = self.0;
        state.write_u64(u64::from_ne_bytes([a, b, c, d, e, f, g, h]));
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(redacted)")
    }
}

/// Makes the name a token has in logs: 16 hex digits of SipHash-2-4 under a key that lives as long as the
/// process. Lines about one token can be joined; nobody can test a guessed token against a log.
///
/// SipHash is a pseudorandom function for short input and 64 bits of output, which is what is shown of any. HMAC-SHA256,
/// cut to as many, took two more blocks of SHA-256 for each console issued.
#[derive(Clone)]
pub struct Fingerprinter(SipHasher24);

impl Fingerprinter {
    /// One with a fresh random key.
    pub fn random() -> Result<Self, TokenError> {
        Ok(Self::with_key(&*random::<16>()?))
    }

    fn with_key(key: &[u8; 16]) -> Self {
        Self(SipHasher24::new_with_key(key))
    }

    /// The fingerprint of the token with this key.
    pub fn fingerprint(&self, key: &TokenKey) -> String {
        hex(self.0.hash(&key.0))
    }
}

/// 16 digits.
fn hex(tag: u64) -> String {
    let mut text = [0; 16];
    for (two, byte) in text.chunks_exact_mut(2).zip(tag.to_be_bytes()) {
        two.copy_from_slice(&json::hex(byte));
    }
    // ASCII, all of it.
    std::str::from_utf8(&text).unwrap_or_default().to_owned()
}

impl fmt::Debug for Fingerprinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprinter(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_default_form_is_a_version_4_uuid() {
        let token = Token::generate(TokenFormat::Uuid).unwrap();
        let uuid = uuid::Uuid::parse_str(token.reveal()).unwrap();
        assert_eq!(uuid.get_version_num(), 4);
        assert_eq!(uuid.hyphenated().to_string(), token.reveal(), "lower case, with hyphens");
    }

    #[test]
    fn the_long_form_is_256_bits_of_base64url() {
        let token = Token::generate(TokenFormat::Base64Url).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.decode(token.reveal()).unwrap().len(), 32);
    }

    #[test]
    fn every_generated_token_parses_and_none_repeats() {
        let mut seen = HashSet::new();
        for format in [TokenFormat::Uuid, TokenFormat::Base64Url] {
            for _ in 0..1000 {
                let token = Token::generate(format).unwrap();
                assert_eq!(Token::parse(token.reveal()).unwrap().key(), token.key());
                assert!(seen.insert(token.reveal().to_owned()));
            }
        }
    }

    #[test]
    fn length_and_alphabet_bound_what_is_looked_up() {
        let check = |text: &str, ok: bool| assert_eq!(Token::parse(text).is_ok(), ok, "{} bytes", text.len());
        check(&"a".repeat(15), false);
        check(&"a".repeat(16), true);
        check(&"a".repeat(128), true);
        check(&"a".repeat(129), false);
        check("", false);
        check("ABCxyz019_-ABCxyz019", true);
        for bad in ["%", "=", "+", "/", ".", " ", "&", "\0", "\n", "ä"] {
            check(&format!("{}{bad}", "a".repeat(20)), false);
        }
    }

    #[test]
    fn no_format_shows_a_secret() {
        let token = Token::parse("0123456789abcdef-secret").unwrap();
        let prints = Fingerprinter::random().unwrap();
        let hex: String = token.key().as_bytes().iter().map(|b| format!("{b:02x}")).collect();
        let shown = format!("{token:?} {:?} {prints:?} {:?}", token.key(), Token::parse("short-secret"));
        assert!(!shown.contains("secret") && !shown.contains(&hex[..8]), "{shown}");
        assert_eq!(shown.matches("redacted").count(), 3);
    }

    #[test]
    fn the_key_is_sha_256_of_the_text() {
        // FIPS 180-4 example B.2's message is 56 characters long and within the alphabet.
        let token = Token::parse("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq").unwrap();
        let hex: String = token.key().as_bytes().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    }

    #[test]
    fn a_fingerprint_is_siphash_2_4_under_its_key() {
        // Computed with a SipHash-2-4 in Python that gives the paper's own value, a129ca6149be45e5, for its example.
        let mut counted = [0; 32];
        counted.iter_mut().zip(0..).for_each(|(byte, at)| *byte = at);
        let (key, count) = (counted[..16].try_into().unwrap(), TokenKey(counted));
        assert_eq!(Fingerprinter::with_key(&key).fingerprint(&count), "7127512f72f27cce");
        let zero = Fingerprinter::with_key(&[0; 16]);
        assert_eq!(zero.fingerprint(&TokenKey([0; 32])), "6c37e103dfa2827d");
        let paper = SipHasher24::new_with_key(&key).hash(&counted[..15]);
        assert_eq!(hex(paper), "a129ca6149be45e5");
        assert_eq!(hex(0x0123_4567_89ab_cdef), "0123456789abcdef");
        // Every bit of the token's key and of the secret counts.
        let (secret, token) = ([7; 16], [9; 32]);
        let mut seen = HashSet::from([Fingerprinter::with_key(&secret).fingerprint(&TokenKey(token))]);
        for bit in 0..32 * 8 {
            let mut token = token;
            token[bit / 8] ^= 1 << (bit % 8);
            assert!(seen.insert(Fingerprinter::with_key(&secret).fingerprint(&TokenKey(token))));
        }
        for bit in 0..16 * 8 {
            let mut secret = secret;
            secret[bit / 8] ^= 1 << (bit % 8);
            assert!(seen.insert(Fingerprinter::with_key(&secret).fingerprint(&TokenKey(token))));
        }
        let (a, b) = (Fingerprinter::random().unwrap(), Fingerprinter::random().unwrap());
        let key = Token::generate(TokenFormat::Uuid).unwrap().key();
        assert_eq!(a.fingerprint(&key), a.fingerprint(&key), "stable within a process");
        assert_ne!(a.fingerprint(&key), b.fingerprint(&key), "useless in another");
    }

    #[test]
    fn a_cookies_name_is_hmac_sha_256_under_the_token() {
        // Computed with Python: hmac.new(token, b"consolegate resume", "sha256").hexdigest()[:16]
        let token = Token::parse("0fda3eca-8232-4249-9a62-550bce390258").unwrap();
        assert_eq!(token.resume_name(), "cg_resume_7b43d4584e626956");
    }

    proptest! {
        #[test]
        fn what_parses_is_url_safe(text in any::<String>()) {
            if let Ok(token) = Token::parse(&text) {
                let encoded = percent_encoding::utf8_percent_encode(token.reveal(), percent_encoding::CONTROLS);
                prop_assert_eq!(encoded.to_string(), text);
            }
        }
    }
}
