//! Real screens: how many frames a second noVNC paints of a busy Xvnc and of a busy QEMU guest, in headless
//! Chromium, through us and through websockify.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::parts::Parts;
use super::peers::{Peer, Running, SCREEN, await_listener, credential, free_address, start};
use crate::setup::{apt, chromium, guest};
use crate::web;

/// noVNC settles within a second; a browser on two busy cores takes its time.
const WARM: u64 = 2;
/// A browser's start, the connection and the measurement.
const PATIENCE: Duration = Duration::from_secs(60);

/// A console that never stands still.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Screen {
    /// An icosahedron on an X server that may paint as often as it can.
    Xvnc,
    /// A guest's text screen that scrolls.
    Qemu,
}

impl Screen {
    pub(super) fn load(self) -> &'static str {
        match self {
            Self::Xvnc => "screen-xvnc",
            Self::Qemu => "screen-qemu",
        }
    }
}

/// What the screens need beside the proxies.
pub(super) struct Theatre {
    chromium: PathBuf,
    guest: guest::Guest,
    /// Serves noVNC and the page that counts.
    _page: Running,
}

impl Theatre {
    /// Installs what is missing and serves the page.
    pub(super) fn new(parts: &Parts) -> Result<Self> {
        let programs = [
            ("Xvnc", "tigervnc-standalone-server"),
            ("ico", "x11-apps"),
            ("qemu-system-x86_64", "qemu-system-x86"),
        ];
        let missing = programs.iter().filter(|(program, _)| crate::project::which(program).is_none());
        let mut missing: Vec<_> = missing.map(|(_, package)| *package).collect();
        missing.extend(chromium::missing()?);
        apt::install(&missing)?;
        let packages = web::build()?.with_file_name("node_modules");
        let dir = parts.dir.join("page");
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir)?;
        for part in ["core", "vendor"] {
            std::os::unix::fs::symlink(packages.join("@novnc/novnc").join(part), dir.join(part))?;
        }
        let page = crate::project::root().join("benches/compare/frames.html");
        fs::copy(&page, dir.join("frames.html")).with_context(|| format!("no {}", page.display()))?;
        let listen: SocketAddr = parts.page.trim_start_matches("http://").parse()?;
        let mut command = Command::new("python3");
        command.args(["-m", "http.server", "--bind", "127.0.0.1", &listen.port().to_string()]);
        command.arg("--directory").arg(&dir);
        let mut server = Running::spawn(command, &parts.dir.join("page.log"))?;
        await_listener(&mut server, listen, &parts.dir.join("page.log"))?;
        Ok(Self { chromium: chromium::find()?, guest: guest::build()?, _page: server })
    }

    /// One measurement: frames a second, and what each costs the proxy.
    pub(super) fn measure(&self, screen: Screen, peer: Peer, seconds: u64, parts: &Parts) -> Result<Value> {
        let console = free_address()?;
        let _screen = match screen {
            Screen::Xvnc => xvnc(console, &parts.dir)?,
            Screen::Qemu => qemu(console, &self.guest, &parts.dir)?,
        };
        let proxy = start(peer, false, 1, console, parts)?;
        let url = match peer {
            Peer::Consolegate => issue(&proxy, parts)?,
            _ => proxy.url().to_owned(),
        };
        self.watch(&url, proxy.pid(), seconds, parts)
    }

    /// Opens the page on `url` and waits for its figure; `proxy` is looked at meanwhile.
    fn watch(&self, url: &str, proxy: u32, seconds: u64, parts: &Parts) -> Result<Value> {
        let debugging = free_address()?;
        let profile = parts.dir.join("chromium");
        let _ = fs::remove_dir_all(&profile);
        let mut command = Command::new(&self.chromium);
        command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1300,850"]);
        command.args(["--no-first-run", "--disable-background-networking"]);
        command.arg(format!("--remote-debugging-port={}", debugging.port()));
        command.arg(format!("--user-data-dir={}", profile.display()));
        let url: String = url.bytes().map(|byte| format!("%{byte:02x}")).collect();
        command.arg(format!("{}/frames.html?ws={url}&warm={WARM}&seconds={seconds}", parts.page));
        let _browser = Running::spawn(command, &parts.dir.join("chromium.log"))?;
        let deadline = Instant::now() + PATIENCE + Duration::from_secs(seconds);
        let (mut last, mut begun) = (String::new(), None);
        while Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(100));
            // Not there yet, or in the middle of a change: asked again.
            let Ok(title) = title(debugging) else { continue };
            if title == "measuring" && begun.is_none() {
                begun = Some((Instant::now(), cpu_seconds(proxy)?));
            }
            if let Some(rate) = title.strip_prefix("frames ") {
                let rate: f64 = rate.parse().context("the page told no rate")?;
                let (begun, before) = begun.context("the browser was too busy to tell when it began")?;
                let frames = rate * begun.elapsed().as_secs_f64();
                let cpu = (cpu_seconds(proxy)? - before) / frames * 1e6;
                return Ok(json!({"frames_per_s": rate, "cpu_us_per_frame": cpu}));
            }
            if title == "disconnected" {
                bail!("noVNC was disconnected");
            }
            last = title;
        }
        bail!("noVNC painted nothing to be counted; its page says {last:?}")
    }
}

/// User and system seconds of a process and of its children so far (proc(5)); clock ticks are hundredths.
fn cpu_seconds(pid: u32) -> Result<f64> {
    let mut ticks = 0;
    for entry in fs::read_dir("/proc")?.flatten() {
        // What is no process, and one that ended meanwhile, has no such file.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((_, fields)) = stat.rsplit_once(") ") else { continue };
        let field =
            |n: usize| fields.split(' ').nth(n).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        if entry.file_name().to_string_lossy() == pid.to_string() || field(1) == u64::from(pid) {
            ticks += field(11) + field(12);
        }
    }
    Ok(ticks as f64 / 100.0)
}

/// The page's title, from the browser's list of what it shows.
fn title(debugging: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect(debugging)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET /json/list HTTP/1.1\r\nHost: {debugging}\r\n\r\n")?;
    // The browser keeps the connection, whatever it is told.
    let mut answer = BufReader::new(stream);
    let mut length = 0;
    for line in answer.by_ref().lines() {
        let line = line?.to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        } else if line.is_empty() {
            break;
        }
    }
    let pages: Value = serde_json::from_reader(answer.take(length))?;
    let page = pages.as_array().into_iter().flatten().find(|page| {
        page["type"] == "page" && page["url"].as_str().is_some_and(|url| url.contains("/frames.html"))
    });
    Ok(page.and_then(|page| page["title"].as_str()).context("no page")?.to_owned())
}

/// A screen's processes; they end with it, what paints first.
struct Painted {
    _painter: Option<Running>,
    _server: Running,
    /// A guest's serial line: at its end QEMU would stop.
    _line: Option<(ChildStdin, BufReader<ChildStdout>)>,
}

/// An X server with something to paint.
fn xvnc(console: SocketAddr, dir: &Path) -> Result<Painted> {
    // The display has the port's number, as in the tests: two of them cannot meet.
    let (port, display) = (console.port().to_string(), format!(":{}", console.port()));
    let mut command = Command::new("Xvnc");
    command.args([&display, "-rfbport", &port, "-localhost", "-nolisten", "tcp", "-SecurityTypes", "None"]);
    // As often as it can: its own clock of 60 a second would hide what is measured.
    command.args(["-geometry", "1280x800", "-depth", "24", "-FrameRate", "1000"]);
    let log = dir.join("xvnc.log");
    let mut server = Running::spawn(command, &log)?;
    await_listener(&mut server, console, &log)?;
    let mut command = Command::new("ico");
    command
        .env("DISPLAY", &display)
        .args(["-faces", "-size", "600x600", "-delta", "13,9", "-sleep", "0.001"]);
    let painter = Running::spawn(command, &dir.join("ico.log"))?;
    Ok(Painted { _painter: Some(painter), _server: server, _line: None })
}

/// A guest whose screen scrolls numbers.
fn qemu(console: SocketAddr, guest: &guest::Guest, dir: &Path) -> Result<Painted> {
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-machine", "pc,accel=tcg", "-m", "128", "-nodefaults", "-vga", "std", "-display", "none"]);
    command.args(["-net", "none", "-no-reboot", "-serial", "stdio"]);
    command.args(["-vnc", &format!("127.0.0.1:{}", console.port() - 5900)]);
    command.arg("-kernel").arg(&guest.kernel).arg("-initrd").arg(&guest.initrd);
    command.args(["-append", "console=tty0 console=ttyS0 quiet"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(fs::File::create(dir.join("qemu.log"))?);
    let mut child = command.spawn().context("cannot start qemu-system-x86_64")?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let server = Running::new(child);
    let mut stdin = stdin.context("QEMU has no input")?;
    let mut stdout = BufReader::new(stdout.context("QEMU has no output")?);
    let mut line = Vec::new();
    while !String::from_utf8_lossy(&line).contains("serial ready") {
        line.clear();
        if stdout.read_until(b'\n', &mut line)? == 0 {
            bail!("the guest did not boot; see {}", dir.join("qemu.log").display());
        }
    }
    stdin.write_all(b"while :; do seq 1 100000 > /dev/tty1; done\n")?;
    Ok(Painted { _painter: None, _server: server, _line: Some((stdin, stdout)) })
}

/// A console URL of ours, as the page opens it.
fn issue(proxy: &Running, parts: &Parts) -> Result<String> {
    let mut command = Command::new(&parts.consolegate);
    command.args(["issue", SCREEN, "--protocol", "vnc", "--api", proxy.url()]);
    let output =
        command.env(credential().0, credential().1).output().context("cannot start consolegate issue")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let page = String::from_utf8_lossy(&output.stdout);
    let token = page.trim().rsplit("token%3D").next().context("a console URL without a token")?;
    let listen = proxy.url().split('/').nth(2).context("the issuer's URL has no address")?;
    Ok(format!("ws://{listen}/?token={token}"))
}
