//! Records on their way to another process. Times are what is left of them.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::Protocol;

use super::super::{Grant, Nonce, TokenKey};

/// One token's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    pub(super) key: TokenKey,
    /// Until it expires or is forgotten.
    pub(super) until: Duration,
    pub(super) state: PackedState,
    /// Whether it counts among its target's unspent ones.
    pub(super) counted: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum PackedState {
    Fresh(Grant),
    Claimed(Arc<Grant>, Nonce, Duration),
    Spent(Protocol, Nonce, Option<Box<PackedComeback>>),
}

/// As `Comeback`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PackedComeback {
    pub(super) grant: Arc<Grant>,
    pub(super) holder: Nonce,
    pub(super) pending: bool,
    pub(super) current: TokenKey,
    pub(super) previous: TokenKey,
    pub(super) left: u32,
    pub(super) until: Duration,
    pub(super) ends: Option<Duration>,
}
