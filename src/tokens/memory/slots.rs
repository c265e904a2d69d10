//! One part of the memory store's table: records side by side in slots, found by a small index.
//!
//! A token lies at a random place of any table, which by then has long left the processor's cache. Here only the
//! index is random, five bytes a slot; a new record takes the slot that was freed last, which somebody has just looked
//! at. Synchronous: whoever holds a part awaits nothing.

use std::ops::Range;

use hashbrown::HashTable;

use super::super::TokenKey;

/// More slots than an index of 32 bits tells apart are never asked for.
pub(super) const MOST: usize = u32::MAX as usize;

/// Records of one kind by hashed token.
#[derive(Debug)]
pub(super) struct Slots<R> {
    index: HashTable<u32>,
    slots: Vec<Slot<R>>,
    free: Vec<u32>,
    /// Where the next few begin.
    next: usize,
}

#[derive(Debug)]
pub(super) struct Slot<R> {
    key: TokenKey,
    record: Option<R>,
}

impl<R> Default for Slots<R> {
    fn default() -> Self {
        Self { index: HashTable::new(), slots: Vec::new(), free: Vec::new(), next: 0 }
    }
}

/// Eight of its bytes are hash enough, as for `Hash`. The first has chosen the part.
fn hash(key: &TokenKey) -> u64 {
    let [_, a, b, c, d, e, f, g, h, ..] = *key.as_bytes();
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

impl<R> Slots<R> {
    fn find(&self, key: &TokenKey) -> Option<usize> {
        let same = |at: &u32| self.slots[*at as usize].key == *key;
        self.index.find(hash(key), same).map(|at| *at as usize)
    }

    pub(super) fn get(&self, key: &TokenKey) -> Option<&R> {
        self.find(key).and_then(|at| self.slots[at].record.as_ref())
    }

    pub(super) fn get_mut(&mut self, key: &TokenKey) -> Option<&mut R> {
        self.find(key).and_then(|at| self.slots[at].record.as_mut())
    }

    /// Puts a record under a key that has none.
    #[allow(clippy::cast_possible_truncation, reason = "there are at most MOST slots")]
    pub(super) fn insert(&mut self, key: TokenKey, record: R) {
        let record = Some(record);
        let at = match self.free.pop() {
            Some(at) => {
                // Each where it belongs: put together first, it would be copied once more.
                let slot = &mut self.slots[at as usize];
                (slot.key, slot.record) = (key, record);
                at
            }
            None => {
                self.slots.push(Slot { key, record });
                (self.slots.len() - 1) as u32
            }
        };
        let slots = &self.slots;
        self.index.insert_unique(hash(&key), at, |at| hash(&slots[*at as usize].key));
    }

    /// Takes out the records of these slots that `keep` says no to. Slots that are not there are passed over.
    #[allow(clippy::cast_possible_truncation, reason = "there are at most MOST slots")]
    pub(super) fn retain(&mut self, slots: Range<usize>, mut keep: impl FnMut(&TokenKey, &mut R) -> bool) {
        for at in slots.start..slots.end.min(self.slots.len()) {
            let Slot { key, record } = &mut self.slots[at];
            if record.as_mut().is_none_or(|record| keep(key, record)) {
                continue;
            }
            *record = None;
            if let Ok(entry) = self.index.find_entry(hash(key), |found| *found as usize == at) {
                entry.remove();
            }
            self.free.push(at as u32);
        }
    }

    /// Takes the record of this key out if `keep` says no to it.
    pub(super) fn retain_one(&mut self, key: &TokenKey, keep: impl FnMut(&TokenKey, &mut R) -> bool) {
        if let Some(at) = self.find(key) {
            self.retain(at..at + 1, keep);
        }
    }

    /// How many slots there are, free ones too.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The next few slots, round and round.
    pub(super) fn few(&mut self, count: usize) -> Range<usize> {
        let start = if self.next < self.slots.len() { self.next } else { 0 };
        self.next = start.saturating_add(count);
        start..self.next
    }

    /// Takes everything out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (TokenKey, R)> + use<R> {
        let all = std::mem::take(self).slots;
        all.into_iter().filter_map(|Slot { key, record }| Some((key, record?)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn key(n: u8) -> TokenKey {
        // Few hashes, so that keys meet in the index.
        let mut bytes = [n % 3; 32];
        bytes[31] = n;
        bytes.into()
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8),
        Change(u8),
        Remove(u8),
        Sweep(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => any::<u8>().prop_map(Step::Insert),
            1 => any::<u8>().prop_map(Step::Change),
            1 => any::<u8>().prop_map(Step::Remove),
            1 => (0..40_usize).prop_map(Step::Sweep),
        ]
    }

    proptest! {
        /// Whatever is done, it holds what a map would, and no slot is lost.
        #[test]
        fn is_a_map(steps in prop::collection::vec(step(), 0..200)) {
            let (mut slots, mut map) = (Slots::default(), BTreeMap::new());
            let mut most = 0;
            for (at, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(n) if !map.contains_key(&n) => {
                        slots.insert(key(n), at);
                        map.insert(n, at);
                    }
                    Step::Insert(n) | Step::Change(n) => {
                        let found = slots.get_mut(&key(n));
                        prop_assert_eq!(found.is_some(), map.contains_key(&n));
                        if let Some(found) = found {
                            *found = at;
                            map.insert(n, at);
                        }
                    }
                    Step::Remove(n) => {
                        slots.retain(0..usize::MAX, |found, _| *found != key(n));
                        map.remove(&n);
                    }
                    Step::Sweep(count) => {
                        let range = slots.few(count);
                        let mut gone = Vec::new();
                        slots.retain(range, |_, value| {
                            gone.extend((*value % 2 == 0).then_some(*value));
                            *value % 2 != 0
                        });
                        map.retain(|_, value| !gone.contains(value));
                    }
                }
                most = most.max(map.len());
                prop_assert_eq!((slots.slots(), slots.free.len()), (most, most - map.len()));
            }
            for n in 0..=u8::MAX {
                prop_assert_eq!(slots.get(&key(n)), map.get(&n));
            }
            let mut all: Vec<_> = slots.drain().map(|(_, value)| value).collect();
            all.sort_unstable();
            let mut held: Vec<_> = map.into_values().collect();
            held.sort_unstable();
            prop_assert_eq!(all, held);
            prop_assert_eq!(slots.slots(), 0);
        }
    }

    #[test]
    fn a_few_at_a_time_come_by_everything() {
        let mut slots = Slots::default();
        (0..=9).for_each(|n| slots.insert(key(n), n));
        let mut seen = Vec::new();
        for _ in 0..4 {
            let range = slots.few(3);
            slots.retain(range, |_, n| {
                seen.push(*n);
                true
            });
        }
        assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(slots.few(3), 0..3);
    }
}
