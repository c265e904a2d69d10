//! Whether a Redis keeps what it is given: settings that would lose tokens or forget revocations are refused.

/// The oldest version with selectors in its ACLs and with the script engine's present rules.
const OLDEST: u32 = 7;

/// What is wrong with a server, as its own report (INFO) shows it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsafe {
    /// Too old.
    #[error("Redis {0} is too old: version {OLDEST}.0 or newer is needed (Valkey is as good)")]
    Version(String),
    /// It makes room by forgetting.
    #[error(
        "maxmemory-policy is {0}: a full Redis would forget tokens and revocations; set it to noeviction, or use \
         another Redis"
    )]
    Eviction(String),
    /// A node of a cluster under a URL for a single server.
    #[error("this Redis is a node of a cluster: write redis-cluster://")]
    Cluster,
    /// No node of a cluster under a URL for one.
    #[error("this Redis is no node of a cluster: write redis://")]
    NoCluster,
    /// A replica under a URL that names it alone.
    #[error("this Redis is a replica: name its primary, or its Sentinels with redis-sentinel://")]
    Replica,
    /// Something else altogether.
    #[error("this server's INFO has no {0}: it is no Redis as we know it")]
    Strange(&'static str),
}

/// Reads the answer to INFO.
pub(super) fn vet(info: &str, cluster: bool) -> Result<(), Unsafe> {
    let field = |name: &'static str| {
        let mut lines = info.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim()).ok_or(Unsafe::Strange(name))
    };
    let version = field("redis_version")?;
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < OLDEST) {
        return Err(Unsafe::Version(version.to_owned()));
    }
    match (field("cluster_enabled")? == "1", cluster) {
        (true, false) => return Err(Unsafe::Cluster),
        (false, true) => return Err(Unsafe::NoCluster),
        _ => {}
    }
    let policy = field("maxmemory_policy")?;
    // Without a limit nothing is ever evicted, whatever the policy.
    if policy != "noeviction" && field("maxmemory")? != "0" {
        return Err(Unsafe::Eviction(policy.to_owned()));
    }
    field("master_replid")?;
    match field("role")? {
        "master" => Ok(()),
        _ => Err(Unsafe::Replica),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Server\r\nredis_version:7.0.15\r\n# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n\
                        # Replication\r\nrole:master\r\nmaster_replid:8a\r\n# Cluster\r\ncluster_enabled:0\r\n";

    #[test]
    fn what_forgets_is_refused() {
        let check = |from: &str, to: &str, cluster, expected| {
            assert!(GOOD.contains(from), "{from}");
            assert_eq!(vet(&GOOD.replace(from, to), cluster), expected, "{from} -> {to}");
        };
        check("role", "role", false, Ok(()));
        check("7.0.15", "8.1.0", false, Ok(()));
        check("7.0.15", "6.2.14", false, Err(Unsafe::Version("6.2.14".to_owned())));
        check("7.0.15", "x", false, Err(Unsafe::Version("x".to_owned())));
        check("y:noeviction", "y:allkeys-lru", false, Ok(()));
        let full = "maxmemory:1024\r\nmaxmemory_policy:volatile-ttl";
        let policy = "maxmemory:0\r\nmaxmemory_policy:noeviction";
        check(policy, full, false, Err(Unsafe::Eviction("volatile-ttl".to_owned())));
        check("maxmemory:0", "maxmemory:1024", false, Ok(()));
        check("enabled:0", "enabled:1", false, Err(Unsafe::Cluster));
        check("enabled:0", "enabled:1", true, Ok(()));
        check("role", "role", true, Err(Unsafe::NoCluster));
        check("role:master", "role:slave", false, Err(Unsafe::Replica));
        check("master_replid", "other", false, Err(Unsafe::Strange("master_replid")));
        assert_eq!(vet("", false), Err(Unsafe::Strange("redis_version")));
    }
}
