//! `cargo xtask`: the project's own commands. `run` and `test` are all a newcomer needs.
//!
//! ```text
//! main (what was asked) -> setup (what this machine lacks) -> web, build, run, test, lint, certs, bench, guard, fuzz, soak
//!                          project (paths, stamps) and ui (progress) are below all of them
//! ```

mod bench;
mod build;
mod fuzz;
mod guard;
mod lint;
mod project;
mod run;
mod setup;
mod soak;
mod test;
mod ui;
mod web;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Commands of the consolegate project.
///
/// On a fresh Debian 12 (or a recent Ubuntu) with Rust, two are enough: `cargo xtask run` starts a demo and
/// prints links to open in a browser; `cargo xtask test` checks everything. Each installs or builds what it
/// still needs, says so, and does nothing a second time.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the demo: prints console links to open in a browser; Ctrl-C ends it
    ///
    /// Needs npm for the pages and installs it when missing. Where QEMU is installed, a small Linux guest
    /// joins the demo. The binary is built without optimisation: that is the quickest way to a first
    /// console, and `test` reuses what it compiled. Add `--release` to judge speed.
    Run {
        /// Build with optimisation (minutes longer the first time)
        #[arg(long)]
        release: bool,
        /// Passed on to `consolegate demo`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Check everything: set-up, pages, format, lints, licences, then every test
    ///
    /// With arguments, only the tests they select run, and no lint: `cargo xtask test relay`,
    /// `cargo xtask test --test it -- --nocapture`.
    Test {
        /// Passed on to `cargo test --workspace`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Measure us and other proxies side by side; writes BENCHMARKING.md
    ///
    /// Installs HAProxy and nginx (Debian packages, which start nginx on port 80 where services start by
    /// themselves), websockify (a venv) and websocat (built from its crate). The full run takes about
    /// half an hour and wants a machine that does nothing else.
    Bench(bench::Options),
    /// Count the instructions of the frame codec and of spending a token; more than 3 % off the baseline fails
    ///
    /// The baseline is benches/instructions/baseline.json. Valgrind counts, so that the figures are the same on
    /// a busy machine; a gain fails as well, until it is the baseline.
    Guard(guard::Options),
    /// Run the parsers' oracles on ten million inputs each, guided by coverage
    ///
    /// Builds cargo-fuzz the first time. A stable compiler is enough.
    Fuzz(fuzz::Options),
    /// The long versions of the tests: a million raced claims, a thousand kills, hours of churn
    ///
    /// Writes target/soak/report.md, also when something fails.
    Soak(soak::Options),
    /// Build target/release/consolegate with the pages inside
    Build,
    /// Build the browser pages: web/ -> web/dist (plain `cargo build` works without them)
    Web,
    /// Make development certificates in certs/dev; the server takes them on loopback only
    Certs {
        /// Passed on to `consolegate certs`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Install what `test` needs: npm, QEMU, Chromium, Xvnc, a Python venv, a small Linux guest
    Setup,
    /// Format, clippy, licences, banned crates and sources: what `test` checks before the tests
    Lint,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run { release, args } => run::demo(release, &args),
        Command::Test { args } => test::test(&args),
        Command::Bench(options) => bench::bench(&options),
        Command::Guard(options) => guard::guard(options),
        Command::Fuzz(options) => fuzz::fuzz(&options),
        Command::Soak(options) => soak::soak(&options),
        Command::Build => build::release(),
        Command::Web => web::build().map(|dist| ui::note(&format!("the pages are in {}", dist.display()))),
        Command::Certs { args } => run::certs(&args),
        Command::Setup => setup::for_tests().map(|_| ui::note("all of it is here")),
        Command::Lint => lint::lint(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui::failure(&error);
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
