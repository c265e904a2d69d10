//! What consoles really carry: a screen that changes while someone types (VNC), or a log and key strokes
//! (serial).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::console::{ECHO, Order, SCREEN, pattern};
use super::report::{Latency, Report};
use super::run::Run;
use super::viewer::Viewer;

/// How busy one session is.
#[derive(Clone, Copy)]
struct Shape {
    /// Bytes of an update, and updates a second.
    update: u64,
    per_second: u64,
    /// Bytes of an input, and inputs a second.
    input: usize,
    rate: u32,
}

/// A desktop in use: tight-encoded updates of 32 KiB at 15 a second, pointer events of 6 bytes at 20.
const VNC: Shape = Shape { update: 32 * 1024, per_second: 15, input: 6, rate: 20 };

/// A boot log: four bursts of 200 bytes a second, somebody typing five characters.
const SERIAL: Shape = Shape { update: 200, per_second: 4, input: 1, rate: 5 };

/// Record header: tag and length.
const HEADER: usize = 5;

/// Both directions at once; the latency is an input's, until its echo is back between the updates.
pub(super) async fn mix(run: &Run) -> anyhow::Result<Report> {
    let shape = if run.dialer.console.vnc { VNC } else { SERIAL };
    let latency = Arc::new(Latency::new()?);
    let received = Arc::new(AtomicU64::new(0));
    let mut sessions = JoinSet::new();
    let viewers = run.open(run.plan.sessions).await?;
    let share = Duration::from_secs(1) / shape.rate / u32::try_from(viewers.len().max(1))?;
    for (number, mut viewer) in viewers.into_iter().enumerate() {
        viewer.order(Order::Mix { bytes: shape.update, per_second: shape.per_second }).await?;
        let begin = Instant::now() + share * u32::try_from(number)?;
        sessions.spawn(session(viewer, shape, begin, Arc::clone(&latency), Arc::clone(&received)));
    }
    let count = || received.load(Ordering::Relaxed);
    let interval = run.measure(&mut sessions, |on| latency.record_from_now(on), count).await?;
    let mut report = Report::default();
    interval.report_bytes(&mut report);
    report.add_latency("input_", "input to echo", &latency);
    Ok(report)
}

async fn session(
    mut viewer: Viewer,
    shape: Shape,
    begin: Instant,
    latency: Arc<Latency>,
    received: Arc<AtomicU64>,
) -> anyhow::Result<()> {
    let input = viewer.message(&pattern(shape.input));
    let mut ticks = interval_at(begin, Duration::from_secs(1) / shape.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut sent: VecDeque<std::time::Instant> = VecDeque::new();
    let mut records = Records::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let mut echoed = 0;
        // Both may be dropped half-way: a read that has not returned has taken nothing.
        tokio::select! {
            open = viewer.receive(&mut buffer, |data| {
                received.fetch_add(data.len() as u64, Ordering::Relaxed);
                echoed += records.feed(data);
            }) => anyhow::ensure!(open?, "the proxy closed the session"),
            _ = ticks.tick() => {
                sent.push_back(std::time::Instant::now());
                viewer.write(&input).await?;
            }
        }
        anyhow::ensure!(!records.broken, "the bytes between are not those the console sent");
        for _ in 0..echoed / shape.input {
            if let Some(sent) = sent.pop_front() {
                latency.record(sent.elapsed(), None);
            }
        }
    }
}

/// The console's records, in any pieces.
#[derive(Default)]
struct Records {
    header: Vec<u8>,
    remaining: usize,
    broken: bool,
}

impl Records {
    /// Takes `data`; how many bytes of echo it completed (a record counts when its last byte is there).
    fn feed(&mut self, mut data: &[u8]) -> usize {
        let mut echoed = 0;
        while !data.is_empty() && !self.broken {
            if self.header.len() < HEADER {
                self.header.push(data[0]);
                data = &data[1..];
                if let [tag, a, b, c, d] = self.header[..] {
                    self.remaining = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
                    self.broken = !matches!(tag, ECHO | SCREEN);
                }
                continue;
            }
            let here = self.remaining.min(data.len());
            self.remaining -= here;
            data = &data[here..];
            if self.remaining == 0 {
                if let [ECHO, a, b, c, d] = self.header[..] {
                    echoed += usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(0);
                }
                self.header.clear();
            }
        }
        echoed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_counted_in_any_pieces() {
        let stream = [&[SCREEN, 0, 0, 0, 3, 1, 2, 3][..], &[ECHO, 0, 0, 0, 2, 9, 9], &[ECHO, 0, 0, 0, 1, 7]];
        let stream = stream.concat();
        for piece in 1..stream.len() {
            let mut records = Records::default();
            let echoed: usize = stream.chunks(piece).map(|chunk| records.feed(chunk)).sum();
            assert_eq!((echoed, records.broken), (3, false), "{piece}");
        }
        let mut records = Records::default();
        records.feed(&[b'x', 0, 0, 0, 0]);
        assert!(records.broken);
    }
}
