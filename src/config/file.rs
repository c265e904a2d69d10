//! The settings as users write them: each read, checked and given its default, in the order of the example.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::secret::{self, Written};
use super::section::{Fault, Section};
use super::target_file::Targets;
use super::{
    Admin, Config, ConfigError, GeneratedCredentials, Limits, Listen, Problem, Proxy, Resume, Tls,
    TokenFormat, Tokens, audit, auth_file, certificate, dialects, document, inventory, recording,
    target_file, token_store, units,
};

/// Largest count any limit takes; beyond it, it is a slip.
const MOST: u64 = 100_000_000;

/// Longest token lifetime: a bearer URL that works for longer than a day is a password.
const LONGEST_TTL: Duration = Duration::from_secs(86_400);

/// Longest time for a viewer to come back: who is away longer asks for a new link.
const LONGEST_GRACE: Duration = Duration::from_secs(3600);

/// Reads the whole configuration; what is wrong in other files goes to `elsewhere`.
pub(super) fn config(root: &Section<'_>, elsewhere: &mut Vec<Problem>) -> Config {
    let section = root.section("listen");
    let (listen, allow_plain) = listen(&section);
    let tls_section = root.section("tls");
    let encrypted = tls_section.present();
    let tls = tls(tls_section, &listen);
    if section.clean() && !encrypted && !allow_plain {
        refuse_exposed_plain(&section, &listen);
    }
    section.finish();

    let mut generated = GeneratedCredentials::default();
    let mut admin = admin(root.section("admin"), &listen, &mut generated);
    let tokens = tokens(root.section("tokens"));
    let (dialects, lifetimes) = dialects::api(root.section("api"), &tokens);
    let proxy = proxy(root.section("proxy"), &listen, encrypted);
    let limits = limits(root.section("limits"));
    let urls = dialects::urls(root.section("urls"));
    let audit = audit::audit(root.section("audit"));

    let recording = recording::recording(root.section("recording"));

    let mut targets = Targets::default();
    targets.cannot_be_recorded = recording.is_none();
    targets.read(root);
    let section = root.section("inventory");
    let inventory = inventory::inventory(section, &tokens.store, &mut targets, elsewhere);
    let targets = targets.list;
    let project = targets.first().map_or("local", |target| target.project.as_str());
    let auth = auth_file::auth(root.section("auth"), &listen, project, &mut generated);
    // Where callers are configured, nobody looks for a credential among the first lines: the admin API is closed.
    if generated.token.is_none() && generated.admin_token.take().is_some() {
        admin.token = None;
    }

    Config {
        listen,
        tls,
        admin,
        dialects,
        lifetimes,
        proxy,
        tokens,
        limits,
        urls,
        auth,
        audit,
        recording,
        inventory_file: inventory.file,
        inventory_database: inventory.database,
        shared_inventory: inventory.shared,
        targets,
        generated,
        source: None,
        warnings: root.document().warnings(),
    }
}

fn listen(section: &Section<'_>) -> (Listen, bool) {
    let address = |key, port| {
        section.text(key, units::listen).unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], port)))
    };
    let listen =
        Listen { api: address("api", 8774), proxy: address("proxy", 6080), admin: address("admin", 9091) };
    let allow_plain = section.flag("allow_plain").unwrap_or(false);
    if section.clean() {
        for (key, other) in [("api", listen.api), ("proxy", listen.proxy)] {
            if clash(other, listen.admin) {
                let message = format!("needs a port of its own: {key} listens on {other}");
                section.problem("admin", message);
            }
        }
        if listen.api != listen.proxy && clash(listen.api, listen.proxy) {
            let message = format!("overlaps api, {}; write both alike or use another port", listen.api);
            section.problem("proxy", message);
        }
    }
    (listen, allow_plain)
}

/// Whether the second bind would fail. Port 0 is a fresh port each time.
fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    // `[::]` takes the port of every IPv4 address too, unless the system says otherwise.
    let every = |ip: IpAddr, other: IpAddr| ip.is_unspecified() && (ip.is_ipv6() || other.is_ipv4());
    let overlap = a.ip() == b.ip() || every(a.ip(), b.ip()) || every(b.ip(), a.ip());
    a.port() == b.port() && a.port() != 0 && overlap
}

fn refuse_exposed_plain(section: &Section<'_>, listen: &Listen) {
    for (key, address) in listen.named() {
        if !address.ip().is_loopback() {
            let message = format!(
                "plain HTTP on {address} would show tokens and consoles to the network; add [tls], or set \
                 listen.allow_plain = true if something in front of it speaks TLS"
            );
            section.problem(key, message);
        }
    }
}

fn tls(section: Section<'_>, listen: &Listen) -> Option<Tls> {
    let certificate = section.path("certificate");
    let key = section.path("key");
    if section.present() && section.clean() {
        for (name, path) in [("certificate", &certificate), ("key", &key)] {
            if path.is_none() {
                section.problem(name, "is required under [tls]; add it, or remove [tls]");
            }
        }
    }
    if let Some(path) = &certificate {
        match std::fs::read(path) {
            Err(error) => {
                section.problem("certificate", format!("{}: cannot be read: {error}", path.display()))
            }
            Ok(pem) if !listen.is_loopback() && first_is_development(&pem) => {
                let message = "is a development certificate, which is for loopback addresses only; use one \
                               from your own authority";
                section.problem("certificate", message);
            }
            Ok(_) => {}
        }
    }
    if let Some(Err(error)) = key.as_deref().map(secret::read_private) {
        section.problem("key", error.to_string());
    }
    section.finish();
    Some(Tls { certificate: certificate?, key: key? })
}

fn first_is_development(pem: &[u8]) -> bool {
    CertificateDer::pem_slice_iter(pem).flatten().any(|der| certificate::is_development(&der))
}

fn admin(section: Section<'_>, listen: &Listen, generated: &mut GeneratedCredentials) -> Admin {
    let token = match secret::secret(&section, &secret::TOKEN) {
        Written::Given(token) => Some(token),
        Written::Faulty => None,
        Written::Absent if listen.admin.ip().is_loopback() => {
            generated.admin_token = secret::generate(&section);
            generated.admin_token.clone()
        }
        Written::Absent => {
            let message = format!("is required, for admin listens on {}; add token_file", listen.admin);
            section.problem("token", message);
            None
        }
    };
    section.finish();
    Admin { token }
}

fn proxy(section: Section<'_>, listen: &Listen, encrypted: bool) -> Proxy {
    let public_url = section.text("public_url", units::public_url);
    if let Some(url) = public_url.as_deref().filter(|url| encrypted && url.starts_with("http:")) {
        let message = format!(
            "begins with http: but proxy speaks TLS; browsers need {}",
            url.replacen("http", "https", 1)
        );
        section.warning("public_url", message);
    }
    if public_url.is_none() && section.clean() && listen.proxy.ip().is_unspecified() {
        let message = format!("is required, for proxy listens on every address ({})", listen.proxy);
        section.problem("public_url", message + "; write the URL that browsers use");
    }
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let off = |key| section.text(key, units::duration_or_off);
    let proxy = Proxy {
        name: section.text("name", units::name).unwrap_or_else(host_name),
        public_url: public_url.unwrap_or_else(|| default_public_url(listen.proxy, encrypted)),
        allowed_origins: section.texts("allowed_origins", units::origin).into_iter().flatten().collect(),
        frame_ancestors: section.texts("frame_ancestors", units::frame_ancestor).unwrap_or_default(),
        trusted_proxies: section.texts("trusted_proxies", units::ip).unwrap_or_default(),
        idle_timeout: off("idle_timeout").flatten(),
        max_session: off("max_session").flatten(),
        ping: off("ping").unwrap_or(Some(Duration::from_secs(30))),
        unready: off("unready").flatten().unwrap_or_default(),
        drain: section
            .text("drain", |text| units::duration_or_zero(text, "a duration such as \"25s\""))
            .unwrap_or(Duration::from_secs(25)),
        outlive: off("outlive").flatten(),
        workers: section.number("workers", 0..=1024).map(count).filter(|n| *n > 0).unwrap_or_else(cores),
    };
    section.finish();
    proxy
}

/// What the machine is called.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// What browsers use when the proxy has no name of its own.
pub(super) fn default_public_url(address: SocketAddr, tls: bool) -> String {
    format!("{}://{address}", if tls { "https" } else { "http" })
}

fn tokens(section: Section<'_>) -> Tokens {
    let store = token_store::read(&section);
    let tokens = Tokens {
        store,
        ttl: section.text("ttl", units::duration).unwrap_or(Duration::from_secs(600)),
        max_ttl: section.text("max_ttl", units::duration).unwrap_or(Duration::from_secs(3600)),
        format: section.text("format", token_format).unwrap_or(TokenFormat::Uuid),
        capacity: section.number("capacity", 1..=MOST).map_or(250_000, count),
        enforce: section.flag("enforce").unwrap_or(false),
        resume: resume(&section),
    };
    if tokens.ttl > tokens.max_ttl && section.clean() {
        let max = humantime::format_duration(tokens.max_ttl);
        section.problem("ttl", format!("is longer than tokens.max_ttl, {max}; shorten it or raise that"));
    }
    if tokens.max_ttl > LONGEST_TTL {
        section.problem("max_ttl", "expected at most \"24h\": a link that works longer is a password");
    }
    section.finish();
    tokens
}

fn resume(section: &Section<'_>) -> Option<Resume> {
    let grace = section.text("resume_grace", units::duration_or_off);
    let times = section.number("resume_times", 1..=1000).map_or(30, |times| times.try_into().unwrap_or(1000));
    let grace = grace.unwrap_or(Some(Duration::from_secs(60)))?;
    if grace > LONGEST_GRACE {
        section
            .problem("resume_grace", "expected at most \"1h\": until then the viewer's cookie is a way in");
    }
    Some(Resume { grace, times })
}

fn token_format(text: &str) -> Result<TokenFormat, Fault> {
    match text {
        "uuid" => Ok(TokenFormat::Uuid),
        "base64url" => Ok(TokenFormat::Base64Url),
        _ => Err(Fault::expected("\"uuid\" or \"base64url\"")),
    }
}

fn limits(section: Section<'_>) -> Limits {
    let limit = |key, default| section.number(key, 0..=MOST).map_or(default, count);
    let limits = Limits {
        sessions: limit("sessions", 20_000),
        sessions_per_target: limit("sessions_per_target", 8),
        sessions_per_project: limit("sessions_per_project", 0),
        sessions_per_source: limit("sessions_per_source", 0),
        unauthenticated: limit("unauthenticated", 10_000),
        issue_per_second: u32::try_from(limit("issue_per_second", 20)).unwrap_or(u32::MAX),
        outstanding_per_target: limit("outstanding_per_target", 20),
    };
    section.finish();
    limits
}

/// A checked number as a count.
fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Reads an inventory's own file, which holds `[[target]]` and nothing else, on top of `targets`.
pub(super) fn target_list(path: &Path, targets: &mut target_file::Targets) -> Result<(), ConfigError> {
    let text = document::read(path)?;
    document::parse(path, &text, |_| None, |root, _| targets.read(root))
}
