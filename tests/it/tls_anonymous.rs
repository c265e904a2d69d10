//! Our anonymous handshake with OpenSSL at the other end: both suites, groups of all lengths, what is too short.

use std::path::Path;
use std::process::Stdio;

use consolegate::net::anonymous;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::support::{program, temp, within};

/// `openssl s_server` without a certificate, which sends each line back reversed.
struct Server {
    address: String,
    _child: Child,
    _dir: TempDir,
}

impl Server {
    /// With this suite, in this group; or one that OpenSSL chooses.
    async fn start(suite: &str, group: Option<&str>, more: &[&str]) -> Self {
        let dir = temp::dir();
        let mut command = Command::new(program("openssl"));
        command.args(["s_server", "-nocert", "-rev", "-accept", "127.0.0.1:0"]);
        command.args(["-cipher", &format!("{suite}:@SECLEVEL=0")]).args(more);
        if let Some(group) = group {
            command.arg("-dhparam").arg(parameters(dir.path(), group).await);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().expect("openssl");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let address = loop {
            let line = within("its port", lines.next_line()).await.expect("a line").expect("openssl runs");
            if let Some(address) = line.strip_prefix("ACCEPT ") {
                break address.to_owned();
            }
        };
        // Read on, so that it never waits for somebody who does.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { address, _child: child, _dir: dir }
    }

    /// A line there and back, or why not.
    async fn echoes(&self) -> Result<(), String> {
        let socket = within("the dial", TcpStream::connect(&self.address)).await.expect("openssl listens");
        let connected = within("the handshake", anonymous::connect(socket)).await;
        let mut stream = connected.map_err(|error| error.to_string())?;
        for line in ["to and fro", "once more"] {
            stream.write_all(format!("{line}\n").as_bytes()).await.expect("a line");
            stream.flush().await.expect("a line");
            let mut back = vec![0; line.len() + 1];
            within("its answer", stream.read_exact(&mut back)).await.expect("its answer");
            let reversed: String = line.chars().rev().collect();
            assert_eq!(String::from_utf8(back).expect("text"), format!("{reversed}\n"));
        }
        stream.shutdown().await.map_err(|error| error.to_string())
    }
}

async fn parameters(dir: &Path, group: &str) -> std::path::PathBuf {
    let file = dir.join("dh.pem");
    let mut command = Command::new(program("openssl"));
    command.args(["genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", &format!("group:{group}"), "-out"]);
    let status = within("openssl genpkey", command.arg(&file).status()).await.expect("openssl");
    assert!(status.success(), "{group}");
    file
}

const AES_128: &str = "ADH-AES128-GCM-SHA256";
const AES_256: &str = "ADH-AES256-GCM-SHA384";

#[tokio::test(flavor = "multi_thread")]
async fn both_suites_in_groups_of_all_lengths() {
    for suite in [AES_128, AES_256] {
        for group in ["ffdhe2048", "ffdhe3072", "modp_4096", "ffdhe8192"] {
            let server = Server::start(suite, Some(group), &["-tls1_2"]).await;
            // A secret with a zero in front is one in 256.
            for _ in 0..if group == "ffdhe2048" { 8 } else { 1 } {
                assert_eq!(server.echoes().await, Ok(()), "{suite}, {group}");
            }
        }
    }
    // OpenSSL's own choice: a longer group for the longer key.
    assert_eq!(Server::start(AES_256, None, &["-tls1_2"]).await.echoes().await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_out_no_listener_is_refused_and_told_why() {
    let check = async |suite: &str, group, more: &[&str], expected: &str| {
        let error = Server::start(suite, group, more).await.echoes().await.expect_err(suite);
        assert!(error.contains(expected), "{suite}: {error}");
    };
    let short = "the server's Diffie-Hellman prime has 1536 bits; 2048 to 8192 are accepted";
    check(AES_256, Some("modp_1536"), &["-tls1_2"], short).await;
    // What OpenSSL chooses by itself for a key of 128 bits.
    check(AES_128, None, &["-tls1_2"], "prime has 1024 bits").await;
    check("ADH-AES256-SHA", Some("ffdhe2048"), &["-tls1_2"], "alert 40 (handshake_failure)").await;
    check("AECDH-AES256-SHA", None, &["-tls1_2"], "alert 40 (handshake_failure)").await;
    check("ADH-AES256-SHA", Some("ffdhe2048"), &["-tls1_1"], "alert 40 (handshake_failure)").await;
    check(AES_256, None, &["-tls1_3"], "TLS alert 70 (protocol_version): it does not speak TLS 1.2").await;
}
