//! Tokens of an OpenStack identity service: each looked up once, however many callers hold it, and then believed
//! for a while.
//!
//! ```text
//! token -> sha256 -> known, and young enough                  -> answer
//!                 -> being looked up by another request       -> its answer
//!                 -> neither -> [our own token] -> Keystone   -> answer, remembered
//! ```
//!
//! The service fails closed: who is not known and cannot be looked up is not let in. Who was looked up goes on
//! until the answer has aged.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, Semaphore};

use crate::clock::Clock;
use crate::config;

use super::policy::Policy;
use super::{AuthError, AuthSetupError};

mod cache;
mod client;
#[cfg(test)]
mod tests;

use cache::{Answer, Cache, Flight, Key, Outcome, Place};
use client::{Client, Failure, Scope, ServiceToken, Verdict};

/// Look-ups under way at once. Keystone's workers are a handful; more would only queue there, out of our sight.
const MOST_LOOKUPS: usize = 16;

/// A token longer than this is none: Fernet tokens have 200 bytes, signed ones (JWS) up to 1.5 KiB.
const LONGEST_TOKEN: usize = 4096;

/// After Keystone refused our own password, wait: each attempt counts towards a lockout of our user.
const LOGIN_PAUSE: Duration = Duration::from_secs(10);

/// Looks tokens up.
pub(super) struct Keystone(Arc<Shared>);

struct Shared {
    client: Client,
    cache: Arc<Cache>,
    policy: Arc<Policy>,
    clock: Clock,
    timeout: Duration,
    cache_ttl: Duration,
    lookups: Semaphore,
    login: Mutex<Login>,
    /// Whether the last look-up was answered; a change is logged, not each failure.
    answers: AtomicBool,
}

/// Our own standing with Keystone.
#[derive(Default)]
struct Login {
    token: Option<Arc<ServiceToken>>,
    paused_until: Duration,
}

impl Keystone {
    pub(super) fn new(
        settings: &config::Keystone,
        policy: Arc<Policy>,
        clock: Clock,
    ) -> Result<Self, AuthSetupError> {
        Ok(Self(Arc::new(Shared {
            client: Client::new(settings)?,
            cache: Arc::default(),
            policy,
            clock,
            timeout: settings.timeout,
            cache_ttl: settings.cache_ttl,
            lookups: Semaphore::new(MOST_LOOKUPS),
            login: Mutex::default(),
            answers: AtomicBool::new(true),
        })))
    }

    /// Whom the token stands for.
    #[cfg(test)]
    pub(super) async fn find(&self, token: &[u8]) -> Outcome {
        match self.look(token) {
            Found::Known(outcome) => outcome,
            Found::Coming(answer) => landed(answer).await,
        }
    }

    /// What is known of the token, or where the answer will be.
    pub(super) fn look(&self, token: &[u8]) -> Found {
        let plausible = (1..=LONGEST_TOKEN).contains(&token.len())
            && token.iter().fold(true, |all, b| all & b.is_ascii_graphic());
        if !plausible {
            return Found::Known(Err(AuthError::Unauthenticated));
        }
        let key = Key(Sha256::digest(token).into());
        match self.0.cache.enter(key, self.0.clock.now()) {
            Place::Known(outcome) => Found::Known(outcome),
            Place::Full => Found::Known(Err(AuthError::Unavailable)),
            Place::Flying(answer) => Found::Coming(answer),
            Place::First(flight) => {
                let (answer, shared) = (flight.answer(), Arc::clone(&self.0));
                // ASCII, all of it.
                let token = String::from_utf8_lossy(token).into_owned();
                // A task of its own: the others wait for it even if this request's client hangs up.
                tokio::spawn(async move { shared.look_up(flight, &token).await });
                Found::Coming(answer)
            }
        }
    }
}

/// What a look at a token brought.
pub(super) enum Found {
    /// It was looked up lately, or cannot be.
    Known(Outcome),
    /// It is being looked up.
    Coming(Answer),
}

/// The answer of a look-up under way.
pub(super) async fn landed(mut answer: Answer) -> Outcome {
    let outcome = answer.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
    // A look-up that ended without an answer was cut off with its thread.
    outcome.unwrap_or(Err(AuthError::Unavailable))
}

impl Shared {
    async fn look_up(&self, flight: Flight, token: &str) {
        let asked = tokio::time::timeout(self.timeout, self.ask(token)).await;
        let verdict = asked.unwrap_or(Err(Failure::TimedOut(self.timeout)));
        self.note(verdict.as_ref().err());
        let now = self.clock.now();
        match verdict {
            Ok(Verdict::Good(Scope { user, project, roles, expires })) => {
                let caller = self.policy.caller(user, project, roles);
                let left = expires.duration_since(self.clock.today()).unwrap_or_default();
                flight.remember(Ok(caller), now, self.cache_ttl.min(left), self.cache_ttl);
            }
            Ok(Verdict::Unscoped) => flight.remember_refusal(AuthError::Unscoped, now),
            Ok(Verdict::Unknown) => flight.remember_refusal(AuthError::Unauthenticated, now),
            Ok(Verdict::ServiceTokenRefused) | Err(_) => flight.land(Err(AuthError::Unavailable)),
        }
    }

    /// Asks Keystone; with a new token of our own if it no longer takes the one we have, once.
    async fn ask(&self, token: &str) -> Result<Verdict, Failure> {
        let Ok(_permit) = self.lookups.acquire().await else { return Err(Failure::Closed) };
        let ours = self.service_token(None).await?;
        match self.client.validate(token, &ours).await? {
            Verdict::ServiceTokenRefused => {}
            verdict => return Ok(verdict),
        }
        let renewed = self.service_token(Some(&ours)).await?;
        match self.client.validate(token, &renewed).await? {
            Verdict::ServiceTokenRefused => Err(Failure::Status(401)),
            verdict => Ok(verdict),
        }
    }

    /// Our own token: the one we have unless that is `stale`, else a new one. Many may find it stale at once; the
    /// first logs in, the others take what it got.
    async fn service_token(&self, stale: Option<&Arc<ServiceToken>>) -> Result<Arc<ServiceToken>, Failure> {
        let mut login = self.login.lock().await;
        if let Some(token) = &login.token
            && stale.is_none_or(|stale| !Arc::ptr_eq(stale, token))
        {
            return Ok(Arc::clone(token));
        }
        login.token = None;
        if self.clock.now() < login.paused_until {
            return Err(Failure::LoginPaused);
        }
        match self.client.log_in().await {
            Ok(token) => Ok(Arc::clone(login.token.insert(Arc::new(token)))),
            Err(failure) => {
                if matches!(failure, Failure::LoginRefused(_)) {
                    login.paused_until = self.clock.now() + LOGIN_PAUSE;
                }
                Err(failure)
            }
        }
    }

    /// One line when Keystone stops answering, one when it answers again.
    fn note(&self, failure: Option<&Failure>) {
        match failure {
            Some(failure) if self.answers.swap(false, Ordering::SeqCst) => {
                tracing::error!(%failure, "Keystone cannot be asked: callers that are not known yet get 503");
            }
            None if !self.answers.swap(true, Ordering::SeqCst) => tracing::info!("Keystone answers again"),
            _ => {}
        }
    }
}

impl fmt::Debug for Keystone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keystone").field(&self.0.client).finish()
    }
}
