//! From a token to a console that waits: claim, limits, target check, dial, greet, confirm.
//!
//! Nothing is sent to the target before the claim, and there is no session without a confirm. Whatever goes
//! wrong in between gives the token back.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::config::{Record, Target, Viewers};
use crate::ids::Protocol;
use crate::metrics::Phase;
use crate::net::stream::TargetStream;
use crate::relay::record::{RecordError, Recorder, Recording, Wanted};
use crate::relay::{Plan, Stop};
use crate::rfb::Outcome;
use crate::targets::{connect, reconnecting};
use crate::tokens::{Claim, Confirm, Grant, Nonce, Options, Store, TokenKey};

use super::channels::{Viewer, end_when_idle};
use super::refusal::Refusal;
use super::sessions::{Admission, Seat};
use super::trail::{Reserved, Trail};
use super::{Proxy, greet};

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
}

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

    async fn confirm(mut self) -> Result<(), Refusal> {
        let confirmed = self.store.confirm(self.key, self.nonce).await?;
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
    key: TokenKey,
    origin: Option<Box<str>>,
) -> Result<Entered, Refusal> {
    let viewer = Viewer { source: admission.source, origin };
    let reserved = trail.reserve()?;
    let held = match trail.timed(Phase::Claim, Held::claim(&proxy.store, key)).await {
        Err(Refusal::Spent(Protocol::Spice)) => {
            return further(proxy, (trail, reserved), admission, key, &viewer).await;
        }
        held => held?,
    };
    let opening = trail.claimed(reserved, &held.grant);
    let (entered, viewers) = match reach(proxy, trail, admission, &held.grant, key).await {
        Ok(reached) => reached,
        Err(refusal) => {
            held.release().await;
            return Err(refusal);
        }
    };
    trail.timed(Phase::Confirm, held.confirm()).await?;
    trail.opened(opening, &entered.seat.session);
    if viewers == Viewers::Steal {
        entered.seat.take_over();
    }
    if entered.seat.session.grant.protocol == Protocol::Spice {
        entered.seat.lead(viewer);
        if let Some(idle) = proxy.settings.idle_timeout {
            let main = Arc::clone(&entered.seat.session);
            tokio::spawn(end_when_idle(Arc::clone(&proxy.sessions), main, idle));
        }
    }
    Ok(entered)
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
    let (seat, stop) = joined.ok_or(Refusal::Spent(Protocol::Spice))?;
    let grant = &seat.session.grant;
    let opening = trail.joined(reserved, grant);
    let target = current_target(proxy, grant)?;
    let stream = dial(proxy, trail, &target, grant.protocol).await?;
    trail.opened(opening, &seat.session);
    // Idle and longest time are the viewer's, and told by the main channel.
    let plan = Plan { longest: None, ..basic_plan(proxy, grant, &target) };
    Ok(Entered { seat, stop, target: stream, outcome: None, early: Vec::new(), plan, recording: None })
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
    let viewers = target.viewers(grant.protocol);
    let seated = proxy.sessions.seat(admission, (key, Arc::clone(grant)), viewers);
    let (seat, stop) = seated.map_err(|full| Refusal::Full(full, Some(grant.protocol)))?;
    let stream = dial(proxy, trail, &target, grant.protocol).await?;
    if let Some(breaker) = stream.breaker() {
        // Set nowhere else: the session is new.
        let _ = seat.session.breaker.set(breaker);
    }
    let (stream, outcome, early) = match grant.protocol {
        Protocol::Vnc => {
            let greeting = greet::target(stream, &target.vnc_security);
            let greeted = trail.timed(Phase::Greet, greeting).await?;
            (greeted.stream, Some(greeted.outcome), greeted.early)
        }
        Protocol::Serial | Protocol::Spice | Protocol::Mks => (stream, None, Vec::new()),
    };
    let plan = plan(proxy, grant, &target, key).await?;
    let recording = record(proxy, &seat, &target).await?;
    Ok((Entered { seat, stop, target: stream, outcome, early, plan, recording }, viewers))
}

async fn dial(
    proxy: &Proxy,
    trail: &Trail,
    target: &Target,
    protocol: Protocol,
) -> Result<TargetStream, Refusal> {
    let endpoint = target.endpoint(protocol).ok_or(Refusal::Changed(protocol))?;
    let dialled = trail.timed(Phase::Dial, connect(endpoint, &proxy.dial)).await;
    let stream = dialled.map_err(|error| Refusal::Unreached(error, protocol))?;
    Ok(match target.reconnect(protocol) {
        Some(patience) => reconnecting(stream, endpoint, &proxy.dial, patience),
        None => stream,
    })
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
    let Options { view_only, enforce_expiry: _, client_address, record: _, direct: _ } = grant.options;
    if client_address.is_some_and(|address| address.to_canonical() != source) {
        return Err(Refusal::Elsewhere(grant.protocol));
    }
    // The issuer gives out no such grant; one by another version must not open more than it says.
    if view_only && !matches!(grant.protocol, Protocol::Serial | Protocol::Vnc) {
        return Err(Refusal::Unenforced(grant.protocol));
    }
    Ok(())
}

/// Begins the session's recording, if grant, target or configuration want one. The strictest of them decides.
async fn record(proxy: &Proxy, seat: &Seat, target: &Target) -> Result<Option<Recording>, Refusal> {
    let session = &seat.session;
    let protocol = session.grant.protocol;
    let by_default = || proxy.recorder.as_ref().map_or(Record::Off, Recorder::default_policy);
    let policy = target.record.unwrap_or_else(by_default).max(session.grant.options.record);
    if policy == Record::Off {
        return Ok(None);
    }
    let begun = match proxy.recorder.clone() {
        None => Err(RecordError::Unconfigured),
        Some(recorder) => {
            let grant = Arc::clone(&session.grant);
            let wanted = Wanted { session: session.id, grant, source: session.source, policy };
            // The disk decides how long this takes; other sessions of this worker must not wait for it.
            let begun = tokio::task::spawn_blocking(move || recorder.begin(&wanted)).await;
            begun.unwrap_or_else(|crash| Err(RecordError::Begin(crash.into())))
        }
    };
    match begun {
        Ok(recording) => {
            session.recorded.store(true, Ordering::Relaxed);
            Ok(Some(recording))
        }
        // What is said over SPICE and MKS has no form that could be played: only who insists is refused.
        Err(error) if may_go_on(proxy, policy, &error) => {
            tracing::warn!(session = %session.id, target = %session.grant.target, %error, "session not recorded");
            Ok(None)
        }
        Err(error) => Err(Refusal::Unrecorded(error, protocol)),
    }
}

fn may_go_on(proxy: &Proxy, policy: Record, error: &RecordError) -> bool {
    let unfit = matches!(error, RecordError::Protocol(_) | RecordError::Unconfigured);
    let tolerant = proxy.recorder.as_ref().is_none_or(|recorder| recorder.may_go_on(policy));
    policy != Record::Required && (unfit || tolerant)
}

/// Decides the session once, before the 101.
async fn plan(proxy: &Proxy, grant: &Grant, target: &Target, key: TokenKey) -> Result<Plan, Refusal> {
    let mut plan = basic_plan(proxy, grant, target);
    if proxy.enforce_expiry || grant.options.enforce_expiry {
        let remaining = proxy.store.peek(key).await?.ok_or(Refusal::Unknown)?.remaining;
        plan.longest = Some(plan.longest.map_or(remaining, |set| set.min(remaining)));
    }
    Ok(plan)
}

fn basic_plan(proxy: &Proxy, grant: &Grant, target: &Target) -> Plan {
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
