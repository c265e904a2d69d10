//! Coming back: what a store keeps of a spent token for the viewer whose connection dropped.
//!
//! ```text
//! confirm_with -> Kept by its session --keep--> ... --drop, keep(grace)--> nobody's, for the grace
//!                      ^                                                        |
//!                      +---- resumed(nonce) <---- resume(secret, nonce) <-------+
//!
//! forget, revoke, grace over, too often: gone
//! ```
//!
//! Of attempts that meet, the last to [`super::Store::resume`] wins; the others lose at
//! [`super::Store::resumed`]. So a viewer is never kept out by its own half-dead connection.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Grant, TokenKey};

/// What a viewer is offered with its 101.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// SHA-256 of the secret it brings back.
    pub secret: TokenKey,
    /// How often it may come back in all.
    pub times: u32,
    /// For how long from now, unless [`super::Store::keep`] says otherwise.
    pub window: Duration,
    /// When in any case it may not come back any more, from now.
    pub longest: Option<Duration>,
}

/// A viewer who may come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// What the token permits.
    pub grant: Arc<Grant>,
    /// What is left of the session's longest time.
    pub longest: Option<Duration>,
}

/// Answer to a session that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keep {
    /// Its viewer may come back.
    Kept,
    /// Its viewer has come back elsewhere: this session is to end.
    Taken,
    /// Its viewer may not come back (revoked, fenced, too late).
    Gone,
}
