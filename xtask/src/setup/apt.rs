//! Packages of Debian and Ubuntu: lists refreshed at most once a run, and only when something is missing.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

use crate::project::which;
use crate::ui;

/// Another apt (an unattended upgrade, say) may hold the lock on a freshly booted machine.
const LOCK_TIMEOUT: &str = "DPkg::Lock::Timeout=300";

static UPDATED: OnceLock<()> = OnceLock::new();

/// Installs packages; an empty list does nothing.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let names = packages.join(" ");
    let by_hand = format!("run `sudo apt-get install {names}` by hand, then this command again");
    update(&by_hand)?;
    let mut command = as_root("apt-get", &by_hand)?;
    command.args(["install", "-y", "--no-install-recommends", "-o", LOCK_TIMEOUT]).args(packages);
    ui::step(&format!("Installing {names}"), &by_hand, command)
}

/// Refreshes the package lists, once a run.
pub(crate) fn update(by_hand: &str) -> Result<()> {
    if UPDATED.get().is_some() {
        return Ok(());
    }
    let mut command = as_root("apt-get", by_hand)?;
    command.args(["update", "-o", LOCK_TIMEOUT]);
    ui::step("Refreshing the package lists", by_hand, command)?;
    let _ = UPDATED.set(());
    Ok(())
}

/// The package that a meta package stands for now: the first dependency whose name begins with `prefix`.
pub(crate) fn dependency(meta: &str, prefix: &str) -> Option<String> {
    let output = Command::new("apt-cache").args(["depends", meta]).env("LC_ALL", "C").output().ok()?;
    first_dependency(&String::from_utf8_lossy(&output.stdout), prefix)
}

fn first_dependency(listing: &str, prefix: &str) -> Option<String> {
    let mut names = listing.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.find(|name| name.starts_with(prefix)).map(str::to_owned)
}

/// Whether this is Ubuntu or a child of it, where Chromium is a snap and kernels have other names.
pub(crate) fn is_ubuntu() -> bool {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
        .any(|value| value.trim_matches('"').split(' ').any(|id| id == "ubuntu"))
}

/// A command run as root: directly when we are, through sudo otherwise.
pub(crate) fn as_root(program: &str, by_hand: &str) -> Result<Command> {
    if which(program).is_none() {
        bail!("this machine has no {program}: install the named packages its own way. To go on: {by_hand}");
    }
    if is_root() {
        let mut command = Command::new(program);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        return Ok(command);
    }
    if which("sudo").is_none() {
        bail!("{program} needs root, and there is no sudo here. To go on, as root: {by_hand}");
    }
    // Asked for here, with the terminal, so that a password prompt is not hidden by a spinner.
    let asked = Command::new("sudo").arg("-v").status().context("cannot start sudo")?;
    if !asked.success() {
        bail!("sudo refused. To go on: {by_hand}");
    }
    let mut command = Command::new("sudo");
    command.args(["env", "DEBIAN_FRONTEND=noninteractive", program]);
    Ok(command)
}

/// Root owns our own entry in /proc exactly when we run as root.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(Path::new("/proc/self")).is_ok_and(|entry| entry.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meta_package_leads_to_the_kernel() {
        let debian = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n";
        assert_eq!(
            first_dependency(debian, "linux-image-").as_deref(),
            Some("linux-image-6.1.0-56-cloud-amd64")
        );
        let ubuntu = "linux-image-virtual\n  Depends: linux-image-6.8.0-45-generic\n  Recommends: grub-pc\n";
        assert_eq!(first_dependency(ubuntu, "linux-image-").as_deref(), Some("linux-image-6.8.0-45-generic"));
        assert_eq!(first_dependency("", "linux-image-"), None);
    }
}
