//! HTTP Basic (RFC 7617), as `openstack --os-auth-type http_basic` sends it.
//!
//! bcrypt is slow by design: 50 to 250 ms of a core. It runs off the workers, few at a time, and a password that was
//! right is known again for a minute by a keyed hash.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use rand::TryRng;
use secrecy::ExposeSecret;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::config::{BasicUser, Secret};

use super::policy::Policy;
use super::{AuthError, AuthSetupError, Caller};

/// The scheme's name, compared without regard to case, and the space after it.
const SCHEME: &[u8] = b"basic ";

/// How long a password that was right is known again. A script makes its calls within it.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// Passwords being checked at once, and waiting for it. At 250 ms a check, the last one waits 4 s.
const CHECKS: usize = 2;
const WAITING: usize = 32;

/// bcrypt reads 72 bytes and no more, the final zero included; what is cut off would not count.
const LONGEST_PASSWORD: usize = 71;

/// The users, and the passwords that were right.
pub(super) struct BasicUsers {
    users: Vec<Arc<User>>,
    /// For names that nobody has, so that they take as long as others.
    nobody: Option<Arc<User>>,
    /// Made at start: the hashes below are of no use elsewhere.
    key: Zeroizing<[u8; 32]>,
    checks: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    clock: Clock,
}

struct User {
    hash: Secret,
    caller: Arc<Caller>,
    known: Mutex<Option<Known>>,
}

/// A password that was right, and until when it is known.
struct Known {
    mac: [u8; 32],
    until: Duration,
}

/// Whether this value of `Authorization` is of this scheme.
pub(super) fn is_basic(authorization: &[u8]) -> bool {
    authorization.get(..SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(SCHEME))
}

impl BasicUsers {
    pub(super) fn new(users: Vec<BasicUser>, policy: &Policy, clock: Clock) -> Result<Self, AuthSetupError> {
        let mut key = Zeroizing::new([0; 32]);
        rand::rngs::SysRng.try_fill_bytes(key.as_mut_slice())?;
        let user = |user: BasicUser| {
            let BasicUser { user, password_bcrypt, project, roles } = user;
            let caller = policy.caller(user, project, roles);
            Arc::new(User { hash: password_bcrypt, caller, known: Mutex::default() })
        };
        let users: Vec<_> = users.into_iter().map(user).collect();
        Ok(Self {
            nobody: users.first().cloned(),
            users,
            key,
            checks: Arc::new(Semaphore::new(CHECKS)),
            waiting: Arc::new(Semaphore::new(WAITING)),
            clock,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// The user whose name and password these are.
    pub(super) async fn find(&self, authorization: &[u8]) -> Result<Arc<Caller>, AuthError> {
        let nobody = self.nobody.as_ref().ok_or(AuthError::Unauthenticated)?;
        let (name, password) = credentials(authorization).ok_or(AuthError::Unauthenticated)?;
        let found = self.users.iter().find(|user| user.caller.user.as_str().as_bytes() == name.as_slice());
        let user = found.unwrap_or(nobody);
        let mac = self.mac(&name, &password)?;
        if user.knows(&mac, self.clock.now()) {
            return Ok(user.caller.clone());
        }
        // One place in the queue, then one of the few that are being checked; the check keeps both even if the
        // client hangs up meanwhile, since it cannot be stopped.
        let place = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| AuthError::Busy)?;
        let turn = Arc::clone(&self.checks).acquire_owned().await.map_err(|_| AuthError::Busy)?;
        if user.knows(&mac, self.clock.now()) {
            return Ok(user.caller.clone());
        }
        let checked = Arc::clone(user);
        let check = tokio::task::spawn_blocking(move || {
            let _held = (place, turn);
            bcrypt::verify(password.as_slice(), checked.hash.expose_secret()).unwrap_or(false)
        });
        let right = check.await.map_err(|_| AuthError::Busy)?;
        if !right || found.is_none() {
            return Err(AuthError::Unauthenticated);
        }
        user.remember(mac, self.clock.now() + KNOWN_FOR);
        Ok(user.caller.clone())
    }

    fn mac(&self, name: &[u8], password: &[u8]) -> Result<[u8; 32], AuthError> {
        // HMAC takes keys of any length.
        let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(self.key.as_slice());
        let mut mac = mac.map_err(|_| AuthError::Unauthenticated)?;
        // A name has no colon, so this has one reading.
        for part in [name, b":", password] {
            mac.update(part);
        }
        Ok(mac.finalize().into_bytes().into())
    }
}

impl User {
    fn knows(&self, mac: &[u8; 32], now: Duration) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().is_some_and(|known| now < known.until && bool::from(known.mac.ct_eq(mac)))
    }

    fn remember(&self, mac: [u8; 32], until: Duration) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(Known { mac, until });
    }
}

/// The name and the password of `Basic <base64 of name:password>`.
fn credentials(authorization: &[u8]) -> Option<(Vec<u8>, Zeroizing<Vec<u8>>)> {
    let encoded = authorization.get(SCHEME.len()..)?.trim_ascii();
    let decoded = Zeroizing::new(STANDARD.decode(encoded).ok()?);
    let colon = decoded.iter().position(|b| *b == b':')?;
    let (name, password) = (&decoded[..colon], &decoded[colon + 1..]);
    // bcrypt's own code ends a password at a zero byte.
    let usable = password.len() <= LONGEST_PASSWORD && !password.contains(&0);
    usable.then(|| (name.to_vec(), Zeroizing::new(password.to_vec())))
}

impl fmt::Debug for BasicUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BasicUsers({})", self.users.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::config::Role;

    use super::*;

    /// Of `secret`, by Python's bcrypt 5.0, with the prefix that htpasswd writes.
    const HASH: &str = "$2y$04$Kyx2RJcloBbaxaY5SeB7a.tmRnpLI/owaH1jkuhfrJ.kWXCNNGkFS";

    fn header(text: &[u8]) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(text)).into_bytes()
    }

    fn users(clock: &Clock) -> BasicUsers {
        let user = |name: &str, hash: String| BasicUser {
            user: name.into(),
            password_bcrypt: hash.into(),
            project: "p".into(),
            roles: vec!["member".to_owned()],
        };
        let other = bcrypt::hash("other", 4).unwrap();
        let list = vec![user("demo", HASH.to_owned()), user("two", other)];
        BasicUsers::new(list, &Policy::new(Role::defaults()), clock.clone()).unwrap()
    }

    async fn check(users: &BasicUsers, sent: &[u8], expected: Option<&str>) {
        let found = users.find(sent).await.ok().map(|caller| caller.user.clone());
        let shown = String::from_utf8_lossy(sent);
        assert_eq!(found.as_ref().map(|user| user.as_str()), expected, "{shown}");
    }

    #[tokio::test]
    async fn name_and_password_make_a_caller() {
        let users = users(&Clock::manual());
        check(&users, &header(b"demo:secret"), Some("demo")).await;
        check(&users, b"bAsIc  ZGVtbzpzZWNyZXQ= ", Some("demo")).await;
        check(&users, &header(b"two:other"), Some("two")).await;
        for wrong in
            ["demo:other", "two:secret", "demo:Secret", "demo:", ":secret", "demo", "", "three:secret"]
        {
            check(&users, &header(wrong.as_bytes()), None).await;
        }
        check(&users, &header(b"demo:secret\0"), None).await;
        check(&users, &header(format!("demo:{}", "x".repeat(72)).as_bytes()), None).await;
        check(&users, b"Basic ZGVtbzpzZWNyZXQ", None).await;
        check(&users, b"Basic", None).await;
    }

    #[tokio::test]
    async fn a_right_password_is_known_for_a_minute_and_a_wrong_one_never() {
        let clock = Clock::manual();
        let users = users(&clock);
        check(&users, &header(b"demo:secret"), Some("demo")).await;
        check(&users, &header(b"demo:wrong"), None).await;
        // From here on no check is made: whoever is let in was known.
        users.checks.close();
        check(&users, &header(b"demo:secret"), Some("demo")).await;
        check(&users, &header(b"demo:wrong"), None).await;
        check(&users, &header(b"two:other"), None).await;
        clock.advance(KNOWN_FOR);
        check(&users, &header(b"demo:secret"), None).await;
    }

    #[tokio::test]
    async fn the_queue_has_an_end() {
        let users = users(&Clock::manual());
        let all = |_| Arc::clone(&users.waiting).try_acquire_owned().unwrap();
        let _all: Vec<_> = (0..WAITING).map(all).collect();
        let sent = header(b"demo:secret");
        assert_eq!(users.find(&sent).await, Err(AuthError::Busy));
    }

    #[tokio::test]
    async fn without_users_nobody_is_known() {
        let none = BasicUsers::new(Vec::new(), &Policy::new(Vec::new()), Clock::manual()).unwrap();
        check(&none, &header(b"demo:secret"), None).await;
    }

    proptest! {
        #[test]
        fn no_header_panics(value in proptest::collection::vec(any::<u8>(), 0..60), text in "[ -~]{0,20}") {
            let _ = (is_basic(&value), credentials(&value));
            let read = credentials(&header(text.as_bytes())).map(|(name, password)| {
                [name.as_slice(), b":", password.as_slice()].concat()
            });
            prop_assert_eq!(read.as_deref(), Some(text.as_bytes()).filter(|_| text.contains(':')));
        }
    }
}
