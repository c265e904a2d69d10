//! The browser pages: `web/` -> `web/dist`, which the binary embeds.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::project::{Content, Stamp, root};
use crate::setup::node;
use crate::ui;

/// Below `web/`, what is made rather than written.
const MADE: [&str; 2] = ["dist", "node_modules"];

/// Builds the pages where their sources changed, and returns their directory.
pub(crate) fn build() -> Result<PathBuf> {
    let web = root().join("web");
    let dist = web.join("dist");
    let pages = Stamp::new("web", Content::default().tree(&web, &MADE)?);
    if pages.is_fresh() && dist.is_dir() {
        return Ok(dist);
    }
    node::ensure()?;
    let lock = Content::default().file(&web.join("package.json"))?.file(&web.join("package-lock.json"))?;
    let packages = Stamp::new("npm", lock);
    if !packages.is_fresh() || !web.join("node_modules").is_dir() {
        packages.clear();
        let mut command = Command::new("npm");
        command.args(["ci", "--no-audit", "--no-fund"]).current_dir(&web);
        let remedy = "check that npm reaches its registry (`npm ping`), then run this command again";
        ui::step("Installing the pages' packages (npm ci)", remedy, command)?;
        packages.set()?;
    }
    pages.clear();
    // What an older build left must not be embedded by the next one.
    if dist.exists() {
        fs::remove_dir_all(&dist)?;
    }
    let mut command = Command::new("npm");
    command.args(["run", "build"]).current_dir(&web);
    ui::step(
        "Building the pages",
        "mend what the lines above name in web/, then run this command again",
        command,
    )?;
    pages.set()?;
    Ok(dist)
}

/// Runs the pages' own tests (addresses, layouts, reasons), which need no browser.
pub(crate) fn test() -> Result<()> {
    let mut command = Command::new("npm");
    command.arg("test").current_dir(root().join("web"));
    ui::step(
        "Testing the pages",
        "mend what the lines above name in web/, then run this command again",
        command,
    )
}
