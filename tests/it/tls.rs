//! TLS on every listener: pages, API and consoles, clean endings, certificates changed while sessions live.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use consolegate::certs::{Files, ensure};
use consolegate::ids::Protocol;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;

use crate::support::console::{Console, Manner};
use crate::support::server::{Answer, PROJECT, Running, TOKEN, raw, target, upgrade};
use crate::support::{temp, viewer, within};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000001";

struct Secure {
    server: Running,
    dir: tempfile::TempDir,
}

impl Secure {
    async fn start(targets: &str) -> Self {
        let dir = temp::dir();
        ensure(dir.path(), false, SystemTime::now()).unwrap();
        let files = Files::within(dir.path());
        let (certificate, key) = (files.certificate.display(), files.key.display());
        let tls = format!("[tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n");
        Self { server: Running::start(&format!("{tls}{targets}")).await, dir }
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        within("the TLS handshake", connect(&self.server, self.dir.path())).await.expect("a TLS session")
    }

    async fn ask(&self, request: &str) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // An end without close_notify would be an error here.
        within("the answer", stream.read_to_string(&mut answer))
            .await
            .unwrap_or_else(|e| panic!("no clean end: {e}: {request}: {answer}"));
        Answer::parse(&answer)
    }
}

async fn connect(server: &Running, dir: &Path) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(Files::within(dir).ca).unwrap()).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let mut config = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let socket = TcpStream::connect(server.at.proxy).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), socket).await
}

async fn open(secure: &Secure, stream: TlsStream<TcpStream>) -> WebSocketStream<TlsStream<TcpStream>> {
    let token = secure.server.token(VM, Protocol::Vnc).await;
    let url = format!("wss://localhost/?token={token}");
    tokio_tungstenite::client_async(url, stream).await.unwrap().0
}

#[tokio::test]
async fn pages_api_and_consoles_are_encrypted() {
    let console = Console::new(Manner::Vnc).await;
    let secure = Secure::start(&target(VM, "vm", &console.setting("vnc"))).await;
    let stream = secure.connect().await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]), "a WebSocket needs HTTP/1.1");
    let mut socket = open(&secure, stream).await;
    assert_eq!(viewer::rfb(&mut socket).await, "fake-vnc");
    viewer::echo(&mut socket, b"secret").await;

    let page = secure.ask("GET /vnc.html HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert!(page.header("strict-transport-security").is_some_and(|hsts| hsts.starts_with("max-age=")));
    let servers = format!(
        "GET /v2.1/servers HTTP/1.1\r\nHost: h\r\nX-Auth-Token: {TOKEN}\r\nConnection: close\r\n\r\n"
    );
    let servers = secure.ask(&servers).await;
    assert!(servers.status == 200 && servers.body.contains(VM), "{servers:?}");
    let body = "{\"remote_console\":{\"protocol\":\"vnc\",\"type\":\"novnc\"}}";
    let create = format!(
        "POST /v2.1/{PROJECT}/servers/{VM}/remote-consoles HTTP/1.1\r\nHost: h\r\nX-Auth-Token: {TOKEN}\r\n\
         OpenStack-API-Version: compute 2.6\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    let created = secure.ask(&create).await;
    assert!(created.body.contains("https://127.0.0.1:"), "{created:?}");
    secure.ask(&upgrade("/?token=bad")).await.assert_bare(403, "and refusals");

    // What does not speak TLS gets no HTTP.
    let plain = raw(secure.server.at.proxy, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(!plain.contains("HTTP/"), "{plain:?}");
}

#[tokio::test]
async fn a_session_over_tls_ends_with_a_close_and_a_close_notify() {
    let console = Console::new(Manner::Vnc).await;
    let secure = Secure::start(&target(VM, "vm", &console.setting("vnc"))).await;
    let mut socket = open(&secure, secure.connect().await).await;
    viewer::rfb(&mut socket).await;
    viewer::echo(&mut socket, b"last words").await;
    // The viewer's goodbye is the target's end of input; `closed` inside fails on an end without close_notify.
    viewer::goodbye(&mut socket).await;
    console.until("the target's end", |seen| seen.gone == 1).await;
    // The target's end is the viewer's close.
    let mut socket = open(&secure, secure.connect().await).await;
    viewer::rfb(&mut socket).await;
    console.stop().await;
    let (code, _) = viewer::closed(&mut socket).await;
    assert!(matches!(code, 1000 | 1011), "{code}");
}

#[tokio::test]
async fn a_new_certificate_is_served_to_new_connections_and_live_ones_stay() {
    let console = Console::new(Manner::Vnc).await;
    let secure = Secure::start(&target(VM, "vm", &console.setting("vnc"))).await;
    let mut session = open(&secure, secure.connect().await).await;
    viewer::rfb(&mut session).await;
    // A broken key leaves the pair in force.
    let files = Files::within(secure.dir.path());
    let key = std::fs::read(&files.key).unwrap();
    std::fs::write(&files.key, "no key").unwrap();
    secure.server.reload().await;
    std::fs::write(&files.key, key).unwrap();
    drop(secure.connect().await);
    // A new authority: who trusts only that gets in once the new pair is served.
    ensure(secure.dir.path(), true, SystemTime::now()).unwrap();
    secure.server.reload().await;
    within("the new certificate", async {
        while connect(&secure.server, secure.dir.path()).await.is_err() {}
    })
    .await;
    viewer::echo(&mut session, b"nothing happened").await;
    let mut fresh = open(&secure, secure.connect().await).await;
    viewer::rfb(&mut fresh).await;
}

/// Who connects and begins no handshake is cut off.
#[tokio::test]
async fn a_handshake_that_never_begins_is_ended() {
    let console = Console::new(Manner::Vnc).await;
    let secure = Secure::start(&target(VM, "vm", &console.setting("vnc"))).await;
    assert_eq!(raw(secure.server.at.proxy, b"").await, "");
}
