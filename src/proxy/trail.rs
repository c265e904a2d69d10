//! What is written down and counted of one viewer, from its request to its session's end.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::audit::{Audit, Event, Kind, Slot};
use crate::ids::RequestId;
use crate::metrics::{Metrics, Phase};
use crate::relay::End;
use crate::tokens::Grant;

use super::refusal::Refusal;
use super::session::Session;

/// One viewer's lines in the audit log, and its part in the metrics.
#[derive(Clone, Debug)]
pub(super) struct Trail {
    audit: Audit,
    metrics: Metrics,
    begun: Instant,
    request: RequestId,
    source: IpAddr,
    /// The token's fingerprint, once one was presented.
    token: Option<String>,
    /// What it permits, once it was claimed.
    grant: Option<Arc<Grant>>,
}

/// Room for the lines that a console is opened with.
pub(super) struct Reserved {
    claim: Slot<'static>,
    open: Slot<'static>,
}

impl Trail {
    pub(super) fn new(audit: &Audit, metrics: &Metrics, request: RequestId, source: IpAddr) -> Self {
        let (audit, metrics, begun) = (audit.clone(), metrics.clone(), Instant::now());
        Self { audit, metrics, begun, request, source, token: None, grant: None }
    }

    /// Does a part of the set-up, and counts how long it took.
    pub(super) async fn timed<T>(&self, phase: Phase, work: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let done = work.await;
        self.metrics.phase(phase, begun.elapsed());
        done
    }

    /// A token came with the request; the fingerprint is made only if it is written anywhere.
    pub(super) fn presented(&mut self, fingerprint: impl FnOnce() -> String) {
        self.token = self.audit.is_on().then(fingerprint);
    }

    /// Room for what a console is opened with, before its token is touched.
    pub(super) fn reserve(&self) -> Result<Reserved, Refusal> {
        let room = || self.audit.reserve().map(Slot::into_owned).map_err(|_| Refusal::Audit);
        Ok(Reserved { claim: room()?, open: room()? })
    }

    /// The token is this viewer's, for now. Gives back the room for the console's opening.
    pub(super) fn claimed(&mut self, reserved: Reserved, grant: &Arc<Grant>) -> Slot<'static> {
        self.goes_back_to(grant);
        reserved.claim.record(|| self.event(Kind::Claim));
        reserved.open
    }

    /// The viewer who spent the token is back. Gives back the room for the console's opening.
    pub(super) fn resumed(&mut self, reserved: Reserved, grant: &Arc<Grant>) -> Slot<'static> {
        self.goes_back_to(grant);
        reserved.claim.record(|| self.event(Kind::Resume));
        reserved.open
    }

    /// A further channel of the viewer who has spent the token: nothing is claimed. Gives back the room for its
    /// opening.
    pub(super) fn joined(&mut self, reserved: Reserved, grant: &Arc<Grant>) -> Slot<'static> {
        self.goes_back_to(grant);
        reserved.open
    }

    /// From here on every line of this viewer also names the API request that it goes back to.
    fn goes_back_to(&mut self, grant: &Arc<Grant>) {
        self.grant = Some(Arc::clone(grant));
        tracing::Span::current().record("issued_by", tracing::field::display(grant.request));
    }

    /// The token is spent and the console open.
    pub(super) fn opened(&self, slot: Slot<'_>, session: &Session) {
        slot.record(|| Event { session: Some(session.id), ..self.event(Kind::Open) });
        self.metrics.opened(session.grant.protocol);
        self.metrics.phase(Phase::Total, self.begun.elapsed());
    }

    /// The viewer was turned away, by a word for why and the status that tools get.
    pub(super) fn refused(&self, cause: &'static str, status: http::StatusCode) {
        self.metrics.refused("proxy", cause);
        let (cause, status) = (Some(cause), Some(status.as_u16()));
        self.audit.record(|| Event { cause, status, ..self.event(Kind::Refuse) });
    }

    /// The session is over.
    pub(super) fn closed(&self, session: &Session, seconds: u64, (down, up): (u64, u64), end: &End) {
        self.metrics.closed(session.grant.protocol, end.name());
        self.audit.record(|| Event {
            session: Some(session.id),
            cause: Some(end.name()),
            seconds: Some(seconds),
            bytes_to_viewer: Some(down),
            bytes_to_target: Some(up),
            ..self.event(Kind::Close)
        });
    }

    fn event(&self, kind: Kind) -> Event<'_> {
        let grant = self.grant.as_ref();
        Event {
            request: Some(self.request),
            issued_by: grant.map(|grant| grant.request),
            source: Some(self.source),
            via: Some("proxy"),
            user: grant.map(|grant| grant.user.as_str().into()),
            project: grant.map(|grant| grant.project.as_str().into()),
            target: grant.map(|grant| grant.target.as_str().into()),
            protocol: grant.map(|grant| grant.protocol),
            grant: grant.map(|grant| grant.id),
            token: self.token.as_deref().map(Into::into),
            ..Event::new(kind)
        }
    }
}
