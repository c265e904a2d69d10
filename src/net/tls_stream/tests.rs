//! The stream against rustls as its peer, over a wire that splits and stalls as it likes.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
    SupportedCipherSuite,
};
use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio_test::task::spawn;

use super::*;
use crate::net::handshake;
use crate::net::pooled::pooled;
use crate::net::record::MAX_OVERHEAD;

/// What is between the two ends.
#[derive(Default)]
struct State {
    to_us: VecDeque<u8>,
    from_us: Vec<u8>,
    /// What the peer made of it.
    opened: Vec<u8>,
    hung_up: bool,
    /// How much one call moves at most, in turn; `0` stalls. Everything when there is none.
    pieces: Vec<usize>,
    calls: usize,
}

impl State {
    fn piece(&mut self, most: usize) -> usize {
        self.calls += 1;
        match self.pieces.len() {
            0 => most,
            count => self.pieces[self.calls % count].min(most),
        }
    }
}

#[derive(Clone, Default)]
struct Wire(Arc<Mutex<State>>);

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock().unwrap();
        let most = buf.remaining().min(state.to_us.len());
        if most == 0 && state.hung_up {
            return Poll::Ready(Ok(()));
        }
        match state.piece(most) {
            0 => Poll::Pending,
            count => {
                buf.put_slice(&state.to_us.drain(..count).collect::<Vec<_>>());
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock().unwrap();
        match state.piece(buf.len()) {
            0 => Poll::Pending,
            count => {
                state.from_us.extend_from_slice(&buf[..count]);
                Poll::Ready(Ok(count))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Our stream and rustls at its other end.
struct Bench {
    ours: TlsStream<Wire>,
    peer: Connection,
    wire: Wire,
}

impl Bench {
    /// After a handshake with this suite. As the server, unless we are the client.
    fn new(suite: SupportedCipherSuite, we_are_client: bool, pieces: &[usize]) -> Self {
        let (server, client) = configs(suite);
        let name = ServerName::try_from("localhost").unwrap();
        let wire = Wire::default();
        wire.0.lock().unwrap().pieces = pieces.to_vec();
        if we_are_client {
            let peer = ServerConnection::new(server).unwrap();
            Self::shake(handshake::connect(client, name, wire.clone()), peer.into(), wire)
        } else {
            let peer = ClientConnection::new(client, name).unwrap();
            Self::shake(handshake::accept(server, wire.clone()), peer.into(), wire)
        }
    }

    fn shake(
        ours: impl Future<Output = io::Result<TlsStream<Wire>>>,
        mut peer: Connection,
        wire: Wire,
    ) -> Self {
        let mut ours = spawn(ours);
        for _ in 0..100_000 {
            shuttle(&mut peer, &wire).unwrap();
            if let Poll::Ready(stream) = ours.poll() {
                // The last message may be ours.
                shuttle(&mut peer, &wire).unwrap();
                peer.set_buffer_limit(None);
                return Self { ours: stream.unwrap(), peer, wire };
            }
        }
        panic!("the handshake does not end");
    }

    /// Calls until it is ready, the peer doing its part in between.
    #[track_caller]
    fn until<T>(
        &mut self,
        mut poll: impl FnMut(Pin<&mut TlsStream<Wire>>, &mut Context<'_>) -> Poll<T>,
    ) -> T {
        let mut task = spawn(());
        for _ in 0..100_000 {
            if let Poll::Ready(ready) = task.enter(|cx, _| poll(Pin::new(&mut self.ours), cx)) {
                return ready;
            }
            shuttle(&mut self.peer, &self.wire).unwrap();
        }
        panic!("never ready");
    }

    #[track_caller]
    fn read(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; most];
        let count = self.until(|ours, cx| {
            let mut buf = ReadBuf::new(&mut bytes);
            ours.poll_read(cx, &mut buf).map_ok(|()| buf.filled().len())
        })?;
        bytes.truncate(count);
        Ok(bytes)
    }

    fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let count = self.until(|ours, cx| ours.poll_write(cx, bytes)).unwrap();
            bytes = &bytes[count..];
        }
        self.until(|ours, cx| ours.poll_flush(cx)).unwrap();
    }

    /// The peer's plaintext, all that has come.
    fn heard(&mut self) -> Vec<u8> {
        shuttle(&mut self.peer, &self.wire).unwrap();
        std::mem::take(&mut self.wire.0.lock().unwrap().opened)
    }

    fn say(&mut self, bytes: &[u8]) {
        self.peer.writer().write_all(bytes).unwrap();
        shuttle(&mut self.peer, &self.wire).unwrap();
    }
}

/// Moves what the peer has to say and to hear.
fn shuttle(peer: &mut Connection, wire: &Wire) -> Result<(), rustls::Error> {
    let mut state = wire.0.lock().unwrap();
    let heard = std::mem::take(&mut state.from_us);
    let mut heard = &heard[..];
    let mut outcome = Ok(());
    while !heard.is_empty() {
        peer.read_tls(&mut heard).unwrap();
        outcome = outcome.and(peer.process_new_packets().map(drop));
        // It takes no more before this is read.
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = peer.reader().read(&mut piece) {
            state.opened.extend_from_slice(&piece[..count]);
        }
    }
    while peer.wants_write() {
        let mut said = Vec::new();
        peer.write_tls(&mut said).unwrap();
        state.to_us.extend(said);
    }
    outcome
}

fn suites() -> Vec<SupportedCipherSuite> {
    use CipherSuite as S;
    let ours = |suite: &SupportedCipherSuite| {
        // One key for each certificate; ECDSA is ours.
        !matches!(
            suite.suite(),
            S::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
                | S::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
                | S::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        )
    };
    aws_lc_rs::ALL_CIPHER_SUITES.iter().filter(|suite| ours(suite)).copied().collect()
}

fn configs(suite: SupportedCipherSuite) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![suite];
    let provider = Arc::new(provider);
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    server.enable_secret_extraction = true;
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.enable_secret_extraction = true;
    (Arc::new(server), Arc::new(client))
}

fn bytes(count: usize) -> Vec<u8> {
    (0..=250).cycle().take(count).collect()
}

fn tls13() -> SupportedCipherSuite {
    aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256
}

#[derive(Clone, Debug)]
enum Step {
    ToUs(usize),
    FromUs(usize),
    PeerUpdates,
    WeUpdate,
    Read(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let size = || prop_oneof![1usize..300, 1usize..100_000];
    prop_oneof![
        4 => size().prop_map(Step::ToUs),
        4 => size().prop_map(Step::FromUs),
        1 => Just(Step::PeerUpdates),
        1 => Just(Step::WeUpdate),
        2 => size().prop_map(Step::Read),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_byte_arrives_whatever_the_wire_does(
        suite in proptest::sample::select(suites()),
        we_are_client in any::<bool>(),
        steps in proptest::collection::vec(step(), 1..12),
        pieces in prop_oneof![
            Just(vec![]),
            proptest::collection::vec(0usize..70_000, 2..8).prop_map(|mut some| { some.push(9000); some }),
            proptest::collection::vec(0usize..3000, 2..8).prop_map(|mut some| { some.push(700); some }),
        ],
    ) {
        let mut bench = Bench::new(suite, we_are_client, &pieces);
        let (mut said, mut read) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::ToUs(count) => {
                    let bytes = bytes(count);
                    bench.say(&bytes);
                    said.extend(bytes);
                }
                Step::FromUs(count) => {
                    let bytes = bytes(count);
                    bench.write(&bytes);
                    prop_assert!(bench.heard() == bytes);
                }
                Step::PeerUpdates if suite.tls13().is_some() => bench.peer.refresh_traffic_keys().unwrap(),
                Step::WeUpdate if suite.tls13().is_some() => bench.ours.records.tire(0),
                Step::PeerUpdates | Step::WeUpdate => {}
                Step::Read(count) if read.len() < said.len() => read.extend(bench.read(count).unwrap()),
                Step::Read(_) => {}
            }
        }
        while read.len() < said.len() {
            read.extend(bench.read(61_454).unwrap());
        }
        prop_assert!(read == said);
        bench.until(|ours, cx| ours.poll_shutdown(cx)).unwrap();
        shuttle(&mut bench.peer, &bench.wire).unwrap();
        // The end, and not just nothing yet.
        prop_assert_eq!(bench.peer.reader().read(&mut [0]).unwrap(), 0);
        bench.peer.send_close_notify();
        prop_assert!(bench.read(10).unwrap().is_empty());
        prop_assert!(bench.ours.inbound.is_empty() && bench.ours.plain.is_none());
    }
}

#[test]
fn an_idle_connection_holds_no_buffer() {
    let mut bench = Bench::new(tls13(), false, &[]);
    bench.say(&bytes(5000));
    // Less than the record: the rest waits.
    assert_eq!(bench.read(100).unwrap().len(), 100);
    assert!(bench.ours.plain.is_some());
    assert_eq!(bench.read(9000).unwrap().len(), 4900);
    bench.write(&bytes(100_000));
    let mut buffer = [0; 10];
    let idle =
        spawn(()).enter(|cx, _| Pin::new(&mut bench.ours).poll_read(cx, &mut ReadBuf::new(&mut buffer)));
    assert!(idle.is_pending());
    assert!(bench.ours.plain.is_none() && bench.ours.outbound.is_none() && bench.ours.inbound.is_empty());
    assert!(pooled() > 0, "they went back");
}

#[test]
fn the_begin_of_a_record_costs_its_own_length() {
    let mut bench = Bench::new(tls13(), false, &[]);
    bench.say(&bytes(1000));
    let record: Vec<u8> = bench.wire.0.lock().unwrap().to_us.drain(..).collect();
    for end in [3, 5, 700, record.len()] {
        let have = bench.ours.inbound.held().0;
        bench.wire.0.lock().unwrap().to_us.extend(&record[have..end]);
        let mut buffer = [0; 2000];
        let mut buf = ReadBuf::new(&mut buffer);
        let read = spawn(()).enter(|cx, _| Pin::new(&mut bench.ours).poll_read(cx, &mut buf));
        assert_eq!(read.is_ready(), end == record.len());
        let whole = if end < 5 { 5 } else { record.len() };
        let held = if end == record.len() { (0, 0) } else { (end, whole) };
        assert_eq!(bench.ours.inbound.held(), held);
    }
}

#[test]
fn an_end_without_goodbye_is_an_error_after_all_that_came() {
    let mut bench = Bench::new(tls13(), false, &[]);
    bench.say(b"the last words");
    bench.wire.0.lock().unwrap().hung_up = true;
    assert_eq!(bench.read(100).unwrap(), b"the last words");
    for _ in 0..2 {
        assert_eq!(bench.read(100).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}

#[test]
fn a_broken_record_is_answered_by_its_alert_and_nothing_after_it_is_read() {
    let mut bench = Bench::new(tls13(), false, &[]);
    bench.say(b"good");
    bench.say(b"bad");
    bench.say(b"good again");
    let first = 4 + MAX_OVERHEAD - 8 + 1;
    bench.wire.0.lock().unwrap().to_us[first + 7] ^= 1;
    assert_eq!(bench.read(100).unwrap(), b"good");
    for _ in 0..2 {
        let error = bench.read(100).unwrap_err();
        assert_eq!(error.to_string(), "TLS: the peer was sent bad_record_mac");
    }
    let told = shuttle(&mut bench.peer, &bench.wire).unwrap_err();
    assert_eq!(told, rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac));
    let refused = spawn(()).enter(|cx, _| Pin::new(&mut bench.ours).poll_write(cx, b"x"));
    assert!(matches!(refused, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe));
}

#[test]
fn what_is_no_tls_is_refused_at_once_and_told_why() {
    let (server, _) = configs(tls13());
    let wire = Wire::default();
    wire.0.lock().unwrap().to_us.extend(b"GET / HTTP/1.1\r\n\r\n");
    let mut accepting = spawn(handshake::accept(server, wire.clone()));
    let Poll::Ready(Err(error)) = accepting.poll() else { panic!("it waits for more") };
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let answer = wire.0.lock().unwrap().from_us.clone();
    assert_eq!(answer[0], 21, "an alert: {answer:?}");
}
