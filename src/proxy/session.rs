//! One live session: what is known of it, what it has moved, and what can be asked of it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use crate::fleet::Moved;
use crate::net::stream::{Breaker, Resizer};
use crate::relay::{Counters, End, Mailbox, Stop, StopHandle, stop_pair};
use crate::tokens::{Grant, Nonce, TokenKey};

use super::hub::Hub;

/// A live session, as others see it.
#[derive(Debug)]
pub struct Session {
    /// Names the session in logs. Not a capability.
    pub id: Uuid,
    /// What it was opened with.
    pub grant: Arc<Grant>,
    /// When it took its seat, for people to read.
    pub since: SystemTime,
    pub(super) key: TokenKey,
    /// Whether it is a further channel of a SPICE viewer, who was counted with the main one.
    pub(super) further: bool,
    /// The viewer's address.
    pub source: IpAddr,
    /// Payload bytes so far.
    pub counters: Arc<Counters>,
    stop: StopHandle,
    /// Set when its recording begins: whether that goes on.
    pub(super) recorded: OnceLock<Arc<AtomicBool>>,
    /// When it got its place among those of all proxies, by the store's clock in milliseconds; none: the greatest.
    pub(super) entered: AtomicU64,
    /// What was moved when somebody last looked, and how fast: bytes and bytes a second, to viewer and to target.
    seen: [AtomicU64; 4],
    /// Set when the console is reached, if it is a line that can be broken.
    pub(super) breaker: OnceLock<Breaker>,
    /// Set with it, if the line has a terminal whose size can be set.
    pub(super) resizer: OnceLock<Resizer>,
    /// Where notices for the viewer go, if it has a control channel.
    pub(super) mailbox: OnceLock<Arc<Mailbox>>,
    /// Set with the 101, if its viewer may come back: what it holds the store's record with.
    pub(super) comeback: OnceLock<Nonce>,
    /// Set with the breaker, if the line is a hub's.
    pub(super) hub: OnceLock<Arc<Hub>>,
}

impl Session {
    pub(super) fn new(key: TokenKey, grant: Arc<Grant>, source: IpAddr, further: bool) -> (Arc<Self>, Stop) {
        let (handle, stop) = stop_pair();
        let session = Self {
            id: Uuid::new_v4(),
            since: SystemTime::now(),
            key,
            further,
            source,
            counters: Arc::default(),
            stop: handle,
            recorded: OnceLock::new(),
            entered: AtomicU64::new(u64::MAX),
            seen: Default::default(),
            breaker: OnceLock::new(),
            resizer: OnceLock::new(),
            mailbox: OnceLock::new(),
            comeback: OnceLock::new(),
            hub: OnceLock::new(),
            grant,
        };
        (Arc::new(session), stop)
    }

    /// Sends a break on its line; `false`: there is no line, or none that can be broken.
    pub fn send_break(&self) -> bool {
        self.breaker.get().is_some_and(Breaker::send)
    }

    /// Whether it is recorded.
    pub fn is_recorded(&self) -> bool {
        self.recorded.get().is_some_and(|running| running.load(Ordering::Relaxed))
    }

    /// Asks it to end.
    pub fn stop(&self, cause: End) {
        self.stop.stop(cause);
    }

    /// Bytes so far, and how fast they were at the last look.
    pub(super) fn moved(&self) -> Moved {
        let [_, _, viewer_rate, target_rate] = &self.seen;
        Moved {
            to_viewer: self.counters.down.load(Ordering::Relaxed),
            to_target: self.counters.up.load(Ordering::Relaxed),
            viewer_rate: viewer_rate.load(Ordering::Relaxed),
            target_rate: target_rate.load(Ordering::Relaxed),
        }
    }

    /// Looks how fast it moves bytes, the last look being `since` ago; whether anything changed. One caller.
    pub(super) fn look(&self, since: Duration) -> bool {
        let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX).max(1);
        let now = self.moved();
        let [down, up, ..] = &self.seen;
        let rate = |now: u64, before: u64| now.wrapping_sub(before).saturating_mul(1000) / millis;
        let (before, after) =
            ([down, up].map(|seen| seen.load(Ordering::Relaxed)), [now.to_viewer, now.to_target]);
        let rates = [rate(after[0], before[0]), rate(after[1], before[1])];
        let changed = before != after || rates != [now.viewer_rate, now.target_rate];
        for (seen, value) in self.seen.iter().zip(after.into_iter().chain(rates)) {
            seen.store(value, Ordering::Relaxed);
        }
        changed
    }

    /// Whether it was asked to end.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_asked()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use crate::ids::{Generation, GrantId, Protocol, RequestId};
    use crate::tokens::Options;
    use crate::tokens::contract::key;

    use super::*;

    #[test]
    fn a_rate_is_what_was_moved_since_the_last_look() {
        let grant = Grant {
            id: GrantId(Uuid::new_v4()),
            request: RequestId::random(),
            target: "a".into(),
            generation: Generation(1),
            protocol: Protocol::Vnc,
            project: "p".into(),
            user: "user".into(),
            options: Options::default(),
        };
        let (session, _stop) = Session::new(key(), Arc::new(grant), Ipv4Addr::LOCALHOST.into(), false);
        let second = Duration::from_secs(1);
        assert!(!session.look(second), "nothing moved, nothing changed");
        session.counters.down.store(3000, Ordering::Relaxed);
        session.counters.up.store(10, Ordering::Relaxed);
        assert!(session.look(2 * second));
        let moved = Moved { to_viewer: 3000, to_target: 10, viewer_rate: 1500, target_rate: 5 };
        assert_eq!(session.moved(), moved);
        assert!(session.look(second), "it stands still now");
        assert_eq!(session.moved(), Moved { viewer_rate: 0, target_rate: 0, ..moved });
        assert!(!session.look(second));
    }
}
