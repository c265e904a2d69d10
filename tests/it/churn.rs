//! Sessions that come and go for hours: the process' memory stays what it was.
//!
//! `CONSOLEGATE_CHURN_SECONDS` sets how long; `cargo xtask soak` asks for hours. `CONSOLEGATE_CHURN_PAUSE_MS` is how long
//! a viewer stays away between two consoles, for hours in which the machine has other work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use consolegate::ids::Protocol;

use crate::support::console::{Console, Manner};
use crate::support::program::{Issuer, Program};
use crate::support::redis::{Server as Redis, note};
use crate::support::server::{open, target};
use crate::support::viewer;

const VM: &str = "6c1f2a90-0000-4000-8000-000000000001";

/// Viewers at the same time.
const VIEWERS: usize = 8;

/// What the process may weigh more at the end than after a third of the time: its allocator's pages settle late.
const GROWTH: u64 = 8 * 1024 * 1024;

/// Resident memory in bytes.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

/// A number that the environment sets.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Opens, uses and leaves consoles in every way there is.
async fn churn(issuer: Issuer, stop: Arc<AtomicBool>, count: Arc<AtomicUsize>) {
    let pause = Duration::from_millis(setting("CONSOLEGATE_CHURN_PAUSE_MS", 0));
    let payload = vec![b'x'; 64 * 1024];
    for turn in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let token = issuer.issue(VM, Protocol::Serial).await;
        let url = format!("ws://{}/?token={token}", issuer.at());
        let (mut socket, response) = open(&url, &[]).await.expect("a console");
        viewer::echo(&mut socket, &payload).await;
        match turn % 4 {
            // Without a word.
            0 => drop(socket),
            // And back, from a reload.
            1 => {
                let cookie = response.headers()["set-cookie"].to_str().expect("text");
                let cookie = cookie.split_once(';').expect("attributes").0;
                let (mut back, _) = open(&url, &[("cookie", cookie)]).await.expect("the console again");
                viewer::echo(&mut back, b"back").await;
                assert_eq!(viewer::closed(&mut socket).await.0, 1008);
            }
            // A link that was used.
            2 => assert_eq!(open(&url, &[]).await.err(), Some(403)),
            _ => _ = viewer::goodbye(&mut socket).await,
        }
        count.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(pause).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_come_and_go_in_flat_memory() {
    let seconds = setting("CONSOLEGATE_CHURN_SECONDS", 6);
    let (redis, line) = (Redis::start(&[]), Console::new(Manner::Forgetful).await);
    let program = Program::serve(&format!(
        "[tokens]\nstore = \"{}\"\n[limits]\nsessions_per_target = 0\noutstanding_per_target = 0\nissue_per_second = 0\n{}",
        redis.url(),
        target(VM, "vm", &(line.setting("serial") + "serial_viewers = \"share\""))
    ))
    .await;
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut load = tokio::task::JoinSet::new();
    for _ in 0..VIEWERS {
        load.spawn(churn(program.issuer(), Arc::clone(&stop), Arc::clone(&count)));
    }
    let (begun, length) = (Instant::now(), Duration::from_secs(seconds));
    let mut tick = tokio::time::interval(length / 60);
    let mut settled = None;
    let mut most = 0;
    while begun.elapsed() < length {
        tick.tick().await;
        if let Some(failed) = load.try_join_next() {
            failed.expect("a viewer");
        }
        let now = resident(program.id());
        if begun.elapsed() > length / 3 {
            let settled = *settled.get_or_insert(now);
            most = most.max(now);
            assert!(now < settled + GROWTH, "{settled} bytes after a third of the time, {now} now");
        }
    }
    stop.store(true, Ordering::SeqCst);
    while let Some(done) = load.join_next().await {
        done.unwrap();
    }
    note(&format!(
        "{} sessions in {seconds} s; {} MiB resident after a third of the time, {} MiB at most from then on.",
        count.load(Ordering::SeqCst),
        settled.unwrap_or_default() >> 20,
        most >> 20
    ));
}
