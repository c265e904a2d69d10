//! Who asks, and what they may: callers from credentials, policy over callers.
//!
//! ```text
//! head -> one credential -> X-Auth-Token   fixed tokens, then Keystone      -> caller
//!                        -> Basic          users with bcrypt hashes         -> caller
//!                        -> SDK-HMAC-...   access keys -> body -> signature -> caller
//! ```
//!
//! A source of credentials is a file beside `api_token.rs` and a field of [`Authenticator`]. A request carries one
//! credential: two could mean different callers to us and to a gateway before us.

use std::pin::Pin;
use std::sync::Arc;

use hyper::header::{AUTHORIZATION, HeaderName};
use hyper::{HeaderMap, Method};

use crate::clock::Clock;
use crate::config::{Auth, Config, FixedToken, Role};
use crate::ids::{ProjectId, UserId};
use crate::once::Once;

mod api_token;
mod basic;
mod error;
mod keystone;
pub mod policy;
mod signature;

pub use error::{AuthError, AuthSetupError};
pub use signature::Signed;

use api_token::FixedTokens;
use basic::BasicUsers;
use keystone::{Found, Keystone};
use policy::{Granted, Policy};
use signature::AccessKeys;

/// The header OpenStack and Huawei clients send a token in.
const TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

/// Somebody whose credential was good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who it is.
    pub user: UserId,
    /// The project the credential is for.
    pub project: ProjectId,
    /// Roles on that project.
    pub roles: Arc<[String]>,
    /// What the roles permit.
    granted: Granted,
}

/// What of a request may name its caller; all but the body.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// `GET`, `POST`, ...
    pub method: &'a Method,
    /// The path as it was sent, still encoded.
    pub path: &'a str,
    /// What follows the question mark, still encoded; empty if nothing does.
    pub query: &'a str,
    /// All headers.
    pub headers: &'a HeaderMap,
}

/// What a request's head tells of its caller.
#[derive(Debug)]
pub enum Identified {
    /// Everything.
    Caller(Arc<Caller>),
    /// A known key signed it, so it says; the signature covers the body.
    Signed(Signed),
}

/// A caller that takes time to be known.
pub type Waiting<'a> = Pin<Box<dyn Future<Output = Result<Arc<Caller>, AuthError>> + Send + 'a>>;

/// Turns a request's credential into a [`Caller`].
#[derive(Debug)]
pub struct Authenticator {
    fixed: FixedTokens,
    keystone: Option<Keystone>,
    access_keys: AccessKeys,
    basic: BasicUsers,
    /// What a refused client is told to do, if not by the issuer's own URL.
    keystone_url: Option<String>,
}

impl Authenticator {
    /// All sources of credentials that the configuration names; dates and ages are `clock`'s. `once` is what several
    /// issuers remember together, if they share something that does.
    ///
    /// # Errors
    /// If one of them cannot work.
    pub fn new(config: &Config, clock: &Clock, once: Option<Arc<dyn Once>>) -> Result<Self, AuthSetupError> {
        Self::of(&config.auth, clock, once)
    }

    fn of(auth: &Auth, clock: &Clock, once: Option<Arc<dyn Once>>) -> Result<Self, AuthSetupError> {
        let policy = Arc::new(Policy::new(auth.roles.clone()));
        let keystone = auth.keystone.as_ref();
        let keystone_url = keystone.map(|settings| settings.url.trim_end_matches("/v3").to_owned());
        let keystone = keystone.map(|settings| Keystone::new(settings, Arc::clone(&policy), clock.clone()));
        Ok(Self {
            fixed: FixedTokens::new(auth.tokens.clone(), &policy),
            keystone: keystone.transpose()?,
            access_keys: AccessKeys::new(auth, once, &policy, clock.clone()),
            basic: BasicUsers::new(auth.basic.clone(), &policy, clock.clone())?,
            keystone_url,
        })
    }

    /// Fixed tokens only, with the default roles.
    ///
    /// # Errors
    /// If the operating system gives no random bytes.
    pub fn with_tokens(tokens: Vec<FixedToken>) -> Result<Self, AuthSetupError> {
        let auth = Auth { tokens, roles: Role::defaults(), ..Auth::default() };
        Self::of(&auth, &Clock::system(), None)
    }

    /// The caller this head speaks for, or a signature that the body has to bear out; refused as [`AuthError`] says,
    /// never assumed.
    ///
    /// # Errors
    /// If that cannot be said without waiting: what there is to wait for. Those that wait are few, and what they need is
    /// large: it is not moved about with every request.
    pub fn authenticate<'a>(&'a self, head: &Head<'a>) -> Result<Result<Identified, AuthError>, Waiting<'a>> {
        let (token, authorization) =
            match (single(head.headers, &TOKEN), single(head.headers, &AUTHORIZATION)) {
                (Ok(token), Ok(authorization)) => (token, authorization),
                (Err(error), _) | (_, Err(error)) => return Ok(Err(error)),
            };
        Ok(match (token, authorization) {
            (Some(token), None) => match (self.fixed.find(token), &self.keystone) {
                (Err(_), Some(keystone)) => match keystone.look(token) {
                    Found::Known(outcome) => outcome.map(Identified::Caller),
                    Found::Coming(answer) => return Err(Box::pin(keystone::landed(answer))),
                },
                (found, _) => found.map(Identified::Caller),
            },
            (None, Some(basic)) if basic::is_basic(basic) => return Err(Box::pin(self.basic.find(basic))),
            (None, Some(signed)) => self.access_keys.check(signed, head).map(Identified::Signed),
            (None, None) | (Some(_), Some(_)) => Err(AuthError::Unauthenticated),
        })
    }

    /// The value of `WWW-Authenticate` beside a 401: where tokens come from (`own_url` says so where no Keystone is
    /// configured, for clients want some), and HTTP Basic if there are users of it.
    pub fn challenge(&self, own_url: &str) -> String {
        let uri = self.keystone_url.as_deref().unwrap_or(own_url);
        let mut challenge = format!("Keystone uri=\"{uri}\"");
        if !self.basic.is_empty() {
            challenge += ", Basic realm=\"consolegate\"";
        }
        challenge
    }
}

/// The header's value; two of a kind are no credential.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, AuthError> {
    let mut sent = headers.get_all(name).iter();
    match (sent.next(), sent.next()) {
        (value, None) => Ok(value.map(|value| value.as_bytes())),
        (_, Some(_)) => Err(AuthError::Unauthenticated),
    }
}
