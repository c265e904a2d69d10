//! `cargo xtask bench`: us and others, in turn, in one run; the table that results, and what it must say.
//!
//! ```text
//! parts (build, install) -> measure (A B A B) -> verdict (ratios against what is to be reached)
//!                                             -> report (tables, BENCHMARKING.md), chart (SVG)
//! ```

mod chart;
mod measure;
mod parts;
mod peers;
mod report;
mod screens;
mod verdict;

use anyhow::{Result, bail};

use crate::ui;

/// What was asked for.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Fewer peers, rounds and sessions: under five minutes once everything is built
    #[arg(long)]
    quick: bool,
    /// How often each is measured; the median counts
    #[arg(long)]
    rounds: Option<usize>,
    /// How long each measurement lasts, after a second of warm-up
    #[arg(long)]
    seconds: Option<u64>,
    /// Only the loads whose name begins so (down, up, rtt, setups, idle, screen, ...); nothing is written
    #[arg(long, value_name = "LOAD", conflicts_with = "write")]
    only: Option<String>,
    /// Write BENCHMARKING.md and its charts (a run without --quick always does)
    #[arg(long)]
    write: bool,
    /// Fail if a row misses its mark and BENCHMARKING.md does not say why
    #[arg(long)]
    strict: bool,
}

impl Options {
    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 2 } else { 5 }).clamp(1, 20)
    }

    fn wants(&self, load: &str) -> bool {
        self.only.as_deref().is_none_or(|only| load.starts_with(only))
    }

    fn seconds(&self) -> u64 {
        self.seconds.unwrap_or(if self.quick { 2 } else { 4 }).clamp(1, 60)
    }
}

/// Builds, measures, judges, writes.
pub(crate) fn bench(options: &Options) -> Result<()> {
    let parts = parts::get(options.quick)?;
    let started = std::time::Instant::now();
    let results = measure::all(options, &parts)?;
    let verdicts = verdict::judge(&results, &report::page()?);
    let minutes = started.elapsed().as_secs_f64() / 60.0;
    let about = report::About::new(options, &parts, minutes);
    let reached = parts.dir.join("reached.json");
    let before = verdict::Before::load(&reached);
    ui::result(&report::text(&about, &results, &verdicts, &before));
    results.save(&parts.dir.join("results.json"))?;
    if options.write || !options.quick && options.only.is_none() {
        let charts = chart::write(&results)?;
        report::write(&about, &results, &verdicts, &before, &charts)?;
        verdict::Before::save(&reached, &verdicts)?;
    }
    let missed = verdicts.iter().filter(|verdict| verdict.unexplained()).count();
    if missed > 0 && options.strict {
        bail!("{missed} rows miss their mark, and BENCHMARKING.md does not say why");
    }
    Ok(())
}
