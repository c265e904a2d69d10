//! The proxy, as a story: admit -> enter (claim, check, connect, greet, confirm) -> 101 -> relay -> account.
//!
//! A page load, a HEAD, a foreign Origin or a console that is down never spends a token.

mod channels;
mod control;
mod fleet;
mod gate;
mod greet;
mod hub;
mod record;
mod refusal;
mod resume;
mod session;
mod sessions;
mod trail;
mod upgrade;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tracing::{Instrument, debug, info, info_span};

use crate::audit::Audit;
use crate::config::{self, Config};
use crate::fleet::{Fleet, Predecessor};
use crate::ids::RequestId;
use crate::limits::Cap;
use crate::metrics::Metrics;
use crate::net::stream::{TargetStream, ViewerStream};
use crate::net::workers::Load;
use crate::relay::record::{Recorder, Recording};
use crate::relay::{Channel, End, Pump, Stop, run};
use crate::rfb::ViewOnly;
use crate::targets::{DialPolicy, Inventory};
use crate::tokens::{Fingerprinter, Most, Revoke, Store, Token, Why};
use crate::ws::{Offer, check_request};

use gate::{Entered, Ticket, enter};
use hub::Hubs;
use refusal::Refusal;
use sessions::{Admission, Seat};
use trail::Trail;
use upgrade::Origin;

pub use resume::RENEW;
pub use session::Session;
pub use sessions::{Sessions, Traffic};

/// How long hyper may take to hand over the connection after the 101.
const HAND_OVER: Duration = Duration::from_secs(10);

/// Where a request came in.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The other end of the socket.
    pub peer: SocketAddr,
    /// The connection's weight on its worker; a session keeps it.
    pub load: Arc<Load>,
}

/// Everything a session needs, shared by all of them.
#[derive(Debug)]
pub struct Proxy {
    settings: config::Proxy,
    enforce_expiry: bool,
    resume: resume::Policy,
    origins: BTreeSet<String>,
    store: Arc<dyn Store>,
    inventory: Arc<Inventory>,
    dial: DialPolicy,
    sessions: Arc<Sessions>,
    fleet: Fleet,
    /// Its limits over all proxies.
    most: Most,
    /// An earlier process whose sessions may live on.
    predecessor: Option<Predecessor>,
    hubs: Arc<Hubs>,
    unauthenticated: Cap,
    fingerprints: Fingerprinter,
    audit: Audit,
    metrics: Metrics,
    recorder: Option<Recorder>,
}

/// One viewer's try, from the request on.
struct Attempt {
    offer: Offer,
    /// The allowed `Origin` of a browser.
    origin: Option<Box<str>>,
    serial_page: bool,
    /// Where in the console's output the viewer goes on.
    seen: Option<hub::Seen>,
    token: Option<Token>,
    visit: Option<resume::Visit>,
    trail: Trail,
    on_upgrade: OnUpgrade,
    load: Arc<Load>,
}

/// A session that stands: what it holds until it ends.
struct Live {
    proxy: Arc<Proxy>,
    seat: Seat,
    begun: Instant,
    pump: Box<Pump<ViewerStream, TargetStream>>,
    stop: Stop,
    trail: Trail,
    recording: Option<Recording>,
    _load: Arc<Load>,
}

impl Proxy {
    /// A proxy over the shared parts. `unauthenticated` counts connections that have no session.
    pub fn new(
        config: &Config,
        store: Arc<dyn Store>,
        inventory: Arc<Inventory>,
        dial: DialPolicy,
        unauthenticated: Cap,
        fingerprints: Fingerprinter,
    ) -> Self {
        let hubs = Hubs::new(Arc::clone(&inventory), dial.clone());
        let mut origins = config.proxy.allowed_origins.clone();
        origins.insert(config.proxy.public_origin());
        Self {
            settings: config.proxy.clone(),
            enforce_expiry: config.tokens.enforce,
            resume: resume::Policy::new(config.tokens.resume, &config.proxy),
            origins,
            store,
            inventory,
            dial,
            sessions: Sessions::new(&config.limits),
            fleet: Fleet::alone(),
            most: fleet::most(&config.limits),
            predecessor: None,
            hubs,
            unauthenticated,
            fingerprints,
            audit: Audit::default(),
            metrics: Metrics::default(),
            recorder: None,
        }
    }

    /// The same with its decisions written down and counted.
    #[must_use]
    pub fn observed(self, audit: Audit, metrics: Metrics) -> Self {
        Self { audit, metrics, ..self }
    }

    /// The same with sessions recorded where that is wanted.
    #[must_use]
    pub fn recording(self, recorder: Option<Recorder>) -> Self {
        Self { recorder, ..self }
    }

    /// The recordings, if there are to be any.
    pub fn recorder(&self) -> Option<&Recorder> {
        self.recorder.as_ref()
    }

    /// The same after an earlier process, whose sessions live on.
    #[must_use]
    pub fn after(self, predecessor: Option<Predecessor>) -> Self {
        Self { predecessor, ..self }
    }

    /// Ends what an earlier process' sessions are of it.
    pub fn tell_predecessor(&self, which: Revoke, why: Why) {
        if let Some(predecessor) = &self.predecessor {
            predecessor.end(which, why);
        }
    }

    /// The same as one of several.
    #[must_use]
    pub fn in_fleet(self, fleet: Fleet) -> Self {
        Self { fleet, ..self }
    }

    /// Connections without a session.
    pub fn unauthenticated(&self) -> usize {
        self.unauthenticated.used()
    }

    /// Where a request comes from: the peer's address, or what a trusted peer says.
    pub fn source(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        upgrade::source(peer, headers, &self.settings.trusted_proxies)
    }

    /// The live sessions.
    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    /// Looks after the shared serial lines; to be called every few seconds, on a runtime that lasts.
    pub fn tend_hubs(&self) {
        self.hubs.tend();
    }

    /// Lets every shared serial line go.
    pub fn end_hubs(&self) {
        self.hubs.end_all(true);
    }

    /// Lets those shared serial lines go that nobody watches: another process may want them.
    pub fn release_hubs(&self) {
        self.hubs.end_all(false);
    }

    /// Waits until no viewer is left.
    pub async fn drained(&self) {
        loop {
            let emptied = self.sessions.emptied();
            if self.sessions.count() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Answers a request that asks for a WebSocket: the 101, or a refusal.
    pub async fn upgrade<B>(
        self: &Arc<Self>,
        mut request: Request<B>,
        connection: &Connection,
    ) -> Response<Full<Bytes>> {
        let id = RequestId::random();
        let source = self.source(connection.peer, request.headers());
        let trail = Trail::new(&self.audit, &self.metrics, id, source);
        let offer = match check_request(&request) {
            Ok(offer) => offer,
            Err(error) => {
                info!(request = %id, %source, cause = "malformed", %error, "refused");
                let response = upgrade::malformed(error);
                trail.refused("malformed", response.status());
                return response;
            }
        };
        let origin = upgrade::origin(request.headers(), &self.origins);
        if origin == Origin::Foreign {
            info!(request = %id, %source, cause = "origin", "refused");
            trail.refused("origin", http::StatusCode::FORBIDDEN);
            return upgrade::refused(http::StatusCode::FORBIDDEN);
        }
        let token = upgrade::token(request.uri(), request.headers());
        let from = (request.uri(), request.headers());
        let attempt = Attempt {
            visit: token.as_ref().and_then(|token| self.resume.visit(token, from, source)),
            token,
            offer,
            origin: upgrade::origin_text(request.headers()).filter(|_| origin == Origin::Allowed),
            serial_page: upgrade::query_value(request.uri(), "console").as_deref() == Some("serial"),
            seen: upgrade::seen(request.uri()),
            trail,
            on_upgrade: hyper::upgrade::on(&mut request),
            load: Arc::clone(&connection.load),
        };
        let admitted = self.sessions.admit(source).map_err(|full| Refusal::Full(full, None));
        // From here on in a task of its own: hyper drops this future when the viewer hangs up, and a claim
        // must be settled all the same.
        let (answer, answered) = oneshot::channel();
        let span = info_span!("session", request = %id, %source, issued_by = tracing::field::Empty);
        // Boxed and gone before the relay begins: its state is large and must not weigh on the idle session.
        let opening = Box::pin(Arc::clone(self).open(attempt, admitted, answer));
        tokio::spawn(attend(opening).instrument(span));
        answered.await.unwrap_or_else(|_| upgrade::refused(http::StatusCode::INTERNAL_SERVER_ERROR))
    }

    /// One viewer from admission to a session that stands; `None` if it came to nothing.
    async fn open(
        self: Arc<Self>,
        mut attempt: Attempt,
        admitted: Result<Admission, Refusal>,
        mut answer: oneshot::Sender<Response<Full<Bytes>>>,
    ) -> Option<Live> {
        let entered = match admitted {
            Ok(admission) => self.enter(&mut attempt, admission, &mut answer).await,
            Err(refusal) => Err(refusal),
        };
        match entered {
            Ok(entered) => {
                let response = upgrade::switching(&attempt.offer, entered.cookie.clone());
                if answer.send(response).is_err() {
                    let session = &entered.seat.session;
                    self.account(&attempt.trail, session, Instant::now(), &End::ViewerGone).await;
                    return None;
                }
                self.greeted(attempt, entered).await
            }
            Err(refusal) => {
                self.refuse(attempt, refusal, answer).await;
                None
            }
        }
    }

    async fn enter(
        &self,
        attempt: &mut Attempt,
        admission: Admission,
        answer: &mut oneshot::Sender<Response<Full<Bytes>>>,
    ) -> Result<Entered, Refusal> {
        let token = attempt.token.take().ok_or(Refusal::Unknown)?;
        let key = token.key();
        debug!(token = self.fingerprints.fingerprint(&key), "token presented");
        attempt.trail.presented(|| self.fingerprints.fingerprint(&key));
        let ticket = Ticket { key, origin: attempt.origin.clone(), visit: attempt.visit.take() };
        tokio::select! {
            biased;
            () = answer.closed() => Err(Refusal::ViewerGone),
            entered = enter(self, &mut attempt.trail, admission, ticket) => entered,
        }
    }

    /// Turns a viewer away: a status for tools, the reason inside the console for browsers.
    async fn refuse(
        &self,
        attempt: Attempt,
        refusal: Refusal,
        answer: oneshot::Sender<Response<Full<Bytes>>>,
    ) {
        info!(cause = refusal.cause(), detail = %refusal, "refused");
        attempt.trail.refused(refusal.cause(), refusal.status());
        // A painted refusal is an unauthenticated connection like any other, and bounded with them.
        let permit = if attempt.origin.is_some() { self.unauthenticated.acquire() } else { None };
        if permit.is_none() {
            let _ = answer.send(upgrade::refused(refusal.status()));
            return;
        }
        if answer.send(upgrade::switching(&attempt.offer, None)).is_ok()
            && let Some((stream, early)) = take_stream(attempt.on_upgrade).await
        {
            let mut viewer = Channel::new(stream, early, true);
            if attempt.offer.control {
                viewer = viewer.controlled();
            }
            refusal.show(viewer, attempt.serial_page).await;
        }
    }

    /// Takes the connection over, and the viewer through the console's greeting.
    async fn greeted(self: Arc<Self>, attempt: Attempt, mut entered: Entered) -> Option<Live> {
        let begun = Instant::now();
        let grant = Arc::clone(&entered.seat.session.grant);
        info!(
            session = %entered.seat.session.id, grant = %grant.id, target = %grant.target,
            protocol = %grant.protocol, project = %grant.project, user = %grant.user, "opened"
        );
        let Some((stream, early)) = take_stream(attempt.on_upgrade).await else {
            self.account(&attempt.trail, &entered.seat.session, begun, &End::ViewerGone).await;
            return None;
        };
        let mut viewer = Channel::new(stream, early, entered.plan.whole_characters);
        let seated = control::sit(&entered.seat, &entered.plan, attempt.offer.control, attempt.seen);
        let (control, hello) = seated.unzip();
        if let Some(hello) = hello {
            viewer = viewer.controlled();
            if let Err(end) = viewer.tell(&hello).await {
                self.account(&attempt.trail, &entered.seat.session, begun, &end).await;
                return None;
            }
        }
        entered.seat.announce();
        let mut filter = None;
        if let Some(outcome) = entered.outcome.take() {
            let early = std::mem::take(&mut entered.early);
            filter = entered.plan.view_only.then(ViewOnly::new);
            let greeting = greet::viewer(&mut viewer, &mut entered.target, (outcome, early), filter.as_mut());
            // A viewer who is asked for a password sits here for minutes; a drain or a successor does not wait. A
            // greeting that is cut short is never taken up again.
            let greeted = tokio::select! {
                biased;
                cause = entered.stop.asked() => Err(cause),
                greeted = greeting => greeted,
            };
            match greeted {
                Ok(greeting) => entered.early = record::greeting(&entered, greeting),
                Err(end) => {
                    // The seat is kept to the last word, for a drain to wait for; the target is not.
                    let Entered { seat, target, recording, .. } = entered;
                    drop(target);
                    if let Some(recording) = recording {
                        recording.finish(end.name());
                    }
                    self.account(&attempt.trail, &seat.session, begun, &end).await;
                    let (code, reason) = end.close();
                    viewer.close(code, &reason).await;
                    return None;
                }
            }
        }
        let (stream, early_viewer, decoder) = viewer.into_parts();
        let Entered { seat, stop, target, early, plan, recording, .. } = entered;
        let counters = Arc::clone(&seat.session.counters);
        let mut pump = Pump::new((stream, early_viewer), (target, early), decoder, &plan, counters);
        if let Some(filter) = filter {
            pump = pump.watching(filter);
        }
        if let Some(recording) = &recording {
            pump = pump.recorded(recording.tape());
        }
        if let Some(control) = control {
            pump = pump.controlled(control);
        }
        let Attempt { trail, load, .. } = attempt;
        Some(Live { proxy: self, seat, begun, pump, stop, trail, recording, _load: load })
    }

    /// The one line every session ends with; and whether its viewer may come back.
    async fn account(&self, trail: &Trail, session: &Session, begun: Instant, end: &End) {
        let down = session.counters.down.load(Ordering::Relaxed);
        let up = session.counters.up.load(Ordering::Relaxed);
        let seconds = begun.elapsed().as_secs();
        info!(session = %session.id, cause = %end, seconds, down, up, "closed");
        trail.closed(session, seconds, (down, up), end);
        self.settle(session, end).await;
    }
}

/// A session from its opening to its end.
async fn attend(opening: Pin<Box<impl Future<Output = Option<Live>>>>) {
    let Some(Live { proxy, seat, begun, pump, stop, trail, recording, _load }) = opening.await else {
        return;
    };
    let end = run(pump, stop).await;
    if let Some(recording) = recording {
        recording.finish(end.name());
    }
    proxy.account(&trail, &seat.session, begun, &end).await;
}

/// The connection, and what hyper had read beyond the request.
async fn take_stream(on_upgrade: OnUpgrade) -> Option<(ViewerStream, Vec<u8>)> {
    let upgraded = timeout(HAND_OVER, on_upgrade).await.ok()?.ok()?;
    let parts = upgraded.downcast::<TokioIo<ViewerStream>>().ok()?;
    Some((parts.io.into_inner(), parts.read_buf.to_vec()))
}
