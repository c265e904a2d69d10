//! Whom a command trusts: the system's authorities, or those of a file; never just anybody.

use std::path::Path;

use anyhow::{Context as _, ensure};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// A client that trusts the authorities in `file` and no other, or without one those of the system.
pub(in crate::cli) fn client(file: Option<&Path>) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match file {
        // One that cannot be read is one less; that none can shows in the handshake.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
        Some(file) => {
            let pem = std::fs::read(file).with_context(|| format!("{}: cannot be read", file.display()))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.with_context(|| format!("{}: is not PEM", file.display()))?;
                let added = roots.add(certificate);
                added.with_context(|| format!("{}: not an authority's certificate", file.display()))?;
            }
            ensure!(!roots.is_empty(), "{}: holds no certificate; expected PEM", file.display());
        }
    }
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let builder =
        ClientConfig::builder_with_provider(provider.into()).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
