//! Secrets, certificates and inventories in files, and no file at all.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;

#[test]
fn secrets_come_from_one_of_three_places() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    fs::write(&file, "from-the-file\r\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let admin = |lines: &str| parse(&format!("[admin]\n{lines}"));
    let token = |lines: &str| admin(lines).unwrap().admin.token.unwrap().expose_secret().to_owned();
    assert_eq!(token("token = \"written\""), "written");
    assert_eq!(token(&format!("token_file = {file:?}")), "from-the-file");
    assert_eq!(token("token_env = \"SET\""), "from-the-environment");
    assert!(admin("token = \"written\"").unwrap().generated.admin_token.is_none());

    check(
        "[admin]\ntoken = \"a\"\ntoken_env = \"SET\"",
        "2: admin.token: is given more than once; keep one of \
        token, token_file, token_env",
    );
    check(
        "[admin]\ntoken_env = \"UNSET\"",
        "2: admin.token_env: the environment variable \"UNSET\" is not set; \
        set it or remove this line",
    );
    check(
        "[admin]\ntoken = \"\"",
        "2: admin.token: expected a secret of 1 to 4096 visible ASCII characters, \
        without spaces",
    );
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let shown = file.display();
    check(
        &format!("[admin]\ntoken_file = {file:?}"),
        &format!(
            "2: admin.token_file: {shown}: is open to every \
        user (mode 0644); run: chmod o= {shown}"
        ),
    );
}

#[test]
fn without_a_file_it_is_a_local_set_up() {
    let config = Config::load(None).unwrap();
    let addresses = config.listen.named().map(|(_, address)| address.to_string());
    assert_eq!(addresses, ["127.0.0.1:8774", "127.0.0.1:6080", "127.0.0.1:9091"]);
    assert!(config.listen.is_loopback());
    assert_eq!(config.proxy.public_url, "http://127.0.0.1:6080");
    assert_eq!(config.proxy.ping, Some(Duration::from_secs(30)));
    assert_eq!((config.proxy.idle_timeout, config.proxy.max_session), (None, None));
    assert!(config.proxy.workers > 0);
    let token = config.generated.token.unwrap();
    assert_eq!(config.auth.tokens.len(), 1);
    assert_eq!(config.auth.tokens[0].project.as_str(), "local");
    let other = Config::default_local().unwrap();
    assert_ne!(token.expose_secret(), other.generated.token.unwrap().expose_secret());
    let admin = config.generated.admin_token.unwrap();
    assert_eq!(admin.expose_secret(), config.admin.token.unwrap().expose_secret());
}

#[test]
fn a_generated_token_sees_the_first_target() {
    let config = parse("[[target]]\nid = \"a\"\nproject = \"p\"").unwrap();
    assert_eq!(config.auth.tokens[0].project.as_str(), "p");
}

#[test]
fn public_origins() {
    for (url, origin, ws) in [
        ("https://h:443/a/b", "https://h", "wss://h:443/a/b"),
        ("http://h:443", "http://h:443", "ws://h:443"),
        ("http://h:80/", "http://h", "ws://h:80"),
        ("https://[::1]:8443/x", "https://[::1]:8443", "wss://[::1]:8443/x"),
    ] {
        let proxy = parse(&format!("[proxy]\npublic_url = \"{url}\"")).unwrap().proxy;
        assert_eq!((proxy.public_origin().as_str(), proxy.public_ws_url().as_str()), (origin, ws));
    }
}

#[test]
fn an_inventory_file_is_read_and_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let (main, list) = (dir.path().join("c.toml"), dir.path().join("targets.toml"));
    let target = |id: &str| format!("[[target]]\nid = \"{id}\"\nproject = \"p\"\n");
    fs::write(&main, format!("{}[inventory]\nfile = \"targets.toml\"\n", target("a"))).unwrap();
    let missing = Config::load(Some(&main)).unwrap_err().to_string();
    assert!(
        missing.contains("c.toml:5: inventory.file: ") && missing.contains("make it, or remove"),
        "{missing}"
    );

    fs::write(&list, target("b")).unwrap();
    let config = Config::load(Some(&main)).unwrap();
    let ids = |targets: &[Target]| targets.iter().map(|t| t.id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(&config.targets), ["a", "b"]);
    assert_eq!(config.target_files(), [main.clone(), list.clone()]);
    assert_eq!(ids(&load_targets(&list).unwrap()), ["b"]);

    fs::write(&list, target("b") + &target("c")).unwrap();
    assert_eq!(ids(&config.reload_targets().unwrap()), ["a", "b", "c"]);
    fs::write(&list, target("b") + &target("a")).unwrap();
    let twice = config.reload_targets().unwrap_err().to_string();
    let (shown, first) = (list.display(), main.display());
    assert_eq!(twice, format!("{shown}:5: target.id: the target a is at {first}:1 already"));
    fs::write(&list, "[proxy]\n").unwrap();
    let other = config.reload_targets().unwrap_err().to_string();
    assert_eq!(other, format!("{shown}:1: proxy: unknown setting; known here: target"));
    assert!(matches!(Config::load(Some(&dir.path().join("no"))), Err(ConfigError::Unreadable { .. })));
}

#[test]
fn tls_files_are_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let (pem, key) = (dir.path().join("server.pem"), dir.path().join("server.key"));
    let write = |organization: &str| {
        let pair = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, organization);
        fs::write(&pem, params.self_signed(&pair).unwrap().pem()).unwrap();
        fs::write(&key, pair.serialize_pem()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    };
    let home = format!("[tls]\ncertificate = {pem:?}\nkey = {key:?}\n");
    let away = format!("{home}[listen]\nproxy = \"192.0.2.1:443\"\n");
    let shown = [pem.display(), key.display()];

    let missing = errors(&home);
    assert!(
        missing.contains(&format!("c.toml:2: tls.certificate: {}: cannot be read: ", shown[0])),
        "{missing}"
    );
    assert!(missing.contains(&format!("c.toml:3: tls.key: {}: cannot be read: ", shown[1])), "{missing}");
    write(DEVELOPMENT_ORGANIZATION);
    assert_eq!(parse(&home).unwrap().proxy.public_url, "https://127.0.0.1:6080");
    check(
        &away,
        "2: tls.certificate: is a development certificate, which is for loopback addresses only; use one \
        from your own authority",
    );
    write("an authority");
    assert_eq!(parse(&away).unwrap().proxy.public_url, "https://192.0.2.1:443");
    let plain = parse(&format!("{home}[proxy]\npublic_url = \"http://h\"")).unwrap().warnings.remove(0);
    assert_eq!(
        plain.to_string(),
        "c.toml:5: proxy.public_url: begins with http: but proxy speaks TLS; browsers \
        need https://h"
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(parse(&home).is_ok(), "a group may share the key");
    check(
        &format!("[tls]\nkey = {key:?}\n[listen]\nproxy = \"192.0.2.1:1\""),
        "1: tls.certificate: is required under \
        [tls]; add it, or remove [tls]",
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o604)).unwrap();
    check(
        &home,
        &format!("3: tls.key: {}: is open to every user (mode 0604); run: chmod o= {}", shown[1], shown[1]),
    );
}

#[test]
fn a_secret_that_every_user_can_read_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    fs::write(&path, "[admin]\ntoken = \"hunter2\"\n").unwrap();
    for (mode, warned) in [(0o600, false), (0o640, false), (0o644, true)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let warnings = Config::load(Some(&path)).unwrap().warnings;
        assert_eq!(!warnings.is_empty(), warned, "{mode:o}");
        for warning in warnings {
            let text = warning.to_string();
            assert!(
                text.contains(":2: admin.token: is in a file that every user can read (mode 0644); "),
                "{text}"
            );
            assert!(!text.contains("hunter2"));
        }
    }
}
