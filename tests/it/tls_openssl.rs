//! Our record layer with OpenSSL at the other end: each cipher, key updates both ways, the two ends of a connection.

use std::process::{Command as Std, Stdio};
use std::time::SystemTime;

use consolegate::certs::{Files, ensure};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;

use crate::support::server::Running;
use crate::support::{program, temp, within};

/// A request on a connection that stays open, and how its answer begins.
const REQUEST: &str = "GET /nothing-here HTTP/1.1\r\nHost: localhost\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 404";

struct Server {
    running: Running,
    dir: TempDir,
}

impl Server {
    async fn start() -> Self {
        let dir = temp::dir();
        ensure(dir.path(), false, SystemTime::now()).unwrap();
        let files = Files::within(dir.path());
        let (certificate, key) = (files.certificate.display(), files.key.display());
        let tls = format!("[tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n");
        Self { running: Running::start(&tls).await, dir }
    }

    fn client(&self, arguments: &[&str]) -> Client {
        let mut command = Std::new(program("openssl"));
        command.args([
            "s_client",
            "-connect",
            &self.running.at.proxy.to_string(),
            "-servername",
            "localhost",
        ]);
        command.arg("-CAfile").arg(Files::within(self.dir.path()).ca).arg("-verify_return_error");
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Command::from(command).kill_on_drop(true).spawn().unwrap();
        let (says, heard) = watch::channel(String::new());
        listen(child.stdout.take().unwrap(), says.clone());
        listen(child.stderr.take().unwrap(), says);
        Client { stdin: child.stdin.take().unwrap(), child, heard }
    }
}

fn listen(mut from: impl AsyncRead + Unpin + Send + 'static, says: watch::Sender<String>) {
    tokio::spawn(async move {
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut piece).await {
            says.send_modify(|all| all.push_str(&String::from_utf8_lossy(&piece[..count])));
        }
    });
}

struct Client {
    stdin: ChildStdin,
    child: Child,
    heard: watch::Receiver<String>,
}

impl Client {
    async fn says(&mut self, what: &str) {
        self.stdin.write_all(what.as_bytes()).await.unwrap();
        self.stdin.flush().await.unwrap();
    }

    /// Waits until it has said this so often; its next command must not share a read with the last.
    async fn hears(&mut self, what: &str, times: usize) {
        let heard = self.heard.wait_for(|all| all.matches(what).count() >= times);
        let said = within(what, heard).await.map(|_| ()).map_err(|error| error.to_string());
        assert!(said.is_ok(), "no {times} x {what} in: {}", *self.heard.borrow());
    }

    async fn asks(&mut self, times: usize) {
        self.says(REQUEST).await;
        self.hears(ANSWER, times).await;
    }
}

#[tokio::test]
async fn each_cipher_of_both_versions() {
    let server = Server::start().await;
    for suite in ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"] {
        let mut client = server.client(&["-tls1_3", "-ciphersuites", suite]);
        client.hears(&format!("Cipher is {suite}"), 1).await;
        client.asks(1).await;
        client.asks(2).await;
    }
    for suite in
        ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"]
    {
        let mut client = server.client(&["-tls1_2", "-cipher", suite]);
        client.hears(&format!("Cipher is {suite}"), 1).await;
        client.asks(1).await;
        client.asks(2).await;
    }
}

/// s_client's commands: `k` changes its own key, `K` asks for ours to change too.
#[tokio::test]
async fn keys_change_both_ways() {
    let server = Server::start().await;
    for suite in ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"] {
        let mut client = server.client(&["-tls1_3", "-ciphersuites", suite]);
        client.hears(&format!("Cipher is {suite}"), 1).await;
        client.asks(1).await;
        for (times, command) in (1..).zip(["k\n", "K\n", "K\n", "k\n", "K\n"]) {
            client.says(command).await;
            client.hears("KEYUPDATE", times).await;
            client.asks(times + 1).await;
        }
    }
}

#[tokio::test]
async fn there_is_no_second_handshake() {
    let server = Server::start().await;
    let mut client = server.client(&["-tls1_2"]);
    client.hears("Cipher is ", 1).await;
    client.asks(1).await;
    client.says("R\n").await;
    client.hears("no renegotiation", 1).await;
    assert!(!within("its end", client.child.wait()).await.unwrap().success());
}

#[tokio::test]
async fn a_closed_connection_is_a_clean_end_for_it() {
    let server = Server::start().await;
    let mut client = server.client(&["-tls1_3"]);
    client.hears("Cipher is ", 1).await;
    client.says("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    client.hears("HTTP/1.1 ", 1).await;
    // Without close_notify OpenSSL calls it an unexpected end, and fails.
    let status = within("its end", client.child.wait()).await.unwrap();
    assert!(status.success(), "{status}: {}", *client.heard.borrow());
}
