//! From a token to a console that waits: claim, limits, target check, dial, greet, confirm.
//!
//! Nothing is sent to the target before the claim, and there is no session without a confirm. Whatever goes
//! wrong in between gives the token back.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::time::timeout;

use crate::config::{Endpoint, Target, Viewers};
use crate::ids::Protocol;
use crate::metrics::Phase;
use crate::net::stream::TargetStream;
use crate::relay::record::Recording;
use crate::relay::{Plan, Stop};
use crate::rfb::Outcome;
use crate::targets::{connect, reconnecting};
use crate::tokens::{
    Claim, Confirm, Grant, Nonce, Offer, Options, Resumed, Revoke, Sharing, Store, TokenKey, Why,
};

use super::channels::{Viewer, end_when_idle};
use super::refusal::Refusal;
use super::resume::{Visit, vacated};
use super::session::Session;
use super::sessions::{Admission, Seat};
use super::trail::{Reserved, Trail};
use super::{Proxy, greet, record};

/// A console that waits for its viewer, its token spent.
pub(super) struct Entered {
    pub(super) seat: Seat,
    pub(super) stop: Stop,
    pub(super) target: TargetStream,
    /// How the target was greeted, for VNC.
    pub(super) outcome: Option<Outcome>,
    /// What the target sent beyond its greeting.
    pub(super) early: Vec<u8>,
    pub(super) plan: Plan,
    /// What the session is recorded by, if it is.
    pub(super) recording: Option<Recording>,
    /// What the viewer may come back with.
    pub(super) cookie: Option<HeaderValue>,
}

/// What a viewer brings.
pub(super) struct Ticket {
    pub(super) key: TokenKey,
    /// The allowed `Origin` of a browser.
    pub(super) origin: Option<Box<str>>,
    /// What it has to do with coming back, if it may.
    pub(super) visit: Option<Visit>,
}

/// How long what a viewer left behind may keep a line that can be opened once: its goodbye takes 5 s at most.
const VACATE: Duration = Duration::from_secs(6);

/// A claimed token: confirmed, or given back, also when the task that holds it is dropped or panics.
struct Held {
    store: Arc<dyn Store>,
    key: TokenKey,
    nonce: Nonce,
    grant: Arc<Grant>,
    settled: bool,
}

impl Held {
    async fn claim(store: &Arc<dyn Store>, key: TokenKey) -> Result<Self, Refusal> {
        let nonce = Nonce::random();
        match store.claim(key, nonce).await? {
            Claim::Won(grant) => Ok(Self { store: Arc::clone(store), key, nonce, grant, settled: false }),
            Claim::Busy(protocol) => Err(Refusal::Busy(protocol)),
            Claim::Spent(protocol) => Err(Refusal::Spent(protocol)),
            Claim::Unknown => Err(Refusal::Unknown),
        }
    }

    async fn confirm(mut self, offer: Option<Offer>) -> Result<(), Refusal> {
        let confirmed = match offer {
            Some(offer) => self.store.confirm_with(self.key, self.nonce, offer).await?,
            None => self.store.confirm(self.key, self.nonce).await?,
        };
        self.settled = true;
        match confirmed {
            Confirm::Confirmed => Ok(()),
            Confirm::Lost => Err(Refusal::Busy(self.grant.protocol)),
        }
    }

    /// Gives the token back before the viewer hears of it: who tries again at once must not meet this claim.
    async fn release(mut self) {
        // A release that fails is made up for by the lease, which runs out.
        self.settled = self.store.release(self.key, self.nonce).await.is_ok();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.settled {
            let (store, key, nonce) = (Arc::clone(&self.store), self.key, self.nonce);
            // A release that fails, or comes when the process is on its way out, is made up for by the lease.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move { store.release(key, nonce).await });
            }
        }
    }
}

/// Claims, checks, connects, greets and confirms. Dropped when the viewer hangs up, at any await: then the
/// token is given back.
pub(super) async fn enter(
    proxy: &Proxy,
    trail: &mut Trail,
    admission: Admission,
    ticket: Ticket,
) -> Result<Entered, Refusal> {
    let Ticket { key, origin, visit } = ticket;
    let viewer = Viewer { source: admission.source, origin };
    let reserved = trail.reserve()?;
    if let Some(visit) = &visit
        && let Some(brought) = visit.brought
    {
        let nonce = Nonce::random();
        let resume = proxy.store.resume(key, brought, visit.next(), nonce);
        if let Some(resumed) = trail.timed(Phase::Claim, resume).await? {
            return come_back(proxy, (trail, reserved), admission, (key, visit), (nonce, resumed)).await;
        }
    }
    let held = match trail.timed(Phase::Claim, Held::claim(&proxy.store, key)).await {
        Err(Refusal::Spent(Protocol::Spice)) => {
            return further(proxy, (trail, reserved), admission, key, &viewer).await;
        }
        held => held?,
    };
    let opening = trail.claimed(reserved, &held.grant);
    let reached = async {
        let (mut entered, viewers) = reach(proxy, trail, admission, &held.grant, key).await?;
        entered.plan.longest = sooner(entered.plan.longest, remaining(proxy, &held.grant, key).await?);
        Ok((entered, viewers))
    };
    let (mut entered, viewers) = match reached.await {
        Ok(reached) => reached,
        Err(refusal) => {
            held.release().await;
            return Err(refusal);
        }
    };
    let session = Arc::clone(&entered.seat.session);
    let offer = visit.as_ref().and_then(|visit| visit.offer(&session.grant, entered.plan.longest));
    if offer.is_some() {
        entered.cookie = visit.as_ref().and_then(Visit::cookie);
        // Set nowhere else, the session being new; and before it is true, so that no end comes too early for it.
        let _ = session.comeback.set(held.nonce);
    }
    trail.timed(Phase::Confirm, held.confirm(offer)).await?;
    trail.opened(opening, &session);
    if viewers == Viewers::Steal {
        proxy.take_over(&entered.seat);
    }
    if session.grant.protocol == Protocol::Spice {
        entered.seat.lead(viewer);
        if let Some(idle) = proxy.settings.idle_timeout {
            tokio::spawn(end_when_idle(Arc::clone(&proxy.sessions), session, idle));
        }
    }
    Ok(entered)
}

/// The viewer who spent the token is back: what it left behind makes room, and its console is dialled anew.
async fn come_back(
    proxy: &Proxy,
    (trail, reserved): (&mut Trail, Reserved),
    admission: Admission,
    (key, visit): (TokenKey, &Visit),
    (nonce, resumed): (Nonce, Resumed),
) -> Result<Entered, Refusal> {
    let Resumed { grant, longest } = resumed;
    let opening = trail.resumed(reserved, &grant);
    // On other proxies it is told so when this one enters; unheard, it ends at its next renewal.
    proxy.sessions.oust(&key);
    proxy.tell_predecessor(Revoke::Token(key), Why::TakenOver);
    let target = current_target(proxy, &grant)?;
    if matches!(target.endpoint(grant.protocol), Some(Endpoint::Tty(..) | Endpoint::Command(_))) {
        // Later than that, the line says itself that it is busy.
        let _ = timeout(VACATE, vacated(&proxy.sessions, &key)).await;
    }
    let (mut entered, viewers) = reach(proxy, trail, admission, &grant, key).await?;
    entered.plan.longest = sooner(entered.plan.longest, longest);
    let session = &entered.seat.session;
    let _ = session.comeback.set(nonce);
    let opened = proxy.store.resumed(key, nonce, visit.window());
    match trail.timed(Phase::Confirm, opened).await? {
        Confirm::Confirmed => {}
        // It came once more meanwhile, or the grant was revoked.
        Confirm::Lost => return Err(Refusal::Busy(grant.protocol)),
    }
    trail.opened(opening, session);
    if viewers == Viewers::Steal {
        proxy.take_over(&entered.seat);
    }
    entered.cookie = visit.cookie();
    Ok(entered)
}

fn sooner(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    a.into_iter().chain(b).min()
}

/// A further channel of a SPICE viewer: the token is spent, by the main channel, which must be alive.
async fn further(
    proxy: &Proxy,
    (trail, reserved): (&mut Trail, Reserved),
    admission: Admission,
    key: TokenKey,
    viewer: &Viewer,
) -> Result<Entered, Refusal> {
    let joined = proxy.sessions.join(admission, &key, viewer);
    let joined = joined.map_err(|full| Refusal::Full(full, Some(Protocol::Spice)))?;
    let (mut seat, stop) = joined.ok_or(Refusal::Spent(Protocol::Spice))?;
    let opening = trail.joined(reserved, &seat.session.grant);
    let target = current_target(proxy, &seat.session.grant)?;
    proxy.register(&mut seat, Viewers::Share).await?;
    let grant = &seat.session.grant;
    let stream = dial(proxy, trail, &target, &seat.session).await?;
    trail.opened(opening, &seat.session);
    // Idle and longest time are the viewer's, and told by the main channel.
    let plan = Plan { longest: None, ..plan(proxy, grant, &target) };
    let (outcome, early, cookie, recording) = (None, Vec::new(), None, None);
    Ok(Entered { seat, stop, target: stream, outcome, early, plan, recording, cookie })
}

/// What lies between claim and confirm: limits, target check, dial, greeting.
async fn reach(
    proxy: &Proxy,
    trail: &Trail,
    admission: Admission,
    grant: &Arc<Grant>,
    key: TokenKey,
) -> Result<(Entered, Viewers), Refusal> {
    check_options(grant, admission.source)?;
    let target = current_target(proxy, grant)?;
    let viewers = stricter(target.viewers(grant.protocol), grant.options.viewers);
    let seated = proxy.sessions.seat(admission, (key, Arc::clone(grant)), viewers);
    let (mut seat, stop) = seated.map_err(|full| Refusal::Full(full, Some(grant.protocol)))?;
    proxy.register(&mut seat, viewers).await?;
    let stream = dial(proxy, trail, &target, &seat.session).await?;
    if let Some(breaker) = stream.breaker() {
        // Set nowhere else: the session is new.
        let _ = seat.session.breaker.set(breaker);
    }
    if let Some(resizer) = stream.resizer() {
        let _ = seat.session.resizer.set(resizer);
    }
    let (stream, outcome, early) = match grant.protocol {
        Protocol::Vnc => {
            let greeting = greet::target(stream, &target.vnc_security);
            let greeted = trail.timed(Phase::Greet, greeting).await?;
            (greeted.stream, Some(greeted.outcome), greeted.early)
        }
        Protocol::Serial | Protocol::Spice | Protocol::Mks => (stream, None, Vec::new()),
    };
    let plan = plan(proxy, grant, &target);
    let recording = record::begin(proxy, &seat, &target).await?;
    Ok((Entered { seat, stop, target: stream, outcome, early, plan, recording, cookie: None }, viewers))
}

async fn dial(
    proxy: &Proxy,
    trail: &Trail,
    target: &Target,
    session: &Session,
) -> Result<TargetStream, Refusal> {
    let protocol = session.grant.protocol;
    if target.viewers(protocol) == Viewers::Hub {
        let placing = proxy.hubs.place(target, session.grant.generation, session.id);
        let placed = trail.timed(Phase::Dial, placing).await;
        let (hub, watcher) = placed.map_err(|error| Refusal::Unreached(error, protocol))?;
        // Set nowhere else: the session is new.
        let _ = session.hub.set(hub);
        return Ok(TargetStream::Line(Box::new(watcher)));
    }
    let endpoint = target.endpoint(protocol).ok_or(Refusal::Changed(protocol))?;
    let dialled = trail.timed(Phase::Dial, connect(endpoint, &proxy.dial)).await;
    let stream = dialled.map_err(|error| Refusal::Unreached(error, protocol))?;
    Ok(match target.reconnect(protocol) {
        Some(patience) => reconnecting(stream, endpoint, &proxy.dial, patience),
        None => stream,
    })
}

/// What becomes of other viewers: the target's rule, or the grant's where that is stricter.
fn stricter(target: Viewers, grant: Option<Sharing>) -> Viewers {
    match (target, grant) {
        (Viewers::Deny, _) | (_, Some(Sharing::Deny)) => Viewers::Deny,
        (Viewers::Steal, _) | (_, Some(Sharing::Steal)) => Viewers::Steal,
        (target @ (Viewers::Share | Viewers::Hub), Some(Sharing::Share) | None) => target,
    }
}

/// The target as it is now, if it still is what the grant was made for (CVE-2013-0335: a token of a deleted
/// server opened the next one on its port).
fn current_target(proxy: &Proxy, grant: &Grant) -> Result<Target, Refusal> {
    let entry = proxy.inventory.find(&grant.target).ok_or(Refusal::Changed(grant.protocol))?;
    let same = entry.generation == grant.generation && entry.target.project == grant.project;
    if same && entry.target.console_ready() {
        Ok(entry.target.clone())
    } else {
        Err(Refusal::Changed(grant.protocol))
    }
}

/// Whether this viewer may use the grant, and whether we can keep what it promises.
fn check_options(grant: &Grant, source: IpAddr) -> Result<(), Refusal> {
    let Options { view_only, enforce_expiry: _, client_address, record: _, direct: _, viewers: _ } =
        grant.options;
    if client_address.is_some_and(|address| address.to_canonical() != source) {
        return Err(Refusal::Elsewhere(grant.protocol));
    }
    // The issuer gives out no such grant; one by another version must not open more than it says.
    if view_only && !matches!(grant.protocol, Protocol::Serial | Protocol::Vnc) {
        return Err(Refusal::Unenforced(grant.protocol));
    }
    Ok(())
}

/// What is left of the token's lifetime, if that ends the session.
async fn remaining(proxy: &Proxy, grant: &Grant, key: TokenKey) -> Result<Option<Duration>, Refusal> {
    if !proxy.enforce_expiry && !grant.options.enforce_expiry {
        return Ok(None);
    }
    Ok(Some(proxy.store.peek(key).await?.ok_or(Refusal::Unknown)?.remaining))
}

/// Decides the session once, before the 101.
fn plan(proxy: &Proxy, grant: &Grant, target: &Target) -> Plan {
    let settings = &proxy.settings;
    Plan {
        whole_characters: grant.protocol == Protocol::Serial,
        view_only: grant.options.view_only || (grant.protocol == Protocol::Vnc && target.vnc_view_only),
        ping: settings.ping,
        // One silent channel of several says nothing of a SPICE viewer: all are looked at together.
        idle: settings.idle_timeout.filter(|_| grant.protocol != Protocol::Spice),
        longest: settings.max_session,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stricter_of_target_and_grant_holds() {
        use Sharing as S;
        use Viewers::{Deny, Hub, Share, Steal};
        let cases = [
            (Deny, [Deny, Deny, Deny, Deny]),
            (Steal, [Steal, Deny, Steal, Steal]),
            (Share, [Share, Deny, Steal, Share]),
            (Hub, [Hub, Deny, Steal, Hub]),
        ];
        for (target, expected) in cases {
            let grants = [None, Some(S::Deny), Some(S::Steal), Some(S::Share)];
            assert_eq!(grants.map(|grant| stricter(target, grant)), expected, "{target:?}");
        }
    }
}
