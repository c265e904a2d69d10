//! Set-ups: connect, upgrade, token spent, target dialled, first byte through, gone again.

use std::sync::Arc;

use tokio::time::Instant;

use super::report::{Latency, Report};
use super::run::{Interval, Run};
use super::source::parallel;
use super::watch::Watch;

/// Set-ups a second, `sessions` at a time. Tokens are asked for beforehand: issuing is another measurement.
pub(super) async fn setups(run: &Run) -> anyhow::Result<Report> {
    run.begin("asking for consoles", 0);
    let urls = run.source.take(run.plan.count).await?;
    run.begin("setting up", run.plan.count as u64);
    let latency = Arc::new(Latency::new()?);
    latency.record_from_now(true);
    let (before, at) = (run.watch.map(Watch::cpu_seconds), Instant::now());
    let (dialer, bar, recorder) = (run.dialer.clone(), run.bar.clone(), Arc::clone(&latency));
    parallel(urls, run.plan.sessions, move |url| {
        let (dialer, bar, recorder) = (dialer.clone(), bar.clone(), Arc::clone(&recorder));
        async move {
            let begun = std::time::Instant::now();
            let viewer = dialer.open(&url).await?;
            recorder.record(begun.elapsed(), None);
            viewer.leave().await;
            bar.inc(1);
            Ok(())
        }
    })
    .await?;
    let seconds = at.elapsed().as_secs_f64();
    let cpu = before.zip(run.watch.map(Watch::cpu_seconds)).map(|(before, after)| after - before);
    let interval = Interval { seconds, count: run.plan.count as u64, cpu };
    let mut report = Report::default();
    interval.report_events(&mut report, "setup", "set-up");
    report.add_latency("", "set-up", &latency);
    Ok(report)
}
