//! TLS on our listeners: rustls with aws-lc-rs, TLS 1.2 and 1.3, certificates reloaded while running.
//!
//! Early data stays off: a token must not ride replayable bytes (RFC 8446 section 8). Sessions resume by
//! tickets that this process can open, so nothing is kept per client.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::server::{NoServerSessionStorage, ServerConfig};
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::{Listen, PrivateFileError, Tls, is_development, read_private};

use super::handshake;
use super::tls_stream::TlsStream;

/// The only protocol we speak inside: a WebSocket upgrade needs HTTP/1.1 (RFC 7301 names it so).
const ALPN: &[u8] = b"http/1.1";

/// Why a certificate and its key are not used. Says the file and the remedy, never what is in the key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate file could not be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// The certificate file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The certificate file has no certificate in it.
    #[error("{}: holds no certificate; expected PEM, the server's own first", path.display())]
    NoCertificate {
        /// The certificate file.
        path: PathBuf,
    },
    /// The certificate file is broken PEM.
    #[error("{}: is not PEM: {source}", path.display())]
    NotPem {
        /// The certificate file.
        path: PathBuf,
        /// Where the form is broken.
        source: rustls_pki_types::pem::Error,
    },
    /// The key file could not be read, or is open to others.
    #[error(transparent)]
    KeyFile(#[from] PrivateFileError),
    /// The key file has no private key in it.
    #[error("{}: holds no private key; expected PEM: PKCS#8, PKCS#1 or SEC1, not encrypted", path.display())]
    NoKey {
        /// The key file.
        path: PathBuf,
    },
    /// The two belong to different pairs.
    #[error(
        "{}: is not the key of the certificate in {}; were both replaced?",
        key.display(), certificate.display()
    )]
    Mismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// A development certificate where others can connect.
    #[error("{}: is a development certificate, which is for loopback addresses only; use one from your own \
             authority", path.display())]
    Development {
        /// The certificate file.
        path: PathBuf,
    },
    /// The library takes the pair for unusable.
    #[error("{}: cannot be used: {source}", path.display())]
    Unusable {
        /// The certificate file.
        path: PathBuf,
        /// What rustls said.
        source: rustls::Error,
    },
}

/// Does the server's side of handshakes with the newest certificate. Clones share it.
#[derive(Clone, Debug)]
pub struct TlsAcceptor {
    current: Arc<ArcSwap<ServerConfig>>,
    files: Tls,
    loopback: bool,
}

impl TlsAcceptor {
    /// Reads certificate and key for the listeners of `listen`.
    ///
    /// # Errors
    /// If the pair is unusable, or for development while something listens beyond loopback.
    pub fn load(files: &Tls, listen: &Listen) -> Result<Self, TlsError> {
        let loopback = listen.is_loopback();
        let config = read(files, loopback)?;
        Ok(Self { current: Arc::new(ArcSwap::new(config)), files: files.clone(), loopback })
    }

    /// Reads both files again; connections that exist stay as they are.
    ///
    /// # Errors
    /// As [`TlsAcceptor::load`]; the pair in use then stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.current.store(read(&self.files, self.loopback)?);
        Ok(())
    }

    /// The files whose change calls for [`TlsAcceptor::reload`].
    pub fn files(&self) -> Vec<PathBuf> {
        vec![self.files.certificate.clone(), self.files.key.clone()]
    }

    /// What a handshake that begins now uses.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Does the handshake on a fresh connection. The caller sets the deadline; dropping the future drops the
    /// connection.
    ///
    /// # Errors
    /// If the peer hangs up or does not speak TLS as we do.
    pub async fn accept<IO>(&self, connection: IO) -> io::Result<TlsStream<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        handshake::accept(self.config(), connection).await
    }
}

fn read(files: &Tls, loopback: bool) -> Result<Arc<ServerConfig>, TlsError> {
    let path = &files.certificate;
    let chain = read_chain(path)?;
    if !loopback && chain.iter().any(is_development) {
        return Err(TlsError::Development { path: path.clone() });
    }
    let key = read_key(&files.key)?;
    let unusable = |source| TlsError::Unusable { path: path.clone(), source };

    let provider = aws_lc_rs::default_provider();
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::Mismatch { certificate: path.clone(), key: files.key.clone() }
            }
            other => unusable(other),
        })?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.max_early_data_size = 0;
    // For our own record layer, and nothing else.
    config.enable_secret_extraction = true;
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(unusable)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = std::fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(TlsError::NoCertificate { path: path.to_owned() }),
        Ok(chain) => Ok(chain),
        Err(source) => Err(TlsError::NotPem { path: path.to_owned(), source }),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = read_private(path)?;
    // Why it failed is not told: the message could quote a line of the key.
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| TlsError::NoKey { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use rcgen::{CertificateParams, DnType, KeyPair};
    use rustls::{ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
    use rustls_pki_types::ServerName;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;
    use crate::config::DEVELOPMENT_ORGANIZATION;

    struct Pair {
        dir: tempfile::TempDir,
        roots: RootCertStore,
    }

    impl Pair {
        fn new(organization: &str) -> Self {
            let mut pair = Self { dir: tempfile::tempdir().unwrap(), roots: RootCertStore::empty() };
            pair.renew(organization);
            pair
        }

        /// Puts another self-signed pair in the place of the one there.
        fn renew(&mut self, organization: &str) {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
            params.distinguished_name.push(DnType::OrganizationName, organization);
            let certificate = params.self_signed(&key).unwrap();
            let Tls { certificate: path, key: key_path } = self.tls();
            fs::write(path, certificate.pem()).unwrap();
            fs::write(&key_path, key.serialize_pem()).unwrap();
            fs::set_permissions(key_path, fs::Permissions::from_mode(0o600)).unwrap();
            self.roots.add(certificate.der().clone()).unwrap();
        }

        fn tls(&self) -> Tls {
            Tls { certificate: self.dir.path().join("server.pem"), key: self.dir.path().join("server.key") }
        }

        fn client(&self, versions: &[&'static SupportedProtocolVersion], alpn: &[u8]) -> Arc<ClientConfig> {
            let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_protocol_versions(versions)
                .unwrap()
                .with_root_certificates(self.roots.clone())
                .with_no_client_auth();
            config.alpn_protocols = vec![alpn.to_vec()];
            Arc::new(config)
        }
    }

    fn listen(address: &str) -> Listen {
        let address = address.parse().unwrap();
        Listen { api: address, proxy: address, admin: address }
    }

    type Client = tokio_rustls::client::TlsStream<DuplexStream>;

    /// One handshake in memory, then a byte each way, so that tickets have arrived.
    async fn connect(acceptor: &TlsAcceptor, client: Arc<ClientConfig>) -> io::Result<Client> {
        let (near, far) = tokio::io::duplex(4096);
        let name = ServerName::try_from("localhost").unwrap();
        let server = async {
            let mut stream = acceptor.accept(far).await?;
            stream.read_u8().await?;
            stream.write_u8(2).await?;
            stream.flush().await
        };
        let client = async {
            let mut stream = tokio_rustls::TlsConnector::from(client).connect(name, near).await?;
            stream.write_u8(1).await?;
            stream.flush().await?;
            assert_eq!(stream.read_u8().await?, 2);
            Ok(stream)
        };
        let (server, client) = tokio::join!(server, client);
        client.and_then(|client| server.map(|()| client))
    }

    #[tokio::test]
    async fn both_versions_with_http_1_1_and_resumption() {
        let pair = Pair::new("an authority");
        let acceptor = TlsAcceptor::load(&pair.tls(), &listen("0.0.0.0:1")).unwrap();
        assert_eq!(acceptor.config().max_early_data_size, 0);
        for (version, name) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
            let client = pair.client(&[version], ALPN);
            for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
                let stream = connect(&acceptor, Arc::clone(&client)).await.unwrap();
                let (_, connection) = stream.get_ref();
                assert_eq!(connection.protocol_version(), Some(name));
                assert_eq!(connection.alpn_protocol(), Some(ALPN));
                assert_eq!(connection.handshake_kind(), Some(kind));
            }
        }
    }

    #[tokio::test]
    async fn other_protocols_are_refused() {
        let pair = Pair::new("an authority");
        let acceptor = TlsAcceptor::load(&pair.tls(), &listen("127.0.0.1:1")).unwrap();
        let error = connect(&acceptor, pair.client(&[&TLS13], b"h2")).await.unwrap_err();
        assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
    }

    #[tokio::test]
    async fn a_reload_changes_the_certificate_and_a_failed_one_does_not() {
        let mut pair = Pair::new("an authority");
        let acceptor = TlsAcceptor::load(&pair.tls(), &listen("127.0.0.1:1")).unwrap();
        let clone = acceptor.clone();
        let shown = async |acceptor: &TlsAcceptor, pair: &Pair| {
            let stream = connect(acceptor, pair.client(&[&TLS13], ALPN)).await.unwrap();
            stream.get_ref().1.peer_certificates().unwrap()[0].clone()
        };
        let first = shown(&acceptor, &pair).await;
        pair.renew("an authority");
        assert_eq!(shown(&acceptor, &pair).await, first, "nothing changes unasked");
        acceptor.reload().unwrap();
        let second = shown(&clone, &pair).await;
        assert_ne!(second, first, "a clone sees the reload");

        fs::write(&acceptor.files()[0], "").unwrap();
        assert!(matches!(acceptor.reload(), Err(TlsError::NoCertificate { .. })));
        assert_eq!(shown(&acceptor, &pair).await, second);
    }

    #[test]
    fn development_certificates_stay_at_home() {
        let pair = Pair::new(DEVELOPMENT_ORGANIZATION);
        for home in ["127.0.0.1:1", "[::1]:1", "127.8.8.8:1"] {
            assert!(TlsAcceptor::load(&pair.tls(), &listen(home)).is_ok());
        }
        for away in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1"] {
            let error = TlsAcceptor::load(&pair.tls(), &listen(away)).unwrap_err();
            assert!(matches!(error, TlsError::Development { .. }), "{error}");
        }
        let one_away = Listen { admin: "192.0.2.1:1".parse().unwrap(), ..listen("127.0.0.1:1") };
        assert!(matches!(TlsAcceptor::load(&pair.tls(), &one_away), Err(TlsError::Development { .. })));
    }

    /// What `spoil` does to the files gives an error that contains `expected`.
    #[track_caller]
    fn check(spoil: impl FnOnce(&Tls), expected: &str) {
        let pair = Pair::new("an authority");
        spoil(&pair.tls());
        let error = TlsAcceptor::load(&pair.tls(), &listen("127.0.0.1:1")).unwrap_err().to_string();
        let dir = pair.dir.path().display();
        assert!(error.starts_with(&format!("{dir}/server.")) && error.contains(expected), "{error}");
    }

    #[test]
    fn each_fault_names_the_file_and_the_remedy() {
        let write = |path: &Path, text: &str| fs::write(path, text).unwrap();
        check(|tls| fs::remove_file(&tls.certificate).unwrap(), "server.pem: cannot be read: No such file");
        check(|tls| write(&tls.certificate, "text"), "server.pem: holds no certificate; expected PEM");
        let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        check(|tls| write(&tls.certificate, cut), "server.pem: is not PEM");
        let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        check(|tls| write(&tls.certificate, empty), "server.pem: cannot be used");
        check(|tls| fs::remove_file(&tls.key).unwrap(), "server.key: cannot be read: No such file");
        check(|tls| write(&tls.key, "hunter2"), "server.key: holds no private key; expected PEM");
        let swapped = |tls: &Tls| fs::write(&tls.key, fs::read(&tls.certificate).unwrap()).unwrap();
        check(swapped, "server.key: holds no private key");
        let other = KeyPair::generate().unwrap().serialize_pem();
        check(|tls| write(&tls.key, &other), "server.key: is not the key of the certificate in");
        let open = fs::Permissions::from_mode(0o644);
        check(|tls| fs::set_permissions(&tls.key, open).unwrap(), "run: chmod o=");
    }
}
