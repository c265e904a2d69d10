//! The memory store's table: every step is one record under its part's lock; nothing here awaits.

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::ids::{Protocol, TargetId};

use super::super::{
    Claim, Confirm, Grant, LEASE, Nonce, Offer, Peek, Revoke, StoreError, TOMBSTONE, TokenKey,
};
use super::comeback::Comeback;
use super::outstanding::Outstanding;
use super::pack::{Packed, PackedState};
use super::slots::{self, Slots};

/// Parts of the table for each of the machine's processors, each part with its lock, which is held for a tenth of a
/// microsecond: threads that did nothing but issue would meet in them one time in ten. Of more parts each uses a freed
/// slot so much later, when the processor no longer has it at hand: with four times as many, a request for a console
/// took a quarter of a microsecond longer.
const PARTS_EACH: usize = 2;

/// Parts on the largest machines.
const MOST_PARTS: usize = 64;

/// Slots that are looked at under one lock.
const CHUNK: usize = 128;

/// So many sweeps look at every record, a chunk in each so many: at a million records one holds its thread for a
/// millisecond or so.
pub(super) const SWEEPS: usize = MOST_PARTS;

/// Slots in which a full part looks for dead records, for a new one's place: those it frees are used next, while the
/// processor still has them at hand.
const FEW: usize = 16;

/// A full table looks for dead records at most so often, or a flood of requests would keep it looking.
const LOOK_AGAIN: u64 = 1_000_000_000;

/// Records by hashed token. Times are nanoseconds of the store's clock.
#[derive(Debug)]
pub(super) struct Table {
    parts: Box<[Part]>,
    capacity: usize,
    /// Records held and places reserved; the maps' own `len` would take every lock.
    held: AtomicUsize,
    next_sweep: AtomicUsize,
    /// Before this time a full table does not look for dead records again.
    look_again: AtomicU64,
    outstanding: Outstanding,
}

type Part = Mutex<Slots<Record>>;

/// A step is whole or not begun, so what a thread that panicked leaves behind is sound.
fn lock(part: &Part) -> MutexGuard<'_, Slots<Record>> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Goes through a part, from this chunk on and by so many, one under one lock. A record that is there all the while is
/// met once.
fn retain(part: &Part, (first, by): (usize, usize), mut keep: impl FnMut(&TokenKey, &mut Record) -> bool) {
    for start in (first * CHUNK..).step_by(by * CHUNK) {
        let mut records = lock(part);
        if start >= records.slots() {
            break;
        }
        records.retain(start..start + CHUNK, &mut keep);
    }
}

/// 120 bytes: the nonce is kept as bytes, since a `u128` would align the record to 16.
#[derive(Debug)]
struct Record {
    /// The token's expiry; of a spent one, when it is forgotten.
    until: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The grant lies in the slot: nothing is allocated for a token that nobody brings, and whoever looks for dead ones
    /// goes through memory in its order.
    Fresh(Grant),
    Claimed {
        grant: Arc<Grant>,
        nonce: [u8; 16],
        lease: u64,
    },
    Spent {
        protocol: Protocol,
        nonce: [u8; 16],
        back: Option<Box<Comeback>>,
    },
}

impl Record {
    /// Whether no call could tell it from a record that is not there.
    fn is_dead(&self, now: u64) -> bool {
        let lease = match self.state {
            State::Claimed { lease, .. } => lease,
            State::Fresh(_) | State::Spent { .. } => 0,
        };
        now >= self.until && now >= lease
    }

    /// A tombstone stays at least as long as its viewer may come back.
    fn outlast_comeback(&mut self) {
        if let State::Spent { back: Some(back), .. } = &self.state {
            self.until = self.until.max(back.until());
        }
    }

    /// Drops what nobody may come back to any more.
    fn tidy(&mut self, now: u64) {
        if let State::Spent { back, .. } = &mut self.state
            && back.as_ref().is_some_and(|back| back.is_over(now))
        {
            *back = None;
        }
    }

    /// The grant of an unspent token.
    fn grant(&self) -> Option<&Grant> {
        match &self.state {
            State::Fresh(grant) => Some(grant),
            State::Claimed { grant, .. } => Some(grant),
            State::Spent { .. } => None,
        }
    }
}

/// A token was kept.
#[derive(Default)]
struct Kept {
    /// In the place of a dead one.
    replaced: bool,
    /// The dead one's target, if that was another.
    other: Option<TargetId>,
}

impl Table {
    pub(super) fn new(capacity: usize) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        let parts = (processors.next_power_of_two() * PARTS_EACH).min(MOST_PARTS);
        Self {
            parts: (0..parts).map(|_| Part::default()).collect(),
            capacity: capacity.min(slots::MOST),
            held: AtomicUsize::new(0),
            next_sweep: AtomicUsize::new(0),
            look_again: AtomicU64::new(0),
            outstanding: Outstanding::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn counted_targets(&self) -> usize {
        self.outstanding.targets()
    }

    pub(super) fn len(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    pub(super) fn create(
        &self,
        key: TokenKey,
        grant: Grant,
        ttl: Duration,
        most: usize,
        now: Duration,
    ) -> Result<(), StoreError> {
        let now = nanos(now);
        let until = now.saturating_add(nanos(ttl));
        let reserved = self.reserve() || (self.make_room(&key, now) && self.reserve());
        if !reserved {
            return Err(StoreError::Full(self.capacity));
        }
        let target = (most > 0).then(|| grant.target.clone());
        let record = Record { until, state: State::Fresh(grant) };
        let keep = || self.keep(key, record, now);
        let kept = match target {
            Some(target) => self.outstanding.admit(&target, (key, until), most, now, keep),
            None => keep(),
        };
        if kept.as_ref().map_or(true, |kept| kept.replaced) {
            self.held.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(other) = kept?.other {
            self.outstanding.forget(&other, &key);
        }
        Ok(())
    }

    fn keep(&self, key: TokenKey, record: Record, now: u64) -> Result<Kept, StoreError> {
        let mut part = self.part(&key);
        let Some(found) = part.get_mut(&key) else {
            part.insert(key, record);
            return Ok(Kept::default());
        };
        if !found.is_dead(now) {
            return Err(StoreError::Exists);
        }
        let target = |record: &Record| record.grant().map(|grant| grant.target.clone());
        let other = target(found).filter(|other| target(&record).as_ref() != Some(other));
        *found = record;
        Ok(Kept { replaced: true, other })
    }

    pub(super) fn claim(&self, key: &TokenKey, nonce: Nonce, now: Duration) -> Claim {
        let (now, nonce) = (nanos(now), nonce.0.to_ne_bytes());
        let mut part = self.part(key);
        let Some(record) = part.get_mut(key) else { return Claim::Unknown };
        let live = now < record.until;
        let grant = match &record.state {
            // The holder asks again (its answer was lost): the same answer, and no longer a lease.
            State::Claimed { grant, nonce: holder, lease } if now < *lease && *holder == nonce => {
                return Claim::Won(grant.clone());
            }
            _ if !live => return Claim::Unknown,
            State::Spent { protocol, .. } => return Claim::Spent(*protocol),
            State::Claimed { grant, lease, .. } if now < *lease => return Claim::Busy(grant.protocol),
            State::Fresh(grant) => Arc::new(grant.clone()),
            State::Claimed { grant, .. } => grant.clone(),
        };
        let lease = now.saturating_add(nanos(LEASE));
        record.state = State::Claimed { grant: grant.clone(), nonce, lease };
        Claim::Won(grant)
    }

    pub(super) fn confirm(
        &self,
        key: &TokenKey,
        holder: Nonce,
        offer: Option<&Offer>,
        now: Duration,
    ) -> Confirm {
        let (now, nonce) = (nanos(now), holder.0.to_ne_bytes());
        let mut part = self.part(key);
        let Some(record) = part.get_mut(key) else { return Confirm::Lost };
        match &record.state {
            State::Claimed { grant, nonce: holding, lease } if now < *lease && *holding == nonce => {
                let grant = grant.clone();
                let back = offer.map(|offer| Box::new(Comeback::new(&grant, holder, offer, now)));
                record.until = record.until.max(now).saturating_add(nanos(TOMBSTONE));
                record.state = State::Spent { protocol: grant.protocol, nonce, back };
                record.outlast_comeback();
                drop(part);
                self.outstanding.forget(&grant.target, key);
                Confirm::Confirmed
            }
            State::Spent { nonce: holding, .. } if now < record.until && *holding == nonce => {
                Confirm::Confirmed
            }
            _ => Confirm::Lost,
        }
    }

    pub(super) fn release(&self, key: &TokenKey, nonce: Nonce, now: Duration) {
        let (now, nonce) = (nanos(now), nonce.0.to_ne_bytes());
        let mut part = self.part(key);
        let Some(record) = part.get_mut(key) else { return };
        if let State::Claimed { grant, nonce: holder, lease } = &record.state
            && now < *lease
            && *holder == nonce
        {
            record.state = State::Fresh(Grant::clone(grant));
        }
    }

    /// Does `step` to what is kept for the viewer who may come back; `None`: nothing is.
    pub(super) fn comeback<T>(
        &self,
        key: &TokenKey,
        now: Duration,
        step: impl FnOnce(&mut Comeback, u64) -> T,
    ) -> Option<T> {
        let now = nanos(now);
        let mut part = self.part(key);
        let record = part.get_mut(key)?;
        record.tidy(now);
        let State::Spent { back: Some(back), .. } = &mut record.state else { return None };
        let answer = step(back, now);
        record.tidy(now);
        record.outlast_comeback();
        Some(answer)
    }

    /// Drops the unspent tokens that `which` names, and what spent ones could be come back to. Of one token it
    /// looks at one record; of all others at every record.
    pub(super) fn revoke(&self, which: &Revoke, now: Duration) -> usize {
        let now = nanos(now);
        let mut revoked = Vec::new();
        let mut judge = |key: &TokenKey, record: &mut Record| {
            if let State::Spent { back, .. } = &mut record.state {
                *back = back.take().filter(|back| !which.names(key, back.grant()));
            }
            match record.grant() {
                Some(grant) if !record.is_dead(now) && which.names(key, grant) => {
                    revoked.push((*key, grant.target.clone()));
                    true
                }
                _ => false,
            }
        };
        if let Revoke::Token(key) = which {
            self.part(key).retain_one(key, |key, record| !judge(key, record));
        } else {
            for part in &self.parts {
                retain(part, (0, 1), |key, record| !judge(key, record));
            }
        }
        self.held.fetch_sub(revoked.len(), Ordering::Relaxed);
        // No record's lock is held any more, as `Outstanding` wants it.
        for (key, target) in &revoked {
            self.outstanding.forget(target, key);
        }
        revoked.len()
    }

    pub(super) fn peek(&self, key: &TokenKey, now: Duration) -> Option<Peek> {
        let now = nanos(now);
        let part = self.part(key);
        let record = part.get(key)?;
        let grant = match &record.state {
            _ if now >= record.until => return None,
            State::Fresh(grant) => Arc::new(grant.clone()),
            State::Claimed { grant, .. } => grant.clone(),
            State::Spent { .. } => return None,
        };
        Some(Peek { grant, remaining: Duration::from_nanos(record.until - now) })
    }

    /// Drops the dead among the next records in turn; returns how many.
    pub(super) fn sweep(&self, now: Duration) -> usize {
        self.sweep_next(nanos(now))
    }

    fn sweep_next(&self, now: u64) -> usize {
        let turn = self.next_sweep.fetch_add(1, Ordering::Relaxed) % SWEEPS;
        // Powers of two, both.
        let steps = SWEEPS / self.parts.len();
        let part = &self.parts[turn / steps];
        self.free_dead(now, |keep| retain(part, (turn % steps, steps), keep))
    }

    /// Lets `retain` go through some records, and frees the dead ones; returns how many.
    fn free_dead(
        &self,
        now: u64,
        retain: impl FnOnce(&mut dyn FnMut(&TokenKey, &mut Record) -> bool),
    ) -> usize {
        let mut freed = 0;
        let mut unspent = Vec::new();
        let counts = self.outstanding.counts();
        retain(&mut |key, record| {
            let dead = record.is_dead(now);
            freed += usize::from(dead);
            record.tidy(now);
            let target = record.grant().filter(|_| dead && counts).map(|grant| grant.target.clone());
            unspent.extend(target.map(|target| (*key, target)));
            !dead
        });
        // No record's lock is held any more, as `Outstanding` wants it.
        for (key, target) in unspent {
            self.outstanding.forget(&target, &key);
        }
        self.held.fetch_sub(freed, Ordering::Relaxed);
        freed
    }

    /// Frees a few places beside the key's. If there are none, sweeps until something is freed, at most one round,
    /// and after a fruitless round not again for a second.
    fn make_room(&self, key: &TokenKey, now: u64) -> bool {
        let near = |keep: &mut dyn FnMut(&TokenKey, &mut Record) -> bool| {
            let mut part = self.part(key);
            let few = part.few(FEW);
            part.retain(few, keep);
        };
        if self.free_dead(now, near) > 0 {
            return true;
        }
        if now < self.look_again.load(Ordering::Relaxed) {
            return false;
        }
        let freed = (0..SWEEPS).any(|_| self.sweep_next(now) > 0);
        if !freed {
            self.look_again.store(now.saturating_add(LOOK_AGAIN), Ordering::Relaxed);
        }
        freed
    }

    /// Takes out every record that is not dead.
    pub(super) fn pack(&self, now: Duration) -> Vec<Packed> {
        let now = nanos(now);
        let left = |at: u64| Duration::from_nanos(at.saturating_sub(now));
        let mut packed = Vec::with_capacity(self.len());
        for part in &self.parts {
            let all = lock(part).drain();
            for (key, record) in all {
                self.held.fetch_sub(1, Ordering::Relaxed);
                let counted = record.grant().is_some_and(|grant| self.outstanding.take(&grant.target, &key));
                if record.is_dead(now) {
                    continue;
                }
                let until = left(record.until);
                let nonce = |bytes: [u8; 16]| Nonce(u128::from_ne_bytes(bytes));
                let state = match record.state {
                    State::Fresh(grant) => PackedState::Fresh(grant),
                    State::Claimed { grant, nonce: holder, lease } => {
                        PackedState::Claimed(grant, nonce(holder), left(lease))
                    }
                    State::Spent { protocol, nonce: holder, back } => {
                        let back = back.map(|back| Box::new(back.pack(now)));
                        PackedState::Spent(protocol, nonce(holder), back)
                    }
                };
                packed.push(Packed { key, until, state, counted });
            }
        }
        packed
    }

    /// Puts records in that were taken out so long ago.
    pub(super) fn unpack(&self, packed: Vec<Packed>, now: Duration, ago: Duration) {
        let (now, ago) = (nanos(now), nanos(ago));
        // What ran out on the way is over now, or was; never before the clock began.
        let at = |left: Duration| now.saturating_add(nanos(left)).saturating_sub(ago);
        for Packed { key, until, state, counted } in packed {
            let until = at(until);
            let state = match state {
                PackedState::Fresh(grant) => State::Fresh(grant),
                PackedState::Claimed(grant, nonce, lease) => {
                    State::Claimed { grant, nonce: nonce.0.to_ne_bytes(), lease: at(lease) }
                }
                PackedState::Spent(protocol, nonce, back) => {
                    let back = back.map(|back| Box::new(Comeback::unpack(*back, at)));
                    State::Spent { protocol, nonce: nonce.0.to_ne_bytes(), back }
                }
            };
            let record = Record { until, state };
            if let Some(grant) = record.grant().filter(|_| counted) {
                // Nothing is refused without a bound.
                let _ = self.outstanding.admit(&grant.target, (key, until), usize::MAX, now, || Ok(()));
            }
            let mut part = self.part(&key);
            if let Some(found) = part.get_mut(&key) {
                *found = record;
                continue;
            }
            part.insert(key, record);
            self.held.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn reserve(&self) -> bool {
        let one_more = |held: usize| (held < self.capacity).then_some(held + 1);
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    fn part(&self, key: &TokenKey) -> MutexGuard<'_, Slots<Record>> {
        lock(&self.parts[usize::from(key.as_bytes()[0]) % self.parts.len()])
    }
}

/// 584 years fit; more saturates.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::slots::Slot;
    use super::*;

    #[test]
    fn a_token_weighs_what_the_documentation_says() {
        // `MemoryStore` promises "about 330 bytes": slots just after their block was doubled, the index at its
        // emptiest and the list of free slots.
        let slot = size_of::<Slot<Record>>();
        assert_eq!((size_of::<Record>(), slot), (120, 152));
        assert!(2 * slot + 5 * 16 / 7 + 2 * 4 <= 330);
        // What a claim adds until the token is spent.
        assert_eq!(size_of::<Grant>() + 2 * size_of::<usize>(), 128);
    }
}
