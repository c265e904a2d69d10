//! How many tokens there may be: of a store in all, and unspent ones of one target.

use super::*;

/// At most `capacity` records; refusal leaves the others alone; what expired makes room.
pub(crate) fn capacity(harness: &Harness, capacity: usize) {
    let mut tokens: Vec<_> = (1..capacity).map(|_| Story::begin(harness)).collect();
    // A refusal takes no place.
    let again = || now(harness.store.create(tokens[0].key, grant(), TTL, 0));
    (0..capacity).for_each(|_| assert_eq!(again(), Err(StoreError::Exists)));
    tokens.push(Story::begin(harness));
    let create = || now(harness.store.create(key(), grant(), TTL, 0));
    assert_eq!(create(), Err(StoreError::Full(capacity)));
    tokens[0].wins(A);
    tokens[0].confirm(A, Confirm::Confirmed);
    assert_eq!(create(), Err(StoreError::Full(capacity)), "a tombstone counts");
    tokens[1].wins(A);
    (harness.advance)(TTL);
    (1..capacity).for_each(|_| assert_eq!(create(), Ok(())));
    assert_eq!(create(), Err(StoreError::Full(capacity)), "one tombstone and the new ones");
    tokens[0].claim(B, Claim::Spent(Protocol::Serial));
}

/// At most so many unspent tokens of one target: spent and expired ones free their places, to the instant.
pub(crate) fn outstanding(harness: &Harness) {
    let store = &*harness.store;
    let of = |target: &str| Grant { target: target.into(), ..grant() };
    let create = |target: &str, ttl: Duration, most: usize| {
        let key = key();
        now(store.create(key, of(target), ttl, most)).map(|()| key)
    };
    let refused = |target: &str| {
        assert_eq!(create(target, TTL, 3), Err(StoreError::Outstanding(3)));
    };
    let spend = |key: TokenKey| {
        assert!(matches!(now(store.claim(key, A)), Ok(Claim::Won(_))));
        assert_eq!(now(store.confirm(key, A)), Ok(Confirm::Confirmed));
    };
    let [first, second, third] = [TTL, 2 * TTL, 2 * TTL].map(|ttl| create("a", ttl, 3).unwrap());
    refused("a");
    create("b", TTL, 3).unwrap();
    // Uncounted ones are neither refused nor in the way.
    create("a", TTL, 0).unwrap();
    refused("a");
    assert_eq!(now(store.create(second, of("c"), TTL, 1)), Err(StoreError::Exists));
    create("c", TTL, 1).unwrap();
    // A claim is no use yet, nor is its release.
    assert!(matches!(now(store.claim(second, A)), Ok(Claim::Won(_))));
    refused("a");
    assert_eq!(now(store.release(second, A)), Ok(()));
    refused("a");
    spend(second);
    let fourth = create("a", 2 * TTL, 3).unwrap();
    refused("a");
    // A repeated confirm frees no second place.
    assert_eq!(now(store.confirm(second, A)), Ok(Confirm::Confirmed));
    refused("a");
    (harness.advance)(TTL - INSTANT);
    refused("a");
    (harness.advance)(INSTANT);
    assert_eq!(now(store.claim(first, A)), Ok(Claim::Unknown));
    create("a", 2 * TTL, 3).unwrap();
    refused("a");
    // Of one that is confirmed after its expiry (the claim was in time), one place comes free, not two.
    (harness.advance)(TTL - INSTANT);
    assert!(matches!(now(store.claim(third, A)), Ok(Claim::Won(_))));
    (harness.advance)(INSTANT);
    (0..2).for_each(|_| _ = create("a", TTL, 3).unwrap());
    refused("a");
    assert_eq!(now(store.confirm(third, A)), Ok(Confirm::Confirmed));
    refused("a");
    assert_eq!(now(store.claim(fourth, A)), Ok(Claim::Unknown));
}

/// `racers` threads ask for tokens of one target at the same time, `most` of which may be unspent: so many get
/// one, and of the places that spending frees, each goes to one.
pub(crate) fn outstanding_races(harness: &Harness, racers: usize, most: usize) {
    let store = &*harness.store;
    let race = |tries: usize| {
        let start = Barrier::new(racers);
        thread::scope(|scope| {
            let racer = || {
                start.wait();
                let keys = (0..tries).map(|_| key());
                keys.filter(|key| now(store.create(*key, grant(), TTL, most)).is_ok()).collect::<Vec<_>>()
            };
            let all: Vec<_> = (0..racers).map(|_| scope.spawn(racer)).collect();
            all.into_iter().flat_map(|racer| racer.join().unwrap()).collect::<Vec<_>>()
        })
    };
    let mut live = race(3);
    assert_eq!(live.len(), most);
    for spent in [1, most / 2, most] {
        for key in live.drain(..spent) {
            assert!(matches!(now(store.claim(key, A)), Ok(Claim::Won(_))));
            assert_eq!(now(store.confirm(key, A)), Ok(Confirm::Confirmed));
        }
        let more = race(3);
        assert_eq!(more.len(), spent);
        live.extend(more);
    }
}
