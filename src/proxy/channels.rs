//! SPICE: one token, one viewer, several connections.
//!
//! A SPICE client opens a connection for each of its channels: the main one, and, once that has told it its
//! session's id, display, inputs, cursor, sound and the rest. spice-html5 opens them all at one URL. So the token
//! that the main channel has spent opens the others as well, while the main channel lives, to the same viewer:
//! the same address and the same `Origin` (a client that is no browser has none). They end with the main channel.
//!
//! The groups are this process's. Between several proxies, a balancer has to keep a viewer with one of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::relay::End;
use crate::tokens::{Grant, TokenKey};

use super::session::Session;
use super::sessions::Sessions;

/// Connections of one SPICE viewer, the main one among them. The protocol has ten kinds of channels; of displays
/// and USB redirections a guest may have up to four each.
pub(super) const MOST: usize = 16;

/// How often in an idle time a viewer's channels are looked at: it ends at most a quarter too late.
const LOOKS: u32 = 4;

/// Who opens a channel, as far as requests tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Viewer {
    pub(super) source: IpAddr,
    /// The `Origin`, in lower case.
    pub(super) origin: Option<Box<str>>,
}

/// The viewers' groups, by the token of each.
#[derive(Debug, Default)]
pub(super) struct Channels(Mutex<HashMap<TokenKey, Group>>);

#[derive(Debug)]
struct Group {
    viewer: Viewer,
    main: Arc<Session>,
    others: Vec<Arc<Session>>,
}

/// Why there is no further channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoChannel {
    /// No main channel of this token, or another viewer's.
    Stranger,
    /// The viewer has [`MOST`].
    Full,
}

impl Channels {
    /// From now on `main`'s viewer may open further channels.
    pub(super) fn lead(&self, key: TokenKey, viewer: Viewer, main: Arc<Session>) {
        let group = Group { viewer, main, others: Vec::new() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, group);
    }

    /// Adds what `make` makes of the main channel's grant to the viewer's channels.
    pub(super) fn join(
        &self,
        key: &TokenKey,
        viewer: &Viewer,
        make: impl FnOnce(&Arc<Grant>) -> Arc<Session>,
    ) -> Result<(), NoChannel> {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A main channel that was told to end opens nothing more, though it may still be saying goodbye.
        let living = |group: &&mut Group| group.viewer == *viewer && !group.main.is_stopped();
        let group = groups.get_mut(key).filter(living).ok_or(NoChannel::Stranger)?;
        if group.others.len() + 1 >= MOST {
            return Err(NoChannel::Full);
        }
        let session = make(&group.main.grant);
        group.others.push(session);
        Ok(())
    }

    /// The session is over. With a main channel end all the others.
    pub(super) fn leave(&self, key: &TokenKey, session: Uuid) {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(group) = groups.get_mut(key) else { return };
        if group.main.id == session {
            group.others.iter().for_each(|other| other.stop(End::MainChannel));
            groups.remove(key);
        } else {
            group.others.retain(|other| other.id != session);
        }
    }

    /// Bytes moved over all channels beside this main one so far, ended ones aside; `None` once it is over.
    fn moved(&self, key: &TokenKey, main: Uuid) -> Option<u64> {
        let groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let group = groups.get(key).filter(|group| group.main.id == main)?;
        let bytes = |session: &Arc<Session>| {
            let counters = &session.counters;
            counters.down.load(Ordering::Relaxed) + counters.up.load(Ordering::Relaxed)
        };
        Some(bytes(&group.main) + group.others.iter().map(bytes).sum::<u64>())
    }
}

/// Ends a viewer none of whose channels has moved a byte for `idle`. Each channel alone is silent for hours: a
/// cursor that stands still, a main channel without an agent.
pub(super) async fn end_when_idle(sessions: Arc<Sessions>, main: Arc<Session>, idle: Duration) {
    let (key, id) = (main.key, main.id);
    let (mut last, mut since) = (None, Instant::now());
    loop {
        let Some(moved) = sessions.channels.moved(&key, id) else { return };
        let now = Instant::now();
        if last != Some(moved) {
            (last, since) = (Some(moved), now);
        } else if now - since >= idle {
            return main.stop(End::Idle);
        }
        sleep((idle / LOOKS).max(Duration::from_millis(1))).await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::Ipv4Addr;

    use crate::config::{Limits, Viewers};
    use crate::ids::Protocol;
    use crate::relay::Stop;
    use crate::tokens::contract;

    use super::super::sessions::{Full, Seat};
    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// A registry that bounds the sessions of a project, if at all; 0 is no bound.
    fn registry(sessions_per_project: usize) -> Arc<Sessions> {
        Sessions::new(&Limits {
            sessions: 0,
            sessions_per_target: 0,
            sessions_per_project,
            sessions_per_source: 0,
            unauthenticated: 0,
            issue_per_second: 0,
            outstanding_per_target: 0,
        })
    }

    fn viewer(origin: Option<&str>) -> Viewer {
        Viewer { source: HERE, origin: origin.map(Into::into) }
    }

    /// A main channel whose viewer is a page's.
    fn main(sessions: &Arc<Sessions>) -> (Seat, Stop) {
        let grant = Arc::new(Grant { protocol: Protocol::Spice, ..contract::grant() });
        let admission = sessions.admit(HERE).unwrap();
        let (seat, stop) = sessions.seat(admission, (contract::key(), grant), Viewers::Deny).unwrap();
        seat.lead(viewer(Some("https://page")));
        (seat, stop)
    }

    fn join(sessions: &Arc<Sessions>, main: &Seat, viewer: &Viewer) -> Result<Option<(Seat, Stop)>, Full> {
        sessions.join(sessions.admit(HERE).unwrap(), &main.session.key, viewer)
    }

    #[tokio::test]
    async fn channels_are_one_viewers_bounded_and_end_with_the_main_one() {
        let sessions = registry(0);
        let page = viewer(Some("https://page"));
        let (first, _stop) = main(&sessions);
        for stranger in [
            viewer(None),
            viewer(Some("https://other")),
            Viewer { source: Ipv4Addr::new(192, 0, 2, 1).into(), ..page.clone() },
        ] {
            assert!(join(&sessions, &first, &stranger).unwrap().is_none(), "{stranger:?}");
        }
        let mut others: Vec<_> =
            (1..MOST).map(|_| join(&sessions, &first, &page).unwrap().unwrap()).collect();
        assert_eq!(join(&sessions, &first, &page).unwrap_err(), Full::Channels);
        others.pop();
        others.push(join(&sessions, &first, &page).unwrap().unwrap());
        assert_eq!(sessions.list().len(), MOST);
        drop(first);
        for (_seat, stop) in &mut others {
            assert_eq!(poll_fn(|cx| stop.poll_cause(cx)).await, End::MainChannel);
        }
        drop(others);
        assert!(sessions.list().is_empty() && sessions.channels.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_main_channel_that_was_told_to_end_opens_nothing_more() {
        let sessions = registry(0);
        let page = viewer(Some("https://page"));
        let (first, _stop) = main(&sessions);
        first.session.stop(End::Revoked);
        assert!(join(&sessions, &first, &page).unwrap().is_none());
    }

    #[tokio::test]
    async fn the_projects_limit_holds_for_channels_too() {
        let sessions = registry(2);
        let page = viewer(Some("https://page"));
        let (first, _stop) = main(&sessions);
        let second = join(&sessions, &first, &page).unwrap().unwrap();
        assert_eq!(join(&sessions, &first, &page).unwrap_err(), Full::Project);
        drop(second);
        assert!(join(&sessions, &first, &page).unwrap().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_viewer_is_idle_when_all_of_its_channels_are() {
        let sessions = registry(0);
        let page = viewer(Some("https://page"));
        let (first, mut stop) = main(&sessions);
        let (second, _stop) = join(&sessions, &first, &page).unwrap().unwrap();
        let idle = Duration::from_secs(60);
        let watch = end_when_idle(Arc::clone(&sessions), Arc::clone(&first.session), idle);
        let typing = async {
            for _ in 0..100 {
                sleep(idle / 2).await;
                second.session.counters.up.fetch_add(1, Ordering::Relaxed);
            }
            Instant::now()
        };
        let ended = async {
            assert_eq!(poll_fn(|cx| stop.poll_cause(cx)).await, End::Idle);
            Instant::now()
        };
        let ((), last, end) = tokio::join!(watch, typing, ended);
        let waited = end - last;
        assert!(waited >= idle && waited <= idle + idle / 2, "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_watch_ends_with_the_main_channel() {
        let sessions = registry(0);
        let (first, _stop) = main(&sessions);
        let session = Arc::clone(&first.session);
        let watch = end_when_idle(Arc::clone(&sessions), session, Duration::from_secs(60));
        let leave = async { drop(first) };
        tokio::join!(watch, leave);
    }
}
