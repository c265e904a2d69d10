//! Where tokens are kept: what is accepted, what is a mistake, what is only a bad idea.

use secrecy::ExposeSecret;

use super::*;

fn redis(text: &str) -> Redis {
    match parse(text).unwrap_or_else(|error| panic!("{error}")).tokens.store {
        TokenStore::Redis(redis) => redis,
        TokenStore::Memory => panic!("memory: {text}"),
    }
}

#[test]
fn a_redis_is_a_url_and_a_login() {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    let pair = rcgen::generate_simple_self_signed(["redis.example".to_owned()]).unwrap();
    std::fs::write(&ca, pair.cert.pem()).unwrap();
    let text = format!(
        "[tokens]\nstore = \"rediss-sentinel://a,b/tokens/3\"\n[tokens.redis]\nusername = \"u\"\n\
         password_env = \"SET\"\nsentinel_username = \"s\"\nsentinel_password = \"secret\"\nca = {ca:?}\n"
    );
    let found = redis(&text);
    let nodes = ["a", "b"].map(|host| RedisNode { host: host.to_owned(), port: 26_379 }).to_vec();
    assert_eq!(found.reach, Reach::Sentinel { nodes, service: "tokens".to_owned() });
    assert_eq!((found.tls, found.database, found.ca.as_deref()), (true, 3, Some(ca.as_path())));
    assert_eq!((found.username.as_deref(), found.sentinel_username.as_deref()), (Some("u"), Some("s")));
    assert_eq!(found.password.as_ref().unwrap().expose_secret(), "from-the-environment");
    assert!(!format!("{found:?}").contains("secret\""), "{found:?}");
    assert!(matches!(parse("").unwrap().tokens.store, TokenStore::Memory));
}

#[test]
fn mistakes_are_named() {
    check(
        "[tokens]\nstore = \"disk\"",
        "2: tokens.store: expected \"memory\", \"redis://host:6379/0\", \"rediss://...\" (with TLS), \
         \"redis-sentinel://host:26379,.../service\" or \"redis-cluster://host:6379,...\", found \"disk\"",
    );
    check(
        "[tokens]\nstore = \"redis://user:hunter2@host\"",
        "2: tokens.store: takes no user or password in the URL; write them in [tokens.redis]",
    );
    check(
        "[tokens]\nstore = \"redis-cluster://a,b/1\"",
        "2: tokens.store: expected no database: a cluster has only one, found \"redis-cluster://a,b/1\"",
    );
    check(
        "[tokens]\nstore = \"redis-sentinel://a\"",
        "2: tokens.store: expected the service's name after the Sentinels, such as \
         \"redis-sentinel://host/mymaster\", found \"redis-sentinel://a\"",
    );
    let below = |line: &str, expected: &str| {
        check(&format!("[tokens]\nstore = \"redis://127.0.0.1\"\n[tokens.redis]\n{line}"), expected);
    };
    below(
        "username = \"u\"",
        "4: tokens.redis.username: needs a password; add one of password_file, password_env, password",
    );
    below(
        "sentinel_password = \"p\"",
        "4: tokens.redis.sentinel_password: is for Sentinels, and tokens.store names none",
    );
    below("usernam = \"u\"", "4: tokens.redis.usernam: unknown setting; did you mean username?");
    let found = errors("[tokens]\nstore = \"redis://127.0.0.1\"\n[tokens.redis]\nca = \"nowhere.pem\"");
    assert!(found.starts_with("c.toml:4: tokens.redis.ca: nowhere.pem: cannot be read"), "{found}");
    assert!(found.ends_with("is for TLS, and tokens.store does not begin with \"rediss\""), "{found}");
    check(
        "[tokens]\nttl = \"5m\"\n[tokens.redis]\npassword = \"p\"",
        "3: tokens.redis: is for a Redis store, and tokens.store names none",
    );
}

#[test]
fn a_redis_elsewhere_without_tls_is_a_bad_idea() {
    let warnings = |store: &str| {
        let config = parse(&format!("[tokens]\nstore = \"{store}\"")).unwrap();
        config.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for quiet in
        ["redis://127.0.0.1", "redis://[::1]:7000", "redis-cluster://localhost", "rediss://elsewhere"]
    {
        assert!(warnings(quiet).is_empty(), "{quiet}");
    }
    for loud in ["redis://10.0.0.1", "redis-cluster://127.0.0.1,elsewhere"] {
        let told = warnings(loud);
        assert!(told.len() == 1 && told[0].contains("2: tokens.store: is not encrypted"), "{told:?}");
    }
}
