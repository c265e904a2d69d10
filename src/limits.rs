//! Counted permits: so many at once in all, and so many per key. A permit is given back when it is dropped.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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
