//! `consolegate load`: measures a proxy, ours or another, by playing the viewers and the console behind it.
//!
//! ```text
//! source (URLs, or tokens from an issuer) -> viewer ── proxy under test ── console (a thread of ours)
//! run (open, warm up, measure) -> bulk, paced, setups, idle, mix, verify -> report (table, JSON)
//! ```

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;
use indicatif::ProgressBar;
use serde_json::json;

use crate::ids::Protocol;

use super::issue;
use super::issuer::{Issuer, tls};
use super::print;

mod bulk;
mod checksum;
mod console;
mod frames;
mod idle;
mod mix;
mod paced;
mod report;
mod rfb;
mod run;
mod setups;
mod source;
mod url;
mod verify;
mod viewer;
mod watch;

use console::Console;
use report::Report;
use run::{Plan, Run};
use source::Source;
use url::ViewerUrl;
use viewer::Dialer;
use watch::Watch;

/// Limits of what one run may ask of a machine. Sessions: the ports of one source address, less some.
const MAX_SESSIONS: usize = 20_000;
const MAX_SECONDS: u64 = 600;
const MAX_SIZE: usize = 1024 * 1024;
const MAX_COUNT: usize = 200_000;

/// Measure a proxy: throughput, latency, set-ups, memory, correctness.
///
/// This program plays the viewers and also the console, which listens on --console; the proxy must lead
/// there. With consolegate, add a target and name it:
///
///   [[target]]
///   id = "load"
///   project = "..."
///   serial = "tcp://127.0.0.1:7000"
///   serial_viewers = "share"
///
///   consolegate load down --api http://127.0.0.1:8774/v2.1 --server load --console 127.0.0.1:7000
///
/// The issuer's credential is taken from CONSOLEGATE_TOKEN. Raise `limits.issue_per_second` and
/// `limits.outstanding_per_target` for many sessions.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Load {
    /// What to measure.
    #[arg(value_enum)]
    mode: Mode,
    /// Where viewers connect: ws://, wss://, or tcp:// and tls:// for a proxy without WebSocket. Repeatable:
    /// taken in turn.
    #[arg(long, value_name = "URL", conflicts_with = "api")]
    url: Vec<ViewerUrl>,
    /// An issuer to ask for a console URL per session instead.
    #[arg(long, value_name = "URL", env = "CONSOLEGATE_API")]
    api: Option<String>,
    /// The server to ask for, by id or name. Repeatable: taken in turn.
    #[arg(long, value_name = "NAME")]
    server: Vec<String>,
    /// Where this program's console listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    console: SocketAddr,
    /// What the console is: `serial` sends bytes at once, `vnc` greets first (RFB 3.8, no password).
    #[arg(long, default_value = "serial", value_parser = issue::protocol)]
    protocol: Protocol,
    /// The sessions lead to real consoles, not to this program's: for `setups` and `idle` only.
    #[arg(long)]
    real: bool,
    /// Sessions at once. Default: 1 in bulk, 100 otherwise.
    #[arg(long)]
    sessions: Option<usize>,
    /// How long to measure, after a warm-up of one second.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Payload bytes per message. Default: 65536 upwards, 64 in round trips.
    #[arg(long)]
    size: Option<usize>,
    /// Round trips a second and session; 0 is one after the other.
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    /// Sessions beside the measured ones: in `fairness` and `stalled` (default: 4); in `setups` (default: none)
    /// they make round trips at --rate meanwhile.
    #[arg(long)]
    beside: Option<usize>,
    /// Bytes a second of each session beside, and of each session in `down`; 0 is all there is.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    bulk_rate: u64,
    /// Set-ups in all.
    #[arg(long, default_value_t = 5000)]
    count: usize,
    /// What the random choices of `verify` begin with.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The proxy's process, on this machine: its CPU time and memory are read as well.
    #[arg(long, value_name = "PID")]
    watch: Option<u32>,
    /// The certificate authority to trust, as PEM.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Leave out the run without a proxy, which shows that this program is not the bottleneck.
    #[arg(long)]
    no_direct: bool,
    /// Print JSON instead of the table.
    #[arg(long)]
    json: bool,
    /// Go beyond this machine. Load is an attack on whoever did not ask for it.
    #[arg(long)]
    yes_this_is_my_server: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Bytes from console to viewer.
    Down,
    /// Bytes from viewer to console.
    Up,
    /// Paced round trips of small messages.
    Rtt,
    /// Round trips one after the other: messages a second.
    Small,
    /// Sessions opened and closed, a token spent each.
    Setups,
    /// Memory of sessions that do nothing (needs --watch).
    Idle,
    /// Round trips beside bulk sessions.
    Fairness,
    /// Round trips beside viewers that do not read.
    Stalled,
    /// Screens and input, or logs and key strokes, as --protocol says.
    Mix,
    /// Every byte checked: fragments, pings, empty frames, odd pieces, half-close.
    Verify,
}

pub(super) async fn run(arguments: Load) -> anyhow::Result<ExitCode> {
    let run = prepare(&arguments).await?;
    let report = measure(&run, &arguments).await;
    run.bar.finish_and_clear();
    let report = report.with_context(|| format!("measuring {:?}", arguments.mode))?;
    let mode = arguments.mode.to_possible_value().map(|value| value.get_name().to_owned());
    let about = json!({
        "mode": mode, "protocol": arguments.protocol.as_str(), "source": run.source.describe(),
        "sessions": run.plan.sessions, "seconds": run.plan.seconds.as_secs(), "size": run.plan.size,
        "rate": run.plan.rate, "beside": run.plan.beside, "bulk_rate": run.plan.beside_rate,
        "count": run.plan.count, "seed": arguments.seed,
    });
    if arguments.json {
        print::line(report.json(about));
    } else {
        let sessions = run.plan.sessions;
        print::line(format_args!(
            "{} x{sessions} through {}\n",
            mode.unwrap_or_default(),
            run.source.describe()
        ));
        print::line(report.table());
    }
    Ok(ExitCode::SUCCESS)
}

async fn prepare(arguments: &Load) -> anyhow::Result<Run> {
    let plan = plan(arguments)?;
    let ours = !arguments.real;
    let modes_without = [Mode::Setups, Mode::Idle];
    ensure!(ours || modes_without.contains(&arguments.mode), "--real is for `setups` and `idle`");
    let console = Console::start(arguments.console, arguments.protocol == Protocol::Vnc, ours)?;
    let trusting = |file| {
        let mut config = tls::client(Some(file))?;
        // The records are taken into our own hands, as the proxy does: the load must not be what is slow.
        config.enable_secret_extraction = true;
        anyhow::Ok(Arc::new(config))
    };
    let tls = arguments.ca.as_deref().map(trusting).transpose()?;
    let source = source(arguments, &console).await?;
    let watch = arguments.watch.map(Watch::new).transpose()?;
    Ok(Run { dialer: Dialer { tls, console }, source, plan, watch, bar: ProgressBar::no_length() })
}

fn plan(arguments: &Load) -> anyhow::Result<Plan> {
    let bulk = matches!(arguments.mode, Mode::Down | Mode::Up);
    let sessions = arguments.sessions.unwrap_or(if bulk { 1 } else { 100 });
    let size = arguments.size.unwrap_or(if bulk { 65_536 } else { 64 });
    ensure!((1..=MAX_SESSIONS).contains(&sessions), "--sessions is from 1 to {MAX_SESSIONS}");
    ensure!((1..=MAX_SECONDS).contains(&arguments.seconds), "--seconds is from 1 to {MAX_SECONDS}");
    ensure!((1..=MAX_SIZE).contains(&size), "--size is from 1 to {MAX_SIZE}");
    ensure!((1..=MAX_COUNT).contains(&arguments.count), "--count is from 1 to {MAX_COUNT}");
    let (least, usual) = if arguments.mode == Mode::Setups { (0, 0) } else { (1, 4) };
    let beside = arguments.beside.unwrap_or(usual);
    ensure!((least..=MAX_SESSIONS).contains(&beside), "--beside is from {least} to {MAX_SESSIONS}");
    ensure!(
        (0.0..=1000.0).contains(&arguments.rate),
        "--rate is from 0 to 1000 (timers tick in milliseconds)"
    );
    Ok(Plan {
        sessions,
        seconds: Duration::from_secs(arguments.seconds),
        warm_up: Duration::from_secs(1),
        size,
        rate: if arguments.mode == Mode::Small { 0.0 } else { arguments.rate },
        beside,
        beside_rate: arguments.bulk_rate,
        count: arguments.count,
    })
}

async fn source(arguments: &Load, console: &Console) -> anyhow::Result<Source> {
    let ours = |url: &ViewerUrl| url.is_loopback() || arguments.yes_this_is_my_server;
    let guard = "beyond this machine: add --yes-this-is-my-server if it is yours to load";
    if let Some(stranger) = arguments.url.iter().find(|url| !ours(url)) {
        bail!("{stranger} is {guard}");
    }
    let Some(api) = &arguments.api else {
        if !arguments.url.is_empty() {
            return Ok(Source::urls(arguments.url.clone()));
        }
        print::note("No --url and no --api: this is the generator against its own console, without a proxy.");
        return Ok(Source::urls(vec![ViewerUrl::direct(console.address)]));
    };
    let issuer = Issuer::new(Some(api), arguments.ca.as_deref())?;
    let source = Source::issuer(issuer, &arguments.server, arguments.protocol).await?;
    // What the issuer hands out decides where the load goes, so that is what is checked.
    let first = source.take(1).await?;
    if let Some(stranger) = first.iter().find(|url| !ours(url)) {
        bail!("the issuer's consoles are at {stranger}, {guard}");
    }
    Ok(source)
}

async fn measure(run: &Run, arguments: &Load) -> anyhow::Result<Report> {
    let mode = arguments.mode;
    let mut report = one(run, mode, arguments.seed).await?;
    let has_direct = matches!(mode, Mode::Down | Mode::Up | Mode::Rtt | Mode::Small | Mode::Setups);
    if has_direct && !arguments.no_direct && !arguments.real {
        report.add_direct(one(&run.direct(), mode, arguments.seed).await?);
    }
    Ok(report)
}

async fn one(run: &Run, mode: Mode, seed: u64) -> anyhow::Result<Report> {
    match mode {
        Mode::Down => bulk::down(run).await,
        Mode::Up => bulk::up(run).await,
        Mode::Rtt | Mode::Small => paced::round_trips(run).await,
        Mode::Setups => setups::setups(run).await,
        Mode::Idle => idle::idle(run).await,
        Mode::Fairness => paced::fairness(run).await,
        Mode::Stalled => paced::stalled(run).await,
        Mode::Mix => mix::mix(run).await,
        Mode::Verify => verify::verify(run, seed).await,
    }
}
