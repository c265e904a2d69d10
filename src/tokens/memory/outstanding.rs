//! Each target's unspent tokens [dashmap]: a place is taken in one step with keeping the token.
//!
//! Locks are taken in one order, a target's before a record's: [`Outstanding::admit`] keeps the record while it
//! holds the target, so nothing that holds a record may call in here.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};

use dashmap::{DashMap, Entry};

use crate::ids::TargetId;

use super::super::{StoreError, TokenKey};

/// The unspent tokens of those targets that have any. Times are nanoseconds of the store's clock.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    by_target: DashMap<TargetId, Unspent>,
    /// Some token was counted. Until then nothing has to be looked up for those that end.
    counts: AtomicBool,
}

#[derive(Debug)]
struct Unspent {
    expiry: HashMap<TokenKey, u64, BuildHasherDefault<KeyHasher>>,
    /// No token expires before this, so that a target at its cap refuses without looking at each.
    earliest: u64,
}

impl Unspent {
    fn drop_expired(&mut self, now: u64) {
        if now >= self.earliest {
            self.expiry.retain(|_, until| now < *until);
            self.earliest = self.expiry.values().copied().min().unwrap_or(u64::MAX);
        }
    }
}

impl Outstanding {
    /// Takes a place for the token and does `keep`; gives the place back if that fails. Refuses if `most` are
    /// taken. A `most` of 0 counts nothing.
    pub(super) fn admit<T>(
        &self,
        target: &TargetId,
        (key, until): (TokenKey, u64),
        most: usize,
        now: u64,
        keep: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if most == 0 {
            return keep();
        }
        // Before the token is kept, and so before anybody can end it.
        self.counts.store(true, Ordering::Release);
        let mut entry = match self.by_target.entry(target.clone()) {
            Entry::Occupied(entry) => entry,
            Entry::Vacant(entry) => {
                entry.insert_entry(Unspent { expiry: HashMap::default(), earliest: u64::MAX })
            }
        };
        let unspent = entry.get_mut();
        if unspent.expiry.len() >= most {
            unspent.drop_expired(now);
        }
        let admitted = if unspent.expiry.len() < most { keep() } else { Err(StoreError::Outstanding(most)) };
        if admitted.is_ok() {
            unspent.expiry.insert(key, until);
            unspent.earliest = unspent.earliest.min(until);
        } else if unspent.expiry.is_empty() {
            entry.remove();
        }
        admitted
    }

    /// Whether any token was ever counted.
    pub(super) fn counts(&self) -> bool {
        self.counts.load(Ordering::Acquire)
    }

    /// The token is spent, or gone: its place is free.
    pub(super) fn forget(&self, target: &TargetId, key: &TokenKey) {
        self.take(target, key);
    }

    /// As [`Outstanding::forget`]; whether it had a place.
    pub(super) fn take(&self, target: &TargetId, key: &TokenKey) -> bool {
        if !self.counts() {
            return false;
        }
        let Entry::Occupied(mut entry) = self.by_target.entry(target.clone()) else { return false };
        let had = entry.get_mut().expiry.remove(key).is_some();
        if entry.get().expiry.is_empty() {
            entry.remove();
        }
        had
    }

    /// How many targets have any.
    #[cfg(test)]
    pub(super) fn targets(&self) -> usize {
        self.by_target.len()
    }
}

/// Passes on the eight bytes a [`TokenKey`] hashes itself to.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
