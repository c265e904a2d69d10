//! Building the program.

use anyhow::{Context, Result};

use crate::project;
use crate::setup::apt;
use crate::ui;
use crate::web;

const REMEDY: &str = "mend what cargo names above, then run this command again";

/// The release binary with the pages inside; says where it is and how big.
pub(crate) fn release() -> Result<()> {
    web::build()?;
    let binary = program(true)?;
    let size = std::fs::metadata(&binary).with_context(|| format!("no {}", binary.display()))?.len();
    ui::heading(&format!("{} ({:.1} MiB)", binary.display(), size as f64 / f64::from(1 << 20)));
    Ok(())
}

/// Builds `consolegate` and returns its path.
pub(crate) fn program(release: bool) -> Result<std::path::PathBuf> {
    let mut command = project::cargo(["build", "--package", "consolegate", "--bin", "consolegate"]);
    if release {
        // The allocator's own build script runs make.
        apt::install(if project::which("make").is_some() { &[] } else { &["make"] })?;
        command.args(["--release", "--features", "jemalloc"]);
    }
    ui::shown("Building consolegate", REMEDY, command)?;
    project::binary(if release { "release" } else { "debug" })
}
