//! What a server remembers between two steps: what it may not outlive, and that nothing depends on it.

use super::*;

/// Keeps what is remembered for ever.
const FOR_EVER: (&str, &str) = ("local MEMORY = 10\n", "local MEMORY = 1e15\n");

fn forgetful(server: &Server, forgets: bool) -> RedisStore {
    let scripts = if forgets { Scripts::new() } else { Scripts::new().edited(FOR_EVER.0, FOR_EVER.1) };
    RedisStore::with_scripts(&at(&server.url()), scripts).unwrap()
}

fn calls(server: &Server, command: &str) -> bool {
    server.ask::<String>(&["INFO", "commandstats"]).contains(&format!("cmdstat_{command}:"))
}

/// Milliseconds of the server's clock.
fn time(server: &Server) -> u64 {
    let (seconds, micros): (u64, u64) = server.ask(&["TIME"]);
    seconds * 1000 + micros / 1000
}

fn record(server: &Server, key: TokenKey) -> (String, String) {
    let name = TokenNames::new(&key).token;
    let value = server.ask(&["GET", &name]);
    (name, value)
}

fn promote(server: &Server) {
    let _: String = server.ask(&["REPLICAOF", "NO", "ONE"]);
}

fn demote(server: &Server, primary: &Server) {
    let _: String = server.ask(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]);
    server.follows(primary);
}

fn pair() -> (Server, Server) {
    let primary = Server::start(&[]);
    let replica = Server::start(&["--replicaof", "127.0.0.1", &primary.port().to_string()]);
    replica.follows(&primary);
    (primary, replica)
}

/// Whether a primary that was demoted, heard of everything, and was promoted again opens what was revoked meanwhile.
fn opens_after_two_promotions(forgets: bool) -> bool {
    let (primary, other) = pair();
    let store = forgetful(&primary, forgets);
    let token = key();
    now(store.create(token, grant(), TTL, 0)).unwrap();
    assert_eq!(now(store.claim(key(), A)), Ok(Claim::Unknown), "from here on it remembers");
    other.follows(&primary);
    promote(&other);
    demote(&primary, &other);
    assert_eq!(other.info("sync_partial_ok"), "1", "it was not loaded anew");
    now(open(&other).revoke(Revoke::Token(token))).unwrap();
    let demoted = time(&primary);
    primary.follows(&other);
    until("the end of its memory", || (time(&primary) > demoted + 10).then_some(()));
    promote(&primary);
    matches!(now(store.claim(token, B)).unwrap(), Claim::Won(_))
}

#[test]
fn what_was_issued_before_a_demotion_opens_nothing_after_it() {
    assert!(!opens_after_two_promotions(true));
    assert!(opens_after_two_promotions(false), "if it remembered for ever");
}

/// Steps that go out together ask what there is, whatever was remembered.
#[test]
fn what_goes_out_together_is_not_decided_by_memory() {
    let (primary, _replica) = pair();
    let scripts = Scripts::new().edited(FOR_EVER.0, FOR_EVER.1);
    let store = RedisStore::with_scripts(&at(&primary.url()), scripts.clone().together()).unwrap();
    let remembering = RedisStore::with_scripts(&at(&primary.url()), scripts).unwrap();
    for (store, remembers) in [(&remembering, true), (&store, false)] {
        let token = key();
        now(store.create(token, grant(), TTL, 0)).unwrap();
        let (name, value) = record(&primary, token);
        assert_eq!(now(remembering.claim(key(), A)), Ok(Claim::Unknown));
        demote_and_back(&primary);
        let _: String = primary.ask(&["SET", &name, &value]);
        let answer = until("the store", || now(store.claim(token, A)).ok());
        assert_eq!(matches!(answer, Claim::Won(_)), remembers, "{answer:?}");
    }
}

/// Whether a record from before `event` is taken for one of the server's own history after it, although nothing is
/// forgotten with time.
fn remembered_after(server: &mut Server, event: impl FnOnce(&mut Server)) -> bool {
    let store = forgetful(server, false);
    let token = key();
    now(store.create(token, grant(), TTL, 0)).unwrap();
    let (name, value) = record(server, token);
    assert_eq!(now(store.claim(key(), A)), Ok(Claim::Unknown));
    event(server);
    let _: String = server.ask(&["SET", &name, &value]);
    let answer = until("the store", || now(store.claim(token, A)).ok());
    matches!(answer, Claim::Won(_))
}

#[test]
fn data_that_is_read_anew_is_not_decided_by_memory() {
    let other = Server::start(&[]);
    // With the same library, which comes along.
    assert_eq!(now(forgetful(&other, false).claim(key(), A)), Ok(Claim::Unknown));
    let resynced = remembered_after(&mut Server::start(&[]), |server| {
        demote(server, &other);
        promote(server);
    });
    assert!(!resynced, "a full resync");
    let restarted = remembered_after(&mut Server::start(&[]), |server| {
        let _: String = server.ask(&["SAVE"]);
        server.kill();
        server.restart();
    });
    assert!(!restarted, "a restart, with the library in the file");
    let (mut primary, _replica) = pair();
    let replaced = remembered_after(&mut primary, |server| {
        demote_and_back(server);
        let library = Scripts::new().edited(FOR_EVER.0, FOR_EVER.1).load_library();
        let text = library.args_iter().last().unwrap();
        let redis::Arg::Simple(text) = text else { panic!("no text") };
        let text = std::str::from_utf8(text).unwrap();
        let _: String = server.ask(&["FUNCTION", "LOAD", "REPLACE", text]);
    });
    assert!(!replaced, "a library that was loaded again");
    let (mut primary, _replica) = pair();
    assert!(
        remembered_after(&mut primary, |server| demote_and_back(server)),
        "the other way round: nothing was lost"
    );
}

/// A demotion that loses nothing: to a replica of nobody that answers, and back.
fn demote_and_back(server: &Server) {
    let nobody = testing::free_port().to_string();
    let history = server.info("master_replid");
    let _: String = server.ask(&["REPLICAOF", "127.0.0.1", &nobody]);
    promote(server);
    assert_ne!(server.info("master_replid"), history);
}

#[test]
fn a_reload_brings_no_token_back() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let store = open(&server);
    let [spent, unspent] = [(); 2].map(|()| key());
    for token in [spent, unspent] {
        now(store.create(token, grant(), TTL, 0)).unwrap();
    }
    assert!(matches!(now(store.claim(spent, A)), Ok(Claim::Won(_))));
    assert_eq!(now(store.confirm(spent, A)), Ok(Confirm::Confirmed));
    let _: String = server.ask(&["DEBUG", "RELOAD"]);
    assert_eq!(now(store.claim(spent, B)), Ok(Claim::Spent(Protocol::Serial)));
    assert!(matches!(now(store.claim(unspent, B)), Ok(Claim::Won(_))));
    assert_eq!(now(store.claim(unspent, A)), Ok(Claim::Busy(Protocol::Serial)));
}

#[test]
fn a_history_that_is_new_is_asked_for_before_a_token_is_refused() {
    let primary = Server::start(&[]);
    let store = forgetful(&primary, false);
    assert_eq!(now(store.claim(key(), A)), Ok(Claim::Unknown));
    let before = primary.info("master_replid");
    let replica = Server::start(&["--replicaof", "127.0.0.1", &primary.port().to_string()]);
    replica.follows(&primary);
    assert_ne!(primary.info("master_replid"), before, "the first replica's");
    let token = key();
    now(store.create(token, grant(), TTL, 0)).unwrap();
    assert!(matches!(now(store.claim(token, A)), Ok(Claim::Won(_))));
    assert_eq!((now(store.confirm(token, A)), store.fenced()), (Ok(Confirm::Confirmed), 0));
}

#[test]
fn functions_that_are_not_there_are_loaded_and_two_versions_are_beside_each_other() {
    let server = Server::start(&[]);
    let (store, other) = (open(&server), forgetful(&server, false));
    for flush in [false, true] {
        if flush {
            let _: String = server.ask(&["FUNCTION", "FLUSH"]);
        }
        for store in [&store, &other] {
            let token = key();
            now(store.create(token, grant(), TTL, 0)).unwrap();
            assert!(matches!(now(store.claim(token, A)), Ok(Claim::Won(_))));
            assert_eq!(now(store.confirm(token, A)), Ok(Confirm::Confirmed));
        }
        let libraries: Vec<redis::Value> = server.ask(&["FUNCTION", "LIST"]);
        assert_eq!(libraries.len(), 2);
    }
    assert!(calls(&server, "fcall"));
}

/// Who may not load functions, or not call them, does the same by scripts.
#[test]
fn without_the_right_to_functions_scripts_do() {
    for missing in ["+fcall", "+function|load"] {
        let server = Server::start(&[]);
        for user in access::users() {
            let words = user
                .iter()
                .map(|word| word.replace(&format!("{missing} "), ""))
                .filter(|word| word != missing);
            let words: Vec<_> = words.collect();
            let setting = ["ACL", "SETUSER"].into_iter().chain(words.iter().map(String::as_str));
            let _: String = server.ask(&setting.collect::<Vec<_>>());
        }
        let user = |name: &str| access::user(&server.url(), name);
        let (issuer, proxy) = (user("consolegate-issuer"), user("consolegate-proxy"));
        for _ in 0..2 {
            let token = key();
            now(issuer.create(token, grant(), TTL, 0)).unwrap();
            assert!(matches!(now(proxy.claim(token, A)), Ok(Claim::Won(_))));
            assert_eq!(now(proxy.confirm(token, A)), Ok(Confirm::Confirmed));
        }
        let libraries: Vec<redis::Value> = server.ask(&["FUNCTION", "LIST"]);
        assert!(libraries.is_empty(), "{missing}");
    }
}
