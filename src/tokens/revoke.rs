//! Taking back what was given: tokens that were not used yet, and the sessions of those that were.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{ProjectId, TargetId, UserId};

use super::{Grant, Store, StoreError, StoreFuture, TokenKey};

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

/// Why sessions are ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// An operator or whoever may revoke said so.
    Revoked,
    /// Another viewer has the console now.
    TakenOver,
    /// The server is gone, or about to be.
    Deleted,
    /// The server is elsewhere, or on its way there.
    Moved,
    /// The server is being made anew.
    Rebuilt,
    /// The virtual machine was stopped.
    Stopped,
}

/// The sessions of spent tokens, as the issuer may know them; the proxies, beside it or elsewhere, have them.
pub trait Live: Send + Sync + 'static {
    /// The grant of the session that was opened with this token, if it is still open.
    fn holder(&self, key: &TokenKey) -> StoreFuture<'_, Option<Arc<Grant>>>;
    /// Ends the sessions of these grants and says how many there were. An error: of other processes' it is not known
    /// whether they have ended; those of this one have.
    fn end(&self, which: &Revoke, why: Why) -> StoreFuture<'_, usize>;
}

/// What a revocation ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    /// Unspent tokens.
    pub tokens: usize,
    /// Live sessions.
    pub sessions: usize,
}

/// Ends grants wherever they are: in the store, and as sessions.
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
        let holder = match fresh {
            Some(grant) => Some(grant),
            None => self.live.holder(&key).await?,
        };
        match holder {
            Some(grant) => Ok(Some(grant)),
            None => self.store.kept(key).await,
        }
    }

    /// Ends all that `which` names. A token on its way from claim to session ends as the one or as the other.
    ///
    /// # Errors
    /// If the store does not answer; then sessions of this process have ended all the same.
    pub async fn revoke(&self, which: Revoke, why: Why) -> Result<Revoked, StoreError> {
        // The store first: a claim that was not confirmed by then never is, and one that was has its session
        // among the live ones already.
        let tokens = self.store.revoke(which.clone()).await;
        let sessions = self.live.end(&which, why).await;
        Ok(Revoked { tokens: tokens?, sessions: sessions? })
    }
}
