//! Servers that lost what they promised: a promoted replica, an old primary that lives on, data from a file.

use super::*;

const TOKENS: usize = 200;

fn tokens(store: &RedisStore) -> Vec<TokenKey> {
    let keys: Vec<_> = (0..TOKENS).map(|_| key()).collect();
    keys.iter().for_each(|key| now(store.create(*key, grant(), TTL, 0)).unwrap());
    keys
}

/// Whether the token opens a session.
fn opens(store: &RedisStore, key: TokenKey, nonce: Nonce) -> bool {
    matches!(now(store.claim(key, nonce)).unwrap(), Claim::Won(_))
        && now(store.confirm(key, nonce)).unwrap() == Confirm::Confirmed
}

/// What takes the fence out.
const FENCE: (&str, &str) = ("if string.find(value, history .. ' ', 1, true) ~= 1 then", "if false then");

/// And what takes it out for those who come back.
const FENCE_BACK: (&str, &str) = ("elseif got[1] ~= history then", "elseif false then");

fn scripts(fenced: bool) -> Scripts {
    if fenced {
        return Scripts::new();
    }
    Scripts::new().edited(FENCE.0, FENCE.1).edited(FENCE_BACK.0, FENCE_BACK.1)
}

fn store(server: &Server, fenced: bool) -> RedisStore {
    RedisStore::with_scripts(&at(&server.url()), scripts(fenced)).unwrap()
}

/// A replica is promoted while its primary lives on, and proxies are on both sides. Returns how many tokens opened
/// twice, and how many were fenced.
fn split_brain(fenced: bool) -> (usize, u64) {
    let primary = Server::start(&[]);
    let replica = Server::start(&["--replicaof", "127.0.0.1", &primary.port().to_string()]);
    // The first replica changes a primary's history; tokens come after that.
    replica.follows(&primary);
    let before = store(&primary, fenced);
    let keys = tokens(&before);
    replica.follows(&primary);
    let _: String = replica.ask(&["REPLICAOF", "NO", "ONE"]);
    let after = store(&replica, fenced);
    let twice = keys.iter().filter(|key| {
        let old = opens(&before, **key, A);
        assert!(old, "the side that issued it opens it");
        opens(&after, **key, B)
    });
    let twice = twice.count();
    // The new primary is as good as any.
    assert!(tokens(&after).into_iter().all(|key| opens(&after, key, B)));
    // The old one becomes a replica, and then decides nothing any more.
    let fresh = key();
    now(before.create(fresh, grant(), TTL, 0)).unwrap();
    now(before.claim(fresh, A)).unwrap();
    let _: String = primary.ask(&["REPLICAOF", "127.0.0.1", &replica.port().to_string()]);
    primary.follows(&replica);
    assert!(matches!(now(before.confirm(fresh, A)), Err(StoreError::Unavailable(_))));
    (twice, after.fenced())
}

#[test]
fn no_token_opens_on_both_sides_of_a_split() {
    for _ in 0..3 {
        assert_eq!(split_brain(true), (0, TOKENS as u64));
    }
}

#[test]
fn without_the_fence_every_token_opens_on_both_sides() {
    assert_eq!(split_brain(false), (TOKENS, 0));
}

/// The server comes back with the data of an hour ago, so to say.
fn revived(fenced: bool) -> usize {
    let mut server = Server::start(&[]);
    let store = store(&server, fenced);
    let keys = tokens(&store);
    let _: String = server.ask(&["SAVE"]);
    assert!(keys.iter().all(|key| opens(&store, *key, A)));
    server.kill();
    server.restart();
    assert_ne!(server.ask::<i64>(&["DBSIZE"]), 0, "the tokens are back");
    keys.into_iter().filter(|key| opens(&store, *key, B)).count()
}

#[test]
fn what_a_file_brings_back_opens_nothing() {
    assert_eq!(revived(true), 0);
    assert_eq!(revived(false), TOKENS, "without the fence");
}

/// Between claim and confirm the primary is lost: the session must not open, on neither side later.
#[test]
fn a_claim_does_not_survive_a_failover() {
    let mut primary = Server::start(&[]);
    let replica = Server::start(&["--replicaof", "127.0.0.1", &primary.port().to_string()]);
    replica.follows(&primary);
    let before = store(&primary, true);
    let token = key();
    now(before.create(token, grant(), TTL, 0)).unwrap();
    now(before.claim(token, A)).unwrap();
    replica.follows(&primary);
    primary.kill();
    let _: String = replica.ask(&["REPLICAOF", "NO", "ONE"]);
    let after = store(&replica, true);
    assert_eq!(now(after.confirm(token, A)), Ok(Confirm::Lost));
    assert_eq!(now(after.claim(token, A)), Ok(Claim::Unknown));
    assert_eq!((now(after.peek(token)), after.fenced()), (Ok(None), 2));
}

/// A replica that takes writes would give everything out once more.
#[test]
fn a_writable_replica_decides_nothing() {
    let primary = Server::start(&[]);
    let replica = Server::start(&["--replica-read-only", "no"]);
    let (before, aside) = (open(&primary), open(&replica));
    let _: String = replica.ask(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]);
    replica.follows(&primary);
    let token = key();
    now(before.create(token, grant(), TTL, 0)).unwrap();
    replica.follows(&primary);
    assert!(matches!(now(aside.claim(token, B)), Err(StoreError::Unavailable(_))));
    assert!(opens(&before, token, A));
}

/// A replica that is promoted may not have heard that a viewer was taken back, or kept out.
fn comes_back_after_a_failover(fenced: bool) -> bool {
    let primary = Server::start(&[]);
    let replica = Server::start(&["--replicaof", "127.0.0.1", &primary.port().to_string()]);
    replica.follows(&primary);
    let before = store(&primary, fenced);
    let (token, secret) = (key(), key());
    now(before.create(token, grant(), TTL, 0)).unwrap();
    now(before.claim(token, A)).unwrap();
    let offer = Offer { secret, times: 3, window: TTL, longest: None };
    now(before.confirm_with(token, A, offer)).unwrap();
    replica.follows(&primary);
    let _: String = replica.ask(&["REPLICAOF", "NO", "ONE"]);
    now(before.forget(token, A)).unwrap();
    let after = store(&replica, fenced);
    now(after.resume(token, secret, key(), B)).unwrap().is_some()
}

#[test]
fn nobody_comes_back_to_a_session_from_before_a_failover() {
    assert!(!comes_back_after_a_failover(true));
    assert!(comes_back_after_a_failover(false), "without the fence");
}
