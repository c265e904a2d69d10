//! Node.js and npm, which bundle the browser pages.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::apt;
use crate::project::which;

/// What the bundler in web/ runs on; Debian 12 ships 18.
const OLDEST: u32 = 18;

/// The packages to install when there is no npm.
pub(crate) fn missing() -> Vec<&'static str> {
    let found = which("npm").is_some() && which("node").is_some();
    if found { vec![] } else { vec!["nodejs", "npm"] }
}

/// Installs npm where it is missing and checks its age.
pub(crate) fn ensure() -> Result<()> {
    apt::install(&missing())?;
    check()
}

/// Checks that node is new enough.
pub(crate) fn check() -> Result<()> {
    let output = Command::new("node").arg("--version").output().context("cannot start node")?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match major(&version) {
        Some(found) if found >= OLDEST => Ok(()),
        _ => bail!(
            "node says `{version}`, and the pages need {OLDEST} or newer. To go on: install a newer Node.js \
             with npm, put it first on PATH, then run this command again"
        ),
    }
}

fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(major("v18.20.4"), Some(18));
        assert_eq!(major("v20.20.2\n"), Some(20));
        assert_eq!(major("not node"), None);
    }
}
