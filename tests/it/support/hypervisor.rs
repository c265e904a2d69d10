//! QEMU without a guest: its VNC server is all that is wanted, with each of its ways to protect it.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

use super::process::Process;
use super::qmp::Qmp;
use super::{program, temp};

/// How its VNC server is protected.
#[derive(Clone, Copy, Default)]
pub(crate) struct Protection<'a> {
    /// VNC Authentication with this password.
    pub(crate) password: Option<&'a str>,
    /// TLS.
    pub(crate) tls: Tls<'a>,
}

/// QEMU's kinds of TLS.
#[derive(Clone, Copy, Default)]
pub(crate) enum Tls<'a> {
    #[default]
    Off,
    /// Without a certificate (`tls-creds-anon`).
    Anonymous,
    /// With the one in this directory (`tls-creds-x509`).
    X509(&'a Path),
    /// The same, and clients must show one too.
    Mutual(&'a Path),
}

/// A running QEMU whose guest has not begun; gone when dropped.
pub(crate) struct Hypervisor {
    address: SocketAddr,
    // In this order: the process ends before its directory is removed.
    _process: Process,
    _dir: TempDir,
}

impl Hypervisor {
    /// Starts one on a loopback port.
    pub(crate) async fn start(protection: Protection<'_>) -> Self {
        let dir = temp::dir();
        let socket = dir.path().join("qmp");
        let mut command = Command::new(program("qemu-system-x86_64"));
        command.args(["-machine", "pc,accel=tcg", "-m", "16", "-display", "none", "-net", "none", "-S"]);
        command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", socket.display()));
        let mut vnc = "127.0.0.1:0,to=999".to_owned();
        if protection.password.is_some() {
            vnc += ",password=on";
        }
        if let Some(credentials) = credentials(protection.tls) {
            command.args(["-object", &credentials]);
            vnc += ",tls-creds=tls0";
        }
        command.args(["-vnc", &vnc]);
        let mut process = Process::start("qemu", command, dir.path());
        let mut qmp = process.ready("its monitor", async || Qmp::connect(&socket).await).await;
        if let Some(password) = protection.password {
            qmp.call("set_password", json!({ "protocol": "vnc", "password": password })).await;
        }
        let answer = qmp.call("query-vnc", json!({})).await;
        let port = answer["service"].as_str().and_then(|port| port.parse().ok()).expect("a VNC port");
        Self { address: SocketAddr::from(([127, 0, 0, 1], port)), _process: process, _dir: dir }
    }

    /// Where its VNC server listens, as an endpoint is written.
    pub(crate) fn vnc(&self) -> String {
        format!("tcp://{}", self.address)
    }
}

/// QEMU's own look at its certificates is off: an expired one would not start.
fn credentials(tls: Tls<'_>) -> Option<String> {
    let x509 = |dir: &Path, verify: &str| {
        let dir = dir.display();
        format!("tls-creds-x509,id=tls0,endpoint=server,dir={dir},verify-peer={verify},sanity-check=off")
    };
    match tls {
        Tls::Off => None,
        Tls::Anonymous => Some("tls-creds-anon,id=tls0,endpoint=server".to_owned()),
        Tls::X509(dir) => Some(x509(dir, "off")),
        Tls::Mutual(dir) => Some(x509(dir, "on")),
    }
}
