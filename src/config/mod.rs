//! Configuration, resolved: every value present, checked and typed. `file.rs` is what users write.
//!
//! `section.rs` reads tables and notes every mistake with its line; `units.rs` has the small languages.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

mod audit;
mod auth;
mod auth_file;
mod certificate;
mod dialects;
mod document;
mod error;
mod file;
mod inventory;
mod recording;
mod secret;
mod section;
mod serial_file;
mod serial_hub;
mod serial_line;
mod target;
mod target_file;
mod target_json;
mod token_store;
mod units;
mod vnc;
mod vnc_file;
pub mod watch;

#[cfg(test)]
mod tests;

pub use audit::{Audit, OnAuditFailure};
pub use auth::{AccessKey, Auth, BasicUser, FixedToken, Keystone, Permission, Role};
pub use certificate::{DEVELOPMENT_ORGANIZATION, is_development};
pub use error::{ConfigError, Problem};
pub use inventory::SealKey;
pub use recording::{OnRecordingFailure, Record, Recording};
pub use secret::{PrivateFileError, read_private};
pub use serial_hub::SerialHub;
pub use serial_line::{Flow, LineSettings, Parity, Program, ServerCheck};
pub use target::{Admin, Endpoint, Host, Kind, Os, State, Target, Viewers};
pub use target_json::{target_from_json, target_to_json, target_to_record};
pub use token_store::{Reach, Redis, RedisNode, TokenStore};
pub use vnc::{Authority, ClientCertificate, Password, Trust, VncSecurity, VncTls, VncType};

/// A string that is never shown: `Debug` is redacted, memory is cleared on drop.
pub type Secret = secrecy::SecretString;

/// Everything the server needs to know, with nothing optional left open.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: Listen,
    /// Certificate and key; absent means plain HTTP.
    pub tls: Option<Tls>,
    /// Admin listener's credential.
    pub admin: Admin,
    /// Which dialects the issuer answers.
    pub dialects: BTreeSet<Dialect>,
    /// Lifetime of an unspent token, by the dialect it was asked in.
    pub lifetimes: BTreeMap<Dialect, Duration>,
    /// The proxy's behaviour.
    pub proxy: Proxy,
    /// Token lifetimes and store.
    pub tokens: Tokens,
    /// Caps on use; 0 means no cap.
    pub limits: Limits,
    /// URL templates.
    pub urls: Urls,
    /// Who may call the API.
    pub auth: Auth,
    /// Where decisions are written down, if anywhere.
    pub audit: Option<Audit>,
    /// Where sessions are recorded, if anywhere.
    pub recording: Option<Recording>,
    /// A file with more targets, reloaded on change.
    pub inventory_file: Option<PathBuf>,
    /// A database of more targets, which the admin API writes.
    pub inventory_database: Option<PathBuf>,
    /// The keys that seal targets in the token store, where all members of a fleet have them, the first for new
    /// ones; `None`: they are not shared.
    pub shared_inventory: Option<Vec<SealKey>>,
    /// Targets from the configuration file and from `inventory_file`; ids are unique.
    pub targets: Vec<Target>,
    /// Credentials that were made because none were written: to be printed once.
    pub generated: GeneratedCredentials,
    /// The file this came from, if any.
    pub source: Option<PathBuf>,
    /// What is allowed but hardly meant: to be logged at start and shown by `check`.
    pub warnings: Vec<Problem>,
}

/// Credentials made at start, for loopback listeners without any of their own.
#[derive(Clone, Debug, Default)]
pub struct GeneratedCredentials {
    /// The `X-Auth-Token` of the only entry of `auth.tokens`.
    pub token: Option<Secret>,
    /// The admin listener's bearer token, `admin.token`.
    pub admin_token: Option<Secret>,
}

impl Config {
    /// The configuration in the file, or [`Config::default_local`] without one.
    ///
    /// # Errors
    /// If the file cannot be read, or with everything that is wrong in it and in the files it names.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        match path {
            Some(path) => {
                let config = Self::parse(&document::read(path)?, path)?;
                Ok(Self { source: Some(path.to_owned()), ..config })
            }
            None => Self::default_local(),
        }
    }

    /// The configuration in `text`; relative paths and messages go by `origin`, which is not read.
    ///
    /// # Errors
    /// With everything that is wrong in the text and in the files it names.
    pub fn parse(text: &str, origin: &Path) -> Result<Self, ConfigError> {
        document::parse(origin, text, |name| std::env::var(name).ok(), file::config)
    }

    /// A working local set-up: loopback listeners, generated credentials, no targets.
    ///
    /// # Errors
    /// If the operating system gives no random bytes.
    pub fn default_local() -> Result<Self, ConfigError> {
        Self::parse("", Path::new("(built-in defaults)"))
    }

    /// Reads the targets again, from the file this came from and from its inventory; `self` stays as it is.
    /// All of the file is checked again, but only targets are taken: other settings need a restart.
    ///
    /// # Errors
    /// As [`Config::load`]; keep the targets you have.
    pub fn reload_targets(&self) -> Result<Vec<Target>, ConfigError> {
        match (&self.source, &self.inventory_file) {
            (Some(source), _) => Self::load(Some(source)).map(|config| config.targets),
            (None, Some(file)) => load_targets(file),
            (None, None) => Ok(self.targets.clone()),
        }
    }

    /// The files whose change calls for [`Config::reload_targets`].
    pub fn target_files(&self) -> Vec<PathBuf> {
        self.source.iter().chain(&self.inventory_file).cloned().collect()
    }
}

/// The targets of an inventory file (`[[target]]` tables and nothing else).
///
/// # Errors
/// If the file cannot be read, or with everything that is wrong in it.
pub fn load_targets(path: &Path) -> Result<Vec<Target>, ConfigError> {
    let mut targets = target_file::Targets::default();
    file::target_list(path, &mut targets)?;
    Ok(targets.list)
}

/// Listening addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The issuer.
    pub api: SocketAddr,
    /// Pages and WebSockets; equal to `api`: one port serves both.
    pub proxy: SocketAddr,
    /// Health, metrics, sessions.
    pub admin: SocketAddr,
}

impl Listen {
    /// The listeners by the names of their settings.
    pub fn named(&self) -> [(&'static str, SocketAddr); 3] {
        [("api", self.api), ("proxy", self.proxy), ("admin", self.admin)]
    }

    /// Whether nothing listens beyond loopback.
    pub fn is_loopback(&self) -> bool {
        self.named().iter().all(|(_, address)| address.ip().is_loopback())
    }
}

/// TLS files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM chain, leaf first.
    pub certificate: PathBuf,
    /// PEM private key; must not be readable by others.
    pub key: PathBuf,
}

/// One API dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dialect {
    /// OpenStack compute.
    Openstack,
    /// T-Systems OTC BMS.
    Otc,
    /// Huawei BMS.
    HuaweiBms,
    /// Huawei CloudDC physical servers.
    HuaweiClouddc,
    /// Huawei ECS.
    HuaweiEcs,
    /// Our own small API for portals.
    Native,
}

impl Dialect {
    /// Its name in the configuration and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Openstack => "openstack",
            Self::Otc => "otc",
            Self::HuaweiBms => "huawei-bms",
            Self::HuaweiClouddc => "huawei-clouddc",
            Self::HuaweiEcs => "huawei-ecs",
            Self::Native => "native",
        }
    }
}

/// The proxy's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// What this process is called where several are listed.
    pub name: String,
    /// Scheme, host and port browsers use to reach the proxy, and a path prefix if any; no trailing slash.
    pub public_url: String,
    /// Origins allowed beside the public one: `scheme://host[:port]`, lower case, default ports left out.
    pub allowed_origins: BTreeSet<String>,
    /// CSP `frame-ancestors` sources; empty means `'none'`.
    pub frame_ancestors: Vec<String>,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// End a session with no bytes either way for so long; `None` is off.
    pub idle_timeout: Option<Duration>,
    /// End a session after so long; `None` is off.
    pub max_session: Option<Duration>,
    /// WebSocket ping interval; `None` is off.
    pub ping: Option<Duration>,
    /// How long new connections are still taken after SIGTERM, while the readiness check says no.
    pub unready: Duration,
    /// How long SIGTERM then waits for sessions to end by themselves.
    pub drain: Duration,
    /// End the sessions that a hot restart left in the old process after so long; `None`: they live until they end.
    pub outlive: Option<Duration>,
    /// Worker threads, one current-thread runtime each.
    pub workers: usize,
}

impl Proxy {
    /// `public_url` with `ws` or `wss` for its scheme: `{public_ws_url}` in templates.
    pub fn public_ws_url(&self) -> String {
        self.public_url.replacen("http", "ws", 1)
    }

    /// The origin of `public_url`, as browsers send it: without path and default port.
    pub fn public_origin(&self) -> String {
        let (scheme, rest) = self.public_url.split_once("://").unwrap_or(("", &self.public_url));
        let place = rest.split_once('/').map_or(rest, |(place, _)| place);
        let default = if scheme == "https" { ":443" } else { ":80" };
        format!("{scheme}://{}", place.strip_suffix(default).unwrap_or(place))
    }

    /// What `public_url` is when nobody wrote it; for a server that was bound to port 0.
    pub fn default_public_url(address: SocketAddr, tls: bool) -> String {
        file::default_public_url(address, tls)
    }
}

/// How tokens look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFormat {
    /// UUID v4, 122 bits.
    Uuid,
    /// 256 bits in base64url.
    Base64Url,
}

/// Token lifetimes and store.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// Where tokens are kept.
    pub store: TokenStore,
    /// Default lifetime of an unspent token.
    pub ttl: Duration,
    /// The longest lifetime a request may ask for.
    pub max_ttl: Duration,
    /// How tokens look.
    pub format: TokenFormat,
    /// Most records (fresh, claimed, spent) the memory store holds.
    pub capacity: usize,
    /// End a session when its token's lifetime ends.
    pub enforce: bool,
    /// Whether a viewer whose connection dropped may come back; `None` is off.
    pub resume: Option<Resume>,
}

/// How a viewer may come back to its session by the same URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// For how long after a drop.
    pub grace: Duration,
    /// How often in all.
    pub times: u32,
}

/// Caps on use; 0 means no cap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Live sessions in this process.
    pub sessions: usize,
    /// Live sessions of one target and protocol.
    pub sessions_per_target: usize,
    /// Live sessions of one project.
    pub sessions_per_project: usize,
    /// Live sessions from one source address.
    pub sessions_per_source: usize,
    /// Connections that have not opened a session.
    pub unauthenticated: usize,
    /// URLs issued a second, per caller and project, in bursts of up to three times that.
    pub issue_per_second: u32,
    /// Unspent tokens of one target.
    pub outstanding_per_target: usize,
}

/// URL templates, checked: only known placeholders, `{token}` present. `None`: not offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Urls<T = String> {
    /// OpenStack vnc/novnc.
    pub openstack_novnc: T,
    /// OpenStack serial/serial.
    pub openstack_serial: T,
    /// OTC BMS serial.
    pub otc_serial: T,
    /// Huawei BMS serial.
    pub huawei_bms_serial: T,
    /// Huawei CloudDC VNC.
    pub huawei_clouddc_vnc: T,
    /// Huawei ECS VNC.
    pub huawei_ecs_vnc: T,
    /// OpenStack spice/spice-html5; no default.
    pub openstack_spice: Option<T>,
    /// OpenStack spice/spice-direct, for a proxy of the native protocol; no default.
    pub openstack_spice_direct: Option<T>,
    /// OpenStack mks/webmks; no default.
    pub openstack_mks: Option<T>,
}

impl Urls {
    /// Each template, read as its users want it.
    pub fn map<T>(&self, read: impl Fn(&str) -> T) -> Urls<T> {
        let maybe = |template: &Option<String>| template.as_deref().map(&read);
        Urls {
            openstack_novnc: read(&self.openstack_novnc),
            openstack_serial: read(&self.openstack_serial),
            otc_serial: read(&self.otc_serial),
            huawei_bms_serial: read(&self.huawei_bms_serial),
            huawei_clouddc_vnc: read(&self.huawei_clouddc_vnc),
            huawei_ecs_vnc: read(&self.huawei_ecs_vnc),
            openstack_spice: maybe(&self.openstack_spice),
            openstack_spice_direct: maybe(&self.openstack_spice_direct),
            openstack_mks: maybe(&self.openstack_mks),
        }
    }
}
