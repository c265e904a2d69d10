//! How the proxy authenticates to a VNC target, resolved: every file read, every certificate there.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use secrecy::ExposeSecret;

use super::Secret;

/// A way to authenticate to a VNC target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VncType {
    /// RFB security type 1 (RFC 6143 section 7.2.1).
    None,
    /// VNC Authentication with the password of the inventory (RFC 6143 section 7.2.2).
    Vnc,
    /// VeNCrypt: TLS without a certificate (rfbproto, "VeNCrypt"): who is on the way is not noticed.
    TlsNone,
    /// VeNCrypt: VNC Authentication inside TLS without a certificate.
    TlsVnc,
    /// VeNCrypt: user name and password inside TLS without a certificate.
    TlsPlain,
    /// VeNCrypt: TLS with the target's certificate (rfbproto, "VeNCrypt").
    X509None,
    /// VeNCrypt: VNC Authentication inside TLS.
    X509Vnc,
    /// VeNCrypt: user name and password inside TLS.
    X509Plain,
    /// The viewer answers the target's challenge; only None and VNC password are offered onward.
    PassThrough,
}

impl VncType {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::None,
        Self::Vnc,
        Self::X509None,
        Self::X509Vnc,
        Self::X509Plain,
        Self::TlsNone,
        Self::TlsVnc,
        Self::TlsPlain,
        Self::PassThrough,
    ];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Vnc => "vnc",
            Self::TlsNone => "vencrypt-tls-none",
            Self::TlsVnc => "vencrypt-tls-vnc",
            Self::TlsPlain => "vencrypt-tls-plain",
            Self::X509None => "vencrypt-x509-none",
            Self::X509Vnc => "vencrypt-x509-vnc",
            Self::X509Plain => "vencrypt-x509-plain",
            Self::PassThrough => "pass-through",
        }
    }

    /// Whether everything after the choice is inside TLS.
    pub fn has_tls(self) -> bool {
        self.has_certificate() || self.is_anonymous()
    }

    /// Whether the target proves by a certificate that it is the one that was meant.
    pub fn has_certificate(self) -> bool {
        matches!(self, Self::X509None | Self::X509Vnc | Self::X509Plain)
    }

    /// Whether it is TLS with anybody.
    pub fn is_anonymous(self) -> bool {
        matches!(self, Self::TlsNone | Self::TlsVnc | Self::TlsPlain)
    }

    /// Whether the proxy proves a password.
    pub fn has_password(self) -> bool {
        matches!(self, Self::Vnc | Self::X509Vnc | Self::TlsVnc) || self.has_username()
    }

    /// Whether the proxy says a user name with it.
    pub fn has_username(self) -> bool {
        matches!(self, Self::X509Plain | Self::TlsPlain)
    }
}

/// What is allowed towards a VNC target, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VncSecurity {
    /// In order of preference; never empty, and pass-through stands alone.
    pub types: Vec<VncType>,
    /// There if a type needs it.
    pub username: Option<String>,
    /// There if a type needs it.
    pub password: Option<Password>,
    /// There if a type needs it.
    pub tls: Option<VncTls>,
}

impl Default for VncSecurity {
    fn default() -> Self {
        Self { types: vec![VncType::None], username: None, password: None, tls: None }
    }
}

/// A password that can be compared with another, so that a change of it is a change of its target.
#[derive(Clone, Debug)]
pub struct Password(pub(super) Secret);

impl Password {
    /// The password itself.
    pub fn reveal(&self) -> &str {
        self.0.expose_secret()
    }
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        self.reveal() == other.reveal()
    }
}

impl Eq for Password {}

/// Which target is the right one, and who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VncTls {
    /// How its certificate is checked.
    pub trust: Trust,
    /// Our own certificate, for targets that ask for one.
    pub client: Option<Arc<ClientCertificate>>,
}

/// How a target's certificate is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It was issued by one of these, for this name, and is valid today.
    Authority {
        /// Who may have issued it.
        authority: Arc<Authority>,
        /// The DNS name or address that must stand in its subjectAltName.
        name: ServerName<'static>,
    },
    /// It is this one: SHA-256 of its DER. Neither its issuer nor its dates count.
    Pin([u8; 32]),
}

/// The certificates of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Authority {
    /// The file.
    pub file: PathBuf,
    /// What is in it; never empty.
    pub roots: Vec<CertificateDer<'static>>,
}

/// A certificate of our own.
#[derive(PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate's file.
    pub certificate: PathBuf,
    /// The key's file.
    pub key: PathBuf,
    /// The certificate, its issuers behind it.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub secret: PrivateKeyDer<'static>,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}
