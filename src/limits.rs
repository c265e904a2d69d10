//! Counted permits, given back when dropped: so many at once in all, and per key. And rates per key.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dashmap::{DashMap, Entry};

/// So many at once; 0 means no cap.
#[derive(Clone, Debug)]
pub struct Cap {
    used: Arc<AtomicUsize>,
    most: usize,
}

impl Cap {
    /// At most `most` permits at once; 0 means no cap.
    pub fn new(most: usize) -> Self {
        Self { used: Arc::default(), most }
    }

    /// A permit, unless all are taken.
    pub fn acquire(&self) -> Option<CapPermit> {
        let room = |used| (self.most == 0 || used < self.most).then_some(used + 1);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).ok()?;
        Some(CapPermit(Arc::clone(&self.used)))
    }

    /// Permits taken now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }
}

/// One of a [`Cap`]'s permits.
#[derive(Debug)]
pub struct CapPermit(Arc<AtomicUsize>);

impl Drop for CapPermit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// So many at once for each key; 0 means no cap, and then nothing is counted.
#[derive(Debug)]
pub struct KeyedCap<K: Eq + Hash + Clone> {
    used: Arc<DashMap<K, usize>>,
    most: usize,
}

impl<K: Eq + Hash + Clone> KeyedCap<K> {
    /// At most `most` permits a key at once; 0 means no cap.
    pub fn new(most: usize) -> Self {
        Self { used: Arc::default(), most }
    }

    /// A permit for `key`, unless all of its are taken.
    pub fn acquire(&self, key: &K) -> Option<KeyedPermit<K>> {
        if self.most == 0 {
            return Some(KeyedPermit { used: None });
        }
        match self.used.entry(key.clone()) {
            Entry::Occupied(mut entry) if *entry.get() < self.most => *entry.get_mut() += 1,
            Entry::Occupied(_) => return None,
            Entry::Vacant(entry) => {
                entry.insert(1);
            }
        }
        Some(KeyedPermit { used: Some((Arc::clone(&self.used), key.clone())) })
    }
}

/// One of a [`KeyedCap`]'s permits.
#[derive(Debug)]
pub struct KeyedPermit<K: Eq + Hash + Clone> {
    used: Option<(Arc<DashMap<K, usize>>, K)>,
}

impl<K: Eq + Hash + Clone> Drop for KeyedPermit<K> {
    fn drop(&mut self) {
        if let Some((used, key)) = self.used.take()
            && let Entry::Occupied(mut entry) = used.entry(key)
        {
            // The last one takes the key with it: the map holds only keys in use.
            if *entry.get() <= 1 {
                entry.remove();
            } else {
                *entry.get_mut() -= 1;
            }
        }
    }
}

/// How many seconds' worth of a [`Rate`] may come at once: clients ask for a screenful of consoles in one go.
const BURST: u64 = 3;

/// Keys of a [`Rate`] before it looks for idle ones, about 100 bytes each.
const FEW: usize = 1024;

/// So many a second for each key, in bursts of up to three times that; 0 means no cap.
///
/// The generic cell rate algorithm (ITU-T I.371, annex A): of each key only the time is kept at which its
/// allowance is whole again. Time is the caller's: a duration since any fixed point.
#[derive(Debug)]
pub struct Rate<K: Eq + Hash + Clone> {
    /// When each key's allowance is whole again, in nanoseconds.
    whole: DashMap<K, u64>,
    /// Nanoseconds for one more; 0 means no cap.
    one: u64,
    /// How far ahead of the time `whole` may be for one more to be allowed.
    most_ahead: u64,
    /// How many keys there may be before the idle ones are forgotten.
    forget_at: AtomicUsize,
}

impl<K: Eq + Hash + Clone> Rate<K> {
    /// At most `per_second`; 0 means no cap.
    pub fn new(per_second: u32) -> Self {
        let per_second = u64::from(per_second);
        let one = 1_000_000_000_u64.checked_div(per_second).map_or(0, |one| one.max(1));
        let most_ahead = (BURST * per_second).saturating_sub(1).saturating_mul(one);
        Self { whole: DashMap::new(), one, most_ahead, forget_at: AtomicUsize::new(FEW) }
    }

    /// Whether there is no cap.
    pub fn is_free(&self) -> bool {
        self.one == 0
    }

    /// Takes one for `key`.
    ///
    /// # Errors
    /// If there is none, after how long there will be one; nothing is taken then.
    pub fn take(&self, key: &K, now: Duration) -> Result<(), Duration> {
        if self.one == 0 {
            return Ok(());
        }
        // 584 years fit; more saturates.
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        if !self.whole.contains_key(key) {
            self.forget_idle(now);
        }
        let mut whole = self.whole.entry(key.clone()).or_insert(now);
        let from = (*whole).max(now);
        if from - now > self.most_ahead {
            return Err(Duration::from_nanos(from - now - self.most_ahead));
        }
        *whole = from.saturating_add(self.one);
        Ok(())
    }

    /// Keys whose allowance is whole are as good as unknown ones. Looking costs all keys, so it waits until
    /// there are twice as many as the last look left.
    fn forget_idle(&self, now: u64) {
        if self.whole.len() < self.forget_at.load(Ordering::Relaxed) {
            return;
        }
        self.whole.retain(|_, whole| *whole > now);
        self.forget_at.store((2 * self.whole.len()).max(FEW), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cap_gives_back_what_is_dropped() {
        let cap = Cap::new(2);
        let one = cap.acquire().unwrap();
        let two = cap.acquire().unwrap();
        assert!(cap.acquire().is_none());
        drop(one);
        assert!(cap.acquire().is_some());
        drop(two);
        assert_eq!(cap.used(), 0);
        let free = Cap::new(0);
        assert!((0..100).map(|_| free.acquire()).collect::<Vec<_>>().iter().all(Option::is_some));
    }

    #[test]
    fn a_rate_allows_a_burst_and_then_its_pace() {
        let rate = Rate::new(20);
        let at = Duration::from_millis;
        for _ in 0..60 {
            assert_eq!(rate.take(&"a", at(5)), Ok(()));
        }
        assert_eq!(rate.take(&"a", at(5)), Err(at(50)), "three seconds' worth is gone");
        assert_eq!(rate.take(&"b", at(5)), Ok(()), "keys are apart");
        assert_eq!(rate.take(&"a", at(54)), Err(at(1)), "a refusal took nothing");
        assert_eq!(rate.take(&"a", at(55)), Ok(()));
        assert_eq!(rate.take(&"a", at(55)), Err(at(50)));
        let long_after = at(1_000_000);
        for _ in 0..60 {
            assert_eq!(rate.take(&"a", long_after), Ok(()));
        }
        assert!(rate.take(&"a", long_after).is_err(), "idle time saves up no more than the burst");
        let free = Rate::new(0);
        assert!((0..1000).all(|_| free.take(&"a", at(0)).is_ok()) && free.whole.is_empty());
    }

    #[test]
    fn a_rate_forgets_who_is_idle() {
        let rate = Rate::new(1);
        for key in 0..FEW {
            rate.take(&key, Duration::ZERO).unwrap();
        }
        rate.take(&FEW, Duration::from_millis(999)).unwrap();
        assert_eq!(rate.whole.len(), FEW + 1, "all of them are still owed something");
        for key in FEW + 1..4 * FEW {
            rate.take(&key, Duration::from_secs(1000)).unwrap();
        }
        assert_eq!(rate.whole.len(), 3 * FEW - 1, "the first ones went when there were twice as many");
    }

    proptest::proptest! {
        /// Whenever they come, no more get through in any span than the burst and the span's own share.
        #[test]
        fn a_rate_is_never_exceeded(
            per_second in 1..50_u32, pauses in proptest::collection::vec(0..200_u64, 1..300),
        ) {
            let rate = Rate::new(per_second);
            let mut now = Duration::ZERO;
            let mut taken = Vec::new();
            for pause in pauses {
                now += Duration::from_millis(pause);
                if rate.take(&(), now).is_ok() {
                    taken.push(now);
                }
            }
            for (first, from) in taken.iter().enumerate() {
                for (last, to) in taken.iter().enumerate().skip(first) {
                    let share = (*to - *from).as_secs_f64() * f64::from(per_second);
                    let most = f64::from(per_second * 3) + share + 0.001;
                    proptest::prop_assert!((last - first + 1) as f64 <= most);
                }
            }
        }
    }

    #[test]
    fn keys_are_apart_and_leave_nothing_behind() {
        let cap = KeyedCap::new(1);
        let a = cap.acquire(&"a").unwrap();
        assert!(cap.acquire(&"a").is_none());
        let b = cap.acquire(&"b").unwrap();
        drop((a, b));
        assert!(cap.used.is_empty());
        assert!(cap.acquire(&"a").is_some());
    }
}
