//! Down and up: as many bytes as the session takes.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use tokio::task::JoinSet;

use super::console::{Order, pattern};
use super::report::Report;
use super::run::Run;

/// Read at a time, and written at a time: few system calls of our own.
const BULK: usize = 256 * 1024;

/// Target to viewer.
pub(super) async fn down(run: &Run) -> anyhow::Result<Report> {
    let viewers = run.open(run.plan.sessions).await?;
    let received = Arc::new(AtomicU64::new(0));
    let mut sessions = JoinSet::new();
    for mut viewer in viewers {
        let received = Arc::clone(&received);
        viewer.order(Order::Blast { write: BULK as u64, per_second: run.plan.beside_rate }).await?;
        sessions.spawn(async move {
            let mut buffer = vec![0; BULK];
            let mut bytes = 0;
            while viewer.receive(&mut buffer, |data| bytes += data.len()).await? {
                received.fetch_add(std::mem::take(&mut bytes) as u64, Ordering::Relaxed);
            }
            anyhow::bail!("the proxy closed the session")
        });
    }
    let interval = run.measure(&mut sessions, |_| {}, || received.load(Ordering::Relaxed)).await?;
    let mut report = Report::default();
    interval.report_bytes(&mut report);
    Ok(report)
}

/// Viewer to target, in frames of the given size, counted where they arrive.
pub(super) async fn up(run: &Run) -> anyhow::Result<Report> {
    let viewers = run.open(run.plan.sessions).await?;
    let mut sessions = JoinSet::new();
    for mut viewer in viewers {
        viewer.order(Order::Sink).await?;
        let message = viewer.message(&pattern(run.plan.size));
        let wire = message.repeat((BULK / run.plan.size).max(1));
        sessions.spawn(async move {
            let mut buffer = vec![0; 4096];
            loop {
                viewer.write(&wire).await?;
                poll_fn(|cx| Poll::Ready(viewer.poll_pings(cx, &mut buffer))).await?;
            }
        });
    }
    let sunk = Arc::clone(&run.dialer.console.sunk);
    let interval = run.measure(&mut sessions, |_| {}, || sunk.load(Ordering::Relaxed)).await?;
    let mut report = Report::default();
    interval.report_bytes(&mut report);
    Ok(report)
}
