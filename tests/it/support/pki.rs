//! Certificates for the tests' VNC servers: an authority, what it issues, and what it should not have.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::temp;

/// An authority and the directory it writes to, with the names QEMU's `tls-creds-x509` looks for.
pub(crate) struct Pki {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    /// An authority of its own; `ca-cert.pem` is there.
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        let dir = temp::dir();
        // Two authorities never have one name.
        params.distinguished_name.push(DnType::CommonName, dir.path().display().to_string());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).expect("a certificate");
        fs::write(dir.path().join("ca-cert.pem"), certificate.pem()).expect("a file");
        Self { dir, issuer: Issuer::new(params, key) }
    }

    /// As [`Pki::new`], with a server's certificate for `name`.
    pub(crate) fn with_server(name: &str) -> Self {
        let pki = Self::new();
        pki.server(name);
        pki
    }

    /// Where everything is.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// One of its files.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `server-cert.pem` and `server-key.pem` for `name`; its SHA-256, as a pin is written.
    pub(crate) fn server(&self, name: &str) -> String {
        self.issue("server", name, ExtendedKeyUsagePurpose::ServerAuth, false)
    }

    /// The same, valid in 2020 only.
    pub(crate) fn expired_server(&self, name: &str) -> String {
        self.issue("server", name, ExtendedKeyUsagePurpose::ServerAuth, true)
    }

    /// `client-cert.pem` and `client-key.pem`.
    pub(crate) fn client(&self) {
        self.issue("client", "proxy", ExtendedKeyUsagePurpose::ClientAuth, false);
    }

    fn issue(&self, role: &str, name: &str, usage: ExtendedKeyUsagePurpose, expired: bool) -> String {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([name.to_owned()]).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![usage];
        if expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2020, 12, 31);
        }
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        fs::write(self.file(&format!("{role}-cert.pem")), certificate.pem()).expect("a file");
        let path = self.file(&format!("{role}-key.pem"));
        fs::write(&path, key.serialize_pem()).expect("a file");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("its mode");
        Sha256::digest(certificate.der())
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect::<Vec<_>>()
            .join(":")
    }
}
