//! Tokens and their stores: issued once, claimed by one, confirmed or released.
//!
//! ```text
//! create -> Fresh --claim(nonce)--> Claimed --confirm(nonce)--> Spent (tombstone) --> gone
//!             ^                        |
//!             +----- release, lease runs out
//!
//! revoke: Fresh, Claimed --> gone
//! ```
//!
//! `resume.rs` has what becomes of a spent one whose viewer comes back.

use std::future::{Future, Ready, ready};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config;
use crate::ids::{Generation, GrantId, ProjectId, Protocol, RequestId, TargetId, UserId};

mod memory;
mod metered;
mod moving;
mod random;
mod redis;
mod resume;
mod revoke;
mod token;

#[cfg(test)]
pub(crate) mod contract;
#[cfg(test)]
pub(crate) use redis::testing;

pub use memory::{MemoryStore, Packed};
pub use metered::Metered;
pub use moving::{Answer, Asked, Call, Movable, Successor, perform};
pub use redis::{
    Entry, Manner, Most, News, Place, Present, Record, RedisSetupError, RedisStore, SealedTarget, TargetNews,
    Unsafe, Write,
};
pub use resume::{Keep, Offer, Resumed};
pub use revoke::{Live, Revoke, Revoked, Revoker, Why};
pub use token::{Fingerprinter, Token, TokenError, TokenKey};

/// How long a claim is held before another may have it. Longer than dial (5 s) plus greeting (10 s), so a
/// live holder never loses its claim.
pub const LEASE: Duration = Duration::from_secs(20);

/// The least time a spent token is remembered, so that it says "used" rather than "unknown".
pub const TOMBSTONE: Duration = Duration::from_secs(600);

/// What a token permits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Names the grant in logs and audit lines.
    pub id: GrantId,
    /// The API request that made it.
    pub request: RequestId,
    /// The server.
    pub target: TargetId,
    /// The server's incarnation at issue; checked again at claim.
    pub generation: Generation,
    /// Which of the server's consoles.
    pub protocol: Protocol,
    /// The project the server belonged to at issue.
    pub project: ProjectId,
    /// Who asked.
    pub user: UserId,
    /// What narrows the grant; records of older versions have none.
    #[serde(default)]
    pub options: Options,
}

/// What narrows a grant beyond its target and protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// What the viewer sends is dropped.
    pub view_only: bool,
    /// The session ends when the token's lifetime ends.
    pub enforce_expiry: bool,
    /// The only address the token opens from.
    pub client_address: Option<IpAddr>,
    /// Whether the session is recorded; the target may want it more.
    pub record: config::Record,
    /// The console is for a native SPICE client: OpenStack's `spice-direct`.
    pub direct: bool,
    /// What becomes of other viewers of the console, where that is stricter than the target's own rule.
    pub viewers: Option<Sharing>,
}

/// What a viewer makes of others on its console, from strict to generous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sharing {
    /// It comes to an empty console only, and nobody comes while it is there.
    Deny,
    /// It ends those who are there.
    Steal,
    /// All stay.
    Share,
}

impl Sharing {
    /// Its name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Steal => "steal",
            Self::Share => "share",
        }
    }
}

/// Names one attempt to use a token. A repeated call with the same nonce gets the same answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Nonce(pub u128);

impl Nonce {
    /// A fresh one from the operating system's generator.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().as_u128())
    }
}

/// Answer to a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Claim {
    /// The caller holds the token for [`LEASE`].
    Won(Arc<Grant>),
    /// Somebody else holds it right now.
    Busy(Protocol),
    /// It has been used.
    Spent(Protocol),
    /// Never issued, expired, or forgotten.
    Unknown,
}

/// Answer to a confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Confirm {
    /// The token is spent and this caller's.
    Confirmed,
    /// The claim had run out and is no longer this caller's: open no session.
    Lost,
}

/// What a token would open, without using it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peek {
    /// The grant.
    pub grant: Arc<Grant>,
    /// How long it still is valid.
    pub remaining: Duration,
}

/// Why a store did not answer.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreError {
    /// The store holds as many records as it may.
    #[error("the token store is full ({0} records); raise tokens.capacity or shorten tokens.ttl")]
    Full(usize),
    /// The key exists already (a generator that repeats itself): issue another.
    #[error("the token exists already")]
    Exists,
    /// The target has as many unspent tokens as it may: one has to be opened, or to expire.
    #[error("the target has {0} unspent tokens")]
    Outstanding(usize),
    /// A store across a network is not reached, or must not be used.
    #[error("the token store does not answer: {0}")]
    Unavailable(String),
}

/// A store's answer: there at once, and then nothing is allocated for it, or on its way.
#[must_use = "nobody hears the answer unless it is awaited"]
pub struct StoreFuture<'a, T>(Coming<'a, T>);

enum Coming<'a, T> {
    Here(Ready<Result<T, StoreError>>),
    Later(Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>),
}

impl<'a, T> StoreFuture<'a, T> {
    /// An answer that is there.
    pub fn here(answer: Result<T, StoreError>) -> Self {
        Self(Coming::Here(ready(answer)))
    }

    /// One that comes.
    pub fn later(answer: impl Future<Output = Result<T, StoreError>> + Send + 'a) -> Self {
        Self(Coming::Later(Box::pin(answer)))
    }

    /// The answer if it is there, or itself.
    ///
    /// # Errors
    /// If it is on its way.
    pub fn at_once(self) -> Result<Result<T, StoreError>, Self> {
        match self.0 {
            Coming::Here(answer) => Ok(answer.into_inner()),
            later @ Coming::Later(_) => Err(Self(later)),
        }
    }
}

impl<T: Unpin> Future for StoreFuture<'_, T> {
    type Output = Result<T, StoreError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.get_mut().0 {
            Coming::Here(answer) => Pin::new(answer).poll(cx),
            Coming::Later(answer) => answer.as_mut().poll(cx),
        }
    }
}

/// Keeps grants under hashed tokens. Every call is one atomic step; the store's own clock decides expiry,
/// strictly: at the very instant of expiry a token is gone.
pub trait Store: std::fmt::Debug + Send + Sync + 'static {
    /// Keeps `grant` for `ttl`, unless `most` tokens of the same target that were created with a `most` are
    /// neither spent nor expired ([`StoreError::Outstanding`]). 0: not counted, and never refused for it.
    fn create(&self, key: TokenKey, grant: Grant, ttl: Duration, most: usize) -> StoreFuture<'_, ()>;
    /// Takes the token for [`LEASE`]: one winner among any number of callers. A claim whose lease ran out is
    /// free again while the token lives.
    fn claim(&self, key: TokenKey, nonce: Nonce) -> StoreFuture<'_, Claim>;
    /// Spends the token if `nonce` still holds it; leaves a tombstone.
    fn confirm(&self, key: TokenKey, nonce: Nonce) -> StoreFuture<'_, Confirm>;
    /// As [`Store::confirm`], and lets the one who brings the offer's secret back in.
    fn confirm_with(&self, key: TokenKey, nonce: Nonce, offer: Offer) -> StoreFuture<'_, Confirm>;
    /// A viewer with `secret` is back: from now on `nonce` holds the session, and `next` is the secret. The one
    /// before stays good until `next` is used, for the viewer may never have got it. `None`: not the secret,
    /// too late, too often, or revoked. What was held for less than a [`LEASE`] is held for one.
    fn resume(
        &self,
        key: TokenKey,
        secret: TokenKey,
        next: TokenKey,
        nonce: Nonce,
    ) -> StoreFuture<'_, Option<Resumed>>;
    /// The grant of a spent token whose viewer may come back, wherever its session is or was.
    fn kept(&self, key: TokenKey) -> StoreFuture<'_, Option<Arc<Grant>>>;
    /// The console is open for the viewer who came back, if `nonce` still holds the session; counted once.
    fn resumed(&self, key: TokenKey, nonce: Nonce, window: Duration) -> StoreFuture<'_, Confirm>;
    /// The viewer may come back for `window` from now, if `nonce` still holds the session, which is `grant`'s.
    fn keep(&self, key: TokenKey, nonce: Nonce, grant: Arc<Grant>, window: Duration)
    -> StoreFuture<'_, Keep>;
    /// Nobody may come back, if `nonce` still holds the session; otherwise does nothing.
    fn forget(&self, key: TokenKey, nonce: Nonce) -> StoreFuture<'_, ()>;
    /// Gives the token back if `nonce` still holds it and it is not spent; otherwise does nothing.
    fn release(&self, key: TokenKey, nonce: Nonce) -> StoreFuture<'_, ()>;
    /// Takes back every unspent token that `which` names, as if they had never been issued, claimed ones as
    /// well: their holders' confirms are lost. Tombstones stay, but nobody comes back to them. Returns how many
    /// unspent ones there were.
    fn revoke(&self, which: Revoke) -> StoreFuture<'_, usize>;
    /// Looks without touching: the grant of a live, unspent token.
    fn peek(&self, key: TokenKey) -> StoreFuture<'_, Option<Peek>>;
}
