//! `[target.vnc_security]`: which ways to authenticate, and whatever each of them needs; nothing that none needs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::secret::{self, Written, read_private};
use super::section::{Fault, Section};
use super::target::{Endpoint, Host};
use super::units;
use super::vnc::{Authority, ClientCertificate, Password, Trust, VncSecurity, VncTls, VncType};

/// The bytes of a VNC password that count (RFC 6143 section 7.2.2).
const VNC_PASSWORD: usize = 8;

/// Certificate files that were read: thousands of targets name the same, and share it.
#[derive(Default)]
pub(super) struct Files {
    authorities: HashMap<PathBuf, Arc<Authority>>,
    clients: HashMap<(PathBuf, PathBuf), Arc<ClientCertificate>>,
}

/// Reads the section of a target whose VNC console is at `vnc`.
pub(super) fn vnc_security(section: Section<'_>, vnc: Option<&Endpoint>, files: &mut Files) -> VncSecurity {
    let types = types(&section);
    let username = section.text("username", units::name);
    let password = match secret::secret(&section, &secret::VNC_PASSWORD) {
        Written::Given(password) => Some(Password(password)),
        Written::Absent | Written::Faulty => None,
    };
    let tls = Tls {
        ca: section.path("ca"),
        name: section.text("name", server_name),
        pin: section.text("pin", pin),
        certificate: section.path("certificate"),
        key: section.path("key"),
    };
    let mut read = VncSecurity { types, username, password, tls: None };
    // What does not belong together is told when each by itself is right.
    if section.clean() {
        needs(&section, &read);
        tls.needs(&section, &read.types);
    }
    if section.clean() && read.types.iter().any(|one| one.has_certificate()) {
        read.tls = tls.read(&section, vnc, files);
    }
    section.finish();
    read
}

fn types(section: &Section<'_>) -> Vec<VncType> {
    let Some(types) = section.texts("types", security_type) else { return VncSecurity::default().types };
    let repeated = types.iter().enumerate().any(|(at, one)| types[..at].contains(one));
    if types.is_empty() && section.clean() {
        section.problem("types", format!("expected at least one of {}, found an empty list", names()));
    } else if repeated {
        section.problem("types", "names the same type twice; keep one");
    } else if types.len() > 1 && types.contains(&VncType::PassThrough) {
        section.problem(
            "types",
            "names \"pass-through\" beside others; the viewer decides then, so keep it alone",
        );
    } else {
        warn(section, &types);
    }
    types
}

/// What is allowed, and does not protect as well as it looks.
fn warn(section: &Section<'_>, types: &[VncType]) {
    let any = |property: fn(VncType) -> bool| types.iter().any(|one| property(*one));
    if any(|one| !one.has_tls()) && any(VncType::has_tls) {
        let message = "names types without TLS beside those with it; whoever is on the way to the target can make \
                       it seem to offer only those";
        section.warning("types", message.to_owned());
    }
    if !any(VncType::is_anonymous) {
        return;
    }
    if any(VncType::has_certificate) {
        let message = "names types without a certificate beside those with one; whoever is on the way to the target \
                       can make it seem to offer only those";
        section.warning("types", message.to_owned());
    }
    let learns = match () {
        () if types.contains(&VncType::TlsPlain) => ", the user name and the password too",
        () if types.contains(&VncType::TlsVnc) => {
            ", and learns the answer to the challenge, by which an 8-byte password is soon found"
        }
        () => "",
    };
    let message = format!(
        "names TLS without a certificate: the connection is encrypted, but not authenticated; whoever is on the way \
         to the target reads and changes all of it{learns}"
    );
    section.warning("types", message);
}

fn names() -> String {
    let names: Vec<_> = VncType::ALL.iter().map(|one| format!("\"{}\"", one.name())).collect();
    names.join(", ")
}

fn security_type(text: &str) -> Result<VncType, Fault> {
    let known = VncType::ALL.iter().find(|one| one.name() == text);
    known.copied().ok_or_else(|| Fault::expected(&format!("one of {}", names())))
}

/// Name and password are there where they are used, and nowhere else: a password that nobody asks for is a
/// mistake in the types.
fn needs(section: &Section<'_>, read: &VncSecurity) {
    let plain = read.types.iter().any(|one| one.has_username());
    let asked = read.types.iter().any(|one| one.has_password());
    match (plain, &read.username) {
        (true, None) => section.problem("username", "is required with \"vencrypt-...-plain\"; add it"),
        (false, Some(_)) => {
            section
                .problem("username", "is used with \"vencrypt-...-plain\" only; remove it, or add the type");
        }
        _ => {}
    }
    match (asked, &read.password) {
        (true, None) => {
            let message = "is required with these types; add one of password_file, password_env, password";
            section.problem("password", message);
        }
        (false, Some(_)) => section.problem(
            "types",
            "names no type that uses the password; add \"vnc\", \"vencrypt-...-vnc\" or \"vencrypt-...-plain\", or \
             remove the password",
        ),
        (true, Some(password)) if !plain && password.reveal().len() > VNC_PASSWORD => {
            let message = format!("is longer than {VNC_PASSWORD} bytes; VNC servers look at no more");
            section.warning("password", message);
        }
        _ => {}
    }
}

/// The settings that TLS needs, as written.
struct Tls {
    ca: Option<PathBuf>,
    name: Option<ServerName<'static>>,
    pin: Option<[u8; 32]>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Tls {
    fn needs(&self, section: &Section<'_>, types: &[VncType]) {
        let given = [
            ("ca", self.ca.is_some()),
            ("name", self.name.is_some()),
            ("pin", self.pin.is_some()),
            ("certificate", self.certificate.is_some()),
            ("key", self.key.is_some()),
        ];
        if !types.iter().any(|one| one.has_certificate()) {
            for (key, _) in given.iter().filter(|(_, given)| *given) {
                section
                    .problem(key, "is used with the types \"vencrypt-x509-...\" only; add one, or remove it");
            }
            return;
        }
        match (&self.ca, &self.pin) {
            (None, None) => section.problem("ca", "is required with these types; add it, or a pin"),
            (Some(_), Some(_)) => section.problem("pin", "is given with ca; keep one of ca, pin"),
            _ => {}
        }
        if self.pin.is_some() && self.name.is_some() {
            section.problem("name", "is not looked at with a pin; remove it");
        }
        match (&self.certificate, &self.key) {
            (Some(_), None) => section.problem("key", "is required with certificate; add it"),
            (None, Some(_)) => section.problem("certificate", "is required with key; add it"),
            _ => {}
        }
    }

    fn read(self, section: &Section<'_>, vnc: Option<&Endpoint>, files: &mut Files) -> Option<VncTls> {
        let trust = match (self.ca, self.pin) {
            (Some(ca), _) => {
                let authority = files.authority(section, &ca);
                let name = self.name.or_else(|| dialled(vnc));
                if name.is_none() {
                    section.problem(
                        "name",
                        "is required for a Unix socket; add the name in the target's certificate",
                    );
                }
                Trust::Authority { authority: authority?, name: name? }
            }
            (None, Some(pin)) => Trust::Pin(pin),
            (None, None) => return None,
        };
        let client = match (self.certificate, self.key) {
            (Some(certificate), Some(key)) => Some(files.client(section, certificate, key)?),
            _ => None,
        };
        Some(VncTls { trust, client })
    }
}

/// The name in the certificate when none is written: the one that is dialled.
fn dialled(vnc: Option<&Endpoint>) -> Option<ServerName<'static>> {
    match vnc? {
        Endpoint::Tcp(Host::Name(name), _) => ServerName::try_from(name.clone()).ok(),
        Endpoint::Tcp(Host::Ip(ip), _) => Some(ServerName::IpAddress((*ip).into())),
        // Serial consoles are checked by settings of their own.
        _ => None,
    }
}

fn server_name(text: &str) -> Result<ServerName<'static>, Fault> {
    let name = ServerName::try_from(text.to_owned());
    name.map_err(|_| Fault::expected("a DNS name or an address, as in the target's certificate"))
}

/// As `openssl x509 -noout -fingerprint -sha256` prints it, with or without the colons.
fn pin(text: &str) -> Result<[u8; 32], Fault> {
    let form = || Fault::expected("the SHA-256 of a certificate: 64 hexadecimal digits, colons allowed");
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(form());
    }
    let mut pin = [0; 32];
    for (byte, pair) in pin.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| form())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| form())?;
    }
    Ok(pin)
}

impl Files {
    fn authority(&mut self, section: &Section<'_>, path: &Path) -> Option<Arc<Authority>> {
        if let Some(known) = self.authorities.get(path) {
            return Some(Arc::clone(known));
        }
        let roots = certificates(section, "ca", path)?;
        let mut store = RootCertStore::empty();
        for root in &roots {
            if let Err(error) = store.add(root.clone()) {
                section.problem("ca", format!("{}: cannot be used: {error}", path.display()));
                return None;
            }
        }
        let authority = Arc::new(Authority { file: path.to_owned(), roots });
        self.authorities.insert(path.to_owned(), Arc::clone(&authority));
        Some(authority)
    }

    fn client(
        &mut self,
        section: &Section<'_>,
        certificate: PathBuf,
        key: PathBuf,
    ) -> Option<Arc<ClientCertificate>> {
        let names = (certificate, key);
        if let Some(known) = self.clients.get(&names) {
            return Some(Arc::clone(known));
        }
        let (certificate, key) = names.clone();
        let chain = certificates(section, "certificate", &certificate)?;
        let secret = private_key(section, &key)?;
        let pair = CertifiedKey::from_der(chain.clone(), secret.clone_key(), &aws_lc_rs::default_provider());
        if let Err(error) = pair {
            let message =
                format!("{}: cannot be used with {}: {error}", key.display(), certificate.display());
            section.problem("key", message);
            return None;
        }
        let client = Arc::new(ClientCertificate { certificate, key, chain, secret });
        self.clients.insert(names, Arc::clone(&client));
        Some(client)
    }
}

fn certificates(
    section: &Section<'_>,
    key: &'static str,
    path: &Path,
) -> Option<Vec<CertificateDer<'static>>> {
    let problem = |message: String| section.problem(key, format!("{}: {message}", path.display()));
    let pem = std::fs::read(path).map_err(|error| problem(format!("cannot be read: {error}"))).ok()?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => problem("holds no certificate; expected PEM".to_owned()),
        Ok(chain) => return Some(chain),
        Err(error) => problem(format!("is not PEM: {error}")),
    }
    None
}

fn private_key(section: &Section<'_>, path: &Path) -> Option<PrivateKeyDer<'static>> {
    let pem = read_private(path).map_err(|error| section.problem("key", error.to_string())).ok()?;
    // Why it failed is not told: the message could quote a line of the key.
    let key = PrivateKeyDer::from_pem_slice(&pem);
    let form = "holds no private key; expected PEM: PKCS#8, PKCS#1 or SEC1, not encrypted";
    key.map_err(|_| section.problem("key", format!("{}: {form}", path.display()))).ok()
}
