//! The parsers' oracles under cargo-fuzz: random input, guided by what of the code it reaches. Works with a stable
//! compiler: without a sanitizer it needs no unstable flag, and ours is code without `unsafe`, for which there is
//! nothing to sanitize.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::project::{Content, Stamp, cargo, root, setup_dir};
use crate::ui;

const CARGO_FUZZ: &str = "0.13.2";

/// How long each target runs.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Inputs for each target
    #[arg(long, default_value_t = 10_000_000)]
    runs: u64,
    /// Seconds after which a target ends, whatever it has got through
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Only these targets
    targets: Vec<String>,
}

/// Builds all targets, then runs one after the other, also after one that fails.
pub(crate) fn fuzz(options: &Options) -> Result<()> {
    let program = install()?;
    let fuzz = |verb: &str| {
        let mut command = Command::new(&program);
        command.args(["fuzz", verb]).current_dir(root());
        command
    };
    let listed = fuzz("list").output().context("cannot run cargo-fuzz")?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let targets: Vec<&str> = match &options.targets[..] {
        [] => listed.lines().collect(),
        some => some.iter().map(String::as_str).collect(),
    };
    let mut build = fuzz("build");
    build.args(["--sanitizer", "none"]);
    ui::step("Building the fuzz targets", "mend what the compiler names in the log", build)?;
    let mut failed = Vec::new();
    for target in &targets {
        let mut run = fuzz("run");
        run.args(["--sanitizer", "none", target, "--"]).arg(format!("-runs={}", options.runs));
        run.arg(format!("-max_total_time={}", options.seconds)).arg("-max_len=4096");
        // The last lines say how many inputs there were, and which of them failed.
        run.args(["-verbosity=0", "-print_final_stats=1"]);
        let remedy =
            "its input is in fuzz/artifacts: make it a case in the tests beside the parser, then mend it";
        if let Err(error) = ui::shown(target, remedy, run) {
            ui::failure(&error);
            failed.push(*target);
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    ui::note(&format!("{} targets, and no input that fails", targets.len()));
    Ok(())
}

/// cargo-fuzz, built from its crate.
fn install() -> Result<PathBuf> {
    let dir = setup_dir().join("cargo-fuzz");
    let program = dir.join("bin/cargo-fuzz");
    let stamp = Stamp::new("cargo-fuzz", Content::default().text(CARGO_FUZZ));
    if !stamp.is_fresh() || !program.exists() {
        let mut command = cargo(["install", "cargo-fuzz", "--locked", "--version", CARGO_FUZZ]);
        command.arg("--root").arg(&dir).arg("--target-dir").arg(setup_dir().join("cargo-fuzz-build"));
        ui::step("Building cargo-fuzz", "look at the log: its crate comes from the registry", command)?;
        stamp.set()?;
    }
    Ok(program)
}
