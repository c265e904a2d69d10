//! Targets that are not what they should be: whatever they offer, nothing secret is sent in the clear, and nothing
//! said in the clear is taken for something said inside TLS.

use std::sync::Arc;

use consolegate::ids::Protocol;
use rustls::SupportedProtocolVersion;
use rustls::crypto::aws_lc_rs;
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::console::SERVER_INIT;
use crate::support::pki::Pki;
use crate::support::rfb::Rfb;
use crate::support::server::{Running, target};
use crate::support::within;

const VM: &str = "00000006-0000-4000-8000-000000000000";

const PASSWORD: &str = "opensesame";

/// One thing a target does.
enum Turn {
    Say(Vec<u8>),
    Hear(usize),
}
use Turn::{Hear, Say};

/// The proxy, with X509Plain alone allowed, and the target it dials.
async fn start(pki: &Pki) -> (Running, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let vnc = listener.local_addr().unwrap();
    let ca = pki.file("ca-cert.pem");
    let security = format!(
        "[target.vnc_security]\ntypes = [\"vencrypt-x509-plain\"]\nusername = \"anne\"\n\
         password = \"{PASSWORD}\"\nca = \"{}\"",
        ca.display()
    );
    (Running::start(&target(VM, "vm", &format!("vnc = \"tcp://{vnc}\"\n{security}"))).await, listener)
}

/// Plays its part, then listens until the proxy hangs up; all that it heard.
async fn play(listener: &TcpListener, script: Vec<Turn>) -> Vec<u8> {
    let (mut stream, _) = within("the dial", listener.accept()).await.unwrap();
    let mut heard = Vec::new();
    for turn in script {
        match turn {
            Say(bytes) => stream.write_all(&bytes).await.unwrap(),
            Hear(count) => {
                let start = heard.len();
                heard.resize(start + count, 0);
                within("the proxy's part", stream.read_exact(&mut heard[start..])).await.unwrap();
            }
        }
    }
    let _ = within("the proxy's end", stream.read_to_end(&mut heard)).await;
    heard
}

async fn refused(server: &Running) {
    let token = server.token(VM, Protocol::Vnc).await;
    let refused = Rfb::open(server.at.proxy, &token).await.err();
    assert_eq!(refused.as_deref(), Some("HTTP/1.1 502 Bad Gateway"));
}

/// A target up to VeNCrypt's types, of which it offers these.
fn offering(subtypes: &[u32]) -> Vec<Turn> {
    let numbers: Vec<u8> = subtypes.iter().flat_map(|number| number.to_be_bytes()).collect();
    vec![
        Say(b"RFB 003.008\n".to_vec()),
        Hear(12),
        Say(b"\x03\x01\x02\x13".to_vec()),
        Hear(1),
        Say(b"\0\x02".to_vec()),
        Hear(2),
        Say([&[0, u8::try_from(subtypes.len()).unwrap()], &numbers[..]].concat()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_offer_is_low_enough() {
    let pki = Pki::new();
    let (server, listener) = start(&pki).await;
    let version = || Say(b"RFB 003.008\n".to_vec());
    let line = b"RFB 003.008\n".as_slice();
    let cases: Vec<(Vec<Turn>, Vec<u8>)> = vec![
        // VeNCrypt stripped from the offer; a server that decides for itself.
        (vec![version(), Hear(12), Say(b"\x02\x01\x02".to_vec())], line.to_vec()),
        (vec![Say(b"RFB 003.003\n\0\0\0\x01".to_vec())], b"".to_vec()),
        (
            vec![Say(b"RFB 003.003\n".to_vec()), Hear(12), Say(b"\0\0\0\x02".to_vec())],
            b"RFB 003.003\n".to_vec(),
        ),
        // An older VeNCrypt.
        (
            vec![version(), Hear(12), Say(b"\x01\x13".to_vec()), Hear(1), Say(b"\0\x01".to_vec())],
            [line, b"\x13"].concat(),
        ),
        // Plain in the clear, TLS without a certificate, the certificate without the password.
        (offering(&[256, 257, 258, 259, 260, 261]), [line, b"\x13\0\x02"].concat()),
        // A SecurityResult before TLS, in one piece with what begins it.
        (
            offering(&[262]).into_iter().chain([Hear(4), Say(b"\x01\0\0\0\0".to_vec())]).collect(),
            [line, b"\x13\0\x02\0\0\x01\x06"].concat(),
        ),
    ];
    for (script, expected) in cases {
        let (heard, ()) = tokio::join!(play(&listener, script), refused(&server));
        assert_eq!(heard, expected, "{}", String::from_utf8_lossy(&heard));
    }
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answers_a_hello_in_the_clear_is_not_believed() {
    let pki = Pki::new();
    let (server, listener) = start(&pki).await;
    let script = offering(&[262]).into_iter().chain([
        Hear(4),
        Say(vec![1]),
        Hear(5),
        Say(vec![0; 4]),
        Say(SERVER_INIT.to_vec()),
    ]);
    let (heard, ()) = tokio::join!(play(&listener, script.collect()), refused(&server));
    // A handshake record of TLS, and no more than a hello and an alert behind it.
    assert_eq!(heard[19..21], [0x16, 3], "{heard:02x?}");
    has_no_secret(&heard);
    server.drain().await;
}

fn has_no_secret(heard: &[u8]) {
    for secret in [b"anne".as_slice(), PASSWORD.as_bytes()] {
        assert!(!heard.windows(secret.len()).any(|window| window == secret), "a secret in the clear");
    }
}

/// The target's end of TLS, with what `pki` issued.
fn acceptor(pki: &Pki, version: &'static SupportedProtocolVersion) -> tokio_rustls::TlsAcceptor {
    let pem = std::fs::read(pki.file("server-cert.pem")).unwrap();
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(&std::fs::read(pki.file("server-key.pem")).unwrap()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    Arc::new(config).into()
}

/// The target's part up to TLS.
async fn up_to_tls(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = within("the dial", listener.accept()).await.unwrap();
    for turn in offering(&[257, 262]).into_iter().chain([Hear(4), Say(vec![1])]) {
        match turn {
            Say(bytes) => stream.write_all(&bytes).await.unwrap(),
            Hear(count) => {
                within("the proxy's part", stream.read_exact(&mut vec![0; count])).await.unwrap();
            }
        }
    }
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_with_a_certificate_hears_nothing() {
    let pki = Pki::new();
    let (server, listener) = start(&pki).await;
    let wrong_authority = Pki::with_server("127.0.0.1");
    let wrong_name = Pki::with_server("127.0.0.2");
    let expired = Pki::new();
    expired.expired_server("127.0.0.1");
    for stranger in [&wrong_authority, &wrong_name, &expired] {
        let meet = async {
            let stream = up_to_tls(&listener).await;
            // In TLS 1.2 the alert comes within the handshake, so it fails here too.
            let error = acceptor(stranger, &TLS12).accept(stream).await.expect_err("a handshake");
            assert!(error.to_string().starts_with("received fatal alert"), "{error}");
        };
        tokio::join!(within("a handshake", meet), refused(&server));
    }
    server.drain().await;
}

/// User name and password arrive inside TLS, what the target says too early waits its turn, and a desktop name
/// that would steer a terminal is cleaned.
#[tokio::test(flavor = "multi_thread")]
async fn user_and_password_go_inside_tls_and_early_bytes_are_kept() {
    let pki = Pki::with_server("127.0.0.1");
    let (server, listener) = start(&pki).await;
    for version in [&TLS12, &TLS13] {
        let meet = async {
            let stream = up_to_tls(&listener).await;
            let mut stream = acceptor(&pki, version).accept(stream).await.unwrap();
            let mut plain = [0; 22];
            stream.read_exact(&mut plain).await.unwrap();
            assert_eq!(&plain, b"\0\0\0\x04\0\0\0\x0aanneopensesame");
            let fixed = &SERVER_INIT[..20];
            let early = [&[0; 4], fixed, b"\0\0\0\x09\x1b[31mname", b"early update"].concat();
            stream.write_all(&early).await.unwrap();
            stream.flush().await.unwrap();
            let mut said = [0; 6];
            stream.read_exact(&mut said).await.unwrap();
            assert_eq!(&said, b"\x01hello");
            // Gone without a goodbye of TLS, as QEMU goes.
        };
        let view = async {
            let token = server.token(VM, Protocol::Vnc).await;
            let mut viewer = Rfb::open(server.at.proxy, &token).await.expect("the console");
            viewer.choose(1).await;
            assert_eq!(viewer.message().await, [0; 4], "SecurityResult");
            let screen = viewer.begin().await;
            assert_eq!(screen.name, "[31mname");
            assert_eq!(viewer.message().await, b"early update");
            viewer.send(b"hello").await;
            loop {
                match viewer.frame().await {
                    crate::support::wire::Frame::Close(code, _) => break assert_eq!(code, 1000),
                    crate::support::wire::Frame::Ping(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        };
        tokio::join!(within("the target's part", meet), within("the viewer's part", view));
    }
}
