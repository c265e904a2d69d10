//! A session's place among those of all proxies, and how it is given back.
//!
//! Where it was taken, with what else that worker has to say to the store. While the store is being told which sessions
//! this process has, those who leave are held: said to have left first and told of then, they would stay for ever.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::task::yield_now;
use tracing::debug;
use uuid::Uuid;

use super::Fleet;

/// A session's place; given back when dropped.
pub struct Pass {
    fleet: Fleet,
    session: Uuid,
    /// When it entered, by the store's clock, in milliseconds.
    pub at: u64,
    /// Others on the console, on any proxy.
    pub others: usize,
    /// Sessions of the same token, which its viewer has left behind.
    pub before: usize,
}

impl Pass {
    /// One that the store has not said yes to.
    pub(super) fn new(fleet: Fleet, session: Uuid) -> Self {
        Self { fleet, session, at: 0, others: 0, before: 0 }
    }

    /// What the store calls this process.
    pub(super) fn proxy(&self) -> &str {
        &self.fleet.0.id
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").field("session", &self.session).field("at", &self.at).finish_non_exhaustive()
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        // Without a runtime it is given back with the next beat, or with the process' end.
        if self.fleet.0.leaving.add(self.session)
            && let Ok(runtime) = Handle::try_current()
        {
            let fleet = self.fleet.clone();
            runtime.spawn(async move {
                // Those who leave in the same turn of this thread go together.
                yield_now().await;
                fleet.leave(fleet.0.leaving.take()).await;
            });
        }
    }
}

impl Fleet {
    /// From now on the store is told which sessions there are, until [`Fleet::let_leave`].
    pub(super) fn hold(&self) {
        self.0.leaving.lock().held = true;
    }

    /// It has been told. Gives up the places of those who left meanwhile, and of those for whom that has failed.
    pub(super) async fn let_leave(&self) {
        self.0.leaving.lock().held = false;
        self.leave(self.0.leaving.take()).await;
    }

    /// Gives up the places of sessions that have ended; what fails is tried again with the next beat.
    async fn leave(&self, sessions: Vec<Uuid>) {
        let Some(store) = self.0.store.as_ref().filter(|_| !sessions.is_empty()) else { return };
        if let Err(error) = store.leave(&self.0.id, &sessions).await {
            debug!(%error, count = sessions.len(), "places are still taken");
            self.0.leaving.lock().sessions.extend(sessions);
        }
    }
}

/// Sessions that have ended, and whose places are still taken.
#[derive(Debug, Default)]
pub(super) struct Leaving(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    sessions: Vec<Uuid>,
    /// They have to wait.
    held: bool,
    /// Somebody is about to take them.
    coming: bool,
}

impl Leaving {
    /// One more; whether somebody has to come for it.
    fn add(&self, session: Uuid) -> bool {
        let mut waiting = self.lock();
        waiting.sessions.push(session);
        !waiting.held && !std::mem::replace(&mut waiting.coming, true)
    }

    /// All of them, unless they are held.
    fn take(&self) -> Vec<Uuid> {
        let mut waiting = self.lock();
        waiting.coming = false;
        if waiting.held { Vec::new() } else { std::mem::take(&mut waiting.sessions) }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use tokio::time::timeout;
    use tokio_test::{assert_pending, task};

    use super::*;
    use crate::config::{Config, TokenStore};
    use crate::fleet::Listed;
    use crate::tokens::testing::Server;
    use crate::tokens::{Manner, Most, RedisStore, contract};

    #[test]
    fn somebody_comes_for_all_who_leave_and_nobody_while_they_are_held() {
        let leaving = Leaving::default();
        let [a, b] = [1, 2].map(Uuid::from_u128);
        assert!(leaving.add(a), "somebody has to come");
        assert!(!leaving.add(b), "who is on the way");
        assert_eq!(leaving.take(), [a, b]);
        assert!(leaving.add(a));
        leaving.lock().held = true;
        assert!(leaving.take().is_empty(), "that came too late");
        assert!(!leaving.add(b), "nobody need come");
        leaving.lock().held = false;
        assert_eq!(leaving.take(), [a, b]);
        assert!(leaving.add(a));
    }

    fn listed() -> Listed {
        Listed {
            id: Uuid::new_v4(),
            grant: Arc::new(contract::grant()),
            key: contract::key(),
            source: [127, 0, 0, 1].into(),
            since: SystemTime::now(),
            further: false,
            entered: u64::MAX,
            proxy: String::new(),
            moved: Default::default(),
        }
    }

    async fn gone(store: &RedisStore, session: Uuid) {
        let gone = async { while store.has(session).await.unwrap() {} };
        timeout(Duration::from_secs(60), gone).await.expect("the place is still taken");
    }

    #[tokio::test]
    async fn a_place_is_given_back_by_itself_but_not_while_the_store_is_told_of_those_who_are_there() {
        let server = Server::start(&[]);
        let config =
            Config::parse(&format!("[tokens]\nstore = \"{}\"", server.url()), Path::new("test.toml"));
        let TokenStore::Redis(settings) = config.unwrap().tokens.store else { panic!("no Redis") };
        let store = Arc::new(RedisStore::open(&settings).unwrap());
        // One connection for all, so that each call sees what those before it have done.
        store.come_near();
        let fleet = Fleet::new("here", Some(Arc::clone(&store)));
        let enter = async || {
            let session = listed();
            let pass = fleet.enter(session.clone(), Manner::Share, Most::default()).await.unwrap().unwrap();
            assert!(store.has(session.id).await.unwrap());
            (session.id, pass)
        };
        let (session, pass) = enter().await;
        drop(pass);
        gone(&store, session).await;
        let (session, pass) = enter().await;
        fleet.hold();
        drop(pass);
        for _ in 0..3 {
            yield_now().await;
            assert!(store.has(session).await.unwrap(), "it is still about to be told of");
        }
        fleet.let_leave().await;
        assert!(!store.has(session).await.unwrap());
        // Who stops waiting gives back what is still on its way to it.
        let session = listed();
        let mut entering = task::spawn(fleet.enter(session.clone(), Manner::Share, Most::default()));
        assert_pending!(entering.poll());
        drop(entering);
        gone(&store, session.id).await;
    }
}
