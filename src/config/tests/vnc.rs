//! `[target.vnc_security]`: what is read, and each mistake with its line, key and remedy.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::ServerName;

use super::*;

/// The settings of a target at `host`, whose section has `lines`; certificates are in `dir`.
fn read(dir: &Path, vnc: &str, lines: &str) -> Result<VncSecurity, String> {
    let text = format!(
        "[[target]]\nid = \"a\"\nproject = \"p\"\nvnc = \"{vnc}\"\n[target.vnc_security]\n{}",
        lines.replace("; ", "\n")
    );
    let config = document::parse(&dir.join("c.toml"), &text, |_| None, file::config);
    let name = format!("{}:", dir.join("c.toml").display());
    config
        .map(|mut config| config.targets.remove(0).vnc_security)
        .map_err(|error| error.to_string().replace(&name, "").replace(&format!("{}/", dir.display()), ""))
}

/// ca.pem, client.pem with client.key, other.key, and the files of mistakes.
fn files() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        fs::write(dir.path().join(name), text).unwrap();
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
    };
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["proxy".to_owned()]).unwrap().self_signed(&key).unwrap();
    put("ca.pem", &certificate.pem());
    put("client.pem", &certificate.pem());
    put("client.key", &key.serialize_pem());
    put("other.key", &KeyPair::generate().unwrap().serialize_pem());
    put("password", "open sesame\n");
    put("empty", "");
    dir
}

#[test]
fn each_type_has_what_it_needs() {
    let dir = files();
    let read =
        |vnc: &str, lines: &str| read(dir.path(), vnc, lines).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(read("tcp://h:1", ""), VncSecurity::default());
    let vnc = read("tcp://h:1", "types = [\"vnc\", \"none\"]; password_file = \"password\"");
    assert_eq!(vnc.types, [VncType::Vnc, VncType::None]);
    assert_eq!(vnc.password.as_ref().map(Password::reveal), Some("open sesame"));

    let lines = "types = [\"vencrypt-x509-plain\"]; username = \"anne\"; password_file = \"password\"; \
                 ca = \"ca.pem\"; certificate = \"client.pem\"; key = \"client.key\"";
    let tls = read("tcp://Host.example:1", lines).tls.unwrap();
    let Trust::Authority { authority, name } = tls.trust else { panic!("{:?}", tls.trust) };
    assert_eq!((authority.roots.len(), authority.file.clone()), (1, dir.path().join("ca.pem")));
    assert_eq!(name, ServerName::try_from("host.example").unwrap());
    assert_eq!(tls.client.unwrap().chain, authority.roots);

    let name = |vnc: &str, more: &str| {
        let tls =
            read(vnc, &format!("types = [\"vencrypt-x509-none\"]; ca = \"ca.pem\"; {more}")).tls.unwrap();
        let Trust::Authority { name, .. } = tls.trust else { panic!("{:?}", tls.trust) };
        name
    };
    assert_eq!(name("tcp://127.0.0.1:1", ""), ServerName::try_from("127.0.0.1").unwrap());
    assert_eq!(name("unix:/s", "name = \"host1\""), ServerName::try_from("host1").unwrap());
    assert_eq!(name("tcp://h:1", "name = \"::1\""), ServerName::try_from("::1").unwrap());

    let pinned = format!("types = [\"vencrypt-x509-none\"]; pin = \"{}\"", ["0A"; 32].join(":"));
    assert_eq!(read("unix:/s", &pinned).tls.unwrap().trust, Trust::Pin([10; 32]));

    let anonymous =
        read("unix:/s", "types = [\"vencrypt-tls-plain\"]; username = \"anne\"; password = \"x\"");
    assert_eq!((anonymous.types, anonymous.tls), (vec![VncType::TlsPlain], None));
    let both = read("tcp://h:1", "types = [\"vencrypt-x509-none\", \"vencrypt-tls-none\"]; ca = \"ca.pem\"");
    assert!(both.tls.is_some());
}

#[test]
fn a_changed_password_is_a_changed_target() {
    let dir = files();
    let with = |password: &str| {
        read(dir.path(), "tcp://h:1", &format!("types = [\"vnc\"]; password = \"{password}\"")).unwrap()
    };
    assert_eq!(with("a"), with("a"));
    assert_ne!(with("a"), with("b"));
    assert!(!format!("{:?}", with("hunter2")).contains("hunter2"));
}

/// With `lines` (the console on a Unix socket if they end so) there is this one mistake.
#[track_caller]
fn refuses(dir: &tempfile::TempDir, lines: &str, expected: &str) {
    let vnc = if lines.contains("# unix") { "unix:/s" } else { "tcp://h:1" };
    let lines = lines.trim_end_matches("# unix");
    assert_eq!(read(dir.path(), vnc, lines), Err(expected.to_owned()), "{lines}");
}

/// At `key`, which is the first line of the section.
fn at(key: &str, message: &str) -> String {
    format!("6: target.vnc_security.{key}: {message}")
}

/// At the section, for want of the key.
fn absent(key: &str, message: &str) -> String {
    format!("5: target.vnc_security.{key}: {message}")
}

const UNUSED: &str = "names no type that uses the password; add \"vnc\", \"vencrypt-...-vnc\" or \
                      \"vencrypt-...-plain\", or remove the password";

#[test]
fn mistakes_in_types_and_passwords_have_their_key_and_remedy() {
    let dir = files();
    let check = |lines: &str, expected: &str| refuses(&dir, lines, expected);
    let all = "\"none\", \"vnc\", \"vencrypt-x509-none\", \"vencrypt-x509-vnc\", \"vencrypt-x509-plain\", \
               \"vencrypt-tls-none\", \"vencrypt-tls-vnc\", \"vencrypt-tls-plain\", \"pass-through\"";

    check("types = []", &at("types", &format!("expected at least one of {all}, found an empty list")));
    check("types = [\"rsa\"]", &at("types", &format!("expected one of {all}, found \"rsa\"")));
    check("types = [\"none\", \"none\"]", &at("types", "names the same type twice; keep one"));
    check(
        "types = [\"none\", \"pass-through\"]",
        &at("types", "names \"pass-through\" beside others; the viewer decides then, so keep it alone"),
    );
    check("types = [\"vencrypt-tls-none\"]; password = \"x\"", &at("types", UNUSED));
    let password = "is required with these types; add one of password_file, password_env, password";
    check("types = [\"vnc\"]", &absent("password", password));
    check("types = [\"vencrypt-tls-vnc\"]", &absent("password", password));
    let username = absent("username", "is required with \"vencrypt-...-plain\"; add it");
    check("types = [\"vencrypt-x509-plain\"]; password = \"x\"; ca = \"ca.pem\"", &username);
    check("types = [\"vencrypt-tls-plain\"]; password = \"x\"", &username);
    let unused = "is used with \"vencrypt-...-plain\" only; remove it, or add the type";
    check("username = \"anne\"", &at("username", unused));
    check("username = \"anne\"; types = [\"vencrypt-tls-none\"]", &at("username", unused));
    check("types = [\"none\"]; password = \"x\"", &at("types", UNUSED));
    check(
        "password = \"a\\u0001\"; types = [\"vnc\"]",
        &at("password", "expected a password of 1 to 255 bytes without control characters"),
    );
}

#[test]
fn mistakes_in_certificates_have_their_key_and_remedy() {
    let dir = files();
    let check = |lines: &str, expected: &str| refuses(&dir, lines, expected);
    let x509 = "types = [\"vencrypt-x509-none\"]; ca = \"ca.pem\"";
    let tls_only = "is used with the types \"vencrypt-x509-...\" only; add one, or remove it";
    check("ca = \"ca.pem\"", &at("ca", tls_only));
    check(
        "pin = \"@\"; types = [\"vencrypt-tls-none\"]".replace('@', &"0a".repeat(32)).as_str(),
        &at("pin", tls_only),
    );
    check(
        "pin = \"x\"",
        &at(
            "pin",
            "expected the SHA-256 of a certificate: 64 hexadecimal digits, colons allowed, found \"x\"",
        ),
    );
    check(
        "types = [\"vencrypt-x509-none\"]",
        &absent("ca", "is required with these types; add it, or a pin"),
    );
    let pin = format!("pin = \"{}\"", "0a".repeat(32));
    check(&format!("{pin}; {x509}"), &at("pin", "is given with ca; keep one of ca, pin"));
    check(
        &format!("name = \"h\"; types = [\"vencrypt-x509-none\"]; {pin}"),
        &at("name", "is not looked at with a pin; remove it"),
    );
    check(
        &format!("name = \"a b\"; {x509}"),
        &at("name", "expected a DNS name or an address, as in the target's certificate, found \"a b\""),
    );
    check(
        &format!("{x509}# unix"),
        &absent("name", "is required for a Unix socket; add the name in the target's certificate"),
    );
    check(&format!("key = \"client.key\"; {x509}"), &absent("certificate", "is required with key; add it"));
    check(
        &format!("certificate = \"client.pem\"; {x509}"),
        &absent("key", "is required with certificate; add it"),
    );
    check(
        &format!("ca = \"empty\"; {}", "types = [\"vencrypt-x509-none\"]"),
        &at("ca", "empty: holds no certificate; expected PEM"),
    );
    check(
        "ca = \"no\"; types = [\"vencrypt-x509-none\"]",
        &at("ca", "no: cannot be read: No such file or directory (os error 2)"),
    );
    check(
        &format!("key = \"ca.pem\"; certificate = \"client.pem\"; {x509}"),
        &at("key", "ca.pem: holds no private key; expected PEM: PKCS#8, PKCS#1 or SEC1, not encrypted"),
    );
    let wrong =
        read(dir.path(), "tcp://h:1", &format!("key = \"other.key\"; certificate = \"client.pem\"; {x509}"));
    assert!(
        wrong.unwrap_err().contains("6: target.vnc_security.key: other.key: cannot be used with client.pem")
    );
}

#[test]
fn what_is_allowed_but_hardly_meant_is_warned_of() {
    let warnings = |lines: &str| {
        let text = format!(
            "[[target]]\nid = \"a\"\nproject = \"p\"\nvnc = \"tcp://h:1\"\n[target.vnc_security]\n{lines}"
        );
        let document = section::Document::new(Path::new("c.toml"), &text, |_| None);
        let table = toml::de::DeTable::parse(&text).unwrap();
        let root = document.root(table.get_ref());
        let mut targets = target_file::Targets::default();
        targets.read(&root);
        document.warnings().iter().map(|warning| warning.message.clone()).collect::<Vec<_>>()
    };
    let long = warnings("types = [\"vnc\"]\npassword = \"123456789\"");
    assert_eq!(long, ["is longer than 8 bytes; VNC servers look at no more"]);
    let mixed = warnings("types = [\"vencrypt-x509-none\", \"none\"]\npin = \"x\"");
    assert!(mixed[0].starts_with("names types without TLS beside those with it"), "{mixed:?}");

    let anonymous = "names TLS without a certificate: the connection is encrypted, but not authenticated; whoever is \
                     on the way to the target reads and changes all of it";
    assert_eq!(warnings("types = [\"vencrypt-tls-none\"]"), [anonymous]);
    let password = "\npassword = \"x\"";
    let vnc = warnings(&format!("types = [\"vencrypt-tls-vnc\"]{password}"));
    let answer = ", and learns the answer to the challenge, by which an 8-byte password is soon found";
    assert_eq!(vnc, [format!("{anonymous}{answer}")]);
    let plain = warnings(&format!("types = [\"vencrypt-tls-plain\"]\nusername = \"anne\"{password}"));
    assert_eq!(plain, [format!("{anonymous}, the user name and the password too")]);
    let all = warnings("types = [\"vencrypt-x509-none\", \"vencrypt-tls-none\", \"none\"]\npin = \"x\"");
    assert!(all[0].starts_with("names types without TLS beside"), "{all:?}");
    assert!(all[1].starts_with("names types without a certificate beside those with one"), "{all:?}");
    assert_eq!(all[2..], [anonymous]);
}
