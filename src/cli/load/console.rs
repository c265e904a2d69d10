//! The console at the far end, played by this program on a thread of its own: it does what the viewer orders.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::checksum::Checksum;
use super::rfb;

/// The console's first byte: the session stands from end to end.
pub(super) const HELLO: u8 = b'H';

/// Read and written at a time in bulk: large, so that this end makes few system calls.
const BULK: usize = 256 * 1024;

/// Read at a time where thousands of sessions wait: their buffers must not be the machine's memory.
const SMALL: usize = 4 * 1024;

/// Marks an [`Order`], so that a stray connection is not obeyed.
const MAGIC: [u8; 7] = *b"cgload1";

const ORDER: usize = 24;

/// What a console does with its session, asked for by the viewer's first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Send back what comes.
    Echo,
    /// Send `write` bytes at a time, `per_second` at most; 0 is as fast as it goes.
    Blast { write: u64, per_second: u64 },
    /// Take what comes and count it.
    Sink,
    /// Send back what comes as records, and records of `bytes` of screen, `per_second` times.
    Mix { bytes: u64, per_second: u64 },
    /// Send back what comes in random pieces, and its checksum at the end.
    Verify { seed: u64 },
}

impl Order {
    pub(super) fn to_bytes(self) -> [u8; ORDER] {
        let (kind, a, b) = match self {
            Self::Echo => (b'e', 0, 0),
            Self::Blast { write, per_second } => (b'b', write, per_second),
            Self::Sink => (b's', 0, 0),
            Self::Mix { bytes, per_second } => (b'm', bytes, per_second),
            Self::Verify { seed } => (b'v', seed, 0),
        };
        let mut bytes = [kind; ORDER];
        bytes[..7].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&a.to_be_bytes());
        bytes[16..].copy_from_slice(&b.to_be_bytes());
        bytes
    }

    fn parse(bytes: [u8; ORDER]) -> Option<Self> {
        let number = |at: usize| bytes[at..at + 8].iter().fold(0, |n, byte| (n << 8) | u64::from(*byte));
        let (a, b) = (number(8), number(16));
        if bytes[..7] != MAGIC {
            return None;
        }
        match bytes[7] {
            b'e' => Some(Self::Echo),
            b'b' => Some(Self::Blast { write: a, per_second: b }),
            b's' => Some(Self::Sink),
            b'm' => Some(Self::Mix { bytes: a, per_second: b }),
            b'v' => Some(Self::Verify { seed: a }),
            _ => None,
        }
    }
}

/// Tag of a record that answers an input, and of one that is screen: tag, length (u32), payload.
pub(super) const ECHO: u8 = b'E';
pub(super) const SCREEN: u8 = b'S';

/// Where the console listens and what it has counted.
#[derive(Clone, Debug)]
pub(super) struct Console {
    pub(super) address: SocketAddr,
    /// Whether sessions lead to it.
    pub(super) is_ours: bool,
    /// Whether it greets as a VNC server does.
    pub(super) vnc: bool,
    /// Payload bytes that arrived under [`Order::Sink`].
    pub(super) sunk: Arc<AtomicU64>,
}

impl Console {
    /// Listens and serves on a thread that ends with the process.
    pub(super) fn start(address: SocketAddr, vnc: bool, is_ours: bool) -> anyhow::Result<Self> {
        let listener = crate::net::listen::bind(address, "console")?;
        listener.set_nonblocking(true)?;
        let console = Self { address: listener.local_addr()?, is_ours, vnc, sunk: Arc::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = console.clone();
        let run = move || runtime.block_on(serving.serve(listener));
        std::thread::Builder::new().name("console".to_owned()).spawn(run).context("cannot start a thread")?;
        Ok(console)
    }

    async fn serve(self, listener: std::net::TcpListener) {
        let Ok(listener) = TcpListener::from_std(listener) else { return };
        loop {
            // Out of descriptors: some session ends meanwhile.
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let console = self.clone();
            // A session that breaks is noticed, and told, by its viewer.
            tokio::spawn(async move { console.attend(stream).await.ok() });
        }
    }

    async fn attend(self, mut stream: TcpStream) -> anyhow::Result<()> {
        stream.set_nodelay(true)?;
        if self.vnc {
            rfb::serve(&mut stream).await?;
        }
        stream.write_all(&[HELLO]).await?;
        let mut order = [0; ORDER];
        stream.read_exact(&mut order).await?;
        match Order::parse(order).context("not an order")? {
            Order::Echo => echo(stream).await,
            Order::Blast { write, per_second } => blast(stream, write, per_second).await,
            Order::Sink => self.sink(stream).await,
            Order::Mix { bytes, per_second } => mix(stream, bytes, per_second).await,
            Order::Verify { seed } => verify(stream, seed).await,
        }
    }

    async fn sink(&self, mut stream: TcpStream) -> anyhow::Result<()> {
        let mut buffer = vec![0; BULK];
        loop {
            let count = stream.read(&mut buffer).await?;
            if count == 0 {
                return Ok(());
            }
            self.sunk.fetch_add(count as u64, Ordering::Relaxed);
        }
    }
}

async fn echo(mut stream: TcpStream) -> anyhow::Result<()> {
    let mut buffer = vec![0; SMALL];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}

/// Text, so that a serial console's frames need no cutting at characters.
pub(super) fn pattern(len: usize) -> Vec<u8> {
    (b' '..=b'~').cycle().take(len).collect()
}

async fn blast(mut stream: TcpStream, write: u64, per_second: u64) -> anyhow::Result<()> {
    let write = usize::try_from(write).unwrap_or(BULK).clamp(1, BULK);
    let bytes = pattern(write);
    let begun = Instant::now();
    let mut sent = 0u64;
    loop {
        stream.write_all(&bytes).await?;
        sent += bytes.len() as u64;
        if per_second > 0 {
            sleep_until(begun + Duration::from_secs_f64(sent as f64 / per_second as f64)).await;
        }
    }
}

async fn mix(mut stream: TcpStream, bytes: u64, per_second: u64) -> anyhow::Result<()> {
    let record = |tag: u8, payload: &[u8]| {
        let mut record = vec![tag];
        record.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(0).to_be_bytes());
        record.extend_from_slice(payload);
        record
    };
    let screen = record(SCREEN, &pattern(usize::try_from(bytes).unwrap_or(BULK).min(BULK)));
    let mut ticks = interval(Duration::from_secs(1).div_f64(per_second.max(1) as f64));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut buffer = vec![0; SMALL];
    loop {
        // Both may be dropped half-way: a read that has not returned has taken nothing.
        tokio::select! {
            read = stream.read(&mut buffer) => match read? {
                0 => return Ok(()),
                count => stream.write_all(&record(ECHO, &buffer[..count])).await?,
            },
            _ = ticks.tick() => stream.write_all(&screen).await?,
        }
    }
}

/// Echoes in random pieces. The viewer's end of stream is answered with count and checksum of all that came,
/// which only a proxy that keeps half-closed sessions delivers.
async fn verify(mut stream: TcpStream, seed: u64) -> anyhow::Result<()> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut buffer = vec![0; BULK];
    let mut checksum = Checksum::default();
    loop {
        let most = random.random_range(1..=BULK);
        let count = stream.read(&mut buffer[..most]).await?;
        if count == 0 {
            break;
        }
        checksum.update(&buffer[..count]);
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(random.random_range(1..=rest.len()));
            stream.write_all(piece).await?;
            rest = after;
        }
    }
    stream.write_all(&checksum.to_bytes()).await?;
    stream.shutdown().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_survive_the_wire() {
        for order in [
            Order::Echo,
            Order::Blast { write: 65536, per_second: 7 },
            Order::Sink,
            Order::Mix { bytes: 1, per_second: 2 },
            Order::Verify { seed: u64::MAX },
        ] {
            assert_eq!(Order::parse(order.to_bytes()), Some(order));
        }
        assert_eq!(Order::parse([b'x'; ORDER]), None);
    }
}
