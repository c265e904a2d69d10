//! Running the program: the demo, and development certificates.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::build;
use crate::project::{root, which};
use crate::setup::guest;
use crate::ui;
use crate::web;

/// Builds and becomes `consolegate demo`.
pub(crate) fn demo(release: bool, args: &[String]) -> Result<()> {
    web::build()?;
    let mut command = Command::new(build::program(release)?);
    command.current_dir(root()).arg("demo");
    match real_guest() {
        Ok(Some(guest)) => {
            command.arg("--guest-kernel").arg(guest.kernel).arg("--guest-initrd").arg(guest.initrd);
        }
        Ok(None) => ui::note("no QEMU here, so no real guest in the demo (`cargo xtask setup` brings one)"),
        // The demo's other consoles need no guest, so that an unreachable mirror must not stop them.
        Err(error) => ui::note(&format!("no real guest in the demo: {error:#}")),
    }
    become_it(command.args(args))
}

/// Builds and becomes `consolegate certs`.
pub(crate) fn certs(args: &[String]) -> Result<()> {
    let mut command = Command::new(build::program(false)?);
    become_it(command.current_dir(root()).arg("certs").args(args))
}

fn real_guest() -> Result<Option<guest::Guest>> {
    which("qemu-system-x86_64").map(|_| guest::build()).transpose()
}

/// Replaces this process, so that Ctrl-C, SIGTERM and the exit code are the program's own.
fn become_it(command: &mut Command) -> Result<()> {
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {command:?}"))
}
