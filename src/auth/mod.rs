//! Who asks, and what they may: callers from credentials, policy over callers.
//!
//! A source of credentials is a file beside `api_token.rs` and a field of [`Authenticator`], asked in turn.

use hyper::HeaderMap;

use crate::config::{Config, FixedToken};
use crate::ids::{ProjectId, UserId};

mod api_token;
pub mod policy;

use api_token::FixedTokens;

/// Somebody whose credential was good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who it is.
    pub user: UserId,
    /// The project the credential is for.
    pub project: ProjectId,
    /// Roles on that project.
    pub roles: Vec<String>,
}

impl Caller {
    /// Whether the caller has the role; role names are compared without regard to case, as Keystone does.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|held| held.eq_ignore_ascii_case(role))
    }
}

/// Why nobody is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No credential, or none that is good; which of them is not said.
    #[error("no valid credential")]
    Unauthenticated,
}

/// Turns a request's credential into a [`Caller`].
#[derive(Debug)]
pub struct Authenticator {
    fixed: FixedTokens,
}

impl Authenticator {
    /// All sources of credentials that the configuration names.
    pub fn new(config: &Config) -> Self {
        Self::with_tokens(config.auth_tokens.clone())
    }

    /// Fixed tokens only.
    pub fn with_tokens(tokens: Vec<FixedToken>) -> Self {
        Self { fixed: FixedTokens::new(tokens) }
    }

    /// The caller these headers speak for.
    ///
    /// # Errors
    /// If there is no credential or it is not good.
    #[expect(clippy::unused_async, reason = "sources across a network will await; callers need not change")]
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, AuthError> {
        self.fixed.authenticate(headers)
    }
}
