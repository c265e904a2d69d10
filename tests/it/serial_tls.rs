//! Serial consoles behind TLS: the right server gets through, every other one gets nothing.

use std::net::SocketAddr;

use consolegate::ids::Protocol;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::console::{Console, Manner, dead_port};
use crate::support::line::listens;
use crate::support::process::Process;
use crate::support::server::{Running, open, refused, target};
use crate::support::{program, temp, viewer};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000001";

/// The year in which a good certificate ends, and that in which an old one has ended.
const VALID: i32 = 4000;
const EXPIRED: i32 = 2020;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A terminal server with TLS that echoes: socat's.
struct TerminalServer {
    // In this order: the process ends before its directory is removed.
    _socat: Process,
    at: SocketAddr,
    fingerprint: String,
    dir: TempDir,
}

impl TerminalServer {
    async fn new(authority: &Authority, names: &[SanType], last_year: i32) -> Self {
        let dir = temp::dir();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = names.to_vec();
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        let certificate = params.signed_by(&key, authority).unwrap();
        let file = dir.path().join("server.pem");
        std::fs::write(&file, certificate.pem() + &key.serialize_pem()).unwrap();
        std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
        let at = dead_port().await;
        let mut command = Command::new(program("socat"));
        let (port, ip) = (at.port(), at.ip());
        command.arg(format!("openssl-listen:{port},bind={ip},fork,verify=0,cert={}", file.display()));
        command.arg("pipe");
        let mut socat = Process::start("socat", command, dir.path());
        socat.ready("its port", async || listens(at).then_some(())).await;
        let digest = Sha256::digest(certificate.der());
        let fingerprint = digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
        Self { _socat: socat, at, fingerprint, dir }
    }

    async fn valid(authority: &Authority) -> Self {
        let names =
            [SanType::IpAddress([127, 0, 0, 1].into()), SanType::DnsName("ts1.example".try_into().unwrap())];
        Self::new(authority, &names, VALID).await
    }

    fn ca(&self) -> String {
        format!("ca = \"{}\"\n", self.dir.path().join("ca.pem").display())
    }

    async fn serve(&self, line: &str) -> Running {
        let consoles = format!("serial = \"tls://{}\"\n[target.serial_line]\n{line}", self.at);
        Running::start(&target(VM, "bm1", &consoles)).await
    }

    /// Opens with these settings, and every byte comes back.
    async fn opens(&self, line: &str) {
        let server = self.serve(line).await;
        let token = server.token(VM, Protocol::Serial).await;
        let (mut socket, _) = open(&server.ws(&token), &[]).await.unwrap_or_else(|e| panic!("{e}: {line}"));
        viewer::echo(&mut socket, &(0..=255).collect::<Vec<u8>>()).await;
        // More than TLS and the socket buffer at once.
        viewer::echo(&mut socket, &vec![b'x'; 300_000]).await;
        assert_eq!(viewer::goodbye(&mut socket).await.0, 1000);
    }

    /// Is refused, and the link stays good.
    async fn refuses(&self, line: &str) {
        let server = self.serve(line).await;
        let token = server.token(VM, Protocol::Serial).await;
        for _ in 0..2 {
            refused(server.at.proxy, &format!("/?token={token}")).await.assert_bare(502, line);
        }
    }
}

#[tokio::test]
async fn a_chain_and_a_name_or_a_pin_open_it() {
    let server = TerminalServer::valid(&authority()).await;
    server.opens(&server.ca()).await;
    server.opens(&(server.ca() + "server_name = \"ts1.example\"")).await;
    server.opens(&format!("pin = \"{}\"", server.fingerprint)).await;
    server.opens(&format!("pin = \"{}\"", server.fingerprint.replace(':', "").to_lowercase())).await;
}

#[tokio::test]
async fn every_other_server_is_refused() {
    let (ours, other) = (authority(), authority());
    let server = TerminalServer::valid(&ours).await;
    let stranger = TerminalServer::valid(&other).await;
    // Wrong authority, an authority the system does not know, wrong name, another certificate than the pinned.
    server.refuses(&stranger.ca()).await;
    server.refuses("").await;
    server.refuses(&(server.ca() + "server_name = \"ts2.example\"")).await;
    server.refuses(&format!("pin = \"{}\"", stranger.fingerprint)).await;
    // An authority's file that is not there, or holds none.
    server.refuses("ca = \"/nonexistent/ca.pem\"").await;
    server.refuses("ca = \"/dev/null\"").await;
    let expired = TerminalServer::new(&ours, &[SanType::IpAddress([127, 0, 0, 1].into())], EXPIRED).await;
    expired.refuses(&expired.ca()).await;
    let elsewhere = [SanType::DnsName("ts1.example".try_into().unwrap())];
    let nameless = TerminalServer::new(&ours, &elsewhere, VALID).await;
    nameless.refuses(&nameless.ca()).await;
}

#[tokio::test]
async fn a_server_without_tls_hears_a_hello_and_no_more() {
    let console = Console::new(Manner::Mute).await;
    let consoles =
        format!("serial = \"tls://{}\"\n[target.serial_line]\npin = \"{}\"", console.address, "0".repeat(64));
    let server = Running::start(&target(VM, "bm1", &consoles)).await;
    let token = server.token(VM, Protocol::Serial).await;
    let viewing = tokio::spawn(async move {
        refused(server.at.proxy, &format!("/?token={token}")).await.assert_bare(502, "no answer");
    });
    let seen = console.until("the end", |seen| seen.gone == 1).await;
    // One handshake record (RFC 8446 section 5.1: type 22), as long as it says.
    let length = usize::from(u16::from_be_bytes([seen.received[3], seen.received[4]]));
    assert_eq!((seen.received[0], seen.received.len()), (22, 5 + length));
    viewing.await.unwrap();
}
