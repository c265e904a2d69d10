//! Xvnc: a second, independent VNC server, with an X screen to draw on.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use super::process::Process;
use super::{part, program, temp, within};

/// pam_wrapper's module that reads users and passwords from a file.
const PAM_MATRIX: &str = "/usr/lib/x86_64-linux-gnu/pam_wrapper/pam_matrix.so";

/// How it is protected.
#[derive(Clone, Copy)]
pub(crate) struct Security<'a> {
    /// Its `-SecurityTypes`.
    pub(crate) types: &'a str,
    /// For those that want one.
    pub(crate) password: Option<&'a str>,
    /// For those with Plain: the one user it lets in, and with which password.
    pub(crate) user: Option<(&'a str, &'a str)>,
    /// The directory of `server-cert.pem` and `server-key.pem`, for those with X509.
    pub(crate) certificate: Option<&'a Path>,
}

/// A running Xvnc on a loopback port; gone when dropped.
pub(crate) struct Xvnc {
    address: SocketAddr,
    display: u32,
    // In this order: the process ends before its directory is removed.
    _process: Process,
    _dir: TempDir,
}

impl Xvnc {
    /// Starts a 640x480 screen. Without a password the security type is None, with one it is VNC Authentication.
    pub(crate) async fn start(password: Option<&str>) -> Self {
        let types = if password.is_some() { "VncAuth" } else { "None" };
        Self::start_with(Security { types, password, user: None, certificate: None }).await
    }

    /// Starts a 640x480 screen that is protected so.
    pub(crate) async fn start_with(security: Security<'_>) -> Self {
        let dir = temp::dir();
        // Xvnc does not say which port it took for 0: one that was free a moment ago is handed to it. Its
        // display has the same number, so that two of them cannot meet there either.
        let port = free_port().await;
        let display = u32::from(port);
        let mut command = Command::new(program("Xvnc"));
        command.arg(format!(":{display}")).args([
            "-rfbport",
            &port.to_string(),
            "-localhost",
            "-nolisten",
            "tcp",
        ]);
        command.args(["-geometry", "640x480", "-depth", "24", "-AlwaysShared", "-desktop", "consolegate"]);
        command.args(["-SecurityTypes", security.types]);
        if let Some(password) = security.password {
            let file = dir.path().join("password");
            std::fs::write(&file, obfuscate(password).await).expect("a password file");
            command.arg("-PasswordFile").arg(file);
        }
        if let Some((user, password)) = security.user {
            command.args(["-PlainUsers", user, "-PAMService", "vnc"]);
            command.envs(pam(dir.path(), user, password));
        }
        if let Some(certificate) = security.certificate {
            command.arg("-X509Cert").arg(certificate.join("server-cert.pem"));
            command.arg("-X509Key").arg(certificate.join("server-key.pem"));
        }
        let mut process = Process::start("Xvnc", command, dir.path());
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        process.ready("its port", async || TcpStream::connect(address).await.ok()).await;
        Self { address, display, _process: process, _dir: dir }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of its X display.
    pub(crate) fn display(&self) -> u32 {
        self.display
    }

    /// Paints the whole screen in one colour, `#rrggbb`.
    pub(crate) async fn paint(&self, colour: &str) {
        let mut command = Command::new(program("xsetroot"));
        command.args(["-display", &format!(":{}", self.display), "-solid", colour]);
        let output = within("xsetroot", command.kill_on_drop(true).output()).await.expect("xsetroot");
        assert!(output.status.success(), "xsetroot: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Environment under which the PAM service `vnc` knows this user alone: pam_wrapper reads services from `dir` where
/// PAM itself reads those of the whole machine.
fn pam(dir: &Path, user: &str, password: &str) -> [(&'static str, OsString); 3] {
    let module = part("CONSOLEGATE_TEST_PAM_MATRIX", &[PathBuf::from(PAM_MATRIX)]);
    let (services, users) = (dir.join("pam.d"), dir.join("users"));
    std::fs::create_dir(&services).expect("a directory");
    std::fs::write(&users, format!("{user}:{password}:vnc\n")).expect("a file of users");
    let line = |kind| format!("{kind} required {} passdb={}\n", module.display(), users.display());
    std::fs::write(services.join("vnc"), line("auth") + &line("account")).expect("a service");
    [
        ("LD_PRELOAD", "libpam_wrapper.so".into()),
        ("PAM_WRAPPER", "1".into()),
        ("PAM_WRAPPER_SERVICE_DIR", services.into()),
    ]
}

async fn free_port() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
    listener.local_addr().expect("its address").port()
}

/// The password as Xvnc's password file keeps it.
async fn obfuscate(password: &str) -> Vec<u8> {
    let mut command = Command::new(program("tigervncpasswd"));
    command.arg("-f").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("tigervncpasswd");
    let mut input = child.stdin.take().expect("its input");
    input.write_all(format!("{password}\n").as_bytes()).await.expect("a password");
    drop(input);
    within("tigervncpasswd", child.wait_with_output()).await.expect("its output").stdout
}

#[tokio::test]
async fn xvnc_speaks_rfb_and_can_be_painted() {
    let open = Xvnc::start(None).await;
    assert_eq!(security_types(&open).await, [1], "None");
    open.paint("#336699").await;
    let locked = Xvnc::start(Some("opensesame")).await;
    assert_eq!(security_types(&locked).await, [2], "VNC Authentication");
}

#[cfg(test)]
async fn security_types(xvnc: &Xvnc) -> Vec<u8> {
    let mut stream = TcpStream::connect(xvnc.address()).await.unwrap();
    let mut version = [0; 12];
    within("an RFB version", stream.read_exact(&mut version)).await.unwrap();
    assert_eq!(&version, b"RFB 003.008\n");
    stream.write_all(&version).await.unwrap();
    let count = within("security types", stream.read_u8()).await.unwrap();
    let mut types = vec![0; count.into()];
    within("security types", stream.read_exact(&mut types)).await.unwrap();
    types
}
