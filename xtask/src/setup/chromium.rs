//! A Chromium for the tests: any Chromium or Chrome that is there, else the distribution's.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::apt;
use crate::project::which;
use crate::ui;

/// The names it goes by, the distribution's own first.
const NAMES: [&str; 5] =
    ["chromium", "/snap/bin/chromium", "google-chrome-stable", "google-chrome", "chrome"];

const REMEDY: &str = "install Chromium or Chrome, or set CHROME=/path/to/it, then run this command again";

/// The packages to install when there is no browser. On Ubuntu it is a snap, which is installed at once.
pub(crate) fn missing() -> Result<Vec<&'static str>> {
    if look()?.is_some() {
        return Ok(vec![]);
    }
    if !apt::is_ubuntu() {
        return Ok(vec!["chromium"]);
    }
    let mut command = apt::as_root("snap", REMEDY)?;
    command.args(["install", "chromium"]);
    ui::step("Installing the chromium snap", REMEDY, command)?;
    Ok(vec![])
}

/// The browser to use.
pub(crate) fn find() -> Result<PathBuf> {
    look()?.with_context(|| format!("no Chromium found. To go on: {REMEDY}"))
}

fn look() -> Result<Option<PathBuf>> {
    if let Some(chosen) = env::var_os("CHROME") {
        let Some(path) = which(PathBuf::from(&chosen)) else {
            bail!("CHROME is set to {}, and that is no program. To go on: {REMEDY}", chosen.display());
        };
        return Ok(Some(path));
    }
    Ok(NAMES.iter().find_map(which))
}
