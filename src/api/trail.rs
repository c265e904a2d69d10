//! What the log says of a request, gathered on its way.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use hyper::StatusCode;

use crate::audit::{Event, Kind};
use crate::auth::Caller;
use crate::config::Dialect;
use crate::ids::{Protocol, RequestId};
use crate::json::{Fields, name};
use crate::log;

use super::issue::{Issued, Via};
use super::{Call, Core, cause};

/// One request's part in the log.
pub(super) struct Trail<'a> {
    pub(super) request: RequestId,
    /// Its text, made once for log and headers.
    id: &'a str,
    /// Where it came from.
    pub(super) source: Option<IpAddr>,
    pub(super) dialect: Dialect,
    /// The route's template: never a path, which holds ids and may hold a token.
    pub(super) route: &'static str,
    pub(super) caller: Option<Arc<Caller>>,
    pub(super) target: Option<&'a str>,
    pub(super) protocol: Option<Protocol>,
    /// The grant, and the token's fingerprint.
    issued: Option<(crate::ids::GrantId, String)>,
}

impl<'a> Trail<'a> {
    pub(super) fn new((call, id): (&Call, &'a str), dialect: Dialect, route: &'static str) -> Self {
        let (request, source) = (call.request, call.source);
        Self { request, id, source, dialect, route, caller: None, target: None, protocol: None, issued: None }
    }

    /// Which way the request came.
    pub(super) fn via(&self) -> Via {
        Via { dialect: Some(self.dialect), source: self.source }
    }

    /// A console was issued; its URL.
    pub(super) fn issued(&mut self, issued: Issued) -> String {
        self.issued = Some((issued.grant, issued.fingerprint));
        issued.url
    }

    /// One line a decision: a console issued, a request refused. Neither path nor query, for both may hold a
    /// token; names that callers chose are escaped.
    pub(super) fn log(&self, core: &Core, refused: Option<(StatusCode, &'static str)>) {
        let user = self.caller.as_ref().map(|caller| caller.user.as_str());
        let project = self.caller.as_ref().map(|caller| caller.project.as_str());
        let (request, route, target) = (self.id, self.route, self.target);
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
                static ON: LazyLock<bool> = LazyLock::new(|| tracing::enabled!(tracing::Level::INFO));
                if !log::line(&ON, module_path!(), "console issued", |line| self.fields(line)) {
                    // The same as `Trail::fields` says; a test holds one to the other.
                    tracing::info!(
                        %request, dialect, route, target, project, user, protocol, %grant, token,
                        cause = "requested", "console issued"
                    );
                }
            }
            (None, None) => tracing::debug!(%request, dialect, route, project, user, "request answered"),
        }
    }

    /// The fields of the line that a console was issued.
    fn fields(&self, line: &mut Fields<'_>) {
        let caller = self.caller.as_ref();
        line.word(name!("request"), Some(self.id));
        line.word(name!("dialect"), Some(self.dialect.as_str()));
        line.word(name!("route"), Some(self.route));
        line.text(name!("target"), self.target);
        line.text(name!("project"), caller.map(|caller| caller.project.as_str()));
        line.text(name!("user"), caller.map(|caller| caller.user.as_str()));
        line.word(name!("protocol"), self.protocol.map(Protocol::as_str));
        line.uuid(name!("grant"), "", self.issued.as_ref().map(|(grant, _)| grant.0));
        line.word(name!("token"), self.issued.as_ref().map(|(_, token)| token.as_str()));
        line.word(name!("cause"), Some("requested"));
    }

    fn refusal(&self, status: u16, cause: &'static str) -> Event<'_> {
        Event {
            target: self.target.map(Into::into),
            protocol: self.protocol,
            status: Some(status),
            cause: Some(cause),
            ..self.event(Kind::Refuse)
        }
    }

    /// Who asked, and from where, for the audit log.
    pub(super) fn event(&self, kind: Kind) -> Event<'_> {
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::testing::Fixture;
    use super::*;
    use crate::auth::policy;
    use crate::ids::GrantId;
    use crate::log::json::tests::{direct, logged};

    #[test]
    fn both_ways_to_the_log_say_the_same_byte_for_byte() {
        let fixture = Fixture::new();
        let request = RequestId(Uuid::from_u128(1));
        let id = request.to_string();
        let mut trail = Trail {
            request,
            id: &id,
            source: None,
            dialect: Dialect::Otc,
            route: "/v2.1/servers/{id}/action",
            caller: None,
            target: None,
            protocol: None,
            issued: Some((GrantId(Uuid::from_u128(2)), "0011223344556677".to_owned())),
        };
        let check = |trail: &Trail<'_>| {
            let rest = |text: String| text.split_once("Z\",").map(|(_, rest)| rest.to_owned());
            let traced = rest(logged(|| trail.log(&fixture.api.core, None)));
            let module = module_path!().trim_end_matches("::tests");
            let written = rest(direct(module, "console issued", |line| trail.fields(line)));
            assert!(traced.as_ref().is_some_and(|line| line.contains("\"token\":\"0011")), "{traced:?}");
            assert_eq!(traced, written);
        };
        check(&trail);
        let odd = "a\"b\\\u{1b}[2J\u{7f}\u{9b}\u{8}\n\u{20ac}";
        trail.caller = Some(policy::tests::caller(odd, odd));
        (trail.target, trail.protocol) = (Some(odd), Some(Protocol::Serial));
        check(&trail);
    }
}
