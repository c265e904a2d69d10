//! Requests signed with a key pair (AK/SK), `SDK-HMAC-SHA256`, as every Huawei SDK sends them.
//!
//! Two steps, for the signature covers the body: [`AccessKeys::check`] refuses what the head alone shows to be
//! wrong, [`Signed::verify`] compares the signature once the body is there, and lets it pass once: once for this
//! process, and once for all that share a store with it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::clock::Clock;
use crate::config::{AccessKey, Auth, Secret};
use crate::once::{Memory, Once, OnceError};

use super::policy::Policy;
use super::{AuthError, Caller, Head, single};

mod canonical;
mod header;
#[cfg(test)]
mod tests;

use canonical::Canonical;
use header::Authorization;

/// The one algorithm, and the first line of what is signed.
const ALGORITHM: &str = "SDK-HMAC-SHA256";

/// How far the client's clock may be off, either way.
const WINDOW: Duration = Duration::from_secs(15 * 60);

/// Headers without which a signature could be moved to another place or time.
const REQUIRED: [&str; 2] = ["host", "x-sdk-date"];

/// Says that the body was left out of the signature.
const UNSIGNED: &[u8] = b"UNSIGNED-PAYLOAD";

/// By how much the clocks of several issuers may differ: what the slowest still takes, all remember.
const APART: Duration = Duration::from_secs(60);

/// The keys, sorted by their public halves.
pub(super) struct AccessKeys {
    keys: Vec<Arc<Key>>,
    seen: Seen,
    clock: Clock,
}

/// The signatures that were good, so that none is good twice.
#[derive(Clone, Debug)]
struct Seen {
    /// Asked first: most replays come to where the request came.
    here: Arc<Memory>,
    /// What all issuers remember together, if they share a store.
    everywhere: Option<Arc<dyn Once>>,
}

struct Key {
    access_key: String,
    secret_key: Secret,
    security_token: Option<Secret>,
    expires: Option<SystemTime>,
    caller: Arc<Caller>,
}

/// A request that a known key is said to have signed, all but the body checked.
pub struct Signed {
    key: Arc<Key>,
    canonical: Canonical,
    date: SignedDate,
    /// The body's digest as the client declares it.
    declared: Option<Vec<u8>>,
    signature: [u8; 32],
    seen: Seen,
    clock: Clock,
}

/// `X-Sdk-Date`: as it was signed, and the time it means.
struct SignedDate {
    text: String,
    time: SystemTime,
}

impl AccessKeys {
    pub(super) fn new(auth: &Auth, everywhere: Option<Arc<dyn Once>>, policy: &Policy, clock: Clock) -> Self {
        let key = |key: AccessKey| {
            let AccessKey { access_key, secret_key, security_token, expires, user, project, roles } = key;
            let caller = policy.caller(user, project, roles);
            Arc::new(Key { access_key, secret_key, security_token, expires, caller })
        };
        let mut keys: Vec<_> = auth.access_keys.iter().cloned().map(key).collect();
        keys.sort_unstable_by(|a, b| a.access_key.cmp(&b.access_key));
        // A key that signs more waits, rather than being open to replays.
        let here = Arc::new(Memory::new(auth.signatures_per_key, clock.clone()));
        let seen = Seen { here, everywhere };
        Self { keys, seen, clock }
    }

    /// Checks all that the head shows: algorithm, form, date, key, temporary credential.
    pub(super) fn check(&self, authorization: &[u8], head: &Head<'_>) -> Result<Signed, AuthError> {
        let Authorization { access_key, signed_headers, signature } = header::parse(authorization)?;
        if REQUIRED.iter().any(|name| !signed_headers.contains(name)) {
            return Err(AuthError::SignatureForm("host and x-sdk-date must be among the signed headers"));
        }
        let date = date(head)?;
        let now = self.clock.today();
        let apart = now.duration_since(date.time).unwrap_or_else(|earlier| earlier.duration());
        if apart > WINDOW {
            return Err(AuthError::SignatureDate);
        }
        let declared = single(head.headers, &canonical::CONTENT_SHA256)?.map(<[u8]>::to_vec);
        if declared.as_deref() == Some(UNSIGNED) {
            return Err(AuthError::SignaturePayload);
        }
        let canonical = Canonical::of(head, &signed_headers)?;
        // Which keys exist is no secret; the halves that sign are compared in constant time, below.
        let found = self.keys.binary_search_by(|key| key.access_key.as_str().cmp(access_key));
        let key = found.ok().and_then(|at| self.keys.get(at)).ok_or(AuthError::Unauthenticated)?;
        key.check_temporary(head, &signed_headers, now)?;
        let (key, seen, clock) = (Arc::clone(key), self.seen.clone(), self.clock.clone());
        Ok(Signed { key, canonical, date, declared, signature, seen, clock })
    }
}

impl Key {
    /// The security token of a temporary credential, which is signed like the rest; of others, its absence.
    fn check_temporary(&self, head: &Head<'_>, signed: &[&str], now: SystemTime) -> Result<(), AuthError> {
        let sent = single(head.headers, &canonical::SECURITY_TOKEN)?;
        let matches = match (&self.security_token, sent) {
            (None, None) => true,
            (Some(token), Some(sent)) => {
                if !signed.contains(&canonical::SECURITY_TOKEN.as_str()) {
                    return Err(AuthError::SignatureForm(
                        "x-security-token must be among the signed headers",
                    ));
                }
                bool::from(token.expose_secret().as_bytes().ct_eq(sent))
            }
            (None, Some(_)) | (Some(_), None) => false,
        };
        match (matches, self.expires) {
            (false, _) => Err(AuthError::Unauthenticated),
            (true, Some(end)) if end <= now => Err(AuthError::CredentialExpired),
            (true, _) => Ok(()),
        }
    }
}

impl Signed {
    /// Whom the key stands for, if it signed this head and this body, the first time they come.
    ///
    /// # Errors
    /// If the body or anything signed was changed, or the same request was here before.
    pub async fn verify(self, body: &[u8]) -> Result<Arc<Caller>, AuthError> {
        self.compare(body)?;
        // After this its date is refused anyway.
        let end = self.date.time + WINDOW + APART;
        let keep = end.duration_since(self.clock.today()).unwrap_or_default();
        self.seen.once(&self.key.access_key, self.signature, keep).await?;
        Ok(self.key.caller.clone())
    }

    /// Whether the key signed this head and this body.
    fn compare(&self, body: &[u8]) -> Result<(), AuthError> {
        let digest = hex(&Sha256::digest(body));
        if self.declared.as_ref().is_some_and(|declared| declared != digest.as_bytes()) {
            return Err(AuthError::SignaturePayload);
        }
        let request = self.canonical.with_body(&digest);
        let to_sign = format!("{ALGORITHM}\n{}\n{}", self.date.text, hex(&Sha256::digest(request)));
        let secret = self.key.secret_key.expose_secret().as_bytes();
        // HMAC takes keys of any length.
        let mut mac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(secret).map_err(|_| AuthError::Unauthenticated)?;
        mac.update(to_sign.as_bytes());
        mac.verify_slice(&self.signature).map_err(|_| AuthError::Unauthenticated)
    }
}

impl Seen {
    /// Lets a signature pass the first time. Nobody but a key's holder can fill its memory, for only good signatures
    /// come here.
    async fn once(&self, key: &str, signature: [u8; 32], keep: Duration) -> Result<(), AuthError> {
        match self.here.note(key, signature, keep) {
            Ok(true) => {}
            Ok(false) => return Err(AuthError::SignatureReplayed),
            Err(_) => return Err(AuthError::TooMany),
        }
        let Some(everywhere) = &self.everywhere else { return Ok(()) };
        match everywhere.first(key, signature, keep).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(AuthError::SignatureReplayed),
            Err(OnceError::Full(_)) => Err(AuthError::TooMany),
            Err(OnceError::Unavailable(_)) => {
                // Whoever was told to try again sends the same request.
                self.here.undo(key, &signature);
                Err(AuthError::Store)
            }
        }
    }
}

/// `20260102T030405Z`, in UTC.
fn date(head: &Head<'_>) -> Result<SignedDate, AuthError> {
    const FORM: AuthError = AuthError::SignatureForm("X-Sdk-Date must be a date such as 20260102T030405Z");
    let sent = single(head.headers, &canonical::DATE)?.ok_or(FORM)?;
    let text = std::str::from_utf8(sent).map_err(|_| FORM)?;
    let digits = |range| text.get(range).filter(|part: &&str| part.bytes().all(|b| b.is_ascii_digit()));
    let (Some(day), Some("T"), Some(hour), Some("Z"), 16) =
        (digits(0..8), text.get(8..9), digits(9..15), text.get(15..), text.len())
    else {
        return Err(FORM);
    };
    let rfc3339 =
        format!("{}-{}-{}T{}:{}:{}Z", &day[..4], &day[4..6], &day[6..], &hour[..2], &hour[2..4], &hour[4..]);
    let time = humantime::parse_rfc3339(&rfc3339).map_err(|_| FORM)?;
    Ok(SignedDate { text: text.to_owned(), time })
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

impl fmt::Debug for AccessKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccessKeys({})", self.keys.len())
    }
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed").field("access_key", &self.key.access_key).finish_non_exhaustive()
    }
}
