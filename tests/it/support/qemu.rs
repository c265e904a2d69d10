//! A real guest: QEMU in software emulation, Linux with a shell on the screen and one on the serial line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::Command;
use tokio::sync::Mutex;

use super::picture::Picture;
use super::process::Process;
use super::qmp::Qmp;
use super::{PATIENCE, part, program, setup_dir, temp, within};

/// What both shells print when they wait for a command.
pub(crate) const PROMPT: &str = "guest# ";

/// Where a console of the guest listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

/// How to boot. The default: consoles on Unix sockets, VNC without a password.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options<'a> {
    /// Consoles on loopback TCP ports instead of Unix sockets.
    pub(crate) tcp: bool,
    /// VNC Authentication with this password (8 bytes at most count) instead of security type None.
    pub(crate) vnc_password: Option<&'a str>,
    /// A reset boots it again instead of ending it.
    pub(crate) reboots: bool,
}

/// A running guest; gone when dropped.
pub(crate) struct Guest {
    vnc: Place,
    serial: Place,
    qmp: Mutex<Qmp>,
    // In this order: the process ends before its directory is removed.
    _process: Process,
    dir: TempDir,
}

impl Guest {
    /// Boots a guest and waits until both of its shells are there: a few seconds.
    pub(crate) async fn boot() -> Self {
        Self::boot_with(Options::default()).await
    }

    /// Boots a guest as `options` say.
    pub(crate) async fn boot_with(options: Options<'_>) -> Self {
        let dir = temp::dir();
        let command = command(dir.path(), options);
        Self::boot_by(command, dir, options).await
    }

    /// Boots a guest that has a SPICE console too, without a password; and where that is.
    pub(crate) async fn boot_with_spice() -> (Self, PathBuf) {
        let dir = temp::dir();
        let socket = dir.path().join("spice");
        let mut command = command(dir.path(), Options::default());
        command.args(["-spice", &format!("unix=on,addr={},disable-ticketing=on", socket.display())]);
        (Self::boot_by(command, dir, Options::default()).await, socket)
    }

    async fn boot_by(command: Command, dir: TempDir, options: Options<'_>) -> Self {
        let mut process = Process::start("qemu", command, dir.path());
        let socket = dir.path().join("qmp");
        let mut qmp = process.ready("its monitor", async || Qmp::connect(&socket).await).await;
        let (vnc, serial) = if options.tcp {
            (vnc_address(&mut qmp).await, serial_address(&mut qmp).await)
        } else {
            (Place::Unix(dir.path().join("vnc")), Place::Unix(dir.path().join("serial")))
        };
        if let Some(password) = options.vnc_password {
            qmp.call("set_password", json!({ "protocol": "vnc", "password": password })).await;
        }
        let guest = Self { vnc, serial, qmp: Mutex::new(qmp), _process: process, dir };
        // QEMU was started stopped: nothing the guest says can come before there is a reader.
        let mut line = guest.serial_line().await;
        guest.qmp.lock().await.call("cont", json!({})).await;
        line.read_until(PROMPT).await;
        guest
    }

    /// Where its VNC server listens.
    pub(crate) fn vnc(&self) -> &Place {
        &self.vnc
    }

    /// Where its serial line listens. QEMU serves one connection at a time and lets others wait.
    pub(crate) fn serial(&self) -> &Place {
        &self.serial
    }

    /// Opens the serial line directly, as a proxy would.
    pub(crate) async fn serial_line(&self) -> SerialLine {
        SerialLine { stream: dial(&self.serial).await, read: vec![] }
    }

    /// Runs a command in the serial shell and returns what it printed.
    pub(crate) async fn run(&self, command: &str) -> String {
        let mut line = self.serial_line().await;
        // Quotes keep the marks out of the echo, and marks keep whatever the command prints apart from it.
        line.write(&format!("echo '<<'begin; {command}; echo '<<'end\n")).await;
        line.read_until("<<begin\r\n").await;
        let printed = line.read_until("<<end\r\n").await;
        line.read_until(PROMPT).await;
        printed.trim_end_matches("<<end\r\n").replace("\r\n", "\n")
    }

    /// The text on the guest's screen, as its kernel has it.
    pub(crate) async fn screen_text(&self) -> String {
        self.run("fold -w $(stty -F /dev/tty1 size | cut -d' ' -f2) /dev/vcs1").await
    }

    /// Presses keys one after the other; names are QEMU's (`a`, `ret`, `spc`), joined by `-` for chords.
    pub(crate) async fn press(&self, keys: &[&str]) {
        let mut qmp = self.qmp.lock().await;
        for chord in keys {
            let names = chord.split('-').map(|name| json!({ "type": "qcode", "data": name }));
            qmp.call("send-key", json!({ "keys": names.collect::<Vec<_>>() })).await;
        }
    }

    /// Presses the reset button; the guest must have been told to boot again.
    pub(crate) async fn reset(&self) {
        self.qmp.lock().await.call("system_reset", json!({})).await;
    }

    /// What QEMU itself says is on the screen.
    pub(crate) async fn screendump(&self) -> Picture {
        let file = self.dir.path().join("screen.ppm");
        // The lock also keeps two dumps from writing the file at once.
        let mut qmp = self.qmp.lock().await;
        qmp.call("screendump", json!({ "filename": file })).await;
        let bytes = std::fs::read(&file).expect("QEMU's screendump");
        Picture::from_ppm(&bytes).expect("a PPM picture from QEMU")
    }

    /// Takes screendumps until one satisfies `wanted`, and returns it.
    pub(crate) async fn screen_where(&self, what: &str, wanted: impl Fn(&Picture) -> bool) -> Picture {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let picture = self.screendump().await;
            if wanted(&picture) {
                return picture;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "waited {PATIENCE:?} for {what}; saw {picture:?}"
            );
        }
    }
}

/// The guest's serial line, read and written as text.
pub(crate) struct SerialLine {
    stream: Box<dyn Stream>,
    read: Vec<u8>,
}

trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Stream for T {}

impl SerialLine {
    /// Types text.
    pub(crate) async fn write(&mut self, text: &str) {
        within("the serial line to take input", self.stream.write_all(text.as_bytes()))
            .await
            .expect("a line");
    }

    /// Reads up to and with `marker`, and returns all of it.
    pub(crate) async fn read_until(&mut self, marker: &str) -> String {
        loop {
            let found = self.read.windows(marker.len()).position(|window| window == marker.as_bytes());
            if let Some(at) = found {
                let rest = self.read.split_off(at + marker.len());
                let taken = std::mem::replace(&mut self.read, rest);
                return String::from_utf8_lossy(&taken).into_owned();
            }
            let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await;
            let so_far = || String::from_utf8_lossy(&self.read).into_owned();
            match read {
                Ok(Ok(count)) if count > 0 => {}
                Ok(end) => panic!("the serial line ended ({end:?}) before {marker:?}: {:?}", so_far()),
                Err(_) => panic!("waited {PATIENCE:?} for {marker:?} on the serial line: {:?}", so_far()),
            }
        }
    }
}

fn command(dir: &Path, options: Options<'_>) -> Command {
    let guest = setup_dir().join("guest");
    let kernel = part("CONSOLEGATE_TEST_GUEST_KERNEL", &[guest.join("vmlinuz")]);
    let initrd = part("CONSOLEGATE_TEST_GUEST_INITRD", &[guest.join("initrd")]);
    let socket = |name: &str| dir.join(name).display().to_string();
    let (vnc, serial) = if options.tcp {
        ("127.0.0.1:0,to=99".to_owned(), "tcp:127.0.0.1:0,server=on,wait=off".to_owned())
    } else {
        (format!("unix:{}", socket("vnc")), format!("unix:{},server=on,wait=off", socket("serial")))
    };
    let password = if options.vnc_password.is_some() { ",password=on" } else { "" };
    let mut command = Command::new(program("qemu-system-x86_64"));
    command.args(["-machine", "pc,accel=tcg", "-m", "128", "-display", "none", "-net", "none"]);
    if !options.reboots {
        command.arg("-no-reboot");
    }
    command.args(["-S", "-qmp", &format!("unix:{},server=on,wait=off", socket("qmp"))]);
    command.args(["-vnc", &format!("{vnc}{password}"), "-serial", &serial]);
    command.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd);
    // No blinking cursor: two pictures of the same text are then equal.
    command.args(["-append", "console=tty0 console=ttyS0 quiet nokaslr vt.global_cursor_default=0"]);
    command
}

async fn vnc_address(qmp: &mut Qmp) -> Place {
    let answer = qmp.call("query-vnc", json!({})).await;
    let port = answer["service"].as_str().and_then(|port| port.parse().ok()).expect("a VNC port");
    Place::Tcp(SocketAddr::from(([127, 0, 0, 1], port)))
}

async fn serial_address(qmp: &mut Qmp) -> Place {
    let answer = qmp.call("query-chardev", json!({})).await;
    let devices = answer.as_array().expect("a list of character devices").iter();
    let mut names = devices.filter_map(|device| device["filename"].as_str());
    let port = names.find_map(|name| name.split_once("tcp:127.0.0.1:")?.1.split(',').next()?.parse().ok());
    Place::Tcp(SocketAddr::from(([127, 0, 0, 1], port.expect("a serial port on TCP"))))
}

async fn dial(place: &Place) -> Box<dyn Stream> {
    match place {
        Place::Unix(path) => Box::new(UnixStream::connect(path).await.expect("a Unix socket of QEMU")),
        Place::Tcp(address) => Box::new(TcpStream::connect(address).await.expect("a TCP port of QEMU")),
    }
}

#[tokio::test]
async fn the_guest_answers_on_its_serial_line_and_its_screen() {
    let guest = Guest::boot().await;
    assert_eq!(guest.run("echo $((6*7)); tty").await, "42\n/dev/ttyS0\n");

    let before = guest.screendump().await;
    assert!(!before.is_blank());
    assert_eq!(before, guest.screendump().await, "a screen at rest has equal pictures");
    guest.press(&["e", "c", "h", "o", "spc", "shift-o", "k", "ret"]).await;
    let after = guest.screen_where("typed keys on the screen", |now| *now != before).await;
    assert_eq!((after.width, after.height), (before.width, before.height));
    // What is drawn first may be one letter of many: the text says when all of it has come.
    within("the command's output", async { while !guest.screen_text().await.contains("\nOk") {} }).await;
    guest.press(&["ctrl-alt-delete"]).await;
    let arrived = async { while !guest.screen_text().await.contains("Ctrl-Alt-Del received") {} };
    within("Ctrl-Alt-Del", arrived).await;
}

#[tokio::test]
async fn a_guest_on_tcp_says_where_it_listens_and_asks_for_its_password() {
    let guest =
        Guest::boot_with(Options { tcp: true, vnc_password: Some("opensesame"), ..Options::default() }).await;
    assert!(
        matches!(guest.serial(), Place::Tcp(address) if address.ip().is_loopback() && address.port() > 0)
    );
    assert_eq!(guest.run("tty").await, "/dev/ttyS0\n");
    let mut stream = dial(guest.vnc()).await;
    let mut version = [0; 12];
    within("an RFB version", stream.read_exact(&mut version)).await.unwrap();
    assert_eq!(&version, b"RFB 003.008\n");
    stream.write_all(&version).await.unwrap();
    let mut types = [0; 2];
    within("security types", stream.read_exact(&mut types)).await.unwrap();
    assert_eq!(types, [1, 2], "one type: VNC Authentication");
}
