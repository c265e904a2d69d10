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

use std::sync::Arc;

use hyper::header::{AUTHORIZATION, HeaderName};
use hyper::{HeaderMap, Method};

use crate::clock::Clock;
use crate::config::{Config, FixedToken, Role};
use crate::ids::{ProjectId, UserId};

mod api_token;
mod error;
pub mod policy;
mod signature;

pub use error::{AuthError, AuthSetupError};
pub use signature::Signed;

use api_token::FixedTokens;
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
    pub roles: Vec<String>,
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
    Caller(Caller),
    /// A known key signed it, so it says; the signature covers the body.
    Signed(Signed),
}

/// Turns a request's credential into a [`Caller`].
#[derive(Debug)]
pub struct Authenticator {
    fixed: FixedTokens,
    access_keys: AccessKeys,
}

impl Authenticator {
    /// All sources of credentials that the configuration names; dates and ages are `clock`'s.
    ///
    /// # Errors
    /// If one of them cannot work.
    pub fn new(config: &Config, clock: &Clock) -> Result<Self, AuthSetupError> {
        let auth = &config.auth;
        let policy = Arc::new(Policy::new(auth.roles.clone()));
        Ok(Self {
            fixed: FixedTokens::new(auth.tokens.clone(), &policy),
            access_keys: AccessKeys::new(auth.access_keys.clone(), &policy, clock.clone()),
        })
    }

    /// Fixed tokens only, with the default roles.
    pub fn with_tokens(tokens: Vec<FixedToken>) -> Self {
        let policy = Policy::new(Role::defaults());
        Self {
            fixed: FixedTokens::new(tokens, &policy),
            access_keys: AccessKeys::new(Vec::new(), &policy, Clock::system()),
        }
    }

    /// The caller this head speaks for, or a signature that the body has to bear out.
    ///
    /// # Errors
    /// As [`AuthError`] says; a caller is known or refused, never assumed.
    #[expect(clippy::unused_async, reason = "sources across a network will await; callers need not change")]
    pub async fn authenticate(&self, head: &Head<'_>) -> Result<Identified, AuthError> {
        match (single(head.headers, &TOKEN)?, single(head.headers, &AUTHORIZATION)?) {
            (Some(token), None) => self.fixed.find(token).map(Identified::Caller),
            (None, Some(authorization)) => {
                self.access_keys.check(authorization, head).map(Identified::Signed)
            }
            (None, None) | (Some(_), Some(_)) => Err(AuthError::Unauthenticated),
        }
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
