//! Sentinels and clusters: the same store, found in other ways.

use super::*;
use testing::{Cluster, Guarded};

/// The primary is killed; the Sentinel promotes its replica, and the store follows.
#[test]
fn sentinels_lead_to_the_new_primary_and_old_tokens_are_fenced() {
    let Guarded { mut primary, replica, sentinel } = Guarded::start("tokens");
    // One of the Sentinels is not there.
    let nodes = format!("127.0.0.1:{},127.0.0.1:{}", testing::free_port(), sentinel.port());
    let by = |place: &str| {
        let login = format!("redis.sentinel_password = \"{}\"", testing::SENTINEL_PASSWORD);
        RedisStore::open(&settings(&format!("store = \"redis-sentinel://{place}\"\n{login}"))).unwrap()
    };
    let store = by(&format!("{nodes}/tokens"));
    let [before, spent] = [(); 2].map(|()| key());
    for token in [before, spent] {
        now(store.create(token, grant(), TTL, 3)).unwrap();
    }
    assert!(matches!(now(store.claim(spent, A)), Ok(Claim::Won(_))));
    replica.follows(&primary);
    primary.kill();
    let after = key();
    until("the new primary", || now(store.create(after, grant(), TTL, 3)).ok());
    assert_eq!(replica.info("role"), "master");
    assert_eq!(now(store.confirm(spent, A)), Ok(Confirm::Lost));
    assert_eq!(now(store.claim(before, A)), Ok(Claim::Unknown));
    assert_eq!(store.fenced(), 2);
    assert!(matches!(now(store.claim(after, A)), Ok(Claim::Won(_))));
    assert_eq!(now(store.confirm(after, A)), Ok(Confirm::Confirmed));
    // What the failover fenced takes no place.
    for _ in 0..3 {
        assert_eq!(now(store.create(key(), grant(), TTL, 3)), Ok(()));
    }
    assert_eq!(now(store.create(key(), grant(), TTL, 3)), Err(StoreError::Outstanding(3)));
    let answer = now(by(&format!("127.0.0.1:{}/other", sentinel.port())).peek(before));
    assert!(matches!(&answer, Err(StoreError::Unavailable(why)) if why.contains("other")), "{answer:?}");
}

#[test]
fn a_cluster_keeps_each_token_on_one_node_and_fences_a_node_that_failed_over() {
    let cluster = Cluster::start();
    let store = RedisStore::open(&at(&cluster.url())).unwrap();
    let keys: Vec<_> = (0..60).map(|_| key()).collect();
    for token in &keys {
        now(store.create(*token, grant(), TTL, 60)).unwrap();
    }
    assert_eq!(now(store.create(key(), grant(), TTL, 60)), Err(StoreError::Outstanding(60)));
    let (spent, kept) = keys.split_at(20);
    for token in spent {
        assert!(matches!(now(store.claim(*token, A)), Ok(Claim::Won(_))));
        assert_eq!(now(store.claim(*token, B)), Ok(Claim::Busy(Protocol::Serial)));
        assert_eq!(now(store.confirm(*token, A)), Ok(Confirm::Confirmed));
        assert_eq!(now(store.claim(*token, B)), Ok(Claim::Spent(Protocol::Serial)));
    }
    cluster.take_over();
    let moved = |token: &&TokenKey| {
        let answer = until("the new primary", || now(store.claim(**token, A)).ok());
        assert!(matches!(answer, Claim::Won(_) | Claim::Unknown), "{answer:?}");
        answer == Claim::Unknown
    };
    let moved = kept.iter().filter(moved).count();
    assert!((1..kept.len()).contains(&moved), "{moved} of {} were on the first node", kept.len());
    assert_eq!(store.fenced(), moved as u64);
    for token in spent {
        assert_eq!(
            now(store.claim(*token, B)),
            Ok(Claim::Spent(Protocol::Serial)),
            "tombstones are no tokens"
        );
    }
    // The users of the README, with the one right more that a cluster takes.
    for node in &cluster.nodes {
        access::users().into_iter().for_each(|user| {
            let words = ["ACL", "SETUSER"].into_iter().chain(user.iter().map(String::as_str));
            let _: String = node.ask(&words.chain(["+cluster|slots"]).collect::<Vec<_>>());
        });
    }
    let user = |name: &str| access::user(&cluster.url(), name);
    let (issuer, proxy) = (user("consolegate-issuer"), user("consolegate-proxy"));
    for token in [(); 10].map(|()| key()) {
        now(issuer.create(token, grant(), TTL, 60)).unwrap();
        assert!(matches!(now(proxy.claim(token, A)), Ok(Claim::Won(_))));
        assert_eq!(now(proxy.confirm(token, A)), Ok(Confirm::Confirmed));
    }
    let fresh: Vec<_> = (0..30).map(|_| key()).collect();
    for token in &fresh {
        assert_eq!(now(store.create(*token, grant(), TTL, 0)), Ok(()));
    }
    let revoked = now(store.revoke(Revoke::User("demo".into())));
    assert_eq!(revoked, Ok(kept.len() - moved + fresh.len()), "all that is left, on every node");
    assert!(fresh.iter().all(|token| now(store.claim(*token, A)) == Ok(Claim::Unknown)));
}
