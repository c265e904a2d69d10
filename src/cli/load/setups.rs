//! Set-ups: connect, upgrade, token spent, target dialled, first byte through, gone again; alone, or while other
//! sessions are busy.

use std::sync::Arc;

use tokio::time::Instant;

use super::paced::Pingers;
use super::report::{Latency, Report};
use super::run::{Interval, Run};
use super::source::parallel;

/// Set-ups a second, `sessions` at a time. Tokens are asked for beforehand: issuing is another measurement.
pub(super) async fn setups(run: &Run) -> anyhow::Result<Report> {
    run.begin("asking for consoles", 0);
    let urls = run.source.take(run.plan.count).await?;
    let mut busy = match run.plan.beside {
        0 => None,
        count => Some(Pingers::start(run, count).await?),
    };
    if busy.is_some() {
        // Each has begun before the first newcomer comes.
        run.pass("warming up", run.plan.warm_up.max(run.plan.pace())).await;
    }
    let trips = busy.as_mut().map(Pingers::trips).transpose()?;
    run.begin("setting up", run.plan.count as u64);
    let latency = Arc::new(Latency::new()?);
    latency.record_from_now(true);
    let (before, at) = (run.cpu(), Instant::now());
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
    let cpu = before.zip(run.cpu()).map(|(before, after)| after.since(before));
    // What others cost meanwhile is not a set-up's.
    let cpu = cpu.filter(|_| busy.is_none());
    let interval = Interval { seconds, count: run.plan.count as u64, cpu };
    let mut report = Report::default();
    interval.report_events(&mut report, "setup", "set-up");
    report.add_latency("", "set-up", &latency);
    if let Some((busy, before)) = busy.as_mut().zip(trips) {
        let rate = (busy.trips()? - before) as f64 / seconds;
        report.add("beside_trip_per_s", "round trips beside, per second", rate, "");
    }
    Ok(report)
}
