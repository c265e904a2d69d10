//! The test guest: the distribution's kernel and a static busybox, with a shell on the screen and one on the
//! serial line. Boots under software emulation in seconds and needs no disk and no network.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::apt;
use super::cpio::Archive;
use crate::project::{Content, Stamp, setup_dir};
use crate::ui;

/// The guest's process 1.
const INIT: &str = include_str!("guest-init.sh");

/// Raised when the recipe below changes in a way that `INIT` does not show.
const RECIPE: &str = "1";

/// Kernel packages to look for: Debian's for clouds (small, with a VGA console and a serial port built in),
/// then Ubuntu's names.
const KERNELS: [&str; 3] = ["linux-image-cloud-amd64", "linux-image-virtual", "linux-image-generic"];

const REMEDY: &str =
    "check that apt-get reaches its mirror (`sudo apt-get update`), then run this command again";

/// What QEMU boots.
pub(crate) struct Guest {
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: PathBuf,
}

/// Builds the guest where it is missing or its recipe changed.
pub(crate) fn build() -> Result<Guest> {
    let dir = setup_dir().join("guest");
    let guest = Guest { kernel: dir.join("vmlinuz"), initrd: dir.join("initrd") };
    let stamp = Stamp::new("guest", Content::default().text(RECIPE).text(INIT));
    if stamp.is_fresh() && guest.kernel.exists() && guest.initrd.exists() {
        return Ok(guest);
    }
    if ARCH != "x86_64" {
        bail!(
            "the test guest is built from x86-64 packages, and this machine is {ARCH}. To go on: use an x86-64 one"
        );
    }
    stamp.clear();
    let work = dir.join("work");
    remove(&work)?;
    fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    apt::update(REMEDY)?;
    let kernel = KERNELS.iter().find_map(|meta| apt::dependency(meta, "linux-image-"));
    let kernel =
        kernel.with_context(|| format!("apt knows none of {}. To go on: {REMEDY}", KERNELS.join(", ")))?;
    let mut command = Command::new("apt-get");
    command.args(["download", &kernel, "busybox-static"]).current_dir(&work);
    ui::step(&format!("Downloading a guest: {kernel} and busybox"), REMEDY, command)?;
    unpack(&work)?;

    let boot = work.join("boot");
    let image = files(&boot)?.into_iter().find(|file| name(file).starts_with("vmlinuz"));
    let image = image.with_context(|| format!("{kernel} has no boot/vmlinuz"))?;
    fs::copy(&image, &guest.kernel).context("cannot copy the guest's kernel")?;
    // Ubuntu's kernels are readable by root only.
    readable(&guest.kernel)?;
    fs::write(&guest.initrd, initrd(&work)?).context("cannot write the guest's initrd")?;
    remove(&work)?;
    stamp.set()?;
    Ok(guest)
}

/// The first file system, uncompressed: under emulation, unpacking costs more than reading.
fn initrd(unpacked: &Path) -> Result<Vec<u8>> {
    let places = ["bin/busybox", "usr/bin/busybox"].map(|place| unpacked.join(place));
    let busybox = places.iter().find(|place| place.exists());
    let busybox = fs::read(busybox.context("busybox-static has no busybox")?)?;
    let archive = ["bin", "dev", "proc", "sys"].into_iter().fold(Archive::default(), Archive::directory);
    // Without /dev/console, process 1 would start with no standard output.
    let archive = archive.device("dev/console", 5, 1);
    Ok(archive.program("bin/busybox", &busybox).program("init", INIT.as_bytes()).finish())
}

fn unpack(work: &Path) -> Result<()> {
    for package in files(work)?.into_iter().filter(|file| name(file).ends_with(".deb")) {
        let mut command = Command::new("dpkg");
        command.arg("-x").arg(&package).arg(work);
        ui::step(&format!("Unpacking {}", name(&package)), REMEDY, command)?;
    }
    Ok(())
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    Ok(entries.collect::<Result<Vec<_>, _>>()?.into_iter().map(|entry| entry.path()).collect())
}

fn name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn readable(file: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(0o644))
        .with_context(|| format!("cannot make {} readable", file.display()))
}

fn remove(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    Ok(())
}
