//! Seals for records that lie where others may read: AES-256-GCM-SIV, bound to the target's id and revision, so that
//! no record passes for another.
//!
//! A sealed record is `1.KEY.BASE64`: the form, the first 8 hexadecimal digits of the SHA-256 of the key, and nonce,
//! ciphertext and tag.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::config::SealKey;

/// The form of what [`Seals::seal`] returns.
const FORM: &str = "1";

/// Why a record was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SealError {
    /// Of no key that is known here.
    #[error("it is sealed with the key {0}, which is not in this process' inventory.key_file ({1})")]
    Key(String, String),
    /// The key is right, and the record is not what was sealed under this id and revision.
    #[error("it was altered, or is another target's: its seal is broken")]
    Broken,
    /// Of a later version, perhaps.
    #[error("it has no form that this version knows")]
    Form,
}

/// The keys of a fleet: the first seals, every one opens.
pub(super) struct Seals(Vec<(String, RandomizedNonceKey)>);

impl Seals {
    /// With these keys.
    pub(super) fn new(keys: &[SealKey]) -> Result<Self, Unspecified> {
        let named = |key: &SealKey| {
            let sealing = RandomizedNonceKey::new(&AES_256_GCM_SIV, key.reveal())?;
            Ok((name(key), sealing))
        };
        keys.iter().map(named).collect::<Result<_, _>>().map(Self)
    }

    /// The record, sealed for this id and revision.
    pub(super) fn seal(&self, id: &str, revision: &str, record: &str) -> Result<String, Unspecified> {
        let (name, key) = self.0.first().ok_or(Unspecified)?;
        let mut bytes = record.as_bytes().to_vec();
        let nonce = key.seal_in_place_append_tag(bound(id, revision), &mut bytes)?;
        let sealed = [nonce.as_ref().as_slice(), &bytes].concat();
        Ok(format!("{FORM}.{name}.{}", STANDARD_NO_PAD.encode(sealed)))
    }

    /// Whether the first key sealed it.
    pub(super) fn is_fresh(&self, sealed: &str) -> bool {
        let name = sealed.split('.').nth(1);
        self.0.first().is_some_and(|(first, _)| name == Some(first))
    }

    /// The record that was sealed for this id and revision.
    pub(super) fn open(
        &self,
        id: &str,
        revision: &str,
        sealed: &str,
    ) -> Result<Zeroizing<String>, SealError> {
        let mut parts = sealed.splitn(3, '.');
        let (Some(FORM), Some(name), Some(text)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(SealError::Form);
        };
        let Some((_, key)) = self.0.iter().find(|(known, _)| known == name) else {
            let known: Vec<_> = self.0.iter().map(|(name, _)| name.as_str()).collect();
            // What stands in the store is not repeated as it is.
            let name = name.chars().filter(char::is_ascii_hexdigit).take(8).collect();
            return Err(SealError::Key(name, known.join(", ")));
        };
        let bytes = STANDARD_NO_PAD.decode(text).map_err(|_| SealError::Form)?;
        let (nonce, rest) = bytes.split_at_checked(NONCE_LEN).ok_or(SealError::Form)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Form)?;
        let mut rest = Zeroizing::new(rest.to_vec());
        let opened = key.open_in_place(nonce, bound(id, revision), &mut rest);
        let opened = opened.map_err(|_| SealError::Broken)?;
        let text = std::str::from_utf8(opened).map_err(|_| SealError::Form)?;
        Ok(Zeroizing::new(text.to_owned()))
    }
}

impl std::fmt::Debug for Seals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// What a key is called where it was used: of 256 random bits this tells nothing.
fn name(key: &SealKey) -> String {
    Sha256::digest(key.reveal()).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// What a seal is bound to. The length keeps an id from running into the revision.
fn bound(id: &str, revision: &str) -> Aad<Vec<u8>> {
    Aad::from(format!("consolegate target {FORM} {} {id} {revision}", id.len()).into_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seals(keys: &[u8]) -> Seals {
        Seals::new(&keys.iter().map(|key| SealKey::from([*key; 32])).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_seal_shows_nothing_and_holds_for_one_target_and_revision() {
        let seals = seals(&[1]);
        let record = "{\"password\":\"opensesa\"}";
        let sealed = seals.seal("a", "r1", record).unwrap();
        // SHA-256 of 32 bytes of 1 begins with 72cd6e84, computed with Python.
        assert!(sealed.starts_with("1.72cd6e84.") && !sealed.contains("sesa"), "{sealed}");
        assert_eq!(seals.open("a", "r1", &sealed).unwrap().as_str(), record);
        assert_ne!(seals.seal("a", "r1", record).unwrap(), sealed, "a nonce of its own");
        for (id, revision) in [("b", "r1"), ("a", "r2"), ("a r1", ""), ("", "a r1")] {
            assert_eq!(seals.open(id, revision, &sealed), Err(SealError::Broken), "{id} {revision}");
        }
        let altered = sealed.replace("1.72cd6e84", "2.72cd6e84");
        assert_eq!(seals.open("a", "r1", &altered), Err(SealError::Form));
        for odd in ["", "1", "1.72cd6e84", "1.72cd6e84.", "1.72cd6e84.AAAA", "1.72cd6e84.!"] {
            assert_eq!(seals.open("a", "r1", odd), Err(SealError::Form), "{odd}");
        }
        assert_eq!(format!("{seals:?}"), "[\"72cd6e84\"]");
    }

    #[test]
    fn keys_change_one_after_the_other() {
        let (before, during, after) = (seals(&[1]), seals(&[2, 1]), seals(&[2]));
        let (old, new) = (before.seal("a", "r", "x").unwrap(), during.seal("a", "r", "y").unwrap());
        assert!(during.is_fresh(&new) && !during.is_fresh(&old) && !during.is_fresh("odd"));
        assert_eq!(during.open("a", "r", &old).unwrap().as_str(), "x");
        assert_eq!(after.open("a", "r", &new).unwrap().as_str(), "y");
        let refused = after.open("a", "r", &old).unwrap_err();
        assert!(matches!(&refused, SealError::Key(name, _) if name == "72cd6e84"), "{refused}");
        assert!(refused.to_string().contains("inventory.key_file"), "{refused}");
        assert!(matches!(before.open("a", "r", &new), Err(SealError::Key(..))));
    }

    proptest! {
        /// Whatever is altered, nothing is opened as something else.
        #[test]
        fn no_altered_record_opens(record in ".{0,80}", at in any::<prop::sample::Index>(), to in "[0-9A-Za-z+/.]") {
            let seals = seals(&[1]);
            let sealed = seals.seal("a", "r", &record).unwrap();
            let opened = seals.open("a", "r", &sealed).unwrap();
            prop_assert_eq!(opened.as_str(), record.as_str());
            let at = at.index(sealed.len());
            let altered = format!("{}{to}{}", &sealed[..at], &sealed[at + 1..]);
            if let Ok(opened) = seals.open("a", "r", &altered) {
                // The last letter of BASE64 may hold bits that mean nothing; those have to be 0.
                prop_assert_eq!(&altered, &sealed);
                prop_assert_eq!(opened.as_str(), record.as_str());
            }
        }

        /// What stands in the store is somebody's text.
        #[test]
        fn nothing_makes_it_panic(text in any::<String>()) {
            prop_assert!(seals(&[1]).open("a", "r", &text).is_err());
        }
    }
}
