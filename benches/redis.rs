//! What a Redis costs: claim and confirm through the store against two bare script calls over a connection of the same
//! kind; and the CPU of a whole set-up with a token from a Redis against one with the store in memory.
//!
//! A real redis-server and real consolegate processes, in turn, in one run; medians and their ratio count.

#![allow(clippy::print_stdout, reason = "a bench's result")]

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use consolegate::config::{Config, TokenFormat, TokenStore};
use consolegate::ids::{Generation, GrantId, Protocol, RequestId};
use consolegate::tokens::{Claim, Confirm, Grant, Nonce, Options, RedisStore, Store, Token, TokenKey};
use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use serde_json::Value;
use support::{Directory, Process, TOKEN, free_port, reachable, redis};
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

mod support;

/// What claim and confirm have to reach of two bare calls' rate.
const RATE: f64 = 0.5;

/// What a set-up's CPU may be of one with the store in memory.
const COST: f64 = 1.3;

/// Who claims at the same time: one after the other, some, and as many as fill the Redis.
const CALLERS: [usize; 3] = [1, 8, 64];

/// Set-ups at the same time.
const AT_A_TIME: [usize; 2] = [32, 128];

const ROUNDS: usize = 5;
const TTL: Duration = Duration::from_secs(600);

/// How much one round is.
#[derive(Clone, Copy)]
struct Size {
    tokens: usize,
    setups: usize,
    rounds: usize,
}

fn main() {
    // `cargo test` runs benches once, to see that they work: little will do.
    let size = match std::env::args().any(|argument| argument == "--bench") {
        true => Size { tokens: 10_000, setups: 8000, rounds: ROUNDS },
        false => Size { tokens: 64, setups: 32, rounds: 1 },
    };
    let dir = Directory::new("redis");
    let (server, port) = redis(dir.path());
    calls(port, &server, size);
    AT_A_TIME.iter().for_each(|count| setups(dir.path(), port, &server, size, *count));
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// User and system time of a process so far, in seconds (proc(5)).
fn cpu(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("a process");
    let (_, fields) = stat.rsplit_once(") ").expect("its fields");
    let ticks: u64 = fields.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn verdict(kept: bool) -> &'static str {
    if kept { "kept" } else { "MISSED" }
}

/// Claim and confirm, against two bare calls.
fn calls(port: u16, server: &Process, size: Size) {
    let text = format!("[tokens]\nstore = \"redis://127.0.0.1:{port}/0\"\n");
    let config = Config::parse(&text, Path::new("bench.toml")).expect("a configuration");
    let TokenStore::Redis(settings) = config.tokens.store else { unreachable!("a Redis was asked for") };
    let store = RedisStore::open(&settings).expect("a store");
    let (bare, script) = bare(port);
    // As a worker does.
    store.come_near();
    let runtime = runtime();
    for callers in CALLERS {
        rates(&runtime, &store, (&bare, &script), server, (size, callers));
    }
}

/// The same with so many callers.
fn rates(
    runtime: &Runtime,
    store: &RedisStore,
    (bare, script): (&MultiplexedConnection, &str),
    server: &Process,
    (size, callers): (Size, usize),
) {
    // One alone takes its time.
    let tokens = size.tokens * callers.clamp(8, 40) / 40;
    let (mut ours, mut theirs) = ([const { Vec::new() }; 3], [const { Vec::new() }; 3]);
    for _ in 0..size.rounds {
        let keys: Vec<_> = (0..tokens).map(|_| key()).collect();
        let [.., most] = CALLERS;
        runtime.block_on(each(tokens, most, async |at| {
            store.create(keys[at], grant(), TTL, 0).await.expect("a token");
        }));
        let spent = async |at: usize| {
            let nonce = Nonce(at as u128);
            assert!(matches!(store.claim(keys[at], nonce).await, Ok(Claim::Won(_))));
            assert_eq!(store.confirm(keys[at], nonce).await, Ok(Confirm::Confirmed));
        };
        let twice = async |_| {
            for _ in 0..2 {
                let mut call = redis::cmd("EVALSHA");
                let answer = call.arg(script).arg(0).query_async(&mut bare.clone()).await;
                assert_eq!(answer, Ok(1_i64));
            }
        };
        // The rate, and what a pair costs the caller's process and the server, in microseconds of CPU.
        let timed = |figures: &mut [Vec<f64>; 3], work: &mut dyn FnMut()| {
            let processes = [std::process::id(), server.id()];
            let (before, begun) = (processes.map(cpu), Instant::now());
            work();
            figures[0].push(tokens as f64 / begun.elapsed().as_secs_f64());
            for (at, process) in processes.into_iter().enumerate() {
                figures[at + 1].push((cpu(process) - before[at]) / tokens as f64 * 1e6);
            }
        };
        timed(&mut theirs, &mut || runtime.block_on(each(tokens, callers, twice)));
        timed(&mut ours, &mut || runtime.block_on(each(tokens, callers, spent)));
    }
    println!("callers at the same time: {callers}");
    let rate = |name, figures: [Vec<f64>; 3]| {
        let [rate, caller, server] = figures.map(median);
        println!("{name} {rate:.0}/s, {caller:.1} us of the caller's CPU and {server:.1} us of the server's");
        rate
    };
    let ratio = rate("claim + confirm: ", ours) / rate("two bare EVALSHA:", theirs);
    println!("ratio {ratio:.2}, the mark is at least {RATE}: {}\n", verdict(ratio >= RATE));
}

/// A connection as the store has one, on a thread of its own, and a script that does nothing.
fn bare(port: u16) -> (MultiplexedConnection, String) {
    let (give, take) = std::sync::mpsc::channel();
    thread::spawn(move || {
        runtime().block_on(async move {
            let client = redis::Client::open(format!("redis://127.0.0.1:{port}/0")).expect("an address");
            let mut bare = client.get_multiplexed_async_connection().await.expect("a connection");
            let mut load = redis::cmd("SCRIPT");
            let script: String =
                load.arg("LOAD").arg("return 1").query_async(&mut bare).await.expect("a name");
            give.send((bare, script)).expect("somebody who wants it");
            std::future::pending::<()>().await;
        });
    });
    take.recv().expect("a connection")
}

/// Does `work` for each of so many, by so many callers at a time.
async fn each(count: usize, callers: usize, work: impl AsyncFn(usize)) {
    let next = AtomicUsize::new(0);
    let callers = (0..callers).map(|_| async {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                return;
            }
            work(at).await;
        }
    });
    join_all(callers).await;
}

fn key() -> TokenKey {
    Token::generate(TokenFormat::Uuid).expect("randomness").key()
}

fn grant() -> Grant {
    Grant {
        id: GrantId(Uuid::new_v4()),
        request: RequestId::random(),
        target: "47e9be4e-a7b9-471f-92d9-ffc83814e07a".into(),
        generation: Generation(3),
        protocol: Protocol::Serial,
        project: "9c53a566cb3443ab910cf0daebca90c4".into(),
        user: "demo".into(),
        options: Options::default(),
    }
}

/// The CPU of whole set-ups, so many at a time, as `consolegate load` sees it. With few at a time whoever asks the Redis
/// has nothing else to do meanwhile, and sleeps: on a virtual machine to be woken costs as much as a step.
fn setups(dir: &Path, port: u16, server: &Process, size: Size, at_a_time: usize) {
    let stores = ["memory".to_owned(), format!("redis://127.0.0.1:{port}/0")];
    let mut costs = [Vec::new(), Vec::new()];
    let mut rates = [Vec::new(), Vec::new()];
    let mut servers = Vec::new();
    for _ in 0..size.rounds {
        for (at, store) in stores.iter().enumerate() {
            let before = cpu(server.id());
            let (cost, rate) = setup(dir, store, size.setups, at_a_time);
            costs[at].push(cost);
            rates[at].push(rate);
            if at == 1 {
                servers.push((cpu(server.id()) - before) / size.setups as f64 * 1e6);
            }
        }
    }
    let [[memory, shared], [memory_rate, shared_rate]] = [costs, rates].map(|both| both.map(median));
    println!("\n{at_a_time} set-ups at a time");
    println!("a set-up, store in memory: {memory:.0} us of consolegate's CPU, {memory_rate:.0}/s");
    println!("a set-up, Redis:           {shared:.0} us of consolegate's CPU, {shared_rate:.0}/s");
    println!("the redis-server's own, issuing included: {:.0} us", median(servers));
    let ratio = shared / memory;
    println!("ratio {ratio:.2}, the mark is at most {COST}: {}", verdict(ratio <= COST));
}

/// A process over `store`, its set-ups' CPU in microseconds each, and how many there were a second.
fn setup(dir: &Path, store: &str, count: usize, at_a_time: usize) -> (f64, f64) {
    let [listen, console] = [(); 2].map(|()| free_port());
    let text = format!(
        "[listen]\napi = \"127.0.0.1:{listen}\"\nproxy = \"127.0.0.1:{listen}\"\nadmin = \"127.0.0.1:0\"\n\
         [proxy]\nworkers = 1\n[tokens]\nstore = \"{store}\"\n\
         [limits]\nsessions_per_target = 0\nissue_per_second = 0\noutstanding_per_target = 0\n\
         [[auth.token]]\ntoken = \"{TOKEN}\"\nuser = \"bench\"\nproject = \"bench\"\n\
         [[target]]\nid = \"load\"\nproject = \"bench\"\nserial = \"tcp://127.0.0.1:{console}\"\n\
         serial_viewers = \"share\"\n"
    );
    let file = dir.join("consolegate.toml");
    std::fs::write(&file, text).expect("a configuration");
    let mut serve = Command::new(env!("CARGO_BIN_EXE_consolegate"));
    serve.args(["serve", "--config"]).arg(&file);
    let process = Process::start(&mut serve, &dir.join("consolegate.log"));
    reachable(listen);
    let (api, console) = (format!("http://127.0.0.1:{listen}/v2.1"), format!("127.0.0.1:{console}"));
    let (count, watched) = (count.to_string(), process.id().to_string());
    let mut load = Command::new(env!("CARGO_BIN_EXE_consolegate"));
    load.args(["load", "setups", "--json", "--no-direct", "--server", "load"]);
    load.args([
        "--sessions",
        &at_a_time.to_string(),
        "--api",
        &api,
        "--console",
        &console,
        "--count",
        &count,
        "--watch",
        &watched,
    ]);
    let output = load.env("CONSOLEGATE_TOKEN", TOKEN).output().expect("a load");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let figure = |key: &str| answer["figures"][key].as_f64().unwrap_or_else(|| panic!("no {key}: {answer}"));
    (figure("cpu_us_per_setup"), figure("setup_per_s"))
}
