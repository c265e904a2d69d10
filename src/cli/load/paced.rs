//! Round trips, paced or one after the other, alone and beside others that want all there is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use super::console::{Order, pattern};
use super::report::{Latency, Report};
use super::run::{Interval, Run};
use super::viewer::Viewer;

/// Sessions that send a message, wait for its echo, and do it again.
pub(super) struct Pingers {
    sessions: JoinSet<anyhow::Result<()>>,
    latency: Arc<Latency>,
    trips: Arc<AtomicU64>,
}

impl Pingers {
    /// Opens `count` sessions, which begin at once.
    pub(super) async fn start(run: &Run, count: usize) -> anyhow::Result<Self> {
        let mut pingers =
            Self { sessions: JoinSet::new(), latency: Arc::new(Latency::new()?), trips: Arc::default() };
        let pace = (run.plan.rate > 0.0).then(|| Duration::from_secs_f64(1.0 / run.plan.rate));
        let viewers = run.open(count).await?;
        let share = pace.unwrap_or_default() / u32::try_from(viewers.len().max(1))?;
        for (number, mut viewer) in viewers.into_iter().enumerate() {
            viewer.order(Order::Echo).await?;
            // Spread over the pace, so that they do not all come at once.
            let begin = Instant::now() + share * u32::try_from(number)?;
            let (latency, trips) = (Arc::clone(&pingers.latency), Arc::clone(&pingers.trips));
            pingers.sessions.spawn(ping(viewer, run.plan.size, begin, pace, latency, trips));
        }
        Ok(pingers)
    }

    /// Round trips so far, all sessions together; fails if one has ended.
    pub(super) fn trips(&mut self) -> anyhow::Result<u64> {
        if let Some(ended) = self.sessions.try_join_next() {
            ended?.context("a session ended before its time")?;
        }
        Ok(self.trips.load(Ordering::Relaxed))
    }

    async fn measure(&mut self, run: &Run) -> anyhow::Result<Interval> {
        let (latency, trips) = (Arc::clone(&self.latency), Arc::clone(&self.trips));
        run.measure(&mut self.sessions, |on| latency.record_from_now(on), || trips.load(Ordering::Relaxed))
            .await
    }
}

async fn ping(
    mut viewer: Viewer,
    size: usize,
    begin: Instant,
    pace: Option<Duration>,
    latency: Arc<Latency>,
    trips: Arc<AtomicU64>,
) -> anyhow::Result<()> {
    let message = viewer.message(&pattern(size));
    let mut buffer = vec![0; 16 * 1024];
    let mut ticks = interval_at(begin, pace.unwrap_or(Duration::from_secs(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        if pace.is_some() {
            ticks.tick().await;
        }
        let sent = std::time::Instant::now();
        viewer.write(&message).await?;
        let mut missing = size;
        while missing > 0 {
            let mut got = 0;
            if !viewer.receive(&mut buffer, |data| got += data.len()).await? {
                anyhow::bail!("the proxy closed the session");
            }
            anyhow::ensure!(got <= missing, "more came back than was sent");
            missing -= got;
        }
        latency.record(sent.elapsed(), pace);
        trips.fetch_add(1, Ordering::Relaxed);
    }
}

/// Round trips.
pub(super) async fn round_trips(run: &Run) -> anyhow::Result<Report> {
    let mut pingers = Pingers::start(run, run.plan.sessions).await?;
    let interval = pingers.measure(run).await?;
    let mut report = Report::default();
    interval.report_events(&mut report, "trip", "round trip");
    report.add_latency("", "round trip", &pingers.latency);
    Ok(report)
}

/// Round trips without and with bulk sessions beside them.
pub(super) async fn fairness(run: &Run) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let mut alone = Pingers::start(run, run.plan.sessions).await?;
    alone.measure(run).await?;
    report.add_latency("alone_", "alone", &alone.latency);
    drop(alone);
    let received = Arc::new(AtomicU64::new(0));
    let mut bulk = JoinSet::new();
    for mut viewer in run.open(run.plan.beside).await? {
        viewer.order(Order::Blast { write: 64 * 1024, per_second: run.plan.beside_rate }).await?;
        let received = Arc::clone(&received);
        bulk.spawn(async move {
            let mut buffer = vec![0; 64 * 1024];
            let mut bytes = 0;
            while viewer.receive(&mut buffer, |data| bytes += data.len()).await? {
                received.fetch_add(std::mem::take(&mut bytes) as u64, Ordering::Relaxed);
            }
            anyhow::bail!("the proxy closed a bulk session") as anyhow::Result<()>
        });
    }
    let mut beside = Pingers::start(run, run.plan.sessions).await?;
    let before = (received.load(Ordering::Relaxed), Instant::now());
    beside.measure(run).await?;
    let moved = (received.load(Ordering::Relaxed) - before.0) as f64 / before.1.elapsed().as_secs_f64();
    anyhow::ensure!(bulk.try_join_next().is_none(), "a bulk session ended before its time");
    report.add("bulk_mb_per_s", "bulk beside it", moved / 1e6, "MB/s");
    report.add_latency("beside_", "beside bulk", &beside.latency);
    report.add_some("p99_ratio", "p99 beside bulk / alone", ratio(&report, "p99_us"), "");
    Ok(report)
}

/// Round trips without and with viewers that do not read while their consoles send all they can.
pub(super) async fn stalled(run: &Run) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let mut alone = Pingers::start(run, run.plan.sessions).await?;
    alone.measure(run).await?;
    report.add_latency("alone_", "alone", &alone.latency);
    let before = run.memory().ok();
    let mut stalled = run.open(run.plan.beside).await?;
    for viewer in &mut stalled {
        viewer.order(Order::Blast { write: 64 * 1024, per_second: 0 }).await?;
    }
    // Until the sockets on the way are full; the measurement's own warm-up comes on top.
    sleep(Duration::from_secs(1)).await;
    alone.latency = Arc::new(Latency::new()?);
    drop(alone);
    let mut beside = Pingers::start(run, run.plan.sessions).await?;
    beside.measure(run).await?;
    report.add_latency("beside_", "beside stalled", &beside.latency);
    report.add_some("p99_ratio", "p99 beside stalled / alone", ratio(&report, "p99_us"), "");
    let grown = before.zip(run.memory().ok()).map(|(before, after)| after.saturating_sub(before));
    let each = grown.map(|bytes| bytes as f64 / stalled.len().max(1) as f64 / 1024.0);
    report.add_some("kib_per_stalled", "proxy's memory per stalled session", each, "KiB");
    Ok(report)
}

fn ratio(report: &Report, key: &str) -> Option<f64> {
    Some(report.get(&format!("beside_{key}"))? / report.get(&format!("alone_{key}"))?)
}
