//! The long versions of what CI checks at a small size: raced claims, kills, churn. Writes target/soak/report.md.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail};

use crate::project::{cargo, root, which};
use crate::setup::apt;
use crate::ui;

/// How long each part is; 0 leaves it out.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Raced claims over three proxies and a Redis
    #[arg(long, default_value_t = 1_000_000)]
    claims: u64,
    /// kill -9 of store, proxies and consoles under a checksummed load
    #[arg(long, default_value_t = 1000)]
    kills: u64,
    /// Minutes of sessions that come and go, with flat memory
    #[arg(long, default_value_t = 120)]
    minutes: u64,
    /// Use what the tests compiled, without optimisation: begins at once, and weighs and takes more
    #[arg(long)]
    debug: bool,
}

/// One part: what it is called, the test that does it, and the variable that says how much.
struct Part {
    name: &'static str,
    arguments: &'static [&'static str],
    variable: &'static str,
    amount: u64,
    unit: &'static str,
}

/// Runs every part, also after one that fails, and writes the report.
pub(crate) fn soak(options: &Options) -> Result<()> {
    // The tests that it runs need nothing else.
    apt::install(if which("redis-server").is_some() { &[] } else { &["redis-server"] })?;
    let dir = root().join("target/soak");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let (notes, report) = (dir.join("notes"), dir.join("report.md"));
    let parts = [
        Part {
            name: "Raced claims",
            arguments: &[
                "--lib",
                "--",
                "--exact",
                "tokens::redis::tests::claims_are_raced_over_three_proxies",
            ],
            variable: "CONSOLEGATE_RACED_CLAIMS",
            amount: options.claims,
            unit: "claims",
        },
        Part {
            name: "Kills",
            arguments: &[
                "--test",
                "it",
                "--",
                "--exact",
                "kills::whatever_is_killed_nothing_is_lost_doubled_or_crossed",
            ],
            variable: "CONSOLEGATE_KILL_ROUNDS",
            amount: options.kills,
            unit: "kills",
        },
        Part {
            name: "Churn",
            arguments: &["--test", "it", "--", "--exact", "churn::sessions_come_and_go_in_flat_memory"],
            variable: "CONSOLEGATE_CHURN_SECONDS",
            amount: options.minutes * 60,
            unit: "s",
        },
    ];
    let mut text = head(options.debug)?;
    let mut failed = Vec::new();
    for part in parts.iter().filter(|part| part.amount > 0) {
        let _ = fs::remove_file(&notes);
        let mut command = cargo(["test", "--locked"]);
        command.args((!options.debug).then_some("--release")).args(part.arguments);
        command.env(part.variable, part.amount.to_string()).env("CONSOLEGATE_SOAK_NOTES", &notes);
        let begun = Instant::now();
        let remedy = "the lines above say what went wrong; CONSOLEGATE_KILL_SEED repeats a run of kills";
        let done = ui::shown(part.name, remedy, command);
        let said = fs::read_to_string(&notes).unwrap_or_default();
        // A test that was renamed runs nothing, and succeeds.
        let right = done.is_ok() && !said.is_empty();
        let verdict = if right { "passed" } else { "**FAILED**" };
        let took = Duration::from_secs(begun.elapsed().as_secs());
        let _ = writeln!(text, "## {}: {} {}, {verdict}\n", part.name, part.amount, part.unit);
        let _ = writeln!(text, "{}, build included.\n\n{said}", humantime(took));
        fs::write(&report, &text).with_context(|| format!("cannot write {}", report.display()))?;
        if !right {
            failed.push(part.name);
        }
    }
    ui::note(&format!("The report is {}", report.display()));
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn humantime(took: Duration) -> String {
    let seconds = took.as_secs();
    format!("{} h {} min {} s", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// What was run, where.
fn head(debug: bool) -> Result<String> {
    let commit = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).current_dir(root()).output();
    let commit = commit.context("cannot run git")?;
    let commit = String::from_utf8_lossy(&commit.stdout).trim().to_owned();
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    Ok(format!(
        "# Soak\n\nCommit {commit}, {}, {cores} cores, begun at {} s after 1970. Written by `cargo xtask soak`.\n\n",
        if debug { "without optimisation" } else { "as released" },
        since.as_secs()
    ))
}
