//! TLS towards a target: we are the client, and the target has to be the one that was meant, unless an operator
//! has named a type without a certificate.

use std::io;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::aws_lc_rs;
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::ServerName;

use crate::config::{Trust, VncTls};

use super::anonymous;
use super::handshake;
use super::pinned::Pinned;
use super::stream::TargetStream;

/// Does the TLS handshake on a connection and checks the target's certificate. The caller sets the deadline;
/// dropping the future drops the connection.
///
/// # Errors
/// If the target is not the one that was meant, does not speak TLS 1.2 or 1.3, or hangs up.
pub async fn secure(stream: TargetStream, settings: &VncTls) -> io::Result<TargetStream> {
    let (config, name) = client(settings).map_err(io::Error::other)?;
    // Boxed: the handshake's state is kilobytes, and only in use while it lasts.
    let connected = Box::pin(handshake::connect(Arc::new(config), name, stream)).await?;
    Ok(TargetStream::Tls(Box::new(connected)))
}

/// Does the TLS handshake on a connection with whoever is there: VeNCrypt's types without a certificate. The caller
/// sets the deadline; dropping the future drops the connection.
///
/// # Errors
/// If the target does not speak TLS 1.2 with anonymous Diffie-Hellman, or hangs up.
pub async fn secure_anonymously(stream: TargetStream) -> io::Result<TargetStream> {
    let connected = Box::pin(anonymous::connect(stream)).await?;
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
            let verifier = Arc::new(Pinned::new(*pin, &provider));
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
    config.enable_secret_extraction = true;
    Ok((config, name))
}
