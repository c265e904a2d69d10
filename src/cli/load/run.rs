//! What every mode does: open sessions, let them run, look at the clock and at the proxy before and after.

use std::time::Duration;

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::report::Report;
use super::source::{Source, parallel};
use super::url::ViewerUrl;
use super::viewer::{Dialer, Viewer};
use super::watch::{Cpu, Watch};

/// Sessions opened at once: a storm is what `setups` measures, not what precedes a measurement.
const OPENING: usize = 32;

/// How often the progress bar moves.
const TICK: Duration = Duration::from_millis(100);

/// What was asked for, with every number decided.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) sessions: usize,
    pub(super) seconds: Duration,
    pub(super) warm_up: Duration,
    /// Payload bytes per message.
    pub(super) size: usize,
    /// Messages a second and session; 0 is one after the other.
    pub(super) rate: f64,
    /// Sessions beside the measured ones (fairness, stalled, setups).
    pub(super) beside: usize,
    /// Bytes a second of each session beside; 0 is as fast as it goes.
    pub(super) beside_rate: u64,
    /// Set-ups in all.
    pub(super) count: usize,
}

impl Plan {
    /// From one message of a session to its next; none if they follow each other at once.
    pub(super) fn pace(&self) -> Duration {
        if self.rate > 0.0 { Duration::from_secs_f64(1.0 / self.rate) } else { Duration::ZERO }
    }
}

/// One run: who connects how, to where, and who is watched.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) dialer: Dialer,
    pub(super) source: Source,
    pub(super) plan: Plan,
    pub(super) watch: Option<Watch>,
    pub(super) bar: ProgressBar,
}

/// What passed between two looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval {
    pub(super) seconds: f64,
    pub(super) count: u64,
    /// What the watched process used.
    pub(super) cpu: Option<Cpu>,
}

impl Run {
    /// The same load with nothing between the two ends: what the generator itself can do.
    pub(super) fn direct(&self) -> Self {
        let url = ViewerUrl::direct(self.dialer.console.address);
        Self { source: Source::urls(vec![url]), watch: None, ..self.clone() }
    }

    /// Opens sessions.
    pub(super) async fn open(&self, count: usize) -> anyhow::Result<Vec<Viewer>> {
        self.begin("asking for consoles", 0);
        let urls = self.source.take(count).await?;
        self.begin("opening sessions", count as u64);
        let (dialer, bar) = (self.dialer.clone(), self.bar.clone());
        parallel(urls, OPENING.min(count), move |url| {
            let (dialer, bar) = (dialer.clone(), bar.clone());
            async move {
                let viewer = dialer.open(&url).await;
                bar.inc(1);
                viewer
            }
        })
        .await
    }

    /// Lets the sessions run for the warm-up, then for the measured time.
    ///
    /// # Errors
    /// If a session ended meanwhile, with its reason.
    pub(super) async fn measure(
        &self,
        sessions: &mut JoinSet<anyhow::Result<()>>,
        mut begin: impl FnMut(bool),
        count: impl Fn() -> u64,
    ) -> anyhow::Result<Interval> {
        self.pass("warming up", self.plan.warm_up).await;
        begin(true);
        let (from, cpu, at) = (count(), self.cpu(), Instant::now());
        self.pass("measuring", self.plan.seconds).await;
        let (to, cpu_after, seconds) = (count(), self.cpu(), at.elapsed().as_secs_f64());
        begin(false);
        if let Some(ended) = sessions.try_join_next() {
            ended?.context("a session ended before its time")?;
            bail!("a session ended before its time");
        }
        let cpu = cpu.zip(cpu_after).map(|(before, after)| after.since(before));
        Ok(Interval { seconds, count: to - from, cpu })
    }

    pub(super) fn cpu(&self) -> Option<Cpu> {
        self.watch.map(Watch::cpu)
    }

    /// Bytes of anonymous memory of the watched process.
    pub(super) fn memory(&self) -> anyhow::Result<u64> {
        Ok(self.watch.context("this mode reads the proxy's memory: add --watch PID")?.anonymous_bytes())
    }

    pub(super) fn begin(&self, what: &'static str, length: u64) {
        let template = match (length, what) {
            (0, _) => "{spinner} {msg}",
            (_, "opening sessions") => "{msg} {wide_bar} {pos}/{len}",
            _ => "{msg} {wide_bar} {percent}%",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
        self.bar.reset();
        self.bar.set_length(length);
        self.bar.set_message(what);
    }

    /// Lets time pass.
    pub(super) async fn pass(&self, what: &'static str, time: Duration) {
        let ticks = time.as_millis() / TICK.as_millis();
        self.begin(what, u64::try_from(ticks).unwrap_or(1));
        let end = Instant::now() + time;
        while Instant::now() < end {
            tokio::time::sleep_until(end.min(Instant::now() + TICK)).await;
            self.bar.inc(1);
        }
    }
}

impl Interval {
    /// Throughput and, of a watched process, CPU seconds per 1e9 payload bytes.
    pub(super) fn report_bytes(&self, report: &mut Report) {
        let bytes = self.count as f64;
        report.add("mb_per_s", "throughput", bytes / self.seconds / 1e6, "MB/s");
        let gigabytes = bytes / 1e9;
        report.add_some("cpu_s_per_gb", "proxy's CPU per GB", self.cpu.map(|cpu| cpu.all / gigabytes), "s");
        let own = self.cpu.map(|cpu| cpu.user / gigabytes);
        report.add_some("user_s_per_gb", "of it its own code's", own, "s");
        self.report_load(report);
    }

    /// Events a second and, of a watched process, CPU microseconds for each.
    pub(super) fn report_events(&self, report: &mut Report, key: &str, label: &str) {
        let events = self.count as f64;
        report.add(&format!("{key}_per_s"), &format!("{label}s per second"), events / self.seconds, "");
        let cost = self.cpu.map(|cpu| cpu.all / events * 1e6);
        report.add_some(&format!("cpu_us_per_{key}"), &format!("proxy's CPU per {label}"), cost, "us");
        self.report_load(report);
    }

    fn report_load(&self, report: &mut Report) {
        let cores = self.cpu.map(|cpu| cpu.all / self.seconds);
        report.add_some("cpu_cores", "proxy's CPU in use", cores, "cores");
    }
}
