//! The signatures that were good, so that none is good twice.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::auth::AuthError;

/// Signatures remembered of one key: 28 requests a second over the half hour that a date can be good, in at
/// most 5 MB. Past that the key waits, rather than being open to replays.
const MOST: usize = 50_000;

/// What one key signed. Nobody but its holder can fill it, for only good signatures come here.
#[derive(Default)]
pub(super) struct Seen(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    all: HashSet<[u8; 32]>,
    by_end: BTreeMap<SystemTime, Vec<[u8; 32]>>,
}

impl Seen {
    /// Lets a signature pass the first time. After `until` its date is refused anyway, so it is forgotten.
    pub(super) fn once(
        &self,
        signature: [u8; 32],
        until: SystemTime,
        now: SystemTime,
    ) -> Result<(), AuthError> {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        memory.forget(now);
        if memory.all.contains(&signature) {
            return Err(AuthError::SignatureReplayed);
        }
        if memory.all.len() >= MOST {
            return Err(AuthError::TooMany);
        }
        memory.all.insert(signature);
        memory.by_end.entry(until).or_default().push(signature);
        Ok(())
    }
}

impl Memory {
    /// Forgets what ended before now; at the very end the date still is good.
    fn forget(&mut self, now: SystemTime) {
        while let Some(first) = self.by_end.first_entry() {
            if *first.key() >= now {
                break;
            }
            for signature in first.remove() {
                self.all.remove(&signature);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn once_until_its_end_and_no_longer_kept() {
        let seen = Seen::default();
        assert_eq!(seen.once([1; 32], at(10), at(0)), Ok(()));
        assert_eq!(seen.once([1; 32], at(10), at(10)), Err(AuthError::SignatureReplayed));
        assert_eq!(seen.once([2; 32], at(10), at(10)), Ok(()));
        assert_eq!(seen.once([3; 32], at(30), at(11)), Ok(()));
        let memory = seen.0.lock().unwrap();
        assert_eq!((memory.all.len(), memory.by_end.len()), (1, 1));
    }

    #[test]
    fn a_full_memory_refuses_rather_than_forgets() {
        let seen = Seen::default();
        let signature = |n: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_le_bytes());
            bytes
        };
        for n in 0..MOST {
            assert_eq!(seen.once(signature(n), at(10), at(0)), Ok(()));
        }
        assert_eq!(seen.once(signature(MOST), at(10), at(0)), Err(AuthError::TooMany));
        assert_eq!(seen.once(signature(0), at(10), at(0)), Err(AuthError::SignatureReplayed));
        assert_eq!(seen.once(signature(MOST), at(30), at(11)), Ok(()));
    }
}
