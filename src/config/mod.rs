//! Configuration, resolved: every value present, checked and typed. `file.rs` is what users write.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

mod target;

pub use target::{Admin, Endpoint, FixedToken, Host, Kind, Os, State, Target, Viewers, VncSecurity};

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
    /// The proxy's behaviour.
    pub proxy: Proxy,
    /// Token lifetimes and store.
    pub tokens: Tokens,
    /// Caps on use; 0 means no cap.
    pub limits: Limits,
    /// URL templates.
    pub urls: Urls,
    /// Fixed credentials.
    pub auth_tokens: Vec<FixedToken>,
    /// A file with more targets, reloaded on change.
    pub inventory_file: Option<PathBuf>,
    /// Targets from the configuration file and from `inventory_file`.
    pub targets: Vec<Target>,
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

/// The proxy's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
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
    /// How long SIGTERM waits for sessions to end by themselves.
    pub drain: Duration,
    /// Worker threads, one current-thread runtime each.
    pub workers: usize,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
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
    /// URLs issued a second, per caller and project, with a burst of three times that.
    pub issue_per_second: u32,
    /// Unspent tokens of one target.
    pub outstanding_per_target: usize,
}

/// URL templates, checked: only known placeholders, `{token}` present. `None`: not offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Urls {
    /// OpenStack vnc/novnc.
    pub openstack_novnc: String,
    /// OpenStack serial/serial.
    pub openstack_serial: String,
    /// OTC BMS serial.
    pub otc_serial: String,
    /// Huawei BMS serial.
    pub huawei_bms_serial: String,
    /// Huawei CloudDC VNC.
    pub huawei_clouddc_vnc: String,
    /// Huawei ECS VNC.
    pub huawei_ecs_vnc: String,
    /// OpenStack spice/spice-html5; no default.
    pub openstack_spice: Option<String>,
    /// OpenStack mks/webmks; no default.
    pub openstack_mks: Option<String>,
}
