//! The demo's real machine: a Linux guest under QEMU's software emulation, with a screen and a serial line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::remove_socket;

/// The emulator's name.
pub(super) const QEMU: &str = "qemu-system-x86_64";
/// Memory of the guest in MiB: a kernel and a shell need about half.
const MEMORY: &str = "128";
/// QEMU is up in a fraction of a second; on a busy machine in a few.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// What to boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestFiles {
    /// A Linux kernel (bzImage).
    pub kernel: PathBuf,
    /// An initial RAM disk whose init runs a shell on ttyS0.
    pub initrd: PathBuf,
}

/// A running guest; dropping it ends it.
#[derive(Debug)]
pub(super) struct Guest {
    vnc: PathBuf,
    serial: PathBuf,
    _qemu: Child,
    _monitor: Monitor,
}

/// QMP's input: while it is open, QEMU listens.
#[derive(Debug)]
struct Monitor {
    _stdin: ChildStdin,
}

impl Guest {
    pub(super) fn vnc(&self) -> &Path {
        &self.vnc
    }

    pub(super) fn serial(&self) -> &Path {
        &self.serial
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        remove_socket(&self.vnc);
        remove_socket(&self.serial);
    }
}

/// The emulator, if it is on PATH.
pub(super) fn qemu() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(QEMU)).find(|file| file.is_file())
}

/// Boots the guest; its sockets exist when this returns.
pub(super) async fn boot(qemu: &Path, files: &GuestFiles, dir: &Path) -> anyhow::Result<Guest> {
    let (vnc, serial, log) =
        (dir.join("guest-vnc.sock"), dir.join("guest-serial.sock"), dir.join("guest.log"));
    for file in [&files.kernel, &files.initrd] {
        std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    }
    let errors = std::fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut child = Command::new(qemu)
        .args(["-machine", "pc,accel=tcg", "-m", MEMORY, "-nodefaults", "-vga", "std", "-display", "none"])
        .args(["-net", "none", "-no-reboot", "-name", "demo-guest", "-qmp", "stdio"])
        .arg("-vnc")
        .arg(option("unix:", &vnc, ""))
        .arg("-serial")
        .arg(option("unix:", &serial, ",server=on,wait=off"))
        .arg("-kernel")
        .arg(&files.kernel)
        .arg("-initrd")
        .arg(&files.initrd)
        .args(["-append", "console=tty0 console=ttyS0 quiet"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(errors)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", qemu.display()))?;
    let stdin = child.stdin.take().context("QEMU has no standard input")?;
    let stdout = child.stdout.take().context("QEMU has no standard output")?;
    match tokio::time::timeout(START_DEADLINE, ready(stdin, stdout)).await {
        Ok(Ok(monitor)) => Ok(Guest { vnc, serial, _qemu: child, _monitor: monitor }),
        Ok(Err(_)) | Err(_) => {
            let said = std::fs::read(&log).unwrap_or_default();
            bail!("QEMU did not start: {}", crate::rfb::clean(&said, 512))
        }
    }
}

/// Asks over QMP (QEMU Machine Protocol) and waits for the answer: QEMU gives it once the machine is made, and
/// with it the sockets; its greeting comes earlier.
async fn ready(mut stdin: ChildStdin, stdout: ChildStdout) -> anyhow::Result<Monitor> {
    stdin.write_all(b"{\"execute\": \"qmp_capabilities\"}\n").await?;
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await? {
        if line.contains("\"return\"") {
            // Events follow for as long as it runs (one for each VNC viewer); unread, they would pile up in it.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(Monitor { _stdin: stdin });
        }
    }
    bail!("QEMU ended")
}

/// A path inside one of QEMU's options, where a comma is written twice.
fn option(before: &str, path: &Path, after: &str) -> OsString {
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

    let mut option = before.as_bytes().to_vec();
    for &byte in path.as_os_str().as_bytes() {
        option.push(byte);
        if byte == b',' {
            option.push(byte);
        }
    }
    option.extend_from_slice(after.as_bytes());
    OsString::from_vec(option)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_paths_are_written_twice() {
        assert_eq!(option("unix:", Path::new("/a,b/c"), ",server=on"), "unix:/a,,b/c,server=on");
    }
}
