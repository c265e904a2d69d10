//! What Prometheus is told. Labels have fixed values only: words of our own, never ids, names or addresses.
//!
//! Nothing here is touched for a relayed message. Set-ups and requests count into what several threads share;
//! bytes and live sessions are looked up when somebody asks ([`Gauges`]).

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::config::Dialect;
use crate::ids::Protocol;

/// Upper bounds in seconds: from a store in memory to the longest deadline of a greeting with its dial.
const BUCKETS: [f64; 18] = [
    0.000_01, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0,
];

/// All there are, in the order of their declaration.
const PROTOCOLS: [Protocol; 4] = [Protocol::Vnc, Protocol::Serial, Protocol::Spice, Protocol::Mks];

/// What [`Metrics::render`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A part of a console's set-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The store's answer to the claim.
    Claim,
    /// Connecting to the target.
    Dial,
    /// The target's greeting, for VNC.
    Greet,
    /// The store's answer to the confirm.
    Confirm,
    /// From the request to the 101, with all of these.
    Total,
}

/// What a store was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreCall {
    /// To keep a token.
    Create,
    /// To claim one.
    Claim,
    /// To spend one.
    Confirm,
    /// To give one back.
    Release,
    /// To take some back.
    Revoke,
    /// What one would open.
    Peek,
    /// To let a viewer back in.
    Resume,
    /// Until when a viewer may come back.
    Keep,
}

/// How many there are, by the last one.
const STORE_CALLS: usize = StoreCall::Keep as usize + 1;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Issue {
    dialect: &'static str,
    protocol: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refusal {
    /// The dialect, `admin` or `proxy`.
    via: &'static str,
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Console {
    protocol: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    protocol: &'static str,
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabel {
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StoreLabel {
    call: &'static str,
    answer: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Direction {
    direction: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Worker {
    worker: u64,
}

/// What is looked up when somebody asks.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    /// Sessions that are live or on their way to it, by protocol.
    pub sessions: Vec<(Protocol, usize)>,
    /// Payload to viewers of all sessions so far, in bytes.
    pub bytes_to_viewer: u64,
    /// Payload to targets of all sessions so far, in bytes.
    pub bytes_to_target: u64,
    /// Connections without a session.
    pub unauthenticated: usize,
    /// Servers known.
    pub targets: usize,
    /// Registered servers that this process cannot use.
    pub unusable_targets: usize,
    /// How long ago the shared inventory was last known to be up to date.
    pub inventory_age: Duration,
    /// Whether no new consoles are taken.
    pub draining: bool,
    /// Claims and confirms of tokens that the store's failovers and restarts have voided.
    pub fenced: u64,
    /// The audit log's lines: written, lost, waiting; and whether it cannot be written.
    pub audit: Option<(u64, u64, usize, bool)>,
}

/// All counters of a process. Clones are the same ones.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

type Histograms<S> = Family<S, Histogram, fn() -> Histogram>;

#[derive(Debug)]
struct Inner {
    registry: Registry,
    issued: Family<Issue, Counter>,
    /// Those of `issued` that were asked for before, each where its [`Issue`] says.
    issued_known: [OnceLock<Counter>; 32],
    refused: Family<Refusal, Counter>,
    opened: Family<Console, Counter>,
    closed: Family<Ended, Counter>,
    setup: Histograms<PhaseLabel>,
    store: Histograms<StoreLabel>,
    /// Those of `store`: by call, and whether it was answered.
    store_known: [[OnceLock<Histogram>; 2]; STORE_CALLS],
    live: Family<Console, Gauge>,
    relayed: Family<Direction, Counter>,
    unauthenticated: Gauge,
    workers: Family<Worker, Gauge>,
    /// Connections of each worker, as it counts them itself.
    loads: OnceLock<Vec<Arc<AtomicUsize>>>,
    targets: Gauge,
    unusable_targets: Gauge,
    inventory_age: Gauge<f64, AtomicU64>,
    draining: Gauge,
    fenced: Counter,
    audit_lines: Counter,
    audit_lost: Counter,
    audit_waiting: Gauge,
    audit_failing: Gauge,
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("consolegate");
        let version = [("version", env!("CARGO_PKG_VERSION")), ("target", std::env::consts::ARCH)];
        registry.register("build", "This program", Info::new(version.to_vec()));
        let histograms = histogram as fn() -> Histogram;
        let mut add = Add(&mut registry);
        Self(Arc::new(Inner {
            issued_known: [const { OnceLock::new() }; 32],
            store_known: [const { [const { OnceLock::new() }; 2] }; STORE_CALLS],
            issued: add.metric("urls_issued", "Console URLs given out", Family::default()),
            refused: add.metric("refusals", "Requests and viewers turned away", Family::default()),
            opened: add.metric("sessions_opened", "Consoles opened", Family::default()),
            closed: add.metric("sessions_closed", "Sessions ended, by cause", Family::default()),
            setup: add.in_seconds(
                "setup",
                "Opening a console, by phase; total is all of it",
                Family::new_with_constructor(histograms),
            ),
            store: add.in_seconds(
                "store",
                "Answers of the token store",
                Family::new_with_constructor(histograms),
            ),
            live: add.metric("sessions", "Sessions that are live or on their way to it", Family::default()),
            relayed: add.in_bytes("relayed", "Payload of all sessions", Family::default()),
            unauthenticated: add.metric(
                "unauthenticated_connections",
                "Connections without a session",
                Gauge::default(),
            ),
            workers: add.metric(
                "worker_connections",
                "Connections and sessions of each worker",
                Family::default(),
            ),
            loads: OnceLock::new(),
            targets: add.metric("targets", "Servers in the inventory", Gauge::default()),
            unusable_targets: add.metric(
                "unusable_targets",
                "Registered servers that this process cannot use",
                Gauge::default(),
            ),
            inventory_age: add.in_seconds(
                "inventory_age",
                "Since the shared inventory was last known to be up to date",
                Gauge::default(),
            ),
            draining: add.metric("draining", "1 from SIGTERM on", Gauge::default()),
            fenced: add.metric(
                "fenced",
                "Claims and confirms of tokens issued before the store's last failover or restart",
                Counter::default(),
            ),
            audit_lines: add.metric("audit_lines", "Lines of the audit log written", Counter::default()),
            audit_lost: add.metric("audit_lost_lines", "Lines that found no room", Counter::default()),
            audit_waiting: add.metric(
                "audit_waiting_lines",
                "Lines that wait for the disk",
                Gauge::default(),
            ),
            audit_failing: add.metric(
                "audit_failing",
                "1 while the audit log cannot be written",
                Gauge::default(),
            ),
            registry,
        }))
    }
}

/// Registers metrics and returns them.
struct Add<'a>(&'a mut Registry);

impl Add<'_> {
    fn metric<M: prometheus_client::registry::Metric + Clone>(
        &mut self,
        name: &str,
        help: &str,
        metric: M,
    ) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }

    fn in_seconds<M: prometheus_client::registry::Metric + Clone>(
        &mut self,
        name: &str,
        help: &str,
        metric: M,
    ) -> M {
        self.0.register_with_unit(name, help, Unit::Seconds, metric.clone());
        metric
    }

    fn in_bytes<M: prometheus_client::registry::Metric + Clone>(
        &mut self,
        name: &str,
        help: &str,
        metric: M,
    ) -> M {
        self.0.register_with_unit(name, help, Unit::Bytes, metric.clone());
        metric
    }
}

impl Metrics {
    /// From now on each worker's connections are shown.
    pub fn show_workers(&self, loads: Vec<Arc<AtomicUsize>>) {
        // A process has its workers once.
        let _ = self.0.loads.set(loads);
    }

    /// A console's URL was given out, by a dialect or the operator.
    pub fn issued(&self, dialect: Option<Dialect>, protocol: Protocol) {
        let inner = &*self.0;
        let place = dialect.map_or(0, |dialect| 1 + dialect as usize) * PROTOCOLS.len() + protocol as usize;
        let counter = || {
            let dialect = dialect.map_or("operator", Dialect::as_str);
            inner.issued.get_or_create_owned(&Issue { dialect, protocol: protocol.as_str() })
        };
        match inner.issued_known.get(place) {
            Some(known) => known.get_or_init(counter).inc(),
            None => counter().inc(),
        };
    }

    /// A request or a viewer was turned away, by a dialect, `admin` or `proxy`, for a cause of its list.
    pub fn refused(&self, via: &'static str, cause: &'static str) {
        count(&self.0.refused, &Refusal { via, cause });
    }

    /// A console was opened.
    pub fn opened(&self, protocol: Protocol) {
        count(&self.0.opened, &Console { protocol: protocol.as_str() });
    }

    /// A session ended.
    pub fn closed(&self, protocol: Protocol, cause: &'static str) {
        count(&self.0.closed, &Ended { protocol: protocol.as_str(), cause });
    }

    /// A phase of a set-up took so long.
    pub fn phase(&self, phase: Phase, took: Duration) {
        let phase = match phase {
            Phase::Claim => "claim",
            Phase::Dial => "dial",
            Phase::Greet => "greet",
            Phase::Confirm => "confirm",
            Phase::Total => "total",
        };
        self.0.setup.get_or_create(&PhaseLabel { phase }).observe(took.as_secs_f64());
    }

    /// The store answered after so long; `ok`: not with an error.
    pub fn store(&self, call: StoreCall, took: Duration, ok: bool) {
        let name = match call {
            StoreCall::Create => "create",
            StoreCall::Claim => "claim",
            StoreCall::Confirm => "confirm",
            StoreCall::Release => "release",
            StoreCall::Revoke => "revoke",
            StoreCall::Peek => "peek",
            StoreCall::Resume => "resume",
            StoreCall::Keep => "keep",
        };
        let label = StoreLabel { call: name, answer: if ok { "ok" } else { "error" } };
        let known = &self.0.store_known[call as usize][usize::from(ok)];
        known.get_or_init(|| self.0.store.get_or_create_owned(&label)).observe(took.as_secs_f64());
    }

    /// Everything, as OpenMetrics text, of [`CONTENT_TYPE`].
    pub fn render(&self, now: &Gauges) -> String {
        let inner = &*self.0;
        for protocol in PROTOCOLS {
            let count = now.sessions.iter().filter(|(one, _)| *one == protocol).map(|(_, count)| count).sum();
            inner.live.get_or_create(&Console { protocol: protocol.as_str() }).set(gauge(count));
        }
        for (direction, bytes) in [("to_viewer", now.bytes_to_viewer), ("to_target", now.bytes_to_target)] {
            raise(&inner.relayed.get_or_create(&Direction { direction }), bytes);
        }
        for (worker, load) in (0..).zip(inner.loads.get().into_iter().flatten()) {
            inner.workers.get_or_create(&Worker { worker }).set(gauge(load.load(Ordering::Relaxed)));
        }
        inner.unauthenticated.set(gauge(now.unauthenticated));
        inner.targets.set(gauge(now.targets));
        inner.unusable_targets.set(gauge(now.unusable_targets));
        inner.inventory_age.set(now.inventory_age.as_secs_f64());
        inner.draining.set(i64::from(now.draining));
        raise(&inner.fenced, now.fenced);
        if let Some((lines, lost, waiting, failing)) = now.audit {
            raise(&inner.audit_lines, lines);
            raise(&inner.audit_lost, lost);
            inner.audit_waiting.set(gauge(waiting));
            inner.audit_failing.set(i64::from(failing));
        }
        let mut text = String::new();
        // Into memory: it does not fail.
        let _ = encode(&mut text, &inner.registry);
        text
    }
}

fn count<S: Clone + Hash + Eq + Debug>(family: &Family<S, Counter>, labels: &S) {
    family.get_or_create(labels).inc();
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Brings a counter up to what was counted elsewhere. Of two who ask at once, the later number stays.
fn raise(counter: &Counter, to: u64) {
    counter.inner().fetch_max(to, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_of_the_exposition_format() {
        let metrics = Metrics::default();
        metrics.issued(Some(Dialect::Native), Protocol::Vnc);
        metrics.issued(None, Protocol::Mks);
        metrics.issued(None, Protocol::Mks);
        metrics.refused("proxy", "token_spent");
        metrics.opened(Protocol::Serial);
        metrics.closed(Protocol::Serial, "idle");
        metrics.phase(Phase::Dial, Duration::from_millis(3));
        metrics.store(StoreCall::Claim, Duration::from_micros(2), true);
        let now = Gauges {
            sessions: vec![(Protocol::Vnc, 2), (Protocol::Vnc, 1)],
            bytes_to_viewer: 10,
            audit: Some((5, 0, 0, false)),
            fenced: 3,
            unusable_targets: 2,
            inventory_age: Duration::from_millis(250),
            ..Gauges::default()
        };
        let text = metrics.render(&now);
        for line in [
            concat!("consolegate_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\",target="),
            "consolegate_urls_issued_total{dialect=\"native\",protocol=\"vnc\"} 1\n",
            "consolegate_urls_issued_total{dialect=\"operator\",protocol=\"mks\"} 2\n",
            "consolegate_refusals_total{via=\"proxy\",cause=\"token_spent\"} 1\n",
            "consolegate_sessions_opened_total{protocol=\"serial\"} 1\n",
            "consolegate_sessions_closed_total{protocol=\"serial\",cause=\"idle\"} 1\n",
            "# TYPE consolegate_setup_seconds histogram\n",
            "consolegate_setup_seconds_bucket{le=\"0.0025\",phase=\"dial\"} 0\n",
            "consolegate_setup_seconds_bucket{le=\"0.005\",phase=\"dial\"} 1\n",
            "consolegate_setup_seconds_sum{phase=\"dial\"} 0.003\n",
            "consolegate_store_seconds_count{call=\"claim\",answer=\"ok\"} 1\n",
            "consolegate_sessions{protocol=\"vnc\"} 3\n",
            "consolegate_sessions{protocol=\"mks\"} 0\n",
            "consolegate_relayed_bytes_total{direction=\"to_viewer\"} 10\n",
            "consolegate_audit_lines_total 5\n",
            "consolegate_draining 0\n",
            "consolegate_fenced_total 3\n",
            "consolegate_unusable_targets 2\n",
            "consolegate_inventory_age_seconds 0.25\n",
        ] {
            assert!(text.contains(line), "no {line:?} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        let before = metrics.render(&Gauges { bytes_to_viewer: 9, ..now });
        assert!(before.contains("{direction=\"to_viewer\"} 10\n"), "a counter never goes back");
    }
}
