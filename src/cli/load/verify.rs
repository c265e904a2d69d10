//! Correctness under load: random messages, fragments, pings, empty frames and write sizes; every byte has to
//! come back in order, and the goodbye has to leave what is still on its way intact.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, bail, ensure};
use rand::rngs::SmallRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::checksum::Checksum;
use super::console::Order;
use super::frames::{BINARY, CLOSE, CONTINUATION, Event, PING, Parser, put_frame};
use super::report::Report;
use super::run::Run;
use super::viewer::{Stream, Viewer};

/// The longest message: above the proxy's buffer and above 64 KiB, where the length takes its longest form.
const MESSAGE: usize = 200 * 1024;

/// How long the last bytes and the goodbye may take after the last message.
const GOODBYE: std::time::Duration = std::time::Duration::from_secs(30);

/// What one session has done.
#[derive(Default)]
struct Totals {
    messages: AtomicU64,
    bytes: AtomicU64,
    pings: AtomicU64,
    pongs: AtomicU64,
}

/// All sessions at once, for the measured time; any difference is an error.
pub(super) async fn verify(run: &Run, seed: u64) -> anyhow::Result<Report> {
    let totals = Arc::new(Totals::default());
    let mut sessions = JoinSet::new();
    let viewers = run.open(run.plan.sessions).await?;
    let end = Instant::now() + run.plan.seconds;
    for (number, viewer) in viewers.into_iter().enumerate() {
        let seed = seed.wrapping_add(number as u64);
        let totals = Arc::clone(&totals);
        sessions.spawn(async move {
            let checked = timeout_at(end + GOODBYE, session(viewer, seed, end, &totals)).await;
            checked.context("the goodbye did not come").flatten().with_context(|| format!("--seed {seed}"))
        });
    }
    run.begin("checking", sessions.len() as u64);
    let count = sessions.len();
    while let Some(checked) = sessions.join_next().await {
        checked??;
        run.bar.inc(1);
    }
    let mut report = Report::default();
    let total = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    report.add("sessions_right", "sessions without a wrong byte", count as f64, "");
    report.add("messages", "messages", total(&totals.messages), "");
    report.add("megabytes", "payload each way", total(&totals.bytes) / 1e6, "MB");
    report.add("pings", "pings sent", total(&totals.pings), "");
    report.add("pongs", "pongs received", total(&totals.pongs), "");
    Ok(report)
}

async fn session(mut viewer: Viewer, seed: u64, end: Instant, totals: &Totals) -> anyhow::Result<()> {
    viewer.order(Order::Verify { seed }).await?;
    let (reader, writer) = tokio::io::split(viewer.into_stream());
    let (sent, received) = tokio::try_join!(send(writer, seed, end, totals), receive(reader, totals))?;
    let Received { echoed, told, pongs } = received;
    ensure!(told == sent.0.to_bytes(), "the console did not get what was sent");
    ensure!(echoed == sent.0, "what came back is not what was sent");
    // Only the latest ping must be answered (RFC 6455 section 5.5.3), in order.
    ensure!(pongs.is_sorted() && pongs.last() == sent.1.as_ref(), "pongs are missing or out of order");
    Ok(())
}

/// Sends until the time is over, then says goodbye. What was sent, and the last ping.
async fn send(
    mut writer: WriteHalf<Stream>,
    seed: u64,
    end: Instant,
    totals: &Totals,
) -> anyhow::Result<(Checksum, Option<u64>)> {
    let mut random = SmallRng::seed_from_u64(seed);
    let (mut checksum, mut last_ping) = (Checksum::default(), None);
    let (mut wire, mut payload) = (Vec::new(), vec![0; MESSAGE]);
    while Instant::now() < end {
        // Most messages are small, as key strokes are; some are not.
        let most = if random.random_ratio(1, 8) { MESSAGE } else { 200 };
        let message = &mut payload[..random.random_range(0..=most)];
        random.fill_bytes(message);
        checksum.update(message);
        totals.messages.fetch_add(1, Ordering::Relaxed);
        totals.bytes.fetch_add(message.len() as u64, Ordering::Relaxed);
        put_message(&mut wire, message, &mut random, totals, &mut last_ping);
        if random.random_bool(0.5) {
            write_in_pieces(&mut writer, &wire, &mut random).await?;
            wire.clear();
        }
    }
    put_frame(&mut wire, CLOSE, true, &1000u16.to_be_bytes());
    write_in_pieces(&mut writer, &wire, &mut random).await?;
    Ok((checksum, last_ping))
}

/// One message in one frame or several, pings and empty frames between them.
fn put_message(
    wire: &mut Vec<u8>,
    mut message: &[u8],
    random: &mut SmallRng,
    totals: &Totals,
    last_ping: &mut Option<u64>,
) {
    let mut opcode = BINARY;
    loop {
        if random.random_ratio(1, 8) {
            let number = totals.pings.fetch_add(1, Ordering::Relaxed);
            put_frame(wire, PING, true, &number.to_be_bytes());
            *last_ping = Some(number);
        }
        let cut =
            if random.random_bool(0.6) { message.len() } else { random.random_range(0..=message.len()) };
        let (here, rest) = message.split_at(cut);
        message = rest;
        let last = message.is_empty() && random.random_bool(0.9);
        put_frame(wire, opcode, last, here);
        if last {
            return;
        }
        opcode = CONTINUATION;
    }
}

async fn write_in_pieces(
    writer: &mut WriteHalf<Stream>,
    mut wire: &[u8],
    random: &mut SmallRng,
) -> anyhow::Result<()> {
    while !wire.is_empty() {
        let most = if random.random_bool(0.2) { 16 } else { wire.len() };
        let (piece, rest) = wire.split_at(random.random_range(1..=most.min(wire.len())));
        writer.write_all(piece).await.context("the proxy took no more")?;
        writer.flush().await?;
        wire = rest;
    }
    Ok(())
}

struct Received {
    echoed: Checksum,
    told: Vec<u8>,
    pongs: Vec<u64>,
}

/// Reads to the close frame. The last bytes are the console's own checksum.
async fn receive(mut reader: ReadHalf<Stream>, totals: &Totals) -> anyhow::Result<Received> {
    let mut received = Received { echoed: Checksum::default(), told: Vec::new(), pongs: Vec::new() };
    let mut parser = Parser::default();
    let mut buffer = vec![0; 64 * 1024];
    let mut closed = false;
    while !closed {
        let count = reader.read(&mut buffer).await?;
        if count == 0 {
            bail!("the proxy hung up without a close frame");
        }
        parser.feed(&buffer[..count], |event| match event {
            Event::Data(data) => received.take(data),
            Event::Pong(payload) => {
                totals.pongs.fetch_add(1, Ordering::Relaxed);
                received.pongs.extend(payload.try_into().map(u64::from_be_bytes));
            }
            // The proxy's own; what we send meanwhile tells it that we live.
            Event::Ping(_) => {}
            Event::Close => closed = true,
        })?;
    }
    Ok(received)
}

impl Received {
    fn take(&mut self, data: &[u8]) {
        self.told.extend_from_slice(data);
        let settled = self.told.len().saturating_sub(Checksum::LEN);
        self.echoed.update(&self.told[..settled]);
        self.told.drain(..settled);
    }
}
