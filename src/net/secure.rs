//! TLS towards a console: rustls with aws-lc-rs; a chain and a name, or a pin, never just any certificate.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::config::{Host, ServerCheck};

use super::handshake;
use super::pinned::Pinned;
use super::tls_stream::TlsStream;

/// Why there is no secure connection.
#[derive(Debug, thiserror::Error)]
pub enum SecureError {
    /// The file of authorities could not be read, or holds none.
    #[error("{}: {reason}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The name that the certificate must have is none that a certificate can have.
    #[error("{0} cannot be the name of a server")]
    Name(String),
    /// The handshake failed: the server's certificate, or something on the way.
    #[error(transparent)]
    Handshake(#[from] io::Error),
    /// rustls does not take these settings.
    #[error(transparent)]
    Settings(#[from] rustls::Error),
}

/// Does the client's side of a handshake. The caller sets the deadline.
///
/// # Errors
/// If the server is not the one that `check` asks for, or does not speak TLS as we do.
pub async fn secure(
    socket: TcpStream,
    host: &Host,
    check: &ServerCheck,
) -> Result<SecureStream, SecureError> {
    let expected = match check {
        ServerCheck::Chain { name: Some(name), .. } => name,
        _ => host,
    };
    let name = server_name(expected)?;
    let check = check.clone();
    // Reads files. They are read for every connection: a new authority needs no restart.
    let config = tokio::task::spawn_blocking(move || client_config(&check));
    let config = config.await.map_err(io::Error::other)??;
    let stream = handshake::connect(Arc::new(config), name, socket).await?;
    Ok(SecureStream { stream, unsent: false })
}

fn server_name(host: &Host) -> Result<ServerName<'static>, SecureError> {
    match host {
        Host::Ip(ip) => Ok(ServerName::IpAddress((*ip).into())),
        Host::Name(name) => ServerName::try_from(name.clone()).map_err(|_| SecureError::Name(name.clone())),
    }
}

/// The client's side of handshakes with a server that is to be checked so. Reads files.
///
/// # Errors
/// If the authorities cannot be read, or hold none.
pub fn client_config(check: &ServerCheck) -> Result<ClientConfig, SecureError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let mut config = match check {
        ServerCheck::Chain { ca: Some(file), .. } => builder.with_root_certificates(authorities(file)?),
        ServerCheck::Chain { ca: None, .. } => builder.with_root_certificates(system()),
        ServerCheck::Pin(pin) => {
            let verifier = Arc::new(Pinned::new(*pin, &provider));
            builder.dangerous().with_custom_certificate_verifier(verifier)
        }
    }
    .with_no_client_auth();
    // A console is dialled now and then; nothing is kept between.
    config.resumption = Resumption::disabled();
    config.enable_secret_extraction = true;
    Ok(config)
}

/// The operating system's authorities, read once: there are more than a hundred.
fn system() -> Arc<RootCertStore> {
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let load = || {
        let mut roots = RootCertStore::empty();
        // One that cannot be read is one less; that none can shows in the handshake.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    };
    Arc::clone(SYSTEM.get_or_init(load))
}

fn authorities(file: &Path) -> Result<RootCertStore, SecureError> {
    let wrong = |reason: String| SecureError::Authorities { path: file.to_owned(), reason };
    let pem = std::fs::read(file).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| wrong(format!("is not PEM: {error}")))?;
        roots.add(certificate).map_err(|error| wrong(format!("holds no authority: {error}")))?;
    }
    match roots.is_empty() {
        true => Err(wrong("holds no certificate; expected PEM".to_owned())),
        false => Ok(roots),
    }
}

/// A secure connection that needs no flushing: what TLS has taken and the socket has not is written by
/// whichever call comes next.
#[derive(Debug)]
pub struct SecureStream {
    stream: TlsStream<TcpStream>,
    unsent: bool,
}

impl SecureStream {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.unsent {
            return Poll::Ready(Ok(()));
        }
        let sent = Pin::new(&mut self.stream).poll_flush(cx);
        self.unsent = sent.is_pending();
        sent
    }
}

impl AsyncRead for SecureStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // A failure to write is told by writing; there may be something to read yet.
        let _ = this.poll_send(cx);
        Pin::new(&mut this.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for SecureStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // No more is taken before the last is away: what waits is one write's worth.
        std::task::ready!(this.poll_send(cx))?;
        let count = std::task::ready!(Pin::new(&mut this.stream).poll_write(cx, buf))?;
        this.unsent = true;
        let _ = this.poll_send(cx);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
