//! Live sessions of this process: who is on which console, and the permits that bound them.

use std::collections::hash_map::RandomState;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use dashmap::DashMap;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use uuid::Uuid;

use crate::config::{Limits, Viewers};
use crate::fleet::Pass;
use crate::ids::{ProjectId, Protocol, TargetId};
use crate::limits::{Cap, CapPermit, KeyedCap, KeyedPermit};
use crate::relay::{Counters, End, Notice, Stop};
use crate::tokens::{Grant, Sharing, TokenKey};

use super::channels::{Channels, NoChannel, Viewer};
use super::session::Session;

/// One console of one server.
type Console = (TargetId, Protocol);

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// All sessions of this process are taken.
    Process,
    /// Too many from one address.
    Source,
    /// Too many on one console.
    Target,
    /// Too many in one project.
    Project,
    /// The console takes one viewer, and has one.
    InUse,
    /// The SPICE viewer has as many channels as one may.
    Channels,
}

/// The registry.
#[derive(Debug)]
pub struct Sessions {
    consoles: DashMap<Console, Vec<Arc<Session>>, RandomState>,
    all: Cap,
    sources: KeyedCap<IpAddr>,
    projects: KeyedCap<ProjectId>,
    per_target: usize,
    empty: Notify,
    pub(super) left: Notify,
    pub(super) channels: Channels,
    /// What ended sessions moved. Held while one leaves, so that it is counted here or there, never both.
    ended: Mutex<Traffic>,
}

/// Payload of all sessions so far, in bytes, and how many are there now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From targets.
    pub to_viewer: u64,
    /// From viewers.
    pub to_target: u64,
    /// By protocol, of live sessions and those on their way to their 101.
    pub sessions: Vec<(Protocol, usize)>,
}

impl Traffic {
    fn add(&mut self, counters: &Counters) {
        self.to_viewer += counters.down.load(Ordering::Relaxed);
        self.to_target += counters.up.load(Ordering::Relaxed);
    }
}

/// Room for one session in the process and from its source; held from before the claim to the end.
#[derive(Debug)]
pub(super) struct Admission {
    sessions: Arc<Sessions>,
    all: Option<CapPermit>,
    _source: KeyedPermit<IpAddr>,
    pub(super) source: IpAddr,
}

impl Drop for Admission {
    fn drop(&mut self) {
        drop(self.all.take());
        if self.sessions.count() == 0 {
            self.sessions.empty.notify_waiters();
        }
    }
}

/// A session's place on its console; leaving is dropping it.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) session: Arc<Session>,
    /// Whether the others on the console know of it.
    announced: bool,
    admission: Admission,
    _project: KeyedPermit<ProjectId>,
    /// Its place among those of all proxies; the last to be given back.
    pub(super) pass: Option<Pass>,
}

impl Sessions {
    /// An empty registry.
    pub fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            consoles: DashMap::with_hasher(RandomState::new()),
            all: Cap::new(limits.sessions),
            sources: KeyedCap::new(limits.sessions_per_source),
            projects: KeyedCap::new(limits.sessions_per_project),
            per_target: limits.sessions_per_target,
            empty: Notify::new(),
            left: Notify::new(),
            ended: Mutex::default(),
            channels: Channels::default(),
        })
    }

    /// Admitted viewers: live sessions and those being set up.
    pub fn count(&self) -> usize {
        self.all.used()
    }

    /// The global and source limits, before anything is claimed.
    pub(super) fn admit(self: &Arc<Self>, source: IpAddr) -> Result<Admission, Full> {
        let from = self.sources.acquire(&source).ok_or(Full::Source)?;
        let all = self.all.acquire().ok_or(Full::Process)?;
        Ok(Admission { sessions: Arc::clone(self), all: Some(all), _source: from, source })
    }

    /// The target and project limits and the console's own rule. Atomic per console: of two viewers who come
    /// at once to a console for one, one gets in.
    pub(super) fn seat(
        self: &Arc<Self>,
        admission: Admission,
        (key, grant): (TokenKey, Arc<Grant>),
        viewers: Viewers,
    ) -> Result<(Seat, Stop), Full> {
        let project = self.projects.acquire(&grant.project).ok_or(Full::Project)?;
        let (session, stop) = Session::new(key, grant, admission.source, false);
        let mut present = self.consoles.entry(console(&session.grant)).or_default();
        // A viewer who came back takes the place of what it left.
        let left_behind = |other: &Session| other.key == session.key && other.is_stopped();
        let alone = |other: &Session| other.grant.options.viewers == Some(Sharing::Deny);
        let in_the_way =
            |other: &Arc<Session>| !left_behind(other) && (viewers == Viewers::Deny || alone(other));
        if present.iter().any(in_the_way) {
            return Err(Full::InUse);
        }
        // A thief takes the place of those it will end.
        let counts = |other: &&Arc<Session>| !other.further && !left_behind(other);
        let seated = || present.iter().filter(counts).count();
        let stay = matches!(viewers, Viewers::Share | Viewers::Hub);
        if stay && self.per_target != 0 && seated() >= self.per_target {
            return Err(Full::Target);
        }
        present.push(Arc::clone(&session));
        drop(present);
        Ok((Seat { session, announced: false, admission, _project: project, pass: None }, stop))
    }

    /// A place for a further channel of the SPICE viewer who has spent the token, within all limits but the
    /// console's own, which counts viewers. `None`: there is no such viewer.
    pub(super) fn join(
        self: &Arc<Self>,
        admission: Admission,
        key: &TokenKey,
        viewer: &Viewer,
    ) -> Result<Option<(Seat, Stop)>, Full> {
        let mut made = None;
        let joined = self.channels.join(key, viewer, |grant| {
            let (session, stop) = Session::new(*key, Arc::clone(grant), admission.source, true);
            made = Some((Arc::clone(&session), stop));
            session
        });
        let (session, stop) = match (joined, made) {
            (Ok(()), Some(made)) => made,
            (Err(NoChannel::Full), _) => return Err(Full::Channels),
            (Err(NoChannel::Stranger) | Ok(()), _) => return Ok(None),
        };
        let Some(project) = self.projects.acquire(&session.grant.project) else {
            self.channels.leave(key, session.id);
            return Err(Full::Project);
        };
        self.consoles.entry(console(&session.grant)).or_default().push(Arc::clone(&session));
        Ok(Some((Seat { session, announced: false, admission, _project: project, pass: None }, stop)))
    }

    /// All of them, in no order; some may still be on their way to their 101.
    pub fn list(&self) -> Vec<Arc<Session>> {
        self.consoles.iter().flat_map(|console| console.value().clone()).collect()
    }

    /// What all sessions moved, ended ones and live ones, each counted once.
    pub fn traffic(&self) -> Traffic {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let mut traffic = ended.clone();
        for console in &self.consoles {
            let (_, protocol) = console.key();
            traffic.sessions.push((*protocol, console.value().len()));
            console.value().iter().for_each(|session| traffic.add(&session.counters));
        }
        traffic
    }

    /// The session of this id.
    pub fn find(&self, id: Uuid) -> Option<Arc<Session>> {
        self.list().into_iter().find(|session| session.id == id)
    }

    /// Ends what the viewer who came back has left behind here.
    pub(super) fn oust(&self, key: &TokenKey) {
        let left_behind = self.list().into_iter().filter(|session| session.key == *key);
        left_behind.for_each(|session| session.stop(End::TakenOver));
    }

    /// Resolves when the next session leaves; enable it, then look.
    pub(super) fn left(&self) -> Notified<'_> {
        self.left.notified()
    }

    /// Whether there is a session of this token.
    pub(super) fn has(&self, key: &TokenKey) -> bool {
        self.list().iter().any(|session| session.key == *key)
    }

    /// Ends every session.
    pub fn stop_all(&self, cause: &End) {
        for console in &self.consoles {
            for session in console.value() {
                session.stop(cause.clone());
            }
        }
    }

    /// Resolves when the last viewer has left; check [`Sessions::count`] after making it.
    pub(super) fn emptied(&self) -> Notified<'_> {
        self.empty.notified()
    }
}

impl Seat {
    /// The token is spent, and its SPICE viewer may open further channels until this session ends.
    pub(super) fn lead(&self, viewer: Viewer) {
        self.admission.sessions.channels.lead(self.session.key, viewer, Arc::clone(&self.session));
    }

    /// Viewers on this console, this one among them.
    pub(super) fn viewers(&self) -> usize {
        let present = self.admission.sessions.consoles.get(&console(&self.session.grant));
        present.map_or(0, |present| viewers(&present))
    }

    /// Tells the others on the console that this viewer has come, and, when the seat is left, that it is gone.
    pub(super) fn announce(&mut self) {
        let grant = &self.session.grant;
        if self.session.further {
            return;
        }
        self.announced = true;
        if let Some(present) = self.admission.sessions.consoles.get(&console(grant)) {
            let joined = Notice::Joined { user: grant.user.clone(), viewers: viewers(&present) };
            self.tell(&present, &joined);
        }
    }

    fn tell(&self, present: &[Arc<Session>], notice: &Notice) {
        for other in present.iter().filter(|other| other.id != self.session.id) {
            if let Some(mailbox) = other.mailbox.get() {
                mailbox.post(notice);
            }
        }
    }

    /// Ends the other sessions on this console, unless one of them was quicker to end this one.
    pub(super) fn take_over(&self) {
        if self.session.is_stopped() {
            return;
        }
        if let Some(present) = self.admission.sessions.consoles.get(&console(&self.session.grant)) {
            for other in present.iter().filter(|other| other.id != self.session.id) {
                other.stop(End::TakenOver);
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.session.grant.protocol == Protocol::Spice {
            self.admission.sessions.channels.leave(&self.session.key, self.session.id);
        }
        let key = console(&self.session.grant);
        let mut ended = self.admission.sessions.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.add(&self.session.counters);
        if let Some(mut present) = self.admission.sessions.consoles.get_mut(&key) {
            present.retain(|other| other.id != self.session.id);
            if self.announced {
                let user = self.session.grant.user.clone();
                self.tell(&present, &Notice::Left { user, viewers: viewers(&present) });
            }
        }
        self.admission.sessions.consoles.remove_if(&key, |_, present| present.is_empty());
        self.admission.sessions.left.notify_waiters();
    }
}

/// Viewers among a console's sessions: a SPICE viewer has several.
fn viewers(present: &[Arc<Session>]) -> usize {
    present.iter().filter(|session| !session.further).count()
}

fn console(grant: &Grant) -> Console {
    (grant.target.clone(), grant.protocol)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use crate::fleet::Local;
    use crate::ids::{Generation, GrantId, RequestId};
    use crate::tokens::contract::key;
    use crate::tokens::{Options, Revoke};

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
        let mut limits = Limits {
            sessions: 0,
            sessions_per_target: 0,
            sessions_per_project: 0,
            sessions_per_source: 0,
            unauthenticated: 0,
            issue_per_second: 0,
            outstanding_per_target: 0,
        };
        change(&mut limits);
        limits
    }

    fn grant(target: &str, project: &str) -> Arc<Grant> {
        Arc::new(Grant {
            id: GrantId(Uuid::new_v4()),
            request: RequestId::random(),
            target: target.into(),
            generation: Generation(1),
            protocol: Protocol::Vnc,
            project: project.into(),
            user: "user".into(),
            options: Options::default(),
        })
    }

    fn sit(sessions: &Arc<Sessions>, target: &str, viewers: Viewers) -> Result<(Seat, Stop), Full> {
        sessions.seat(sessions.admit(HERE)?, (key(), grant(target, "p")), viewers)
    }

    #[test]
    fn every_limit_is_its_own_and_seats_are_given_back() {
        let cases: [(Limits, Full, &str); 4] = [
            (limits(|l| l.sessions = 1), Full::Process, "b"),
            (limits(|l| l.sessions_per_source = 1), Full::Source, "b"),
            (limits(|l| l.sessions_per_target = 1), Full::Target, "a"),
            (limits(|l| l.sessions_per_project = 1), Full::Project, "b"),
        ];
        for (limits, full, second) in cases {
            let sessions = Sessions::new(&limits);
            let first = sit(&sessions, "a", Viewers::Share).unwrap();
            assert_eq!(sit(&sessions, second, Viewers::Share).unwrap_err(), full);
            drop(first);
            assert!(sit(&sessions, second, Viewers::Share).is_ok());
            assert_eq!((sessions.count(), sessions.consoles.len()), (0, 0));
        }
    }

    #[tokio::test]
    async fn deny_keeps_the_first_and_steal_ends_it() {
        let sessions = Sessions::new(&limits(|_| {}));
        let (first, mut stopped) = sit(&sessions, "a", Viewers::Deny).unwrap();
        assert_eq!(sit(&sessions, "a", Viewers::Deny).unwrap_err(), Full::InUse);
        let (second, mut not_stopped) = sit(&sessions, "a", Viewers::Steal).unwrap();
        second.take_over();
        assert_eq!(std::future::poll_fn(|cx| stopped.poll_cause(cx)).await, End::TakenOver);
        sessions.stop_all(&End::Drain);
        assert_eq!(std::future::poll_fn(|cx| not_stopped.poll_cause(cx)).await, End::Drain);
        let emptied = sessions.emptied();
        drop((first, second));
        emptied.await;
        assert_eq!(sessions.count(), 0);
    }

    #[test]
    fn bytes_are_counted_once_before_and_after_the_end() {
        let sessions = Sessions::new(&limits(|_| {}));
        let (a, _stop) = sit(&sessions, "a", Viewers::Share).unwrap();
        let (b, _stop) = sit(&sessions, "b", Viewers::Share).unwrap();
        a.session.counters.down.store(5, Ordering::Relaxed);
        b.session.counters.up.store(7, Ordering::Relaxed);
        let moved = |traffic: Traffic| (traffic.to_viewer, traffic.to_target, traffic.sessions.len());
        assert_eq!(moved(sessions.traffic()), (5, 7, 2));
        drop(a);
        assert_eq!(moved(sessions.traffic()), (5, 7, 1));
        b.session.counters.up.store(8, Ordering::Relaxed);
        drop(b);
        assert_eq!(moved(sessions.traffic()), (5, 8, 0));
    }

    #[tokio::test]
    async fn who_is_picked_ends_and_its_seat_is_left_by_itself() {
        let sessions = Sessions::new(&limits(|_| {}));
        let (a, mut a_stopped) = sit(&sessions, "a", Viewers::Share).unwrap();
        let (b, mut b_stopped) = sit(&sessions, "b", Viewers::Share).unwrap();
        let end = |which: Revoke| {
            let mut pick =
                |_, key: &TokenKey, grant: &Grant, _| which.names(key, grant).then_some(End::Revoked);
            Local::end(&*sessions, &mut pick)
        };
        assert_eq!(end(Revoke::Token(key())), 0);
        assert_eq!(end(Revoke::User("nobody".into())), 0);
        assert_eq!(end(Revoke::Target("a".into())), 1);
        assert_eq!(std::future::poll_fn(|cx| a_stopped.poll_cause(cx)).await, End::Revoked);
        assert_eq!(end(Revoke::Token(b.session.key)), 1);
        assert_eq!(std::future::poll_fn(|cx| b_stopped.poll_cause(cx)).await, End::Revoked);
        assert_eq!(sessions.list().len(), 2, "a seat is left by its session, not by being told to");
        drop(a);
        assert_eq!(sessions.list().len(), 1);
    }
}
