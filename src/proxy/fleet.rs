//! This process' sessions in the fleet: how each gets its place among everybody's, and what others do to them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::warn;
use uuid::Uuid;

use crate::config::Viewers;
use crate::fleet::{Listed, Local, Moved, NoPlace, Pick, void};
use crate::targets::Inventory;
use crate::tokens::{Manner, Most};

use super::Proxy;
use super::refusal::Refusal;
use super::session::Session;
use super::sessions::{Full, Seat, Sessions};

impl Proxy {
    /// Takes a place for the session among those of all proxies; the seat keeps it.
    pub(super) async fn register(&self, seat: &mut Seat, viewers: Viewers) -> Result<(), Refusal> {
        if !self.fleet.is_shared() {
            return Ok(());
        }
        let session = Arc::clone(&seat.session);
        let manner = match viewers {
            Viewers::Deny => Manner::Deny,
            Viewers::Share | Viewers::Hub => Manner::Share,
            Viewers::Steal => Manner::Steal,
        };
        let protocol = session.grant.protocol;
        let full = |full| Refusal::Full(full, Some(protocol));
        let entered =
            self.fleet.enter(listed(&session), manner, self.most).await.map_err(|why| match why {
                NoPlace::InUse => full(Full::InUse),
                NoPlace::Target => full(Full::Target),
                NoPlace::Project => full(Full::Project),
                NoPlace::Source => full(Full::Source),
                NoPlace::Store(error) => Refusal::Store(error),
            })?;
        let Some(pass) = entered else { return Ok(()) };
        session.entered.store(pass.at, Ordering::SeqCst);
        // What was told since, and heard before this session could be found.
        if let Some(end) = self.fleet.told((session.id, pass.at), &session.key, &session.grant) {
            session.stop(end);
        }
        let before = pass.before;
        seat.pass = Some(pass);
        if before > 0 {
            // The viewer is back while what it left behind still has the console, maybe at another proxy.
            self.fleet.come_back(session.key, session.id).await?;
        }
        Ok(())
    }

    /// Ends the other sessions on the seat's console, here and at every other proxy.
    pub(super) fn take_over(&self, seat: &Seat) {
        seat.take_over();
        if seat.pass.as_ref().is_some_and(|pass| pass.others > 0) {
            let (fleet, session) = (self.fleet.clone(), Arc::clone(&seat.session));
            tokio::spawn(async move {
                if let Err(error) = fleet.take_over(&session.grant, session.id).await {
                    warn!(%error, session = %session.id, "others may still be on the console at other proxies");
                }
            });
        }
    }
}

/// The fleet's limits among those of the configuration.
pub(super) fn most(limits: &crate::config::Limits) -> Most {
    Most {
        target: limits.sessions_per_target,
        project: limits.sessions_per_project,
        source: limits.sessions_per_source,
    }
}

fn listed(session: &Session) -> Listed {
    Listed {
        id: session.id,
        grant: Arc::clone(&session.grant),
        key: session.key,
        source: session.source,
        since: session.since,
        further: session.further,
        entered: session.entered.load(Ordering::SeqCst),
        proxy: String::new(),
        moved: session.moved(),
    }
}

impl Local for Sessions {
    fn list(&self) -> Vec<Listed> {
        Self::list(self).iter().map(|session| listed(session)).collect()
    }

    fn end(&self, pick: &mut Pick<'_>) -> usize {
        let mut ended = 0;
        for session in Self::list(self) {
            let entered = session.entered.load(Ordering::SeqCst);
            if let Some(end) = pick(session.id, &session.key, &session.grant, entered) {
                session.stop(end);
                ended += 1;
            }
        }
        ended
    }

    fn send_break(&self, session: Uuid) -> Option<bool> {
        self.find(session).map(|session| session.send_break())
    }

    fn look(&self, since: Duration, all: bool) -> Vec<(Uuid, Moved)> {
        let look = |session: &Arc<Session>| {
            let changed = session.look(since);
            let entered = session.entered.load(Ordering::SeqCst) != u64::MAX;
            (entered && (changed || all)).then(|| (session.id, session.moved()))
        };
        Self::list(self).iter().filter_map(look).collect()
    }

    fn entered_by(&self, now: u64) {
        for session in Self::list(self) {
            let earlier = |entered| (entered != u64::MAX && entered > now).then_some(now);
            let _ = session.entered.fetch_update(Ordering::SeqCst, Ordering::SeqCst, earlier);
        }
    }
}

impl Sessions {
    /// Ends the sessions whose server is no longer what their grants are for; how many.
    pub fn end_void(&self, inventory: &Inventory) -> usize {
        Local::end(self, &mut |_, _, grant, _| void(inventory, grant).map(Into::into))
    }
}
