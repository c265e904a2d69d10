//! The bearer secret itself, the hash it is stored under, and the fingerprint that may be logged.

use std::fmt;
use std::hash::{Hash, Hasher};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::config::TokenFormat;

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
        let mut name = "cg_resume_".to_owned();
        push_hex(&mut name, tag.as_deref().unwrap_or_default());
        name
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

/// Makes the name a token has in logs: 16 hex digits of HMAC-SHA256 under a key that lives as long as the
/// process. Lines about one token can be joined; nobody can test a guessed token against a log.
#[derive(Clone)]
pub struct Fingerprinter(Hmac<Sha256>);

impl Fingerprinter {
    /// One with a fresh random key.
    pub fn random() -> Result<Self, TokenError> {
        Ok(Self::with_key(&*random::<32>()?))
    }

    fn with_key(key: &[u8; 32]) -> Self {
        let mut block = sha2::digest::Key::<Hmac<Sha256>>::default();
        block[..key.len()].copy_from_slice(key);
        let mac = <Hmac<Sha256> as KeyInit>::new(&block);
        block.as_mut_slice().zeroize();
        Self(mac)
    }

    /// The fingerprint of the token with this key.
    pub fn fingerprint(&self, key: &TokenKey) -> String {
        let tag = self.0.clone().chain_update(key.0).finalize().into_bytes();
        let mut text = String::with_capacity(16);
        push_hex(&mut text, &tag);
        text
    }
}

/// The first eight bytes.
fn push_hex(text: &mut String, tag: &[u8]) {
    for byte in tag.iter().take(8) {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
        }
    }
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
    fn a_fingerprint_is_hmac_sha_256_under_its_key() {
        // Computed with Python: hmac.new(bytes(32), bytes(32), "sha256").hexdigest()[:16]
        let zero = Fingerprinter::with_key(&[0; 32]);
        assert_eq!(zero.fingerprint(&TokenKey([0; 32])), "33ad0a1c607ec03b");
        // As the crate has it, which knows nothing of our blocks.
        for n in 0..=u8::MAX {
            let (secret, key) = ([n; 32], TokenKey([n.wrapping_mul(7); 32]));
            let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&secret).unwrap();
            let mut expected = String::new();
            push_hex(&mut expected, &mac.chain_update(key.0).finalize().into_bytes());
            assert_eq!(Fingerprinter::with_key(&secret).fingerprint(&key), expected);
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
