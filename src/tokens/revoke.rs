//! Taking back what was given: tokens that were not used yet, and the sessions of those that were.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{ProjectId, TargetId, UserId};

use super::{Grant, Store, StoreError, TokenKey};

/// Which grants are to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Revoke {
    /// One token's.
    Token(TokenKey),
    /// Every one for a server.
    Target(TargetId),
    /// Every one for a project's servers.
    Project(ProjectId),
    /// Every one a user asked for.
    User(UserId),
}

impl Revoke {
    /// Whether the grant under `key` is among them.
    pub fn names(&self, key: &TokenKey, grant: &Grant) -> bool {
        match self {
            Self::Token(token) => token == key,
            Self::Target(target) => *target == grant.target,
            Self::Project(project) => *project == grant.project,
            Self::User(user) => *user == grant.user,
        }
    }

    /// The kind of revocation, for logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::Target(_) => "target",
            Self::Project(_) => "project",
            Self::User(_) => "user",
        }
    }
}

/// The sessions of spent tokens, as the issuer may know them; the proxy, beside it, has them.
pub trait Live: Send + Sync + 'static {
    /// The grant of the session that was opened with this token, if it is still open.
    fn holder(&self, key: &TokenKey) -> Option<Arc<Grant>>;
    /// Ends the sessions of these grants and says how many.
    fn end(&self, which: &Revoke) -> usize;
}

/// What a revocation ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    /// Unspent tokens.
    pub tokens: usize,
    /// Live sessions of this process.
    pub sessions: usize,
}

/// Ends grants wherever they are: in the store, and as sessions of this process.
#[derive(Clone)]
pub struct Revoker {
    store: Arc<dyn Store>,
    live: Arc<dyn Live>,
}

impl Revoker {
    /// Over this store and these sessions.
    pub fn new(store: Arc<dyn Store>, live: Arc<dyn Live>) -> Self {
        Self { store, live }
    }

    /// What the token permits or has opened; `None` if it is unknown, expired, or spent, its session over and its
    /// viewer's time to come back as well.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn holder(&self, key: TokenKey) -> Result<Option<Arc<Grant>>, StoreError> {
        let fresh = self.store.peek(key).await?.map(|peek| peek.grant);
        match fresh.or_else(|| self.live.holder(&key)) {
            Some(grant) => Ok(Some(grant)),
            None => self.store.kept(key).await,
        }
    }

    /// Ends all that `which` names. A token on its way from claim to session ends as the one or as the other.
    ///
    /// # Errors
    /// If the store does not answer; then sessions have ended all the same.
    pub async fn revoke(&self, which: Revoke) -> Result<Revoked, StoreError> {
        // The store first: a claim that was not confirmed by then never is, and one that was has its session
        // among the live ones already.
        let tokens = self.store.revoke(which.clone()).await;
        let sessions = self.live.end(&which);
        Ok(Revoked { tokens: tokens?, sessions })
    }
}
