//! Keystone, access keys, HTTP Basic users and roles: what is read, and what each mistake is told.

use secrecy::ExposeSecret;

use super::*;

const WHO: &str = "user = \"u\"\nproject = \"p\"\n";
const HASH: &str = "$2y$10$vI8aWBnW3fID.ZQ4/zo1G.q1lRps.9cGLcZEiGDMVr5yUP1KUOYTa";

fn keystone(lines: &str) -> String {
    format!(
        "[auth.keystone]\nurl = \"https://keystone.example/v3/\"\nusername = \"cg\"\npassword = \"x\"\n{lines}"
    )
}

#[test]
fn keystone_is_read() {
    let config = parse(&keystone("timeout = \"2s\"\ncache_ttl = \"0s\"\nproject_domain = \"d\"")).unwrap();
    let keystone = config.auth.keystone.unwrap();
    assert_eq!(keystone.url, "https://keystone.example/v3");
    assert_eq!((keystone.timeout, keystone.cache_ttl), (Duration::from_secs(2), Duration::ZERO));
    assert_eq!((keystone.project.as_str(), keystone.user_domain.as_str()), ("service", "Default"));
    assert_eq!((keystone.project_domain.as_str(), keystone.password.expose_secret()), ("d", "x"));
    assert!(
        config.generated.token.is_none() && config.auth.tokens.is_empty(),
        "Keystone is credential enough"
    );
}

#[test]
fn keystone_mistakes() {
    check(
        "[auth.keystone]\nusername = \"u\"\npassword = \"x\"",
        "1: auth.keystone.url: is required here; add it",
    );
    check(
        "[auth.keystone]\nurl = \"http://127.0.0.1:5000/v3\"\nusername = \"u\"",
        "1: auth.keystone.password: is required here; add one of password_file, password_env, password",
    );
    for url in ["http://127.0.0.1:5000", "keystone/v3", "http://h/v3?x", "http://h/v2.0"] {
        check(
            &format!("[auth.keystone]\nurl = \"{url}\"\nusername = \"u\"\npassword = \"x\""),
            &format!(
                "2: auth.keystone.url: expected Keystone's URL, with its version, such as \
                 \"http://127.0.0.1:5000/v3\", found \"{url}\""
            ),
        );
    }
    check(&keystone("timeout = \"2m\""), "5: auth.keystone.timeout: expected at most \"60s\", found \"2m\"");
    check(
        &keystone("cache_ttl = \"2h\""),
        "5: auth.keystone.cache_ttl: expected at most \"1h\", found \"2h\"",
    );
    check(
        &keystone("user_name = \"x\""),
        "5: auth.keystone.user_name: unknown setting; did you mean username?",
    );
    assert!(
        errors(&keystone("ca = \"/nowhere.pem\""))
            .starts_with("c.toml:5: auth.keystone.ca: /nowhere.pem: cannot")
    );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, "no certificate").unwrap();
    let found = errors(&keystone(&format!("ca = {file:?}")));
    assert!(found.ends_with("is not a list of PEM certificates"), "{found}");
}

#[test]
fn a_password_in_the_clear_beyond_loopback_is_warned_of() {
    let warned = |url: &str| {
        let text = format!("[auth.keystone]\nurl = \"{url}\"\nusername = \"u\"\npassword = \"x\"");
        !parse(&text).unwrap().warnings.is_empty()
    };
    assert!(warned("http://keystone.example:5000/v3"));
    assert!(!warned("https://keystone.example:5000/v3"));
    assert!(!warned("http://127.0.0.1:5000/v3"));
    assert!(!warned("http://localhost/identity/v3"));
}

#[test]
fn access_keys() {
    let text = format!(
        "[[auth.access_key]]\naccess_key = \"AK\"\nsecret_key = \"sk\"\nsecurity_token = \"st\"\n\
         expires = \"2027-01-31T12:00:00Z\"\n{WHO}"
    );
    let config = parse(&text).unwrap();
    let key = &config.auth.access_keys[0];
    assert_eq!((key.access_key.as_str(), key.secret_key.expose_secret()), ("AK", "sk"));
    assert_eq!(key.security_token.as_ref().map(|token| token.expose_secret()), Some("st"));
    assert_eq!(key.expires, humantime::parse_rfc3339("2027-01-31T12:00:00Z").ok());
    assert_eq!((key.roles.as_slice(), config.generated.token.is_none()), (&["member".to_owned()][..], true));

    assert_eq!(config.auth.signatures_per_key, 50_000);
    assert_eq!(parse("[auth]\nsignatures_per_key = 1").unwrap().auth.signatures_per_key, 1);
    check(
        "[auth]\nsignatures_per_key = 0",
        "2: auth.signatures_per_key: expected a whole number from 1 to 10000000, found 0",
    );
    check(
        &format!("[[auth.access_key]]\naccess_key = \"AK\"\n{WHO}"),
        "1: auth.access_key.secret_key: is required here; add one of secret_key_file, secret_key_env, secret_key",
    );
    check(
        &format!("[[auth.access_key]]\naccess_key = \"AK\"\nsecret_key = \"x\"\nexpires = 2027-01-31\n{WHO}"),
        "4: auth.access_key.expires: expected a time in quotes such as \"2027-01-31T12:00:00Z\", found a date",
    );
    let one = format!("[[auth.access_key]]\naccess_key = \"AK\"\nsecret_key = \"x\"\n{WHO}");
    check(
        &format!("{one}{one}"),
        "7: auth.access_key.access_key: is the same as another [[auth.access_key]]; each needs its own",
    );
}

#[test]
fn basic_users() {
    let text = format!("[[auth.basic]]\npassword_bcrypt = \"{HASH}\"\n{WHO}");
    assert_eq!(parse(&text).unwrap().auth.basic[0].password_bcrypt.expose_secret(), HASH);
    check(
        &format!("{text}{text}"),
        "7: auth.basic.user: is the same as another [[auth.basic]]; each needs its own",
    );
    let form =
        "2: auth.basic.password_bcrypt: expected a bcrypt hash, which begins with $2y$ (htpasswd -nB USER)";
    for hash in ["secret", "$apr1$x$y", &HASH[..59], &HASH.replacen("2y", "3y", 1)] {
        check(&format!("[[auth.basic]]\npassword_bcrypt = \"{hash}\"\n{WHO}"), form);
    }
    check(
        &format!("[[auth.basic]]\npassword_bcrypt = \"{}\"\n{WHO}", HASH.replace("$10$", "$20$")),
        "2: auth.basic.password_bcrypt: has the cost 20; expected 4 to 14 (htpasswd -nBC 10 USER)",
    );
    check(
        &format!("[[auth.basic]]\npassword_bcrypt = \"{HASH}\"\nuser = \"a:b\"\nproject = \"p\""),
        "3: auth.basic.user: expected a name without a colon, found \"a:b\"",
    );
}

#[test]
fn roles() {
    let config = parse(
        "[[auth.role]]\nname = \"operator\"\npermissions = [\"ecs:cloudServers:vnc\", \"bms:servers:serialConsole\"]\n\
         [[auth.role]]\nname = \"root\"\npermissions = [\"*\"]\nall_projects = true",
    )
    .unwrap();
    let [operator, root] = config.auth.roles.as_slice() else { panic!("{:?}", config.auth.roles) };
    assert_eq!(operator.permissions, [Permission::BmsSerialConsole, Permission::EcsVnc].into());
    assert_eq!((operator.all_projects, root.all_projects, root.permissions.len()), (false, true, 8));
    assert!(config.generated.token.is_some(), "a role is no credential");

    let found = errors("[[auth.role]]\nname = \"a\"\npermissions = [\"ecs:cloudServers:vcn\"]");
    assert!(
        found.starts_with("c.toml:3: auth.role.permissions: expected \"*\" or one of os_compute_api:"),
        "{found}"
    );
    check(
        "[[auth.role]]\nname = \"Member\"\n[[auth.role]]\nname = \"member\"",
        "4: auth.role.name: is the same as another [[auth.role]]; write one table for each role",
    );
}

#[test]
fn no_credential_is_shown() {
    let text = format!(
        "{}[[auth.access_key]]\naccess_key = \"AK\"\nsecret_key = \"hunter2\"\nsecurity_token = \"hunter2\"\n{WHO}\
         [[auth.basic]]\npassword_bcrypt = \"{HASH}\"\n{WHO}",
        keystone("").replace("\"x\"", "\"hunter2\"")
    );
    let shown = format!("{:?}", parse(&text).unwrap());
    assert!(!shown.contains("hunter2") && !shown.contains(HASH), "{shown}");
    for text in [
        keystone("passwort = \"hunter2\""),
        keystone("password_env = \"SET\"").replace("\"x\"", "\"hunter2\""),
        format!("[[auth.access_key]]\naccess_key = \"AK\"\nsecret_key = [\"hunter2\"]\n{WHO}"),
        format!("[[auth.basic]]\npassword_bcrypt = \"hunter2\"\n{WHO}"),
    ] {
        assert!(!errors(&text).contains("hunter2"), "{}", errors(&text));
    }
}
