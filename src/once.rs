//! What may happen once: whoever did it first is let through, whoever repeats it is not.
//!
//! A signed request is such a thing. One process remembers by itself ([`Memory`]); several that share a store
//! remember together, by another implementation of [`Once`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;

#[cfg(test)]
pub(crate) mod contract;

/// What is done, by its digest.
pub type Deed = [u8; 32];

/// Why it is not known whether something was done before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OnceError {
    /// Of this one as much is remembered as there may be.
    #[error("{0} deeds are remembered, and no more are")]
    Full(usize),
    /// A memory across a network does not answer.
    #[error("the shared memory does not answer: {0}")]
    Unavailable(String),
}

/// A memory's answer, on its way: whether it is the first time.
pub type OnceFuture<'a> = Pin<Box<dyn Future<Output = Result<bool, OnceError>> + Send + 'a>>;

/// Remembers. Every call is one atomic step.
pub trait Once: fmt::Debug + Send + Sync + 'static {
    /// Whether `deed` is new for `whose`; it then is remembered for at least `keep`. What is dropped before it has
    /// answered may have been remembered.
    fn first(&self, whose: &str, deed: Deed, keep: Duration) -> OnceFuture<'_>;
}

/// This process's own memory.
pub struct Memory {
    clock: Clock,
    most: usize,
    all: Mutex<HashMap<Box<str>, Deeds>>,
}

/// One's deeds, and when each may be forgotten.
#[derive(Default)]
struct Deeds {
    all: HashSet<Deed>,
    by_end: BTreeMap<Duration, Vec<Deed>>,
}

impl Memory {
    /// One that remembers at most `most` deeds of each, about 100 bytes a deed. Who has more is refused, rather than
    /// something forgotten.
    pub fn new(most: usize, clock: Clock) -> Self {
        Self { clock, most, all: Mutex::default() }
    }

    /// As [`Once::first`], at once.
    ///
    /// # Errors
    /// [`OnceError::Full`].
    pub fn note(&self, whose: &str, deed: Deed, keep: Duration) -> Result<bool, OnceError> {
        let now = self.clock.now();
        let mut all = self.lock();
        let deeds = match all.get_mut(whose) {
            Some(deeds) => deeds,
            None => all.entry(whose.into()).or_default(),
        };
        deeds.forget(now);
        if deeds.all.contains(&deed) {
            return Ok(false);
        }
        if deeds.all.len() >= self.most {
            return Err(OnceError::Full(self.most));
        }
        deeds.all.insert(deed);
        deeds.by_end.entry(now + keep).or_default().push(deed);
        Ok(true)
    }

    /// As if it had not been done: nothing came of it.
    pub fn undo(&self, whose: &str, deed: &Deed) {
        if let Some(deeds) = self.lock().get_mut(whose) {
            // Or its end would be the end of what is done again. Rare: the ends are few, one a second.
            deeds.by_end.values_mut().for_each(|ending| ending.retain(|known| known != deed));
            deeds.all.remove(deed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Deeds>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deeds {
    /// Forgets what ended before now; at the very end it still counts.
    fn forget(&mut self, now: Duration) {
        while let Some(first) = self.by_end.first_entry() {
            if *first.key() >= now {
                break;
            }
            for deed in first.remove() {
                self.all.remove(&deed);
            }
        }
    }
}

impl Once for Memory {
    fn first(&self, whose: &str, deed: Deed, keep: Duration) -> OnceFuture<'_> {
        Box::pin(std::future::ready(self.note(whose, deed, keep)))
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("most", &self.most).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::contract::{Harness, deed};
    use super::*;

    const KEEP: Duration = Duration::from_secs(10);

    #[test]
    fn keeps_the_contract() {
        let clock = Clock::manual();
        let memory = Arc::new(Memory::new(100_000, clock.clone()));
        let advance = Box::new(move |by| clock.advance(by));
        contract::all(&Harness { once: memory, advance, slack: Duration::ZERO });
    }

    #[test]
    fn what_is_over_is_not_kept() {
        let clock = Clock::manual();
        let memory = Memory::new(10, clock.clone());
        for _ in 0..100 {
            assert_eq!(memory.note("a", deed(), KEEP), Ok(true));
            clock.advance(KEEP + Duration::from_millis(1));
        }
        let all = memory.lock();
        assert_eq!((all["a"].all.len(), all["a"].by_end.len()), (1, 1));
    }

    #[test]
    fn a_full_memory_refuses_rather_than_forgets() {
        let clock = Clock::manual();
        let memory = Memory::new(3, clock.clone());
        let deeds = [(); 4].map(|()| deed());
        for one in &deeds[..3] {
            assert_eq!(memory.note("a", *one, KEEP), Ok(true));
        }
        assert_eq!(memory.note("a", deeds[3], KEEP), Err(OnceError::Full(3)));
        assert_eq!(memory.note("a", deeds[0], KEEP), Ok(false));
        assert_eq!(memory.note("b", deeds[3], KEEP), Ok(true), "each has room of its own");
        clock.advance(KEEP + Duration::from_millis(1));
        assert_eq!(memory.note("a", deeds[3], KEEP), Ok(true));
    }

    #[test]
    fn what_was_undone_may_be_done_once_more() {
        let memory = Memory::new(2, Clock::manual());
        let (one, other) = (deed(), deed());
        assert_eq!(memory.note("a", one, KEEP), Ok(true));
        assert_eq!(memory.note("a", other, KEEP), Ok(true));
        memory.undo("a", &one);
        memory.undo("b", &other);
        assert_eq!(memory.note("a", other, KEEP), Ok(false));
        assert_eq!(memory.note("a", one, KEEP), Ok(true));
        assert_eq!(memory.note("a", one, KEEP), Ok(false));
    }
}
