//! Development certificates: an authority and a server pair for loopback, made when missing or near the end.
//!
//! The authority's key is dropped as soon as it has signed, so trusting `ca.pem` trusts this one pair; its
//! name constraints (RFC 5280 section 4.2.1.10) say so once more.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::aws_lc_rs;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::config::{DEVELOPMENT_ORGANIZATION, is_development, read_private};

/// How long a pair is good for: long enough to forget it, short enough that a lost key matters little.
const VALID: Duration = Duration::from_secs(90 * 86_400);

/// A pair with less than this left is made anew.
const RENEW: Duration = Duration::from_secs(7 * 86_400);

/// How far back a pair is valid, for clocks that differ a little (a virtual machine's, a container's).
const SLACK: Duration = Duration::from_secs(3600);

/// The names and addresses in the server's certificate.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Why there are no development certificates.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// A file could not be written.
    #[error("{}: cannot be written: {source}", path.display())]
    Unwritable {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Something is there that we did not make.
    #[error("{}: was not made by this command and stays as it is; choose another directory", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// The library could not make them.
    #[error("cannot make a certificate: {0}")]
    Unmakeable(#[from] rcgen::Error),
}

/// Where the three files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The authority's certificate, for clients to trust.
    pub ca: PathBuf,
    /// The server's certificate: `tls.certificate`.
    pub certificate: PathBuf,
    /// The server's key, mode 0600: `tls.key`.
    pub key: PathBuf,
}

impl Files {
    /// The files in `dir`: `ca.pem`, `server.pem`, `server.key`.
    pub fn within(dir: &Path) -> Self {
        Self { ca: dir.join("ca.pem"), certificate: dir.join("server.pem"), key: dir.join("server.key") }
    }
}

/// What [`ensure`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// New files were written.
    Made,
    /// Those that were there are good for a week or longer.
    Kept,
}

/// Sees to it that `dir` holds a good development authority and server pair; `force` makes them anew.
///
/// # Errors
/// If files are in the way that this did not make, or nothing can be written.
pub fn ensure(dir: &Path, force: bool, now: SystemTime) -> Result<Outcome, CertsError> {
    let files = Files::within(dir);
    refuse_foreign(&files)?;
    if !force && good(&files, now) {
        return Ok(Outcome::Kept);
    }
    let made = make(now)?;
    fs::create_dir_all(dir).map_err(|source| CertsError::Unwritable { path: dir.to_owned(), source })?;
    // The key last: if this is cut short, what is there does not match, and the next call makes it anew.
    for (path, text, mode) in [
        (&files.ca, &made.ca, 0o644),
        (&files.certificate, &made.certificate, 0o644),
        (&files.key, &made.key, 0o600),
    ] {
        write(path, text, mode).map_err(|source| CertsError::Unwritable { path: path.clone(), source })?;
    }
    Ok(Outcome::Made)
}

/// A certificate that is not for development, or a key without a certificate, is somebody's own.
fn refuse_foreign(files: &Files) -> Result<(), CertsError> {
    for path in [&files.ca, &files.certificate] {
        let ours = CertificateDer::from_pem_file(path).is_ok_and(|certificate| is_development(&certificate));
        if path.exists() && !ours {
            return Err(CertsError::NotOurs { path: path.clone() });
        }
    }
    match files.key.exists() && !files.certificate.exists() {
        true => Err(CertsError::NotOurs { path: files.key.clone() }),
        false => Ok(()),
    }
}

/// Whether the files belong together and are valid from now until there is need to renew them.
fn good(files: &Files, now: SystemTime) -> bool {
    let (Ok(ca), Ok(certificate), Ok(pem)) = (
        CertificateDer::from_pem_file(&files.ca),
        CertificateDer::from_pem_file(&files.certificate),
        read_private(&files.key),
    ) else {
        return false;
    };
    let paired = PrivateKeyDer::from_pem_slice(&pem).is_ok_and(|key| {
        CertifiedKey::from_der(vec![certificate.clone()], key, &aws_lc_rs::default_provider()).is_ok()
    });
    paired && [now, now + RENEW].into_iter().all(|at| vouched(&ca, &certificate, &NAMES, at))
}

/// Whether `ca` vouches for `certificate` as a server of all of `names` at that time.
fn vouched(
    ca: &CertificateDer<'_>,
    certificate: &CertificateDer<'_>,
    names: &[&str],
    at: SystemTime,
) -> bool {
    let mut roots = rustls::RootCertStore::empty();
    let (Ok(()), Ok(parsed), Ok(at)) = (
        roots.add(ca.clone().into_owned()),
        ParsedCertificate::try_from(certificate),
        at.duration_since(SystemTime::UNIX_EPOCH).map(UnixTime::since_unix_epoch),
    ) else {
        return false;
    };
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms.all;
    let named = |name: &&str| {
        ServerName::try_from(*name).is_ok_and(|name| verify_server_name(&parsed, &name).is_ok())
    };
    verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], at, algorithms).is_ok()
        && names.iter().all(named)
}

/// The three files' contents.
struct Made {
    ca: String,
    certificate: String,
    key: zeroize::Zeroizing<String>,
}

fn make(now: SystemTime) -> Result<Made, rcgen::Error> {
    let (issuer, ca) = authority(now)?;
    let key = KeyPair::generate()?;
    let certificate = server(&NAMES, now)?.signed_by(&key, &issuer)?.pem();
    Ok(Made { ca, certificate, key: key.serialize_pem().into() })
}

/// An authority that can vouch for loopback only, and its certificate.
fn authority(now: SystemTime) -> Result<(Issuer<'static, KeyPair>, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = params(&[], "consolegate development authority", now)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("localhost".to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::V4([127, 0, 0, 0], [255, 0, 0, 0])),
            GeneralSubtree::IpAddress(CidrSubnet::V6(std::net::Ipv6Addr::LOCALHOST.octets(), [255; 16])),
        ],
        excluded_subtrees: Vec::new(),
    });
    let pem = params.self_signed(&key)?.pem();
    Ok((Issuer::new(params, key), pem))
}

fn server(names: &[&str], now: SystemTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = params(names, "consolegate development server", now)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn params(names: &[&str], common_name: &str, now: SystemTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, DEVELOPMENT_ORGANIZATION);
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = (now - SLACK).into();
    params.not_after = (now + VALID).into();
    Ok(params)
}

/// Writes a whole file or none: beside it first, with its final mode from the start, then renamed.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let _ = fs::remove_file(&beside);
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.and_then(|()| fs::rename(&beside, path)).inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::{Listen, Tls};
    use crate::net::tls::{TlsAcceptor, TlsError};

    const DAY: Duration = Duration::from_secs(86_400);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + 20_000 * DAY
    }

    fn made() -> (tempfile::TempDir, Files) {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::within(&dir.path().join("certs/dev"));
        assert_eq!(ensure(files.ca.parent().unwrap(), false, now()).unwrap(), Outcome::Made);
        (dir, files)
    }

    fn again(files: &Files, force: bool, at: SystemTime) -> Result<Outcome, CertsError> {
        ensure(files.ca.parent().unwrap(), force, at)
    }

    #[test]
    fn made_once_then_kept_then_renewed() {
        let (_dir, files) = made();
        let before = fs::read(&files.key).unwrap();
        assert_eq!(again(&files, false, now()).unwrap(), Outcome::Kept);
        assert_eq!(again(&files, false, now() + 82 * DAY).unwrap(), Outcome::Kept);
        assert_eq!(fs::read(&files.key).unwrap(), before);
        assert_eq!(again(&files, false, now() + 84 * DAY).unwrap(), Outcome::Made);
        assert_ne!(fs::read(&files.key).unwrap(), before);
        assert_eq!(again(&files, true, now() + 84 * DAY).unwrap(), Outcome::Made);
        assert_eq!(again(&files, false, now()).unwrap(), Outcome::Made, "not valid yet");
        let left: Vec<_> = fs::read_dir(files.ca.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 3, "nothing is left beside them");
    }

    #[test]
    fn the_key_is_private_and_the_rest_is_not() {
        let (_dir, files) = made();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&files.key), 0o600);
        assert_eq!(mode(&files.certificate) & 0o022, 0);
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(again(&files, false, now()).unwrap(), Outcome::Made, "an exposed key is replaced");
        assert_eq!(mode(&files.key), 0o600);
    }

    #[test]
    fn what_does_not_belong_together_is_made_anew() {
        let picks: [fn(&Files) -> PathBuf; 3] =
            [|files| files.ca.clone(), |files| files.certificate.clone(), |files| files.key.clone()];
        for pick in picks {
            let ((_a, files), (_b, other)) = (made(), made());
            fs::rename(pick(&other), pick(&files)).unwrap();
            assert_eq!(again(&files, false, now()).unwrap(), Outcome::Made);
            assert_eq!(again(&files, false, now()).unwrap(), Outcome::Kept);
            if pick(&files) != files.certificate {
                fs::remove_file(pick(&files)).unwrap();
                assert_eq!(again(&files, false, now()).unwrap(), Outcome::Made, "one is missing");
            }
        }
    }

    #[test]
    fn what_others_made_stays() {
        let (_dir, files) = made();
        let key = KeyPair::generate().unwrap();
        let foreign =
            CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
        for path in [&files.certificate, &files.ca] {
            let ours = fs::read(path).unwrap();
            for text in [foreign.as_str(), "notes"] {
                fs::write(path, text).unwrap();
                let error = again(&files, true, now()).unwrap_err();
                assert!(matches!(error, CertsError::NotOurs { path: named } if named == *path));
                assert_eq!(fs::read_to_string(path).unwrap(), text);
            }
            fs::write(path, ours).unwrap();
        }
        fs::remove_file(&files.certificate).unwrap();
        assert!(
            matches!(again(&files, false, now()), Err(CertsError::NotOurs { path }) if path == files.key)
        );
    }

    #[test]
    fn our_listeners_take_them_on_loopback_only() {
        let (_dir, files) = made();
        let tls = Tls { certificate: files.certificate.clone(), key: files.key.clone() };
        let [home, away] = ["127.0.0.1:1", "0.0.0.0:1"].map(|address| {
            let address = address.parse().unwrap();
            Listen { api: address, proxy: address, admin: address }
        });
        assert!(TlsAcceptor::load(&tls, &home).is_ok());
        assert!(matches!(TlsAcceptor::load(&tls, &away), Err(TlsError::Development { .. })));
        for path in [&files.ca, &files.certificate] {
            assert!(is_development(&CertificateDer::from_pem_file(path).unwrap()));
        }
    }

    #[test]
    fn the_authority_vouches_for_loopback_only() {
        let (issuer, ca) = authority(now()).unwrap();
        let ca = CertificateDer::from_pem_slice(ca.as_bytes()).unwrap();
        let trusted = |names: &[&str]| {
            let key = KeyPair::generate().unwrap();
            let certificate = server(names, now()).unwrap().signed_by(&key, &issuer).unwrap();
            vouched(&ca, certificate.der(), names, now())
        };
        assert!(trusted(&NAMES));
        assert!(trusted(&["127.9.9.9"]));
        for other in ["example.org", "192.0.2.1", "::2"] {
            assert!(!trusted(&[other]), "{other}");
        }
    }
}
