//! Logins, TLS, and what the users of the README may do.

use crate::once::contract as once;
use crate::once::{Once as _, OnceError};

use super::*;

/// The users that the README makes.
pub(super) fn users() -> Vec<Vec<String>> {
    let readme = include_str!("../../../../README.md");
    let lines = readme.lines().filter_map(|line| line.trim().strip_prefix("user consolegate-"));
    let words = |line: &str| format!("consolegate-{line}").split(' ').map(str::to_owned).collect();
    // A selector is one word to ACL SETUSER, as it is to a shell that is given quotes.
    let join = |words: Vec<String>| {
        let mut joined: Vec<String> = Vec::new();
        for word in words {
            match joined.last_mut().filter(|last| last.starts_with('(') && !last.ends_with(')')) {
                Some(last) => *last = format!("{last} {word}"),
                None => joined.push(word),
            }
        }
        joined
    };
    lines.map(words).map(join).collect()
}

fn with_users() -> Server {
    let server = Server::start(&[]);
    let users = users();
    assert_eq!(users.len(), 2, "{users:?}");
    for user in users {
        let mut words = vec!["ACL", "SETUSER"];
        words.extend(user.iter().map(String::as_str));
        let _: String = server.ask(&words);
    }
    server
}

pub(super) fn user(url: &str, name: &str) -> RedisStore {
    let login = format!("store = \"{url}\"\nredis.username = \"{name}\"\nredis.password = \"PASSWORD\"");
    RedisStore::open(&settings(&login)).unwrap()
}

/// Refused by the server's ACL, from within a script.
fn denied<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    let refusal = "The user executing the script can't";
    assert!(matches!(&answer, Err(StoreError::Unavailable(why)) if why.contains(refusal)), "{answer:?}");
}

#[test]
fn an_issuer_creates_and_a_proxy_claims_and_neither_does_the_other() {
    let server = with_users();
    let (issuer, proxy) =
        (user(&server.url(), "consolegate-issuer"), user(&server.url(), "consolegate-proxy"));
    let tokens = [(); 3].map(|()| key());
    for token in tokens {
        now(issuer.create(token, grant(), TTL, 3)).unwrap();
    }
    assert_eq!(now(issuer.create(key(), grant(), TTL, 3)), Err(StoreError::Outstanding(3)));
    let [spent, released, revoked] = tokens;
    denied(now(issuer.claim(spent, A)));
    assert!(matches!(now(proxy.claim(spent, A)), Ok(Claim::Won(_))));
    denied(now(issuer.confirm(spent, A)));
    assert_eq!(now(proxy.confirm(spent, A)), Ok(Confirm::Confirmed));
    denied(now(proxy.create(key(), grant(), TTL, 0)));
    assert!(matches!(now(proxy.claim(released, A)), Ok(Claim::Won(_))));
    denied(now(issuer.release(released, A)));
    assert_eq!(now(proxy.release(released, A)), Ok(()));
    assert!(now(issuer.peek(released)).unwrap().is_some() && now(proxy.peek(released)).unwrap().is_some());
    assert_eq!(now(issuer.revoke(Revoke::Token(revoked))), Ok(1));
    assert_eq!(now(issuer.create(key(), grant(), TTL, 3)), Ok(()), "spent and revoked ones make room");
    assert_eq!(now(proxy.revoke(Revoke::User("demo".into()))), Ok(2));
    assert_eq!(now(proxy.claim(released, A)), Ok(Claim::Unknown));
}

#[test]
fn an_issuer_remembers_signatures_and_a_proxy_has_no_part_in_it() {
    let server = with_users();
    let (issuer, proxy) =
        (user(&server.url(), "consolegate-issuer"), user(&server.url(), "consolegate-proxy"));
    let done = [7; 32];
    assert_eq!(once::now(issuer.first("AK", done, TTL)), Ok(true));
    assert_eq!(once::now(issuer.first("AK", done, TTL)), Ok(false));
    let denied = once::now(proxy.first("AK", [8; 32], TTL));
    assert!(
        matches!(&denied, Err(OnceError::Unavailable(why)) if why.contains("no permissions")),
        "{denied:?}"
    );
    let key = "consolegate:signed:AK:{x}";
    for (name, command) in
        [("consolegate-issuer", &["DEL", key][..]), ("consolegate-proxy", &["SET", key, "x", "NX", "GET"])]
    {
        let verdict: String = server.ask(&[&["ACL", "DRYRUN", name], command].concat());
        assert!(verdict.contains("no permissions"), "{name} {command:?}: {verdict}");
    }
}

#[test]
fn a_proxy_lets_viewers_back_in_and_an_issuer_only_keeps_them_out() {
    let server = with_users();
    let (issuer, proxy) =
        (user(&server.url(), "consolegate-issuer"), user(&server.url(), "consolegate-proxy"));
    let spent = || {
        let (token, secret) = (key(), key());
        now(issuer.create(token, grant(), TTL, 0)).unwrap();
        now(proxy.claim(token, A)).unwrap();
        let offer = Offer { secret, times: 3, window: TTL, longest: None };
        assert_eq!(now(proxy.confirm_with(token, A, offer)), Ok(Confirm::Confirmed));
        (token, secret)
    };
    let (token, secret) = spent();
    denied(now(issuer.resume(token, secret, key(), B)));
    assert!(now(issuer.kept(token)).unwrap().is_some(), "whose it is, an issuer may be asked");
    assert!(now(proxy.resume(token, secret, key(), B)).unwrap().is_some());
    assert_eq!(now(proxy.resumed(token, B, TTL)), Ok(Confirm::Confirmed));
    assert_eq!(now(proxy.keep(token, B, Arc::new(grant()), TTL)), Ok(Keep::Kept));
    assert_eq!(now(issuer.revoke(Revoke::Target(grant().target))), Ok(0));
    assert_eq!(now(proxy.keep(token, B, Arc::new(grant()), TTL)), Ok(Keep::Gone));
    let (token, secret) = spent();
    assert_eq!(now(proxy.forget(token, A)), Ok(()));
    assert_eq!(now(proxy.resume(token, secret, key(), B)), Ok(None));
}

#[test]
fn proxies_alone_say_who_lives_and_both_end_it() {
    let server = with_users();
    let (issuer, proxy) =
        (user(&server.url(), "consolegate-issuer"), user(&server.url(), "consolegate-proxy"));
    let place = Place {
        session: uuid::Uuid::new_v4(),
        console: Some(("a".into(), Protocol::Vnc)),
        project: "p".into(),
        source: "192.0.2.1".to_owned(),
        token: key(),
        alone: false,
        record: "{}".to_owned(),
    };
    let session = place.session;
    let enter = |store: &RedisStore| now(store.enter("x", &place, Manner::Deny, Most::default()));
    denied(enter(&issuer));
    denied(now(issuer.beat("x", &[])));
    assert!(matches!(enter(&proxy), Ok(Entry::Entered { .. })));
    let present = Present { entered: vec![(1, place.clone())], all: vec![session] };
    now(proxy.restate("x", move || present)).unwrap();
    assert!(now(proxy.beat("x", &[(session, "1 2 3 4".to_owned())])).unwrap());
    let cursor = now(proxy.news("")).unwrap().cursor;
    for store in [&issuer, &proxy] {
        assert_eq!(now(store.records()).unwrap().len(), 1);
        assert!(now(store.has(session)).unwrap());
        now(store.tell("x")).unwrap();
        assert!(!now(store.news(&cursor)).unwrap().entries.is_empty());
    }
    denied(now(issuer.leave("x", &[session])));
    denied(now(issuer.part("x")));
    now(proxy.leave("x", &[session])).unwrap();
    now(proxy.part("x")).unwrap();
    let heard = ["ACL", "DRYRUN", "consolegate-proxy", "SUBSCRIBE", names::BELL];
    assert_eq!(server.ask::<String>(&heard), "OK");
    let mistaken = ["ACL", "DRYRUN", "consolegate-issuer", "XADD", names::PROXIES, "*", "a", "b"];
    assert!(server.ask::<String>(&mistaken).contains("no permissions"));
}

#[test]
fn both_register_targets_and_hear_of_them_unless_the_right_is_taken_away() {
    let server = with_users();
    let sealed = |id: &str| SealedTarget {
        id: id.to_owned(),
        revision: format!("r-{id}"),
        record: "sealed".to_owned(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (name, epoch, id) in [("consolegate-issuer", "", "a"), ("consolegate-proxy", "e", "b")] {
        let store = user(&server.url(), name);
        assert!(matches!(now(store.put_target(epoch, "e", &sealed(id), "-")), Ok(Write::Done { .. })));
        assert!(matches!(now(store.remove_keeping("e", id, "gone", "", 0)), Ok(Write::Done { .. })));
        runtime.block_on(store.refill_targets("e", "f", &[(id.to_owned(), "r x".to_owned())])).unwrap();
        assert!(!now(store.target_news(0)).unwrap().entries.is_empty());
        let heard = ["ACL", "DRYRUN", name, "SUBSCRIBE", names::TARGETS_BELL];
        assert_eq!(server.ask::<String>(&heard), "OK");
        let other = ["ACL", "DRYRUN", name, "HSET", "consolegate:token:{x}", "a", "b"];
        assert!(server.ask::<String>(&other).contains("no permissions"));
    }
    // The same line without that selector.
    let proxy = users().into_iter().find(|user| user[0] == "consolegate-proxy").unwrap();
    let words = ["ACL", "SETUSER", "consolegate-reader"].into_iter().chain(
        proxy.iter().skip(1).map(String::as_str).filter(|word| !word.contains("consolegate:targets:")),
    );
    let _: String = server.ask(&words.collect::<Vec<_>>());
    let reader = user(&server.url(), "consolegate-reader");
    assert_eq!(now(reader.target_news(0)).unwrap().entries.len(), 2);
    denied(now(reader.put_target("e", "e", &sealed("c"), "")));
    denied(now(reader.remove_target("e", "a", "gone", "")));
}

#[test]
fn what_else_is_in_the_redis_is_out_of_reach() {
    let server = with_users();
    let _: String = server.ask(&["SET", "other", "x"]);
    for name in ["consolegate-issuer", "consolegate-proxy"] {
        for command in [
            &["GET", "other"][..],
            &["SET", "other", "y"],
            &["DEL", "other"],
            &["FLUSHALL"],
            &["CONFIG", "GET", "*"],
            &["ACL", "LIST"],
            &["KEYS", "*"],
            &["EVAL", "return 1", "0"],
            &["REPLICAOF", "NO", "ONE"],
            &["CLIENT", "LIST"],
            &["SUBSCRIBE", "x"],
            &["FUNCTION", "FLUSH"],
            &["FUNCTION", "DELETE", "x"],
        ] {
            let mut words = vec!["ACL", "DRYRUN", name];
            words.extend(command);
            let verdict: String = server.ask(&words);
            assert!(verdict.contains("no permissions"), "{name} {command:?}: {verdict}");
        }
    }
    // What proxies call, an issuer must not put in another's place, nor be made to call.
    for command in [&["FUNCTION", "LOAD", "x"][..], &["FCALL", "x", "1", "consolegate:token:{x}"]] {
        let verdict: String = server.ask(&[&["ACL", "DRYRUN", "consolegate-issuer"], command].concat());
        assert!(verdict.contains("no permissions"), "{command:?}: {verdict}");
    }
    let forged = ["ACL", "DRYRUN", "consolegate-proxy", "SET", "consolegate:token:{x}", "y"];
    assert!(server.ask::<String>(&forged).contains("no permissions"));
    let claimed = ["ACL", "DRYRUN", "consolegate-issuer", "SET", "consolegate:claim:{x}", "y"];
    assert!(server.ask::<String>(&claimed).contains("no permissions"));
}

#[test]
fn another_database_takes_one_right_more() {
    let server = with_users();
    let url = format!("redis://127.0.0.1:{}/3", server.port());
    let without = user(&url, "consolegate-issuer");
    assert!(matches!(now(without.create(key(), grant(), TTL, 0)), Err(StoreError::Unavailable(_))));
    let _: String = server.ask(&["ACL", "SETUSER", "consolegate-issuer", "+select"]);
    assert_eq!(now(without.create(key(), grant(), TTL, 0)), Ok(()));
    assert!(server.info("db3").starts_with("keys=4"), "the token and its indexes");
}

#[test]
fn a_wrong_password_is_no_store() {
    let server = with_users();
    let login = format!(
        "store = \"{}\"\nredis.username = \"consolegate-proxy\"\nredis.password = \"hunter2\"",
        server.url()
    );
    let store = RedisStore::open(&settings(&login)).unwrap();
    let answer = now(store.claim(key(), A));
    let Err(StoreError::Unavailable(why)) = &answer else { panic!("{answer:?}") };
    assert!(!why.contains("hunter2") && !format!("{store:?}").contains("hunter2"), "{why}");
}

/// A certificate for 127.0.0.1 and its key, in files.
fn certificate(dir: &Path, name: &str) -> (String, String) {
    let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
    std::fs::write(&certificate, pair.cert.pem()).unwrap();
    std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    (certificate.display().to_string(), key.display().to_string())
}

#[test]
fn tls_is_spoken_with_those_whose_certificate_is_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let (certificate_file, key_file) = certificate(dir.path(), "server");
    let (other, _) = certificate(dir.path(), "other");
    let port = testing::free_port();
    let (tls_port, files) =
        (port.to_string(), ["--tls-cert-file", &certificate_file, "--tls-key-file", &key_file]);
    let server =
        Server::start(&[&["--tls-port", &tls_port, "--tls-auth-clients", "no"][..], &files].concat());
    let trusting = |ca: &str| {
        let text = format!("store = \"rediss://127.0.0.1:{port}/2\"\nredis.ca = \"{ca}\"");
        RedisStore::open(&settings(&text)).unwrap()
    };
    let store = trusting(&certificate_file);
    let token = key();
    now(store.create(token, grant(), TTL, 0)).unwrap();
    assert!(matches!(now(store.claim(token, A)), Ok(Claim::Won(_))));
    assert!(server.info("db2").starts_with("keys="), "in the database that was asked for");
    assert!(matches!(now(trusting(&other).peek(token)), Err(StoreError::Unavailable(_))));
}
