//! The one way to a console URL, whatever the dialect: check the server, make a grant, keep it, fill the URL.

use std::net::IpAddr;
use std::time::Duration;

use crate::audit::{self, Event, Slot};
use crate::auth::Caller;
use crate::config::{Dialect, Kind, State, Target, Tokens};
use crate::ids::{GrantId, ProjectId, Protocol, RequestId, UserId};
use crate::limits::Rate;
use crate::targets::Entry;
use crate::tokens::{Grant, Options, StoreError, Token, TokenError, TokenKey};

use super::Core;
use super::url::Template;

/// A generator that repeats itself so often is broken; more tries would not help.
const TRIES: usize = 3;

/// `Retry-After` where a target has its fill of unspent tokens: the time a person takes to open one of them.
pub(super) const OUTSTANDING_RETRY: u32 = 30;

/// Why there is no URL.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// No server of that id.
    #[error("no such server")]
    Unknown,
    /// The server is building, being deleted, on its way to another host, or a stopped virtual machine.
    #[error("the server is not ready for a console")]
    NotReady,
    /// The server has no console of that protocol.
    #[error("the server has no {0} console")]
    NoConsole(Protocol),
    /// The lifetime asked for is zero or above the configured maximum.
    #[error("the lifetime must be above zero and at most {}", humantime::format_duration(*.0))]
    Lifetime(Duration),
    /// The caller asks too fast; seconds until it may again.
    #[error("too many console URLs at once; try again in {0} s")]
    TooFast(u32),
    /// The store did not take the token.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No token could be made.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The decision could not be written down.
    #[error(transparent)]
    Audit(#[from] audit::Unavailable),
}

/// Who asks.
#[derive(Clone, Copy)]
pub(super) enum By<'a> {
    /// Somebody by an API, within the limits.
    Caller(&'a Caller),
    /// The operator of this process, without any.
    Operator(&'a UserId),
}

/// Which way it was asked.
#[derive(Clone, Copy)]
pub(super) struct Via {
    /// None by the operator of this process.
    pub(super) dialect: Option<Dialect>,
    pub(super) source: Option<IpAddr>,
}

impl Via {
    fn name(self) -> &'static str {
        self.dialect.map_or("operator", Dialect::as_str)
    }
}

/// The pace of each caller: of a user on behalf of a project.
pub(super) type Pace = Rate<(UserId, ProjectId)>;

/// One console asked for, by somebody who may have it.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) request: RequestId,
    pub(super) entry: &'a Entry,
    pub(super) protocol: Protocol,
    pub(super) by: By<'a>,
    pub(super) via: Via,
    /// Lifetime of the token; the configured one if not given.
    pub(super) ttl: Option<Duration>,
    /// What narrows the grant.
    pub(super) options: Options,
    /// The URL's template.
    pub(super) template: &'a Template,
}

/// A console granted. No `Debug`: the URL is a bearer secret.
pub(super) struct Issued {
    pub(super) url: String,
    pub(super) grant: GrantId,
    /// The token's name in logs.
    pub(super) fingerprint: String,
}

impl Core {
    /// Makes a token for the console and keeps its grant.
    pub(super) async fn issue(&self, ask: &Ask<'_>) -> Result<Issued, IssueError> {
        let target = &ask.entry.target;
        if !is_ready(target) {
            return Err(IssueError::NotReady);
        }
        if target.endpoint(ask.protocol).is_none() {
            return Err(IssueError::NoConsole(ask.protocol));
        }
        let Tokens { ttl, max_ttl, .. } = self.settings.tokens;
        let ttl = ask.ttl.unwrap_or(ttl);
        if ttl.is_zero() || ttl > max_ttl {
            return Err(IssueError::Lifetime(max_ttl));
        }
        let most = match ask.by {
            By::Caller(caller) => {
                self.keep_pace(caller)?;
                self.settings.outstanding
            }
            By::Operator(_) => 0,
        };
        let slot = self.audit.reserve()?;
        let grant = GrantId::random();
        let (token, key) = self.keep(ask, grant, ttl, most).await?;
        let issued = Issued {
            url: self.settings.public.fill(ask.template, &token, target),
            grant,
            fingerprint: self.fingerprinter.fingerprint(&key),
        };
        self.metrics.issued(ask.via.dialect, ask.protocol);
        write_down(slot, ask, &issued, ttl);
        Ok(issued)
    }

    fn keep_pace(&self, caller: &Caller) -> Result<(), IssueError> {
        if self.pace.is_free() {
            return Ok(());
        }
        let key = (caller.user.clone(), caller.project.clone());
        self.pace.take(&key, self.clock.now()).map_err(|wait| {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            IssueError::TooFast(u32::try_from(seconds).unwrap_or(u32::MAX))
        })
    }

    async fn keep(
        &self,
        ask: &Ask<'_>,
        id: GrantId,
        ttl: Duration,
        most: usize,
    ) -> Result<(Token, TokenKey), IssueError> {
        let mut tries = TRIES;
        loop {
            let token = Token::generate(self.settings.tokens.format)?;
            let key = token.key();
            tries -= 1;
            match self.store.create(key, ask.grant(id), ttl, most).await {
                Err(StoreError::Exists) if tries > 0 => {}
                kept => return Ok(kept.map(|()| (token, key))?),
            }
        }
    }
}

impl Ask<'_> {
    fn user(&self) -> &UserId {
        match self.by {
            By::Caller(caller) => &caller.user,
            By::Operator(user) => user,
        }
    }

    fn grant(&self, id: GrantId) -> Grant {
        let target = &self.entry.target;
        Grant {
            id,
            request: self.request,
            target: target.id.clone(),
            generation: self.entry.generation,
            protocol: self.protocol,
            project: target.project.clone(),
            user: self.user().clone(),
            options: self.options,
        }
    }
}

fn write_down(slot: Slot<'_>, ask: &Ask<'_>, issued: &Issued, ttl: Duration) {
    let target = &ask.entry.target;
    slot.record(|| Event {
        request: Some(ask.request),
        source: ask.via.source,
        via: Some(ask.via.name()),
        user: Some(ask.user().as_str().into()),
        project: Some(target.project.as_str().into()),
        target: Some(target.id.as_str().into()),
        protocol: Some(ask.protocol),
        grant: Some(issued.grant),
        token: Some(issued.fingerprint.as_str().into()),
        seconds: Some(ttl.as_secs()),
        ..Event::new(audit::Kind::Issue)
    });
}

/// Whether a console of the server may be opened now. A stopped physical server keeps its console: watching
/// power-on is what it is for.
fn is_ready(target: &Target) -> bool {
    match target.state {
        State::Active => true,
        State::Stopped => target.kind == Kind::Baremetal,
        State::Building | State::Deleting | State::Migrating => false,
    }
}
