//! What the log says of a request, gathered on its way.

use std::net::IpAddr;

use hyper::StatusCode;

use crate::audit::{Event, Kind};
use crate::auth::Caller;
use crate::config::Dialect;
use crate::ids::{Protocol, RequestId};

use super::issue::{Issued, Via};
use super::{Call, Core, cause};

/// One request's part in the log.
pub(super) struct Trail {
    pub(super) request: RequestId,
    /// Where it came from.
    pub(super) source: Option<IpAddr>,
    pub(super) dialect: Dialect,
    /// The route's template: never a path, which holds ids and may hold a token.
    pub(super) route: &'static str,
    pub(super) caller: Option<Caller>,
    pub(super) target: Option<String>,
    pub(super) protocol: Option<Protocol>,
    /// The grant, and the token's fingerprint.
    issued: Option<(crate::ids::GrantId, String)>,
}

impl Trail {
    pub(super) fn new(call: &Call, dialect: Dialect, route: &'static str) -> Self {
        let (request, source) = (call.request, call.source);
        Self { request, source, dialect, route, caller: None, target: None, protocol: None, issued: None }
    }

    /// Which way the request came.
    pub(super) fn via(&self) -> Via {
        Via { dialect: Some(self.dialect), source: self.source }
    }

    /// A console was issued.
    pub(super) fn issued(&mut self, issued: &Issued) {
        self.issued = Some((issued.grant, issued.fingerprint.clone()));
    }

    /// One line a decision: a console issued, a request refused. Neither path nor query, for both may hold a
    /// token; names that callers chose are escaped.
    pub(super) fn log(&self, core: &Core, refused: Option<(StatusCode, &'static str)>) {
        let user = self.caller.as_ref().map(|caller| caller.user.as_str());
        let project = self.caller.as_ref().map(|caller| caller.project.as_str());
        let (request, route, target) = (&self.request, self.route, self.target.as_deref());
        let (dialect, protocol) = (self.dialect.as_str(), self.protocol.map(Protocol::as_str));
        match (refused, &self.issued) {
            // Clients look a name up as if it were an id first: no refusal worth a line.
            (Some((_, "no-server")), _) if target.is_none() => {
                tracing::debug!(%request, dialect, route, project, user, "no such server");
            }
            (Some((status, cause)), _) => {
                debug_assert!(cause::is_documented(cause, status), "{cause} {status} is not in the table");
                let (status, code) = (status.as_u16(), cause::code(cause));
                tracing::info!(
                    %request, dialect, route, target, project, user, protocol, status, cause, code,
                    "request refused"
                );
                core.metrics.refused(dialect, cause);
                core.audit.record(|| self.refusal(status, cause));
            }
            (None, Some((grant, token))) => {
                tracing::info!(
                    %request, dialect, route, target, project, user, protocol, %grant, token,
                    cause = "requested", "console issued"
                );
            }
            (None, None) => tracing::debug!(%request, dialect, route, project, user, "request answered"),
        }
    }
    fn refusal(&self, status: u16, cause: &'static str) -> Event {
        Event {
            target: self.target.as_deref().map(Into::into),
            protocol: self.protocol,
            status: Some(status),
            cause: Some(cause),
            ..self.event(Kind::Refuse)
        }
    }

    /// Who asked, and from where, for the audit log.
    pub(super) fn event(&self, kind: Kind) -> Event {
        Event {
            request: Some(self.request),
            source: self.source,
            via: Some(self.dialect.as_str()),
            user: self.caller.as_ref().map(|caller| caller.user.as_str().into()),
            project: self.caller.as_ref().map(|caller| caller.project.as_str().into()),
            ..Event::new(kind)
        }
    }
}
