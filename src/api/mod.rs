//! The issuer: what all dialects share. A dialect is a file: which paths are its own, and how it answers.
//!
//! ```text
//! request -> dialect (path) -> auth (who) -> server (what, in which state) -> issue (grant, token, URL)
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper::{HeaderMap, Method, Request, Response, Uri};
use tokio::time::timeout;

use crate::audit::Audit;
use crate::auth::Authenticator;
use crate::clock::Clock;
use crate::config::{Config, Dialect, Record, Target, Tokens, Urls};
use crate::ids::{Protocol, RequestId, TargetId, UserId};
use crate::metrics::Metrics;
use crate::targets::Inventory;
use crate::tokens::{Fingerprinter, Live, Options, Revoker, Store};

mod answer;
mod body;
mod cause;
mod huawei;
mod huawei_bms;
mod huawei_clouddc;
mod huawei_ecs;
mod identity;
mod issue;
mod native;
mod openapi;
mod openstack;
mod trail;
mod url;

#[cfg(test)]
mod testing;

pub use cause::{CAUSES, Cause};
pub use issue::IssueError;

use issue::{Ask, By, Pace, Via};
use url::{Public, Template};

/// The largest body read: the largest request of any dialect is far below 1 KiB.
const MAX_BODY: usize = 64 * 1024;

/// How long a client may take to send its body.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// The issuer's API, all dialects that are switched on.
pub struct Api {
    core: Core,
    document: openapi::Document,
    /// Those that are switched on.
    dialects: Vec<&'static DialectEntry>,
}

/// What the dialects work with.
struct Core {
    settings: Settings,
    inventory: Arc<Inventory>,
    store: Arc<dyn Store>,
    fingerprinter: Fingerprinter,
    authenticator: Authenticator,
    pace: Pace,
    clock: Clock,
    revoker: Revoker,
    audit: Audit,
    metrics: Metrics,
}

impl Core {
    /// Whether a session with these options will be recorded, as things stand now.
    fn recorded(&self, target: &Target, protocol: Protocol, options: &Options) -> Record {
        match self.settings.record {
            Some(default) if matches!(protocol, Protocol::Serial | Protocol::Vnc) => {
                target.record.unwrap_or(default).max(options.record)
            }
            _ => Record::Off,
        }
    }
}

/// Where a request to the admin listener came from: put into its extensions by whoever accepted it.
#[derive(Clone, Copy, Debug)]
pub struct Source(pub IpAddr);

/// The part of the configuration that concerns the issuer.
#[derive(Clone, Debug)]
struct Settings {
    dialects: BTreeSet<Dialect>,
    lifetimes: BTreeMap<Dialect, Duration>,
    tokens: Tokens,
    /// Most unspent tokens of one target; 0 means no cap.
    outstanding: usize,
    urls: Urls<Template>,
    public: Public,
    /// For links, where a request names no usable host.
    listen: SocketAddr,
    tls: bool,
    /// For targets that say nothing; `None`: nothing can be recorded.
    record: Option<Record>,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        Self {
            dialects: config.dialects.clone(),
            lifetimes: config.lifetimes.clone(),
            tokens: config.tokens.clone(),
            outstanding: config.limits.outstanding_per_target,
            urls: config.urls.map(|template| template.into()),
            public: Public::new(&config.proxy),
            listen: config.listen.api,
            tls: config.tls.is_some(),
            record: config.recording.as_ref().map(|recording| recording.record),
        }
    }
}

/// One request, but for its body.
struct Call {
    request: RequestId,
    source: Option<IpAddr>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

/// A request's body. It is read once.
enum Payload {
    /// There is none, or it was read.
    Here(Result<Bytes, BodyError>),
    /// Still on the wire.
    Coming(Pin<Box<dyn Future<Output = Result<Bytes, BodyError>> + Send>>),
}

impl Payload {
    fn new<B: Body<Data = Bytes> + Send + 'static>(body: B) -> Self {
        match body.is_end_stream() {
            true => Self::Here(Ok(Bytes::new())),
            false => Self::Coming(Box::pin(read(body))),
        }
    }

    async fn read(&mut self) -> Result<Bytes, BodyError> {
        match self {
            Self::Here(read) => read.clone(),
            Self::Coming(body) => body.await,
        }
    }
}

impl Call {
    /// As it was sent, still encoded.
    fn path(&self) -> &str {
        self.uri.path()
    }

    /// What follows the question mark, still encoded; empty if nothing does.
    fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }
}

/// Why a body could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum BodyError {
    #[error("the body is larger than {MAX_BODY} bytes")]
    TooLarge,
    #[error("the body did not arrive within {} seconds", BODY_DEADLINE.as_secs())]
    TooSlow,
    #[error("the body ended early")]
    Broken,
}

/// An answer in the making.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send + 'a>>;

/// A way to ask for consoles, or several that share their paths.
struct DialectEntry {
    /// Serving any of these switches it on.
    dialects: &'static [Dialect],
    /// Whether a path with this query is one of its own.
    owns: fn(path: &str, query: &str) -> bool,
    /// Call and body stay where the answer's own block has caught them: an async function would move its arguments once
    /// more, and have room for both places.
    answer: for<'a> fn(&'a Core, Call, Payload) -> Answer<'a>,
}

/// All there are. The first that is switched on and owns the path answers.
static DIALECTS: &[DialectEntry] = &[
    DialectEntry {
        dialects: &[Dialect::Openstack, Dialect::Otc],
        owns: openstack::owns,
        answer: |core, call, mut body| {
            Box::pin(async move { openstack::handle(core, &call, &mut body).await })
        },
    },
    DialectEntry {
        dialects: &[Dialect::HuaweiBms],
        owns: |path, _| huawei_bms::CONSOLE.owns(path),
        answer: |core, call, mut body| {
            Box::pin(async move { huawei::handle(core, &call, &mut body, Some(&huawei_bms::CONSOLE)).await })
        },
    },
    DialectEntry {
        dialects: &[Dialect::HuaweiClouddc],
        owns: |path, _| huawei_clouddc::CONSOLE.owns(path),
        answer: |core, call, mut body| {
            Box::pin(
                async move { huawei::handle(core, &call, &mut body, Some(&huawei_clouddc::CONSOLE)).await },
            )
        },
    },
    DialectEntry {
        dialects: &[Dialect::HuaweiEcs],
        owns: |path, _| huawei_ecs::CONSOLE.owns(path),
        answer: |core, call, mut body| {
            Box::pin(async move { huawei::handle(core, &call, &mut body, Some(&huawei_ecs::CONSOLE)).await })
        },
    },
    DialectEntry {
        dialects: &[Dialect::HuaweiBms, Dialect::HuaweiClouddc, Dialect::HuaweiEcs],
        owns: |path, _| huawei::owns(path),
        answer: |core, call, mut body| {
            Box::pin(async move { huawei::handle(core, &call, &mut body, None).await })
        },
    },
    DialectEntry {
        dialects: &[Dialect::Native],
        owns: native::owns,
        answer: |core, call, mut body| Box::pin(async move { native::handle(core, &call, &mut body).await }),
    },
];

impl Api {
    /// An API over these parts; limits go by `clock`, and `live` has the sessions that a revocation ends.
    pub fn new(
        config: &Config,
        inventory: Arc<Inventory>,
        store: Arc<dyn Store>,
        fingerprinter: Fingerprinter,
        authenticator: Authenticator,
        clock: Clock,
        live: Arc<dyn Live>,
    ) -> Self {
        let settings = Settings::from(config);
        let pace = Pace::new(config.limits.issue_per_second);
        let revoker = Revoker::new(Arc::clone(&store), live);
        let (audit, metrics) = (Audit::default(), Metrics::default());
        Self::over(Core {
            settings,
            inventory,
            store,
            fingerprinter,
            authenticator,
            pace,
            clock,
            revoker,
            audit,
            metrics,
        })
    }

    /// The same with its decisions written down and counted.
    #[must_use]
    pub fn observed(mut self, audit: Audit, metrics: Metrics) -> Self {
        (self.core.audit, self.core.metrics) = (audit, metrics);
        self
    }

    fn over(core: Core) -> Self {
        let document = openapi::Document::new(|dialect| core.serves(dialect));
        let on = |entry: &&DialectEntry| entry.dialects.iter().any(|dialect| core.serves(*dialect));
        let dialects = DIALECTS.iter().filter(on).collect();
        Self { core, document, dialects }
    }

    /// Answers a request, or `None` if no dialect that is switched on knows the path. The body is read only
    /// once the caller is known (or, of a signed request, is said to be known), at most 64 KiB, within 10 seconds.
    ///
    /// `source` is where it came from.
    pub fn handle<B>(&self, source: Option<IpAddr>, request: Request<B>) -> Option<Answer<'_>>
    where
        B: Body<Data = Bytes> + Send + 'static,
    {
        let (head, body) = request.into_parts();
        let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
        if let Some(answer) = self.document.respond(&head.method, path) {
            return Some(Box::pin(std::future::ready(answer)));
        }
        let entry = self.dialects.iter().find(|entry| (entry.owns)(path, query))?;
        let call = Call {
            request: RequestId::random(),
            source,
            method: head.method,
            uri: head.uri,
            headers: head.headers,
        };
        Some((entry.answer)(&self.core, call, Payload::new(body)))
    }

    /// A console URL for the operator of this process, who needs no credential: the noVNC page or the serial
    /// page. `ttl` of `None` is the configured lifetime. The limits on callers do not hold here.
    ///
    /// # Errors
    /// As [`IssueError`] says.
    pub async fn issue(
        &self,
        target: &TargetId,
        protocol: Protocol,
        user: &UserId,
        ttl: Option<Duration>,
    ) -> Result<String, IssueError> {
        let template = page_template(&self.core.settings.urls, protocol);
        let entry = self.core.inventory.find(target).ok_or(IssueError::Unknown)?;
        let template = template.ok_or(IssueError::NoConsole(protocol))?;
        let request = RequestId::random();
        let by = By::Operator(user);
        let options = Options::default();
        let via = Via { dialect: None, source: None };
        let ask = Ask { request, entry: &entry, protocol, by, via, ttl, options, template };
        let issued = self.core.issue(&ask).await?;
        tracing::info!(
            %request,
            target = ?target.as_str(),
            project = ?entry.target.project.as_str(),
            user = ?user.as_str(),
            %protocol,
            grant = %issued.grant,
            token = issued.fingerprint,
            cause = "operator",
            "console issued"
        );
        Ok(issued.url)
    }
}

/// The URL of a page that shows the console, for those whom no dialect's form binds.
fn page_template(urls: &Urls<Template>, protocol: Protocol) -> Option<&Template> {
    match protocol {
        Protocol::Vnc => Some(&urls.openstack_novnc),
        Protocol::Serial => Some(&urls.otc_serial),
        Protocol::Spice => urls.openstack_spice.as_ref(),
        Protocol::Mks => urls.openstack_mks.as_ref(),
    }
}

impl Core {
    fn serves(&self, dialect: Dialect) -> bool {
        self.settings.dialects.contains(&dialect)
    }
}

/// Reads a body whole, with a cap and a deadline.
async fn read<B: Body<Data = Bytes>>(body: B) -> Result<Bytes, BodyError> {
    let mut collected = pin!(collect(body));
    // Most bodies come with their heads, and are handed over when the connection is looked at again, which is at
    // once: only those that are not get a timer.
    let mut looked = false;
    let early = poll_fn(|cx| match collected.as_mut().poll(cx) {
        Poll::Ready(read) => Poll::Ready(Some(read)),
        Poll::Pending if looked => Poll::Ready(None),
        Poll::Pending => {
            looked = true;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    });
    match early.await {
        Some(read) => read,
        None => timeout(BODY_DEADLINE, collected).await.unwrap_or(Err(BodyError::TooSlow)),
    }
}

async fn collect<B: Body<Data = Bytes>>(body: B) -> Result<Bytes, BodyError> {
    let mut body = pin!(body);
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
        if bytes.len() + data.len() > MAX_BODY {
            return Err(BodyError::TooLarge);
        }
        if bytes.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}
