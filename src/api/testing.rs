//! What the tests of all dialects share: settings, servers, callers, and one call at a time.

use std::collections::BTreeMap;
use std::io::Write;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::{Body, Frame};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::audit::Audit;
use crate::auth::Authenticator;
use crate::clock::Clock;
use crate::config::{
    Config, Endpoint, FixedToken, Host, Kind, Os, Proxy, SerialHub, State, Target, TokenFormat, TokenStore,
    Tokens, Urls, Viewers, VncSecurity,
};
use crate::metrics::Metrics;
use crate::targets::Inventory;
use crate::tokens::{
    Fingerprinter, Grant, Live, MemoryStore, Revoke, Revoker, StoreFuture, Token, TokenKey, Why,
};

use super::issue::Pace;
use super::url::Public;
use super::{Api, Core, Settings};

/// The caller's project.
pub(super) const PROJECT: &str = "9c53a566cb3443ab910cf0daebca90c4";
/// Somebody else's.
pub(super) const OTHER: &str = "0123456789abcdef0123456789abcdef";

/// A proxy that browsers reach at this URL.
pub(super) fn proxy(public_url: &str) -> Proxy {
    Proxy { public_url: public_url.to_owned(), ..Config::default_local().unwrap().proxy }
}

pub(super) fn settings() -> Settings {
    Settings {
        dialects: Config::default_local().unwrap().dialects,
        lifetimes: BTreeMap::new(),
        outstanding: 0,
        record: None,
        tokens: Tokens {
            store: TokenStore::Memory,
            ttl: Duration::from_secs(600),
            max_ttl: Duration::from_secs(3600),
            format: TokenFormat::Uuid,
            capacity: 1000,
            enforce: false,
            resume: None,
        },
        urls: Urls {
            openstack_novnc: "{public_url}/vnc_lite.html?path=%3Ftoken%3D{token}".into(),
            openstack_serial: "{public_ws_url}/?token={token}".into(),
            otc_serial: "{public_url}/?token={token}".into(),
            huawei_bms_serial: "{public_url}/serial/{zone}.{region}/?token={token}".into(),
            huawei_clouddc_vnc: "{public_url}/vnc/{zone}.{region}/vnc_auto.html?token={token}".into(),
            huawei_ecs_vnc: "{public_url}/vnc_auto.html?token={token}&lang=EN&tLength=70".into(),
            openstack_spice: None,
            openstack_spice_direct: None,
            openstack_mks: None,
        },
        public: Public::new(&proxy("http://127.0.0.1:6080")),
        listen: "127.0.0.1:8774".parse().unwrap(),
        tls: false,
    }
}

/// An active virtual machine with both consoles.
pub(super) fn target(id: &str, project: &str) -> Target {
    Target {
        id: id.into(),
        name: format!("name-of-{id}"),
        project: project.into(),
        kind: Kind::Vm,
        state: State::Active,
        os: Os::Linux,
        zone: "az1".into(),
        region: "region-01".into(),
        vnc: Some(Endpoint::Tcp(Host::Ip([127, 0, 0, 1].into()), 5901)),
        serial: Some(Endpoint::Tcp(Host::Name("host.example.org".into()), 4444)),
        spice: None,
        mks: None,
        vnc_viewers: Viewers::Share,
        serial_viewers: Viewers::Deny,
        serial_reconnect: None,
        serial_hub: SerialHub::default(),
        vnc_view_only: false,
        record: None,
        vnc_security: VncSecurity::default(),
    }
}

/// The servers of most tests; those of `PROJECT` unless said otherwise.
fn targets() -> Vec<Target> {
    let own = |id| target(id, PROJECT);
    vec![
        own("vm"),
        Target { kind: Kind::Baremetal, ..own("bm") },
        target("foreign", OTHER),
        Target { state: State::Building, ..own("building") },
        Target { state: State::Deleting, ..own("deleting") },
        Target { state: State::Migrating, ..own("migrating") },
        Target { state: State::Stopped, ..own("stopped") },
        Target { state: State::Stopped, kind: Kind::Baremetal, ..own("stopped-bm") },
        Target { vnc: None, ..own("no-vnc") },
        Target { serial: Some(Endpoint::Unix("/run/serial.sock".into())), vnc: None, ..own("unix") },
        Target {
            spice: Some(Endpoint::Tcp(Host::Ip([127, 0, 0, 1].into()), 5930)),
            mks: Some(Endpoint::Unix("/run/mks.sock".into())),
            ..own("many")
        },
        Target { state: State::Building, vnc: None, serial: None, ..own("building-bare") },
    ]
}

/// `X-Auth-Token`s by what they may: `member` and `reader` of [`PROJECT`], `admin` there, `stranger` elsewhere.
fn credentials() -> Vec<FixedToken> {
    let token = |name: &str, project: &str, role: &str| FixedToken {
        sha256: Sha256::digest(name.as_bytes()).into(),
        user: name.into(),
        project: project.into(),
        roles: vec![role.to_owned()],
    };
    vec![
        token("member", PROJECT, "member"),
        token("colleague", PROJECT, "member"),
        token("reader", PROJECT, "reader"),
        token("admin", PROJECT, "admin"),
        token("stranger", OTHER, "member"),
    ]
}

/// Sessions without a proxy: what was opened with which token.
#[derive(Default)]
pub(super) struct Sessions(pub(super) Mutex<Vec<(TokenKey, Arc<Grant>)>>);

impl Live for Sessions {
    fn holder(&self, key: &TokenKey) -> StoreFuture<'_, Option<Arc<Grant>>> {
        let open = self.0.lock().unwrap();
        let found = open.iter().find(|(known, _)| known == key).map(|(_, grant)| grant.clone());
        StoreFuture::here(Ok(found))
    }

    fn end(&self, which: &Revoke, _why: Why) -> StoreFuture<'_, usize> {
        let mut open = self.0.lock().unwrap();
        let before = open.len();
        open.retain(|(key, grant)| !which.names(key, grant));
        StoreFuture::here(Ok(before - open.len()))
    }
}

/// An API of the usual servers and callers.
pub(super) struct Fixture {
    pub(super) api: Api,
    pub(super) clock: Clock,
    pub(super) inventory: Arc<Inventory>,
    pub(super) store: Arc<MemoryStore>,
    pub(super) sessions: Arc<Sessions>,
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self::with(settings())
    }

    pub(super) fn with(settings: Settings) -> Self {
        let clock = Clock::manual();
        let store = Arc::new(MemoryStore::new(clock.clone(), settings.tokens.capacity));
        let inventory = Arc::new(Inventory::new(targets()));
        let sessions = Arc::<Sessions>::default();
        let core = Core {
            settings,
            inventory: inventory.clone(),
            store: store.clone(),
            fingerprinter: Fingerprinter::random().unwrap(),
            authenticator: Authenticator::with_tokens(credentials()).unwrap(),
            pace: Pace::new(0),
            clock: clock.clone(),
            revoker: Revoker::new(store.clone(), sessions.clone()),
            audit: Audit::default(),
            metrics: Metrics::default(),
        };
        Self { api: Api::over(core), clock, inventory, store, sessions }
    }

    pub(super) fn call(&self, call: &Ask<'_>) -> Reply {
        tokio_test::block_on(async {
            let mut request = Request::builder().method(call.method).uri(call.uri).header("Host", "api:8774");
            if !call.token.is_empty() {
                request = request.header("X-Auth-Token", call.token);
            }
            for (name, value) in call.headers {
                request = request.header(*name, *value);
            }
            let body = Full::new(Bytes::copy_from_slice(call.body.as_bytes()));
            let response =
                self.api.handle(None, request.body(body).unwrap()).expect("a path of a dialect").await;
            let (head, body) = response.into_parts();
            let bytes = body.collect().await.unwrap().to_bytes();
            let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
                (name.as_str().to_owned(), value.to_str().unwrap().to_owned())
            };
            Reply {
                status: head.status.as_u16(),
                headers: head.headers.iter().map(header).collect(),
                body: serde_json::from_slice(&bytes).unwrap(),
            }
        })
    }
}

/// One request.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) method: &'a str,
    pub(super) uri: &'a str,
    /// `X-Auth-Token`; none if empty.
    pub(super) token: &'a str,
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: &'a str,
}

impl Default for Ask<'_> {
    fn default() -> Self {
        Self { method: "GET", uri: "/", token: "member", headers: &[], body: "" }
    }
}

/// Its answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Value,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The token at the end of the URL in the answer.
    pub(super) fn token(&self) -> Token {
        let console =
            self.body.get("remote_console").or_else(|| self.body.get("console")).expect("a console");
        let url = console["url"].as_str().unwrap();
        Token::parse(&url[url.len() - 36..]).unwrap()
    }
}

/// A body that never ends, or ends in the middle.
pub(super) struct Unfinished {
    pub(super) broken: bool,
}

impl Body for Unfinished {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match self.broken {
            true => Poll::Ready(Some(Err(std::io::Error::other("reset")))),
            false => Poll::Pending,
        }
    }
}

/// Everything logged at trace level while `story` runs.
pub(super) fn logged(story: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);
    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let sink = Sink::default();
    let writer = sink.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // With a single subscriber in the process, tracing asks the thread that meets a log line first whether
    // anybody wants it, and another test's thread would say no for all. A second one makes it ask them all.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    tracing::subscriber::with_default(subscriber, story);
    let bytes = sink.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}
