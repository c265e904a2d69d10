//! Where tokens are kept: in memory, or in a Redis that several processes share.

use std::net::IpAddr;
use std::path::PathBuf;

use super::section::{Fault, Section};
use super::target::Host;
use super::{Secret, auth_file, secret, units};

/// The port of a Redis server, and of a Sentinel.
const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26_379;

/// Most addresses of Sentinels or cluster nodes: a few to begin with are enough, they name the others.
const MOST_NODES: usize = 16;

const FORM: &str = "\"memory\", \"redis://host:6379/0\", \"rediss://...\" (with TLS), \
                    \"redis-sentinel://host:26379,.../service\" or \"redis-cluster://host:6379,...\"";

/// Where tokens are kept.
#[derive(Clone, Debug)]
pub enum TokenStore {
    /// In this process.
    Memory,
    /// In a Redis.
    Redis(Redis),
}

/// A Redis, and how to log in to it.
#[derive(Clone, Debug)]
pub struct Redis {
    /// How its servers are found.
    pub reach: Reach,
    /// TLS to every server, Sentinels included.
    pub tls: bool,
    /// The database's number; a cluster has only 0.
    pub database: u16,
    /// The ACL user; `None` is Redis' own `default`.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// The Sentinels' own ACL user.
    pub sentinel_username: Option<String>,
    /// The Sentinels' own password.
    pub sentinel_password: Option<Secret>,
    /// Certificates to trust, as PEM, in place of the system's.
    pub ca: Option<PathBuf>,
}

/// How a Redis' servers are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// One server, always the same.
    Single(RedisNode),
    /// Sentinels, asked in turn for the primary of `service`.
    Sentinel {
        /// The Sentinels.
        nodes: Vec<RedisNode>,
        /// The name under which they watch the primary.
        service: String,
    },
    /// Some nodes of a cluster.
    Cluster(Vec<RedisNode>),
}

/// One server's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisNode {
    /// Name or literal address (version 6 without brackets).
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Reads `store` and `redis` of the section `tokens`.
pub(super) fn read(section: &Section<'_>) -> TokenStore {
    let url = section.text("store", store).flatten();
    let table = section.section("redis");
    let written = table.present();
    let name = |key| table.text(key, units::name);
    let (username, sentinel_username) = (name("username"), name("sentinel_username"));
    let password = secret::optional(&table, &secret::PASSWORD);
    let sentinel_password = secret::optional(&table, &secret::SENTINEL_PASSWORD);
    let ca = table.path("ca");
    if let Some(path) = &ca {
        auth_file::check_certificates(&table, path);
    }
    let Some(Url { reach, tls, database }) = url else {
        if written && section.clean() {
            section.problem("redis", "is for a Redis store, and tokens.store names none");
        }
        table.finish();
        return TokenStore::Memory;
    };
    if ca.is_some() && !tls {
        table.problem("ca", "is for TLS, and tokens.store does not begin with \"rediss\"");
    }
    if username.is_some() && password.is_none() && table.clean() {
        table.problem("username", "needs a password; add one of password_file, password_env, password");
    }
    let sentinel = matches!(reach, Reach::Sentinel { .. });
    if !sentinel && (sentinel_username.is_some() || sentinel_password.is_some()) {
        table.problem("sentinel_password", "is for Sentinels, and tokens.store names none");
    }
    table.finish();
    if !tls && !reach.is_loopback() {
        let message =
            "is not encrypted: what is in the store, and its password, cross the network in the clear";
        section.warning("store", message.to_owned());
    }
    TokenStore::Redis(Redis {
        reach,
        tls,
        database,
        username,
        password,
        sentinel_username,
        sentinel_password,
        ca,
    })
}

/// What a store's URL says.
#[derive(Debug, PartialEq, Eq)]
struct Url {
    reach: Reach,
    tls: bool,
    database: u16,
}

/// `None` is memory.
fn store(text: &str) -> Result<Option<Url>, Fault> {
    let form = || Fault::expected(FORM);
    if text == "memory" {
        return Ok(None);
    }
    let (scheme, rest) = text.split_once("://").ok_or_else(form)?;
    if rest.contains('@') {
        // The value is not shown: it may hold a password.
        return Err(Fault::said("takes no user or password in the URL; write them in [tokens.redis]"));
    }
    let (tls, kind) = match scheme.strip_prefix("rediss") {
        Some(kind) => (true, kind),
        None => (false, scheme.strip_prefix("redis").ok_or_else(form)?),
    };
    let (places, path) = rest.split_once('/').unwrap_or((rest, ""));
    let nodes = |default| nodes(places, default);
    let (reach, database) = match kind {
        "" => match nodes(PORT)?.as_slice() {
            [node] => (Reach::Single(node.clone()), database(path)?),
            _ => return Err(Fault::expected("one host, or redis-sentinel: or redis-cluster: for several")),
        },
        "-sentinel" => {
            let (service, path) = path.split_once('/').unwrap_or((path, ""));
            let service = units::word(service).map_err(|_| {
                Fault::expected(
                    "the service's name after the Sentinels, such as \"redis-sentinel://host/mymaster\"",
                )
            })?;
            (Reach::Sentinel { nodes: nodes(SENTINEL_PORT)?, service }, database(path)?)
        }
        "-cluster" if path.is_empty() => (Reach::Cluster(nodes(PORT)?), 0),
        "-cluster" => return Err(Fault::expected("no database: a cluster has only one")),
        _ => return Err(form()),
    };
    Ok(Some(Url { reach, tls, database }))
}

fn nodes(text: &str, default: u16) -> Result<Vec<RedisNode>, Fault> {
    let node = |text| {
        let (host, port) = units::authority(text)?;
        let host = match host {
            Host::Name(name) => name,
            Host::Ip(ip) => ip.to_string(),
        };
        Some(RedisNode { host, port: port.unwrap_or(default) })
    };
    let nodes: Option<Vec<_>> = text.split(',').map(node).collect();
    nodes.filter(|nodes| nodes.len() <= MOST_NODES).ok_or_else(|| Fault::expected(FORM))
}

fn database(text: &str) -> Result<u16, Fault> {
    match text {
        "" => Some(0),
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok(),
        _ => None,
    }
    .ok_or_else(|| Fault::expected("the number of a database after the host, such as \"/0\""))
}

impl Reach {
    /// Whether every address that was written is this machine's own.
    fn is_loopback(&self) -> bool {
        let nodes = match self {
            Self::Single(node) => std::slice::from_ref(node),
            Self::Sentinel { nodes, .. } | Self::Cluster(nodes) => nodes,
        };
        nodes.iter().all(|RedisNode { host, .. }| {
            host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: &str, port: u16) -> RedisNode {
        RedisNode { host: host.to_owned(), port }
    }

    #[test]
    fn urls_say_where_and_how() {
        let check = |text: &str, reach: Reach, tls: bool, database: u16| {
            assert_eq!(store(text), Ok(Some(Url { reach, tls, database })), "{text}");
        };
        assert_eq!(store("memory"), Ok(None));
        check("redis://127.0.0.1:7000/3", Reach::Single(node("127.0.0.1", 7000)), false, 3);
        check("rediss://cache.example", Reach::Single(node("cache.example", 6379)), true, 0);
        check("redis://[::1]:7000", Reach::Single(node("::1", 7000)), false, 0);
        let service = "mymaster".to_owned();
        let nodes = vec![node("a", 26_379), node("b", 7)];
        check("redis-sentinel://a,b:7/mymaster/2", Reach::Sentinel { nodes, service }, false, 2);
        check("rediss-cluster://a:1,b:2", Reach::Cluster(vec![node("a", 1), node("b", 2)]), true, 0);
    }

    #[test]
    fn what_is_no_store_is_refused() {
        let long = format!("redis-cluster://{}", ["a"; 17].join(","));
        for text in [
            "",
            "disk",
            "redis",
            "redis:",
            "redis://",
            "redis:///0",
            "redis://a:0",
            "redis://a:x",
            "redis://a/x",
            "redis://a/+1",
            "redis://a/70000",
            "redis://a,b",
            "redis-sentinel://a",
            "redis-sentinel://a/",
            "redis-sentinel://a/m/x",
            "redis-cluster://a/0",
            "redis-ring://a",
            "rediss+x://a",
            "http://a",
            "redis://u:p@a",
            &long,
        ] {
            assert!(store(text).is_err(), "{text}");
        }
    }
}
