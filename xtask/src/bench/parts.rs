//! What a comparison needs: our release build, the plain relays, the peers from their packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::build;
use crate::project::{Content, Stamp, cargo, setup_dir, which};
use crate::setup::{apt, venv};
use crate::ui;

/// Pinned, so that a comparison means the same next year.
const WEBSOCKIFY: &[&str] = &["websockify==0.13.0", "numpy==2.3.5"];
const WEBSOCAT: &str = "1.14.0";

/// Where everything is.
pub(super) struct Parts {
    pub(super) consolegate: PathBuf,
    pub(super) raw_copy: PathBuf,
    pub(super) tokio_copy: PathBuf,
    pub(super) aead_pass: PathBuf,
    pub(super) venv: PathBuf,
    /// Absent from a quick run on a machine where it was never built.
    pub(super) websocat: Option<PathBuf>,
    pub(super) certs: PathBuf,
    /// The origin of the page that watches screens: fixed, so that it can stand in our configuration.
    pub(super) page: String,
    /// Configurations and logs of what runs.
    pub(super) dir: PathBuf,
}

/// Builds and installs what is missing.
pub(super) fn get(quick: bool) -> Result<Parts> {
    let packages = [("haproxy", "haproxy"), ("nginx", "nginx"), ("", "libnginx-mod-stream")];
    let there = |program: &str| match program {
        "" => Path::new("/usr/lib/nginx/modules/ngx_stream_module.so").exists(),
        program => which(program).is_some(),
    };
    let missing: Vec<_> = packages.iter().filter(|(p, _)| !there(p)).map(|(_, package)| *package).collect();
    apt::install(&missing)?;
    let consolegate = build::program(true)?;
    let mut relays = cargo(["build", "--release", "--package", "consolegate-compare", "--locked"]);
    relays.env_remove("RUSTFLAGS");
    ui::shown("Building the plain relays", "mend what cargo names above", relays)?;
    let beside = |name: &str| consolegate.with_file_name(name);
    let dir = setup_dir().join("bench");
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let certs = dir.join("certs");
    let mut command = Command::new(&consolegate);
    command.args(["certs", "--dir"]).arg(&certs);
    ui::step("Certificates", "look at the log", command)?;
    Ok(Parts {
        raw_copy: beside("raw-copy"),
        tokio_copy: beside("tokio-copy"),
        aead_pass: beside("aead-pass"),
        venv: websockify()?,
        websocat: websocat(quick)?,
        certs,
        dir,
        page: format!("http://{}", super::peers::free_address()?),
        consolegate,
    })
}

/// A venv of its own: the tests' is pinned by hash and holds only what they need.
fn websockify() -> Result<PathBuf> {
    let dir = setup_dir().join("bench-venv");
    let content = Content::default().text(&dir.to_string_lossy()).text(&WEBSOCKIFY.join(" "));
    let stamp = Stamp::new("bench-venv", content);
    if stamp.is_fresh() && dir.join("bin/websockify").exists() {
        return Ok(dir);
    }
    apt::install(&venv::missing())?;
    stamp.clear();
    let remedy = "check that pip reaches a package index, then run this command again";
    let mut command = Command::new("python3");
    command.args(["-m", "venv", "--clear"]).arg(&dir);
    ui::step("Making a venv for websockify", remedy, command)?;
    let mut command = Command::new(dir.join("bin/python"));
    command.args([
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--progress-bar",
        "off",
    ]);
    command.args(["--only-binary", "numpy"]).args(WEBSOCKIFY);
    ui::step("Installing websockify and numpy", remedy, command)?;
    stamp.set()?;
    Ok(dir)
}

/// Built from its crate: minutes, so that a quick run takes it only if it is there.
fn websocat(quick: bool) -> Result<Option<PathBuf>> {
    let root = setup_dir().join("websocat");
    let program = root.join("bin/websocat");
    let stamp = Stamp::new("websocat", Content::default().text(WEBSOCAT));
    if stamp.is_fresh() && program.exists() {
        return Ok(Some(program));
    }
    if quick {
        ui::note("without websocat: building it takes minutes; a run without --quick does it once");
        return Ok(None);
    }
    // Not --locked: its lock file holds a traitobject that compilers of our age refuse.
    let mut command = cargo(["install", "websocat", "--no-default-features", "--version", WEBSOCAT]);
    command.arg("--root").arg(&root).arg("--target-dir").arg(setup_dir().join("websocat-build"));
    if let Err(error) = ui::step("Building websocat", "leave it out with --quick", command) {
        // One peer's trouble must not cost the others their figures.
        ui::note(&format!("without websocat: {error:#}"));
        return Ok(None);
    }
    stamp.set()?;
    Ok(Some(program))
}

/// The peers' versions, as they say themselves.
pub(super) fn versions(parts: &Parts) -> String {
    let first = |mut command: Command| {
        let output = command.output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        text.lines().next().map(|line| line.trim().to_owned())
    };
    let ask = |program: &Path, argument: &str| {
        let mut command = Command::new(program);
        command.arg(argument);
        first(command)
    };
    let said = [
        ask(&parts.consolegate, "--version"),
        Some(WEBSOCKIFY.join(", ").replace("==", " ")),
        parts.websocat.as_deref().and_then(|program| ask(program, "--version")),
        ask(Path::new("/usr/sbin/haproxy"), "-v"),
        ask(Path::new("/usr/sbin/nginx"), "-v"),
    ];
    said.into_iter().flatten().collect::<Vec<_>>().join("; ")
}
