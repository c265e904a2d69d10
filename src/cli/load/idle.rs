//! The memory of sessions that do nothing, before and after each has carried traffic.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::console::{Order, pattern};
use super::report::Report;
use super::run::Run;
use super::viewer::Viewer;

/// What each session carries each way between the two looks: above the proxy's buffer, so that it is used
/// whole.
const TRAFFIC: usize = 128 * 1024;

/// Sessions that carry traffic at once.
const BUSY: usize = 16;

/// Allocators and TLS tickets come to rest.
const SETTLE: Duration = Duration::from_secs(2);

/// Memory per idle session.
pub(super) async fn idle(run: &Run) -> anyhow::Result<Report> {
    let empty = run.memory()?;
    let count = run.plan.sessions;
    let (phase, phases) = watch::channel(false);
    let (done, mut dones) = mpsc::channel(count);
    let busy = Arc::new(Semaphore::new(BUSY));
    let mut sessions = JoinSet::new();
    for mut viewer in run.open(count).await? {
        if run.dialer.console.is_ours {
            viewer.order(Order::Echo).await?;
        }
        sessions.spawn(live(viewer, phases.clone(), Arc::clone(&busy), done.clone()));
    }
    run.pass("settling", SETTLE).await;
    let before = run.memory()?;
    let mut report = Report::default();
    let per_session = |bytes: u64| bytes.saturating_sub(empty) as f64 / count as f64 / 1024.0;
    report.add("kib_empty", "the proxy without sessions", empty as f64 / 1024.0, "KiB");
    report.add("kib_before", "per session, before traffic", per_session(before), "KiB");
    if run.dialer.console.is_ours {
        run.begin("carrying traffic", 0);
        phase.send_replace(true);
        for _ in 0..count {
            tokio::select! {
                _ = dones.recv() => {}
                Some(ended) = sessions.join_next() => ended??,
            }
        }
        run.pass("settling", SETTLE).await;
        report.add("kib_after", "per session, after traffic", per_session(run.memory()?), "KiB");
    }
    if let Some(ended) = sessions.try_join_next() {
        ended??;
    }
    Ok(report)
}

/// One session: answers pings, carries its traffic when the phase says so, and goes on being idle.
async fn live(
    mut viewer: Viewer,
    mut phase: watch::Receiver<bool>,
    busy: Arc<Semaphore>,
    done: mpsc::Sender<()>,
) -> anyhow::Result<()> {
    let mut buffer = vec![0; 4096];
    let mut carried = false;
    loop {
        // Both may be dropped half-way: neither has taken anything before it is ready.
        let open = tokio::select! {
            open = viewer.receive(&mut buffer, |_| {}) => open?,
            changed = phase.changed(), if !carried => {
                changed?;
                let _permit = busy.acquire().await?;
                carry(&mut viewer, &mut buffer).await?;
                carried = true;
                done.send(()).await?;
                true
            }
        };
        anyhow::ensure!(open, "the proxy closed an idle session");
    }
}

async fn carry(viewer: &mut Viewer, buffer: &mut [u8]) -> anyhow::Result<()> {
    // In pieces: a console that echoes would block both ways if all were sent before any is read.
    let piece = pattern(TRAFFIC / 8);
    for _ in 0..8 {
        viewer.send(&piece).await?;
        let mut missing = piece.len();
        while missing > 0 {
            let mut got = 0;
            anyhow::ensure!(viewer.receive(buffer, |data| got += data.len()).await?, "closed under traffic");
            missing = missing.saturating_sub(got);
        }
    }
    Ok(())
}
