//! Answers by the hash of their token, and the look-ups under way. Synchronous: nothing waits with the lock held.

use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::auth::{AuthError, Caller};

/// Callers remembered: at some 500 bytes each, 10 MB. The oldest goes first.
const MOST_KNOWN: usize = 20_000;

/// Refused tokens remembered. Apart from callers, so that whoever sends made-up tokens pushes out only those.
const MOST_REFUSED: usize = 5_000;

/// Look-ups under way or waiting for their turn: a minute's work of Keystone.
const MOST_FLYING: usize = 1_000;

/// How long a refusal is remembered: long enough to take a client's retries off Keystone, short enough that a
/// token works at once where Keystone's replicas lag.
const REFUSED_TTL: Duration = Duration::from_secs(5);

/// SHA-256 of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key(pub(super) [u8; 32]);

impl Hash for Key {
    /// Eight of its bytes are hash enough, and are hashed once more under the map's own secret: to make many that meet
    /// in them takes more than to send that many tokens.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        state.write_u64(u64::from_ne_bytes([a, b, c, d, e, f, g, h]));
    }
}

pub(super) type Outcome = Result<Arc<Caller>, AuthError>;
pub(super) type Answer = watch::Receiver<Option<Outcome>>;

/// All that is known.
#[derive(Default)]
pub(super) struct Cache(Mutex<Table>);

#[derive(Default)]
struct Table {
    known: Answers<MOST_KNOWN>,
    refused: Answers<MOST_REFUSED>,
    flying: HashMap<Key, Answer>,
}

/// Answers of one kind, at most `MOST`.
#[derive(Default)]
struct Answers<const MOST: usize> {
    by_key: HashMap<Key, Remembered>,
    /// In the order of their coming, which is the order of their ageing.
    by_age: VecDeque<(Duration, Key)>,
}

struct Remembered {
    outcome: Outcome,
    until: Duration,
    /// When age ends it, whatever the token says; names its entry in `by_age`.
    aged: Duration,
}

/// Where a token stands.
pub(super) enum Place {
    /// Looked up lately.
    Known(Outcome),
    /// Being looked up; the answer will come.
    Flying(Answer),
    /// Not known: whoever gets this looks it up.
    First(Flight),
    /// Not known, and too many are.
    Full,
}

/// The duty to look a token up. Dropped without an answer, it lets the waiting ones know.
pub(super) struct Flight {
    cache: Arc<Cache>,
    key: Key,
    sender: watch::Sender<Option<Outcome>>,
}

impl Cache {
    pub(super) fn enter(self: &Arc<Self>, key: Key, now: Duration) -> Place {
        let mut table = self.table();
        let found = table.known.get(&key, now).or_else(|| table.refused.get(&key, now));
        if let Some(outcome) = found {
            return Place::Known(outcome);
        }
        if let Some(answer) = table.flying.get(&key) {
            return Place::Flying(answer.clone());
        }
        if table.flying.len() >= MOST_FLYING {
            return Place::Full;
        }
        let (sender, answer) = watch::channel(None);
        table.flying.insert(key, answer);
        Place::First(Flight { cache: Arc::clone(self), key, sender })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<const MOST: usize> Answers<MOST> {
    fn get(&self, key: &Key, now: Duration) -> Option<Outcome> {
        self.by_key.get(key).filter(|entry| now < entry.until).map(|entry| entry.outcome.clone())
    }

    /// Keeps an answer for `life`, at most `ttl`, which is the same for all.
    fn insert(&mut self, key: Key, outcome: Outcome, now: Duration, life: Duration, ttl: Duration) {
        while let Some((aged, _)) = self.by_age.front().copied()
            && (aged <= now || self.by_age.len() >= MOST)
        {
            if let Some((_, oldest)) = self.by_age.pop_front()
                && self.by_key.get(&oldest).is_some_and(|entry| entry.aged == aged)
            {
                self.by_key.remove(&oldest);
            }
        }
        let aged = now + ttl;
        self.by_age.push_back((aged, key));
        self.by_key.insert(key, Remembered { outcome, until: now + life.min(ttl), aged });
    }
}

impl Flight {
    /// Where the answer will be.
    pub(super) fn answer(&self) -> Answer {
        self.sender.subscribe()
    }

    /// Answers, and remembers the caller for `life`, at most `ttl`.
    pub(super) fn remember(self, outcome: Outcome, now: Duration, life: Duration, ttl: Duration) {
        if !life.is_zero() {
            self.cache.table().known.insert(self.key, outcome.clone(), now, life, ttl);
        }
        self.land(outcome);
    }

    /// Answers, and remembers the refusal for a moment.
    pub(super) fn remember_refusal(self, refusal: AuthError, now: Duration) {
        self.cache.table().refused.insert(self.key, Err(refusal), now, REFUSED_TTL, REFUSED_TTL);
        self.land(Err(refusal));
    }

    /// Answers those who wait; the next one asks again.
    pub(super) fn land(self, outcome: Outcome) {
        self.sender.send_replace(Some(outcome));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.cache.table().flying.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::policy::Policy;

    const TTL: Duration = Duration::from_secs(60);

    fn key(n: usize) -> Key {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&n.to_le_bytes());
        Key(key)
    }

    fn caller(name: &str) -> Arc<Caller> {
        Policy::new(Vec::new()).caller(name.into(), "p".into(), Vec::new())
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn first(cache: &Arc<Cache>, n: usize, now: Duration) -> Flight {
        match cache.enter(key(n), now) {
            Place::First(flight) => flight,
            _ => panic!("{n} is not the first"),
        }
    }

    fn known(cache: &Arc<Cache>, n: usize, now: Duration) -> Option<Outcome> {
        match cache.enter(key(n), now) {
            Place::Known(outcome) => Some(outcome),
            _ => None,
        }
    }

    #[test]
    fn an_answer_ages_and_ends_with_its_token() {
        let cache = Arc::<Cache>::default();
        first(&cache, 1, at(0)).remember(Ok(caller("long")), at(0), at(3600), TTL);
        first(&cache, 2, at(0)).remember(Ok(caller("short")), at(0), at(10), TTL);
        first(&cache, 3, at(0)).remember(Ok(caller("ended")), at(0), at(0), TTL);
        assert_eq!(known(&cache, 1, at(59)), Some(Ok(caller("long"))));
        assert_eq!(known(&cache, 1, at(60)), None);
        assert_eq!(known(&cache, 2, at(9)), Some(Ok(caller("short"))));
        assert_eq!(known(&cache, 2, at(10)), None);
        assert_eq!(known(&cache, 3, at(0)), None);
    }

    #[test]
    fn a_refusal_is_kept_for_a_moment_and_a_failure_not_at_all() {
        let cache = Arc::<Cache>::default();
        first(&cache, 1, at(0)).remember_refusal(AuthError::Unauthenticated, at(0));
        first(&cache, 2, at(0)).land(Err(AuthError::Unavailable));
        assert_eq!(known(&cache, 1, at(4)), Some(Err(AuthError::Unauthenticated)));
        assert_eq!(known(&cache, 1, at(5)), None);
        assert_eq!(known(&cache, 2, at(0)), None);
    }

    #[test]
    fn the_first_flies_and_the_others_wait() {
        let cache = Arc::<Cache>::default();
        let flight = first(&cache, 1, at(0));
        let Place::Flying(answer) = cache.enter(key(1), at(0)) else { panic!("not flying") };
        assert!(answer.borrow().is_none());
        flight.remember(Ok(caller("a")), at(0), TTL, TTL);
        assert_eq!(*answer.borrow(), Some(Ok(caller("a"))));
        assert_eq!(known(&cache, 1, at(1)), Some(Ok(caller("a"))));
    }

    #[test]
    fn a_dropped_flight_frees_its_place() {
        let cache = Arc::<Cache>::default();
        let flight = first(&cache, 1, at(0));
        let answer = flight.answer();
        drop(flight);
        assert!(answer.has_changed().is_err(), "those who wait are told");
        drop(first(&cache, 1, at(0)));
    }

    #[test]
    fn bounds_hold_and_refusals_push_out_no_caller() {
        let cache = Arc::<Cache>::default();
        first(&cache, 0, at(0)).remember(Ok(caller("a")), at(0), TTL, TTL);
        for n in 1..=MOST_REFUSED + 10 {
            first(&cache, n, at(0)).remember_refusal(AuthError::Unauthenticated, at(0));
        }
        assert_eq!(known(&cache, 0, at(0)), Some(Ok(caller("a"))));
        assert_eq!(cache.table().refused.by_key.len(), MOST_REFUSED);
        for n in 10_000..=10_000 + MOST_KNOWN {
            first(&cache, n, at(1)).remember(Ok(caller("b")), at(1), TTL, TTL);
        }
        assert_eq!(cache.table().known.by_key.len(), MOST_KNOWN);
        assert_eq!(known(&cache, 0, at(1)), None, "the oldest went");
        let flights: Vec<_> = (0..MOST_FLYING).map(|n| first(&cache, 100_000 + n, at(2))).collect();
        assert!(matches!(cache.enter(key(5), at(100)), Place::Full));
        drop(flights);
        assert!(matches!(cache.enter(key(5), at(100)), Place::First(_)));
    }

    #[test]
    fn renewed_answers_leave_nothing_behind() {
        let cache = Arc::<Cache>::default();
        for round in 0..100 {
            let now = at(round * 30);
            if let Place::First(flight) = cache.enter(key(1), now) {
                // The token's own end comes before its answer's age.
                flight.remember(Ok(caller("a")), now, at(30), TTL);
            }
        }
        let table = cache.table();
        assert!(table.known.by_key.len() == 1 && table.known.by_age.len() <= 3);
    }
}
