//! Where targets are beside the configuration: what is accepted, and what is a mistake.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

const STORE: &str = "[tokens]\nstore = \"redis://127.0.0.1\"\n[inventory]\nshared = true\n";

/// A file of keys, and the setting that names it.
fn keys(text: &str, mode: u32) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    (dir, format!("key_file = {path:?}\n"))
}

#[test]
fn a_shared_inventory_has_a_store_and_keys() {
    let (first, second) = ("01".repeat(32), "Ab".repeat(32));
    let (_dir, setting) = keys(&format!("# of spring\n{first}\n\n{second}  \n"), 0o600);
    let config = parse(&format!("{STORE}{setting}")).unwrap();
    let found = config.shared_inventory.as_ref().unwrap();
    assert_eq!(found, &[SealKey::from([1; 32]), SealKey::from([0xab; 32])]);
    assert!(!format!("{config:?}").contains("0101"), "keys are not shown");
    assert!(parse("").unwrap().shared_inventory.is_none());
}

#[test]
fn without_a_key_or_a_store_it_is_refused() {
    check(
        STORE,
        "4: inventory.shared: needs a key, for passwords are not kept in the clear; add key_file: (umask 077; \
         openssl rand -hex 32 > FILE) makes one",
    );
    let (_dir, setting) = keys(&"01".repeat(32), 0o600);
    check(
        &format!("[inventory]\nshared = true\n{setting}"),
        "2: inventory.shared: needs a store that others share, and tokens.store is \"memory\"; make that a Redis, \
         such as \"redis://host:6379/0\"",
    );
    check(
        &format!("[inventory]\n{setting}"),
        "2: inventory.key_file: is for a shared inventory; add shared = true, or remove this line",
    );
    check(
        &format!("{STORE}{setting}database = \"t.redb\""),
        "6: inventory.database: is kept by this process alone, and the inventory is shared; remove this line, or \
         shared",
    );
}

#[test]
fn keys_are_64_digits_in_a_file_of_ones_own() {
    let good = "01".repeat(32);
    let told = |text: &str, mode, expected: &str| {
        let (_dir, setting) = keys(text, mode);
        let found = errors(&format!("{STORE}{setting}"));
        assert!(found.starts_with("c.toml:5: inventory.key_file: ") && found.contains(expected), "{found}");
        assert!(!found.contains("0101"), "{found}");
    };
    told(&good, 0o644, "is open to every user (mode 0644); run: chmod o= ");
    told("", 0o600, "holds no key; ");
    told(
        &format!("{good}\n{good}0"),
        0o600,
        "keys:2: expected a key of 64 hexadecimal digits, and nothing else; ",
    );
    told(&format!("{}+1", &good[2..]), 0o600, "keys:1: expected a key of 64");
    told(&format!("{good}\n\n{good}"), 0o600, "keys:3: this key is there twice; remove one");
    let many: String = (0..9).map(|n| format!("{n:064x}\n")).collect();
    told(&many, 0o600, "holds 9 keys, at most 8");
    let missing = errors(&format!("{STORE}key_file = \"nowhere\""));
    assert!(missing.contains("nowhere: cannot be read: "), "{missing}");
}
