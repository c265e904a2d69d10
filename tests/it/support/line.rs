//! Serial lines without hardware: two ptys that socat joins, ser2net on one of them.

use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serial2_tokio::SerialPort;
use tempfile::TempDir;
use tokio::process::Command;

use super::console::dead_port;
use super::process::Process;
use super::{program, temp, within};

/// Two ptys: what is written into one is read from the other.
pub(crate) struct Pair {
    // In this order: the process ends before its directory is removed.
    _socat: Process,
    /// Opened before anybody else, to look at the settings of this end.
    ours: File,
    dir: TempDir,
}

impl Pair {
    /// A fresh pair.
    pub(crate) async fn new() -> Self {
        let dir = temp::dir();
        let mut command = Command::new(program("socat"));
        for end in ["ours", "far"] {
            command.arg(format!("pty,raw,echo=0,link={}", dir.path().join(end).display()));
        }
        let mut socat = Process::start("socat", command, dir.path());
        let ends = ["ours", "far"].map(|end| dir.path().join(end));
        socat.ready("its ptys", async || ends.iter().all(|end| end.exists()).then_some(())).await;
        Self { _socat: socat, ours: open(&ends[0]), dir }
    }

    /// The end for the program under test.
    pub(crate) fn ours(&self) -> PathBuf {
        self.dir.path().join("ours")
    }

    /// The far end, where the machine would be.
    pub(crate) fn far(&self) -> SerialPort {
        SerialPort::open(self.dir.path().join("far"), 115_200).expect("the far end")
    }

    /// The speed that our end is set to, and whether it has two stop bits; a pty keeps no more.
    pub(crate) fn settings(&self) -> (u32, bool) {
        let termios = rustix::termios::tcgetattr(&self.ours).expect("a terminal's settings");
        let two = termios.control_modes.contains(rustix::termios::ControlModes::CSTOPB);
        (termios.output_speed(), two)
    }

    /// Waits until our end is set so.
    pub(crate) async fn set_to(&self, expected: (u32, bool)) {
        let mut look = tokio::time::interval(std::time::Duration::from_millis(10));
        within("the line's settings", async {
            while self.settings() != expected {
                look.tick().await;
            }
        })
        .await;
    }

    /// Serves our end by ser2net, with its `accepter` for a TCP address; where it listens.
    pub(crate) async fn ser2net(&self, accepter: &str) -> (Process, SocketAddr) {
        let at = dead_port().await;
        (self.ser2net_at(accepter, at).await, at)
    }

    /// The same at this address.
    pub(crate) async fn ser2net_at(&self, accepter: &str, at: SocketAddr) -> Process {
        let config = self.dir.path().join("ser2net.yaml");
        let text = format!(
            "%YAML 1.1\n---\nconnection: &line\n  accepter: {accepter}tcp,{},{}\n  connector: serialdev,{},115200n81,local\n",
            at.ip(),
            at.port(),
            self.ours().display()
        );
        std::fs::write(&config, text).expect("a configuration");
        let mut command = Command::new(program("ser2net"));
        // In the foreground, without lock files outside of the test's directory.
        command.args(["-n", "-d", "-u", "-c"]).arg(&config);
        let mut ser2net = Process::start("ser2net", command, self.dir.path());
        ser2net.ready("its port", async || listens(at).then_some(())).await;
        ser2net
    }
}

fn open(path: &Path) -> File {
    let flags = (OFlags::NOCTTY | OFlags::NONBLOCK).bits();
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags as i32).open(path);
    file.expect("a pty")
}

/// Whether somebody listens there. Looked up, not tried: a terminal server takes one connection.
pub(crate) fn listens(at: SocketAddr) -> bool {
    const LISTEN: &str = "0A";
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table of sockets");
    table.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let port = fields.next().and_then(|address| address.split_once(':')).map(|(_, port)| port);
        port == Some(&format!("{:04X}", at.port())) && fields.nth(1) == Some(LISTEN)
    })
}
