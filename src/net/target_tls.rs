//! TLS towards a target: we are the client, and the target has to be the one that was meant.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};
use tokio_rustls::TlsConnector;

use crate::config::{Trust, VncTls};

use super::stream::TargetStream;

/// Does the TLS handshake on a connection and checks the target's certificate. The caller sets the deadline;
/// dropping the future drops the connection.
///
/// # Errors
/// If the target is not the one that was meant, does not speak TLS 1.2 or 1.3, or hangs up.
pub async fn secure(stream: TargetStream, settings: &VncTls) -> io::Result<TargetStream> {
    let (config, name) = client(settings).map_err(io::Error::other)?;
    // Boxed: the handshake's state is kilobytes, and only in use while it lasts.
    let connected = Box::pin(TlsConnector::from(Arc::new(config)).connect(name, stream)).await?;
    Ok(TargetStream::Tls(Box::new(connected)))
}

/// Made anew for each connection: it costs microseconds beside a handshake, and holds nothing that could be old.
fn client(settings: &VncTls) -> Result<(ClientConfig, ServerName<'static>), rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13, &TLS12])?;
    let (builder, name) = match &settings.trust {
        Trust::Authority { authority, name } => {
            let mut roots = RootCertStore::empty();
            for root in &authority.roots {
                roots.add(root.clone())?;
            }
            (builder.with_root_certificates(roots), name.clone())
        }
        Trust::Pin(pin) => {
            let verifier = Arc::new(Pinned { pin: *pin, provider });
            // No name is sent with a pin, so any will do.
            let name = ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
            (builder.dangerous().with_custom_certificate_verifier(verifier), name)
        }
    };
    let mut config = match &settings.client {
        Some(own) => builder.with_client_auth_cert(own.chain.clone(), own.secret.clone_key())?,
        None => builder.with_no_client_auth(),
    };
    // Each session proves both sides anew.
    config.resumption = Resumption::disabled();
    Ok((config, name))
}

/// Takes one certificate and no other. Who shows it must also have its key: the handshake's signature is checked
/// as ever.
struct Pinned {
    pin: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _issuers: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // Both are public: no need to hide how far they agree.
        if Sha256::digest(certificate)[..] == self.pin {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pinned(..)")
    }
}
