//! What every token store must do, as a suite any of them runs: given a store and a way to let time pass.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use uuid::Uuid;

use crate::ids::{Generation, GrantId, ProjectId, Protocol, RequestId, TargetId, UserId};

use super::{
    Claim, Confirm, Grant, LEASE, Nonce, Options, Peek, Revoke, Store, StoreError, TOMBSTONE, TokenKey,
};

mod comeback;
mod limits;
pub(crate) mod model;

pub(crate) use limits::{capacity, outstanding, outstanding_races};

const TTL: Duration = Duration::from_secs(600);
const INSTANT: Duration = Duration::from_millis(1);

/// A store under test.
pub(crate) struct Harness {
    pub(crate) store: Arc<dyn Store>,
    /// Lets this much time pass for the store, in whole milliseconds.
    pub(crate) advance: Box<dyn Fn(Duration)>,
}

/// A fresh random key.
pub(crate) fn key() -> TokenKey {
    let (a, b) = (Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes());
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&a);
    bytes[16..].copy_from_slice(&b);
    TokenKey::from(bytes)
}

/// A grant like no other.
pub(crate) fn grant() -> Grant {
    Grant {
        id: GrantId(Uuid::new_v4()),
        request: RequestId::random(),
        target: TargetId::from("47e9be4e-a7b9-471f-92d9-ffc83814e07a"),
        generation: Generation(7),
        protocol: Protocol::Serial,
        project: ProjectId::from("9c53a566cb3443ab910cf0daebca90c4"),
        user: UserId::from("demo"),
        options: Options::default(),
    }
}

/// Waits for an answer. A store in memory is ready at once; one across a network may take its time.
pub(crate) fn now<T>(answer: impl Future<Output = T>) -> T {
    let mut answer = pin!(answer);
    match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(answer)
        }
    }
}

/// Short names for the calls, for tests that read as a story.
struct Story<'a> {
    store: &'a dyn Store,
    key: TokenKey,
    grant: Arc<Grant>,
    advance: &'a dyn Fn(Duration),
}

const A: Nonce = Nonce(1);
const B: Nonce = Nonce(2);

impl<'a> Story<'a> {
    /// A fresh token with [`TTL`] ahead of it.
    fn begin(harness: &'a Harness) -> Self {
        let (store, key, grant) = (&*harness.store, key(), grant());
        assert_eq!(now(store.create(key, grant.clone(), TTL, 0)), Ok(()));
        Self { store, key, grant: Arc::new(grant), advance: &*harness.advance }
    }

    fn pass(&self, time: Duration) {
        (self.advance)(time);
    }

    fn claim(&self, nonce: Nonce, expected: Claim) {
        assert_eq!(now(self.store.claim(self.key, nonce)), Ok(expected), "claim by {nonce:?}");
    }

    fn wins(&self, nonce: Nonce) {
        self.claim(nonce, Claim::Won(self.grant.clone()));
    }

    fn confirm(&self, nonce: Nonce, expected: Confirm) {
        assert_eq!(now(self.store.confirm(self.key, nonce)), Ok(expected), "confirm by {nonce:?}");
    }

    fn release(&self, nonce: Nonce) {
        assert_eq!(now(self.store.release(self.key, nonce)), Ok(()));
    }

    fn peek(&self, remaining: Option<Duration>) {
        let expected = remaining.map(|remaining| Peek { grant: self.grant.clone(), remaining });
        assert_eq!(now(self.store.peek(self.key)), Ok(expected));
    }
}

/// One rule, in words and as a test.
type Rule = (&'static str, fn(&Harness));

/// Every rule that needs no crowd.
#[expect(clippy::print_stderr, reason = "captured by the test harness, shown beside a failed assertion")]
pub(crate) fn semantics(harness: &Harness) {
    let rules: &[Rule] = &[
        ("a token opens once", opens_once),
        ("an unknown token is unknown", unknown),
        ("a key in use is not given twice", exists),
        ("expiry is strict", expiry),
        ("expiry bounds the start", expiry_during_dial),
        ("a failed dial gives the token back", release_after_failed_dial),
        ("only the holder gives back", release_by_another),
        ("a claim whose holder died runs out", holder_died),
        ("a repeated claim gets the same answer", repeated_claim),
        ("a repeated claim is no longer lease", repeated_claim_extends_nothing),
        ("a repeated confirm gets the same answer", repeated_confirm),
        ("a lease lost to another confirms nothing", lost_lease),
        ("a lease run out confirms nothing", late_confirm),
        ("peek consumes nothing", peek_consumes_nothing),
        ("a tombstone says used, then nothing", tombstone),
        ("release and expiry leave no tombstone", no_tombstone),
        ("revoked is as if never issued", revoked_token),
        ("revoking leaves what is not named", revoked_many),
    ];
    for (name, rule) in rules.iter().chain(comeback::RULES) {
        eprintln!("rule: {name}");
        rule(harness);
    }
}

fn opens_once(h: &Harness) {
    let token = Story::begin(h);
    token.wins(A);
    token.claim(B, Claim::Busy(Protocol::Serial));
    token.confirm(B, Confirm::Lost);
    token.confirm(A, Confirm::Confirmed);
    token.claim(B, Claim::Spent(Protocol::Serial));
    token.claim(A, Claim::Spent(Protocol::Serial));
    token.confirm(B, Confirm::Lost);
}

fn unknown(h: &Harness) {
    let token = Story { key: key(), ..Story::begin(h) };
    token.claim(A, Claim::Unknown);
    token.confirm(A, Confirm::Lost);
    token.release(A);
    token.peek(None);
    token.claim(A, Claim::Unknown);
}

fn exists(h: &Harness) {
    let again = |token: &Story<'_>| now(token.store.create(token.key, grant(), TTL, 0));
    let token = Story::begin(h);
    assert_eq!(again(&token), Err(StoreError::Exists), "fresh");
    token.peek(Some(TTL));
    token.wins(A);
    assert_eq!(again(&token), Err(StoreError::Exists), "claimed");
    token.confirm(A, Confirm::Confirmed);
    assert_eq!(again(&token), Err(StoreError::Exists), "spent");
    token.claim(B, Claim::Spent(Protocol::Serial));
}

fn expiry(h: &Harness) {
    let token = Story::begin(h);
    token.pass(TTL - INSTANT);
    token.peek(Some(INSTANT));
    token.wins(A);
    token.release(A);
    token.pass(INSTANT);
    token.peek(None);
    token.claim(B, Claim::Unknown);
    token.claim(A, Claim::Unknown);
}

fn expiry_during_dial(h: &Harness) {
    let token = Story::begin(h);
    token.pass(TTL - INSTANT);
    token.wins(A);
    token.pass(LEASE - INSTANT);
    token.claim(B, Claim::Unknown);
    token.peek(None);
    token.wins(A);
    token.confirm(A, Confirm::Confirmed);
    token.claim(B, Claim::Spent(Protocol::Serial));

    let token = Story::begin(h);
    token.pass(TTL - INSTANT);
    token.wins(A);
    token.pass(INSTANT);
    token.release(A);
    token.claim(A, Claim::Unknown);
    token.confirm(A, Confirm::Lost);
}

fn release_after_failed_dial(h: &Harness) {
    let token = Story::begin(h);
    token.wins(A);
    token.release(A);
    token.peek(Some(TTL));
    token.confirm(A, Confirm::Lost);
    token.wins(B);
    token.confirm(B, Confirm::Confirmed);
}

fn release_by_another(h: &Harness) {
    let token = Story::begin(h);
    token.wins(A);
    token.release(B);
    token.claim(B, Claim::Busy(Protocol::Serial));
    token.confirm(A, Confirm::Confirmed);
    token.release(A);
    token.claim(B, Claim::Spent(Protocol::Serial));

    let token = Story::begin(h);
    token.wins(A);
    token.pass(LEASE);
    token.wins(B);
    token.release(A);
    token.claim(A, Claim::Busy(Protocol::Serial));
}

fn holder_died(h: &Harness) {
    let token = Story::begin(h);
    token.wins(A);
    token.pass(LEASE - INSTANT);
    token.claim(B, Claim::Busy(Protocol::Serial));
    token.pass(INSTANT);
    token.wins(B);
    token.claim(A, Claim::Busy(Protocol::Serial));
}

fn repeated_claim(h: &Harness) {
    let token = Story::begin(h);
    token.wins(A);
    token.wins(A);
    token.pass(LEASE - INSTANT);
    token.wins(A);
    token.confirm(A, Confirm::Confirmed);
}

fn repeated_claim_extends_nothing(h: &Harness) {
    let token = Story::begin(h);
    token.wins(A);
    token.pass(LEASE - INSTANT);
    token.wins(A);
    token.pass(INSTANT);
    token.confirm(A, Confirm::Lost);
    token.wins(B);
}

fn repeated_confirm(h: &Harness) {
    let token = Story::begin(h);
    token.wins(A);
    for _ in 0..3 {
        token.confirm(A, Confirm::Confirmed);
        token.pass(LEASE);
    }
}

fn lost_lease(h: &Harness) {
    let token = Story::begin(h);
    token.wins(A);
    token.pass(LEASE);
    token.wins(B);
    token.confirm(A, Confirm::Lost);
    token.confirm(B, Confirm::Confirmed);
    token.confirm(A, Confirm::Lost);
}

fn late_confirm(h: &Harness) {
    let token = Story::begin(h);
    token.wins(A);
    token.pass(LEASE);
    token.confirm(A, Confirm::Lost);
    token.wins(A);
    token.confirm(A, Confirm::Confirmed);
}

fn peek_consumes_nothing(h: &Harness) {
    let token = Story::begin(h);
    (0..100).for_each(|_| token.peek(Some(TTL)));
    token.wins(A);
    token.peek(Some(TTL));
    token.confirm(A, Confirm::Confirmed);
    token.peek(None);
}

fn tombstone(h: &Harness) {
    let token = Story::begin(h);
    token.wins(A);
    token.confirm(A, Confirm::Confirmed);
    // Kept from expiry, not from use, for at least so long; a store may keep it longer, but not for ever.
    token.pass(TTL + TOMBSTONE - INSTANT);
    token.claim(B, Claim::Spent(Protocol::Serial));
    token.confirm(A, Confirm::Confirmed);
    token.pass(TTL + TOMBSTONE);
    token.claim(B, Claim::Unknown);
    token.confirm(A, Confirm::Lost);
    // Forgotten altogether: the key is as good as new.
    assert_eq!(now(token.store.create(token.key, grant(), TTL, 0)), Ok(()));

    // Spent after its expiry (the claim was in time): remembered as long, from its use.
    let token = Story::begin(h);
    token.pass(TTL - INSTANT);
    token.wins(A);
    token.pass(LEASE - INSTANT);
    token.confirm(A, Confirm::Confirmed);
    token.pass(TOMBSTONE - INSTANT);
    token.claim(B, Claim::Spent(Protocol::Serial));
}

fn no_tombstone(h: &Harness) {
    let token = Story::begin(h);
    token.wins(A);
    token.release(A);
    token.pass(TTL);
    token.claim(A, Claim::Unknown);
    assert_eq!(now(token.store.create(token.key, grant(), TTL, 0)), Ok(()));
}

fn revoked_token(h: &Harness) {
    let revoke = |token: &Story<'_>| now(token.store.revoke(Revoke::Token(token.key)));
    let fresh = Story::begin(h);
    assert_eq!(revoke(&fresh), Ok(1));
    assert_eq!(revoke(&fresh), Ok(0));
    fresh.peek(None);
    fresh.claim(A, Claim::Unknown);
    assert_eq!(now(fresh.store.create(fresh.key, grant(), TTL, 0)), Ok(()), "the key is as good as new");

    // Between claim and confirm: the session must not open.
    let claimed = Story::begin(h);
    claimed.wins(A);
    assert_eq!(revoke(&claimed), Ok(1));
    claimed.confirm(A, Confirm::Lost);
    claimed.release(A);
    claimed.claim(B, Claim::Unknown);
    // Nor does the old claim hold what is issued under its key afterwards.
    let anew = grant();
    assert_eq!(now(h.store.create(claimed.key, anew.clone(), TTL, 0)), Ok(()));
    let anew = Story { grant: Arc::new(anew), ..claimed };
    anew.confirm(A, Confirm::Lost);
    anew.wins(B);

    let spent = Story::begin(h);
    spent.wins(A);
    spent.confirm(A, Confirm::Confirmed);
    assert_eq!(revoke(&spent), Ok(0), "there is nothing left to take back");
    spent.claim(B, Claim::Spent(Protocol::Serial));

    let expired = Story::begin(h);
    expired.pass(TTL);
    assert_eq!(revoke(&expired), Ok(0));
}

fn revoked_many(h: &Harness) {
    let make = |target: &str, project: &str, user: &str, most: usize| {
        let key = key();
        let (target, project, user) = (target.into(), project.into(), user.into());
        let grant = Grant { target, project, user, ..grant() };
        now(h.store.create(key, grant, TTL, most)).map(|()| key)
    };
    let is_live = |key: TokenKey| now(h.store.peek(key)).unwrap().is_some();
    let keys = [("t1", "p1", "u1"), ("t1", "p1", "u2"), ("t2", "p1", "u1"), ("t3", "p2", "u2")]
        .map(|(target, project, user)| make(target, project, user, 2).unwrap());
    assert_eq!(make("t1", "p1", "u1", 2), Err(StoreError::Outstanding(2)));
    let revoke = |which: Revoke| now(h.store.revoke(which)).unwrap();
    assert_eq!(revoke(Revoke::Target("t9".into())), 0);
    assert_eq!(revoke(Revoke::Target("t1".into())), 2);
    assert_eq!(keys.map(is_live), [false, false, true, true]);
    make("t1", "p1", "u1", 2).expect("the places of revoked tokens are free");
    assert_eq!(revoke(Revoke::Project("p1".into())), 2);
    assert_eq!(keys.map(is_live), [false, false, false, true]);
    assert_eq!(revoke(Revoke::User("u1".into())), 0);
    assert_eq!(revoke(Revoke::User("u2".into())), 1);
    assert_eq!(keys.map(is_live), [false; 4]);
}

/// `racers` threads go through the same `tokens` tokens at the same time, each claiming and confirming every
/// one: each token is won once and confirmed once.
pub(crate) fn races(harness: &Harness, tokens: usize, racers: usize) {
    let store = &*harness.store;
    let keys: Vec<_> = (0..tokens).map(|_| key()).collect();
    for key in &keys {
        assert_eq!(now(store.create(*key, grant(), TTL, 0)), Ok(()));
    }
    let tally: Vec<_> = keys.iter().map(|_| [AtomicUsize::new(0), AtomicUsize::new(0)]).collect();
    let start = Barrier::new(racers);
    thread::scope(|scope| {
        for racer in 1..=racers {
            let (start, keys, tally) = (&start, &keys, &tally);
            scope.spawn(move || {
                start.wait();
                for (key, [won, confirmed]) in keys.iter().zip(tally) {
                    let nonce = Nonce(racer as u128);
                    let claim = now(store.claim(*key, nonce)).unwrap();
                    won.fetch_add(usize::from(matches!(claim, Claim::Won(_))), Ordering::Relaxed);
                    // Losers try as well: a confirm must not believe its caller.
                    let confirm = now(store.confirm(*key, nonce)).unwrap();
                    confirmed.fetch_add(usize::from(confirm == Confirm::Confirmed), Ordering::Relaxed);
                }
            });
        }
    });
    for [won, confirmed] in &tally {
        assert_eq!((won.load(Ordering::Relaxed), confirmed.load(Ordering::Relaxed)), (1, 1));
    }
}
