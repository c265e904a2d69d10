//! Live sessions of all proxies that share a token store: their places, who they are, and what ends them.
//!
//! ```text
//! a session enters --> a place, counted with everybody's       a revocation --> the log --> bell --> every proxy
//!       beats      --> the proxy's lease, bytes                                   ^ read at each beat as well
//!       leaves, or the lease runs out --> the place is free
//! ```
//!
//! With a store in memory the process is the whole fleet: nothing is shared, and the same is true.

mod event;
mod inventory;
mod lifecycle;
mod listed;
mod pass;
mod predecessor;
mod roster;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use uuid::Uuid;

use crate::ids::Protocol;
use crate::relay::End;
use crate::tokens::{self, Grant, Manner, Most, Place, RedisStore, Sharing, StoreError, TokenKey, Why};
use crate::unbroken::Unbroken;

use event::{Event, Line, Whom};
use pass::Leaving;

pub use inventory::SharedInventory;
pub use lifecycle::{void, why};
pub use listed::{Listed, Moved};
pub use pass::Pass;
pub use predecessor::{Broken, Predecessor, Question, Reply, Wish};
pub use roster::{Local, Pick, Roster};

/// How long what was told is remembered for sessions that are just entering: longer than any call to the store takes.
const FRESH: Duration = Duration::from_secs(30);

/// A process' part in the fleet. Clones are the same one.
#[derive(Clone)]
pub struct Fleet(Arc<Inner>);

struct Inner {
    /// What people call this process.
    name: String,
    /// What the store calls it: another one at each start, so that nothing of an earlier life is taken for its own.
    id: String,
    store: Option<Arc<RedisStore>>,
    leaving: Leaving,
    bell: Arc<Notify>,
    anew: Arc<Notify>,
    fresh: Mutex<VecDeque<(Instant, u64, Arc<Event>)>>,
}

/// Why a session has no place.
#[derive(Debug)]
pub enum NoPlace {
    /// The console takes one viewer, and has one.
    InUse,
    /// The console has as many viewers as it may.
    Target,
    /// Too many of the project.
    Project,
    /// Too many from the address.
    Source,
    /// The store does not answer.
    Store(StoreError),
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").field("name", &self.0.name).finish_non_exhaustive()
    }
}

impl Fleet {
    /// The part of a process of this name in the fleet over `store`; without one it is alone.
    pub fn new(name: &str, store: Option<Arc<RedisStore>>) -> Self {
        Self(Arc::new(Inner {
            name: name.to_owned(),
            id: Uuid::new_v4().to_string(),
            store,
            leaving: Leaving::default(),
            bell: Arc::default(),
            anew: Arc::default(),
            fresh: Mutex::default(),
        }))
    }

    /// A process by itself.
    pub fn alone() -> Self {
        Self::new("", None)
    }

    /// Whether others share what is counted and told.
    pub fn is_shared(&self) -> bool {
        self.0.store.is_some()
    }

    /// Takes a place for `session`, counted with those of all proxies. `None`: this process is alone, and counts for
    /// itself. Whoever stops waiting gives the place back.
    ///
    /// # Errors
    /// If there is no place, or the store does not answer.
    pub async fn enter(&self, session: Listed, manner: Manner, most: Most) -> Result<Option<Pass>, NoPlace> {
        let Some(store) = self.0.store.clone() else { return Ok(None) };
        let fleet = self.clone();
        // To its end, so that a place is never given back before it was taken.
        let entering = Unbroken::new(async move {
            let place = fleet.place(&session);
            // From here on, for an answer that was lost may have been a yes.
            let mut pass = Pass::new(fleet, session.id);
            match store.enter(pass.proxy(), &place, manner, most).await {
                Ok(tokens::Entry::Entered { at, others, before }) => {
                    (pass.at, pass.others, pass.before) = (at, others, before);
                    Ok(pass)
                }
                Ok(tokens::Entry::InUse) => Err(NoPlace::InUse),
                Ok(tokens::Entry::Target) => Err(NoPlace::Target),
                Ok(tokens::Entry::Project) => Err(NoPlace::Project),
                Ok(tokens::Entry::Source) => Err(NoPlace::Source),
                Err(error) => Err(NoPlace::Store(error)),
            }
        });
        entering.await.map(Some)
    }

    fn place(&self, session: &Listed) -> Place {
        let grant = &session.grant;
        Place {
            session: session.id,
            console: (!session.further).then(|| (grant.target.clone(), grant.protocol)),
            project: grant.project.clone(),
            source: session.source.to_string(),
            token: session.key,
            alone: grant.options.viewers == Some(Sharing::Deny),
            record: session.record(&self.0.name),
        }
    }

    /// What was told while a session entered, `at` by the store's clock, and ends it.
    pub fn told(&self, (id, at): (Uuid, u64), key: &TokenKey, grant: &Grant) -> Option<End> {
        let fresh = lock(&self.0.fresh);
        let named = fresh.iter().find(|(_, told, event)| at <= *told && event.whom.names(id, key, grant));
        named.map(|(_, _, event)| event.why.into())
    }

    /// Ends all sessions on the console of `grant` but `winner`, on every other proxy.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn take_over(&self, grant: &Grant, winner: Uuid) -> Result<(), StoreError> {
        let (target, protocol): (_, Protocol) = (grant.target.clone(), grant.protocol);
        self.tell(Whom::Console { target, protocol, but: winner }, Why::TakenOver).await
    }

    /// Ends the live sessions of a token but the viewer's newest, on every other proxy: they end within moments after
    /// this returns.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn come_back(&self, token: TokenKey, newest: Uuid) -> Result<(), StoreError> {
        self.tell(Whom::Before { token, but: newest }, Why::TakenOver).await
    }

    async fn tell(&self, whom: Whom, why: Why) -> Result<(), StoreError> {
        self.write(&Line::End(Arc::new(Event { whom, why }))).await
    }

    async fn write(&self, line: &Line) -> Result<(), StoreError> {
        match &self.0.store {
            Some(store) => store.tell(&line.to_json()).await,
            None => Ok(()),
        }
    }

    /// Keeps what was told for those who are entering now.
    fn remember(&self, told: &[(u64, Arc<Event>)]) {
        let now = Instant::now();
        let mut fresh = lock(&self.0.fresh);
        while fresh.front().is_some_and(|(since, ..)| now.duration_since(*since) > FRESH) {
            fresh.pop_front();
        }
        fresh.extend(told.iter().map(|(at, event)| (now, *at, Arc::clone(event))));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
