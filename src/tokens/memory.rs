//! The store of a single process: everything in memory, gone with the process.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;

use super::{
    Claim, Confirm, Grant, Keep, Nonce, Offer, Peek, Resumed, Revoke, Store, StoreError, StoreFuture,
    TokenKey,
};

mod comeback;
mod outstanding;
mod pack;
mod slots;
mod table;

use table::Table;

pub use pack::Packed;

/// Keeps tokens in memory, at most `capacity` records of all kinds (fresh, claimed, spent, and expired ones
/// not yet swept).
///
/// Memory per token: a slot of 152 bytes (32 key, 120 record with its grant) in a block that doubles, so 152 to 304, up
/// to 12 of index and 8 of free slots: **about 330 bytes at most**, 33 MB for 100,000; another 128 while it is claimed,
/// another 100 while it is unspent, if unspent tokens are counted. The names inside a grant are shared with the
/// inventory and the credentials. A spent one whose viewer may come back keeps its grant and 128 bytes more.
/// The table itself does not shrink; `capacity` bounds it.
#[derive(Debug)]
pub struct MemoryStore {
    table: Table,
    clock: Clock,
}

impl MemoryStore {
    /// A store for at most `capacity` records, whose time is `clock`'s.
    pub fn new(clock: Clock, capacity: usize) -> Self {
        Self { table: Table::new(capacity), clock }
    }

    /// Forgets what has expired in one of the store's [`MemoryStore::SWEEPS`] parts, the next in turn, and
    /// returns how many records went. Under a million tokens a call looks at some 16,000 of them, under one
    /// lock per 128. Correctness never waits for it: an expired token is refused whether swept or not.
    pub fn sweep(&self) -> usize {
        self.table.sweep(self.clock.now())
    }

    /// So many calls of [`MemoryStore::sweep`] visit every record once.
    pub const SWEEPS: usize = table::SWEEPS;

    /// Takes every record out. Whoever calls this sees to it that nothing else is asked meanwhile.
    pub fn pack(&self) -> Vec<Packed> {
        self.table.pack(self.clock.now())
    }

    /// Puts records in that were taken out of an empty store's predecessor so long ago; of those beyond the
    /// capacity as well.
    pub fn unpack(&self, packed: Vec<Packed>, ago: Duration) {
        self.table.unpack(packed, self.clock.now(), ago);
    }

    /// How many records are held.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether no record is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Store for MemoryStore {
    fn create(&self, key: TokenKey, grant: Grant, ttl: Duration, most: usize) -> StoreFuture<'_, ()> {
        ready(self.table.create(key, grant, ttl, most, self.clock.now()))
    }

    fn claim(&self, key: TokenKey, nonce: Nonce) -> StoreFuture<'_, Claim> {
        ready(Ok(self.table.claim(&key, nonce, self.clock.now())))
    }

    fn confirm(&self, key: TokenKey, nonce: Nonce) -> StoreFuture<'_, Confirm> {
        ready(Ok(self.table.confirm(&key, nonce, None, self.clock.now())))
    }

    fn confirm_with(&self, key: TokenKey, nonce: Nonce, offer: Offer) -> StoreFuture<'_, Confirm> {
        ready(Ok(self.table.confirm(&key, nonce, Some(&offer), self.clock.now())))
    }

    fn resume(
        &self,
        key: TokenKey,
        secret: TokenKey,
        next: TokenKey,
        nonce: Nonce,
    ) -> StoreFuture<'_, Option<Resumed>> {
        let now = self.clock.now();
        ready(Ok(self
            .table
            .comeback(&key, now, |back, now| back.resume((secret, next), nonce, now))
            .flatten()))
    }

    fn kept(&self, key: TokenKey) -> StoreFuture<'_, Option<Arc<Grant>>> {
        ready(Ok(self.table.comeback(&key, self.clock.now(), |back, _now| Arc::clone(back.grant()))))
    }

    fn resumed(&self, key: TokenKey, nonce: Nonce, window: Duration) -> StoreFuture<'_, Confirm> {
        let now = self.clock.now();
        let answer = self.table.comeback(&key, now, |back, now| back.resumed(nonce, window, now));
        ready(Ok(answer.unwrap_or(Confirm::Lost)))
    }

    fn keep(
        &self,
        key: TokenKey,
        nonce: Nonce,
        _grant: Arc<Grant>,
        window: Duration,
    ) -> StoreFuture<'_, Keep> {
        let now = self.clock.now();
        let answer = self.table.comeback(&key, now, |back, now| back.keep(nonce, window, now));
        ready(Ok(answer.unwrap_or(Keep::Gone)))
    }

    fn forget(&self, key: TokenKey, nonce: Nonce) -> StoreFuture<'_, ()> {
        self.table.comeback(&key, self.clock.now(), |back, _now| back.forget(nonce));
        ready(Ok(()))
    }

    fn release(&self, key: TokenKey, nonce: Nonce) -> StoreFuture<'_, ()> {
        self.table.release(&key, nonce, self.clock.now());
        ready(Ok(()))
    }

    fn revoke(&self, which: Revoke) -> StoreFuture<'_, usize> {
        ready(Ok(self.table.revoke(&which, self.clock.now())))
    }

    fn peek(&self, key: TokenKey) -> StoreFuture<'_, Option<Peek>> {
        ready(Ok(self.table.peek(&key, self.clock.now())))
    }
}

/// The step is done when the call returns; there is nothing to wait for and nothing to cancel.
fn ready<'a, T>(answer: Result<T, StoreError>) -> StoreFuture<'a, T> {
    StoreFuture::here(answer)
}

#[cfg(test)]
mod tests {
    use super::super::contract::{self, Harness};
    use super::*;

    fn harness(capacity: usize) -> Harness {
        let clock = Clock::manual();
        let store = std::sync::Arc::new(MemoryStore::new(clock.clone(), capacity));
        Harness { store, advance: Box::new(move |by| clock.advance(by)) }
    }

    /// As [`harness`], but everything expired is swept whenever time passes.
    fn swept(capacity: usize) -> Harness {
        let clock = Clock::manual();
        let store = std::sync::Arc::new(MemoryStore::new(clock.clone(), capacity));
        let sweeper = store.clone();
        let advance = move |by| {
            clock.advance(by);
            (0..MemoryStore::SWEEPS).for_each(|_| _ = sweeper.sweep());
        };
        Harness { store, advance: Box::new(advance) }
    }

    #[test]
    fn keeps_the_contract() {
        contract::semantics(&harness(100_000));
    }

    #[test]
    fn keeps_the_contract_when_swept_at_every_step() {
        contract::semantics(&swept(100_000));
    }

    #[test]
    fn one_winner_among_100_racers_over_10_000_tokens() {
        contract::races(&harness(10_000), 10_000, 100);
    }

    #[test]
    fn is_bounded() {
        contract::capacity(&harness(8), 8);
        contract::capacity(&swept(8), 8);
    }

    #[test]
    fn counts_the_unspent() {
        contract::outstanding(&harness(1_000));
        contract::outstanding(&swept(1_000));
        contract::outstanding_races(&harness(10_000), 100, 20);
    }

    /// A store whose records are taken out, through JSON and back in whenever time passes.
    fn moving(capacity: usize) -> Harness {
        let clock = Clock::manual();
        let store = MemoryStore::new(clock.clone(), capacity);
        let store = std::sync::Arc::new(super::super::Movable::new(std::sync::Arc::new(store)));
        let moved = store.clone();
        let advance = move |by| {
            let json = serde_json::to_string(&moved.pack()).unwrap();
            clock.advance(by);
            moved.unpack(serde_json::from_str(&json).unwrap(), by);
        };
        Harness { store, advance: Box::new(advance) }
    }

    #[test]
    fn keeps_the_contract_when_moved_at_every_step() {
        contract::semantics(&moving(100_000));
        contract::outstanding(&moving(1_000));
        contract::capacity(&moving(8), 8);
    }

    #[test]
    fn agrees_with_the_model_when_moved_at_every_step() {
        contract::model::agrees(|| moving(1_000));
    }

    #[test]
    fn a_round_of_sweeps_leaves_no_count_behind() {
        let clock = Clock::manual();
        let store = MemoryStore::new(clock.clone(), 10_000);
        for n in 0..500 {
            let grant = Grant { target: n.to_string().into(), ..contract::grant() };
            contract::now(store.create(contract::key(), grant, Duration::from_secs(5), 20)).unwrap();
        }
        assert_eq!(store.table.counted_targets(), 500);
        clock.advance(Duration::from_secs(5));
        (0..MemoryStore::SWEEPS).for_each(|_| _ = store.sweep());
        assert_eq!(store.table.counted_targets(), 0);
    }

    #[test]
    fn agrees_with_the_model() {
        contract::model::agrees(|| harness(1_000));
    }

    #[test]
    fn agrees_with_the_model_when_swept_at_every_step() {
        contract::model::agrees(|| swept(1_000));
    }

    #[test]
    fn a_round_of_sweeps_frees_all_that_is_dead_and_nothing_else() {
        let clock = Clock::manual();
        let store = MemoryStore::new(clock.clone(), 10_000);
        let round = || (0..MemoryStore::SWEEPS).map(|_| store.sweep()).collect::<Vec<_>>();
        let create = |n, ttl| {
            for _ in 0..n {
                let answer = store.create(contract::key(), contract::grant(), Duration::from_secs(ttl), 0);
                contract::now(answer).unwrap();
            }
        };
        create(2_000, 10);
        create(500, 20);
        assert_eq!(round().iter().sum::<usize>(), 0, "nothing is dead yet");
        clock.advance(Duration::from_secs(10));
        let freed = round();
        assert_eq!(freed.iter().sum::<usize>(), 2_000);
        assert!(freed.iter().all(|&n| n < 200), "one call sweeps one part: {freed:?}");
        assert_eq!(store.len(), 500);
        clock.advance(Duration::from_secs(10));
        round();
        assert!(store.is_empty());
    }

    #[test]
    fn a_full_store_makes_room_for_itself_without_the_sweeper() {
        let clock = Clock::manual();
        let store = MemoryStore::new(clock.clone(), 100);
        let create =
            || contract::now(store.create(contract::key(), contract::grant(), Duration::from_secs(5), 0));
        (0..100).for_each(|_| create().unwrap());
        assert_eq!(create(), Err(StoreError::Full(100)));
        clock.advance(Duration::from_secs(5));
        (0..100).for_each(|_| create().unwrap());
        assert_eq!(create(), Err(StoreError::Full(100)));
        assert_eq!(store.len(), 100);
    }
}
