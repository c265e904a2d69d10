//! The inventory that a fleet shares: targets registered at any member, kept in the token store, followed by all.
//!
//! ```text
//! put, remove --> one step in the store --> a change with a number --> bell --> every member reads what came after
//!      ^                                                                  ^     the last change it knows
//!      +--- answered when this member has read it too                     +-- looks twice a second anyway
//! ```
//!
//! What the store says counts, with one exception: a store that was emptied is filled again by whoever still knows what
//! was in it, so that a Redis without its data ends nobody's consoles.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{debug, info, warn};

use crate::config::SealKey;
use crate::ids::TargetId;
use crate::relay::End;
use crate::targets::{Changes, Registry};
use crate::tokens::{RedisStore, StoreError, StoreFuture};

use super::{Local, void};

mod read;
mod seal;
mod write;

#[cfg(test)]
mod tests;

use seal::Seals;

/// How often the store is asked, whether the bell rang or not: half of the second within which a change is to be seen.
const LOOK: Duration = Duration::from_millis(500);

/// How long a start waits for the inventory. 10,000 targets take less than 4 s even in a build that is not
/// optimised.
const LOAD: Duration = Duration::from_secs(10);

/// A member's part in the inventory of its fleet. Clones are the same one.
#[derive(Clone)]
pub struct SharedInventory(Arc<Inner>);

struct Inner {
    store: Arc<RedisStore>,
    registry: Arc<Registry>,
    seals: Arc<Seals>,
    /// How far it was read, for those who wait for it.
    known: watch::Sender<Known>,
    /// What was read; one reads at a time.
    read: tokio::sync::Mutex<Read>,
    /// When it was last known to be up to date; before that, when this began.
    looked: Mutex<Instant>,
    bell: Arc<Notify>,
    anew: Arc<Notify>,
}

/// How far the inventory was read.
#[derive(Clone, Debug, Default)]
struct Known {
    /// Whether it was read at all.
    loaded: bool,
    epoch: String,
    change: u64,
}

/// What was read.
#[derive(Default)]
struct Read {
    known: Known,
    history: String,
    /// As they are in the store, to fill it again.
    values: BTreeMap<TargetId, String>,
}

impl fmt::Debug for SharedInventory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedInventory").field("known", &*self.0.known.borrow()).finish_non_exhaustive()
    }
}

impl SharedInventory {
    /// The inventory in `store`, sealed with `keys`, as far as `registry` shows it.
    ///
    /// # Errors
    /// If the keys cannot be used.
    pub fn new(
        store: Arc<RedisStore>,
        registry: Arc<Registry>,
        keys: &[SealKey],
    ) -> Result<Self, aws_lc_rs::error::Unspecified> {
        Ok(Self(Arc::new(Inner {
            store,
            registry,
            seals: Arc::new(Seals::new(keys)?),
            known: watch::channel(Known::default()).0,
            read: tokio::sync::Mutex::default(),
            looked: Mutex::new(Instant::now()),
            bell: Arc::default(),
            anew: Arc::default(),
        })))
    }

    /// Reads it for the first time, for ten seconds at most; blocks. What fails is tried again by
    /// [`SharedInventory::keep`]. Whether it was read.
    pub fn load(&self) -> bool {
        let load = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            let read = runtime.block_on(async {
                timeout(LOAD, async { self.catch_up(&mut *self.0.read.lock().await).await }).await
            });
            match read {
                Ok(Ok(_)) => return Some(()),
                Ok(Err(error)) => {
                    warn!(%error, "the shared inventory was not read; this process is not ready")
                }
                Err(_) => {
                    warn!("the shared inventory was not read within {LOAD:?}; this process is not ready")
                }
            }
            None
        };
        // The caller may be in a runtime, where blocking on another is not allowed.
        std::thread::scope(|scope| scope.spawn(load).join()).ok().flatten().is_some()
    }

    /// Whether it was read.
    pub fn is_loaded(&self) -> bool {
        self.0.known.borrow().loaded
    }

    /// How long ago it was last known to be up to date; if never, how long ago this process began.
    pub fn age(&self) -> Duration {
        self.0.looked.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Follows it for as long as it is polled. Sessions of `local` notice only if their server is no longer what they
    /// were opened for; whoever changed it takes the unopened links back.
    pub async fn keep(&self, local: &dyn Local) {
        self.0.store.listen_to_targets(Arc::clone(&self.0.bell), Arc::clone(&self.0.anew));
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut read = self.0.read.lock().await;
        loop {
            // Both are cancel-safe.
            let rung = tokio::select! {
                _ = look.tick() => false,
                () = self.0.bell.notified() => true,
            };
            match self.catch_up(&mut read).await {
                Ok(changes) if changes.is_empty() => {}
                Ok(changes) => {
                    if !rung {
                        // The bell should have told.
                        self.0.anew.notify_one();
                    }
                    self.end_void(local, &changes);
                }
                Err(error) => debug!(%error, "the shared inventory is as it was"),
            }
        }
    }

    fn end_void(&self, local: &dyn Local, changes: &Changes) {
        let inventory = self.0.registry.inventory();
        let ended = local.end(&mut |_, _, grant, _| void(inventory, grant).map(End::from));
        let (added, changed, removed) = (changes.added.len(), changes.changed.len(), changes.removed.len());
        info!(added, changed, removed, ended, "the shared inventory has changed");
    }

    /// Reads what is new, and says what that changed.
    fn catch_up<'a>(&'a self, read: &'a mut Read) -> StoreFuture<'a, Changes> {
        StoreFuture::later(self.catch_up_with(read))
    }

    async fn catch_up_with(&self, read: &mut Read) -> Result<Changes, StoreError> {
        let asked = Instant::now();
        let page = self.0.store.target_news(read.known.change).await?;
        let goes_on = read.known.loaded
            && (&page.history, &page.epoch) == (&read.history, &read.known.epoch)
            && (page.horizon..=page.change).contains(&read.known.change);
        let followed = if goes_on { self.gather(page, read.known.change).await? } else { None };
        let changes = match followed {
            Some(gathered) => self.follow(read, gathered).await?,
            None => self.begin(read).await?,
        };
        *self.0.looked.lock().unwrap_or_else(PoisonError::into_inner) = asked;
        self.0.known.send_replace(read.known.clone());
        Ok(changes)
    }
}
