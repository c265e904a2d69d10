//! Coming back to a spent token's session, as every store must allow and refuse it.

use super::super::{Keep, Offer, Resumed};
use super::*;

const WINDOW: Duration = Duration::from_secs(60);
const TIMES: u32 = 3;
const C: Nonce = Nonce(3);

pub(super) const RULES: &[super::Rule] = &[
    ("who has the secret comes back", comes_back),
    ("a secret is good until its successor is used", secrets_change),
    ("the last attempt wins", last_wins),
    ("an attempt is no use until it has its console", counted_once),
    ("the window is strict, and the session's to move", window),
    ("an attempt has its lease", attempt_in_time),
    ("only the holder decides", holder_alone),
    ("a session's longest time is one for all its parts", longest),
    ("nobody comes back to what was revoked", revoked),
    ("without an offer nobody comes back", no_offer),
];

fn offer(secret: TokenKey) -> Offer {
    Offer { secret, times: TIMES, window: WINDOW, longest: None }
}

/// A spent token, and the secret its viewer has.
fn spent(h: &Harness) -> (Story<'_>, TokenKey) {
    let (token, secret) = (Story::begin(h), key());
    token.wins(A);
    let confirmed = |nonce| now(token.store.confirm_with(token.key, nonce, offer(secret)));
    assert_eq!(confirmed(B), Ok(Confirm::Lost));
    assert_eq!(confirmed(A), Ok(Confirm::Confirmed));
    assert_eq!(confirmed(A), Ok(Confirm::Confirmed), "the same answer again");
    (token, secret)
}

impl Story<'_> {
    fn resume(&self, secret: TokenKey, next: TokenKey, nonce: Nonce, expected: bool) {
        let answer = now(self.store.resume(self.key, secret, next, nonce)).unwrap();
        let found = answer.map(|Resumed { grant, longest }| (grant, longest));
        assert_eq!(found, expected.then(|| (self.grant.clone(), None)), "resume by {nonce:?}");
    }

    fn resumed(&self, nonce: Nonce, expected: Confirm) {
        assert_eq!(now(self.store.resumed(self.key, nonce, WINDOW)), Ok(expected), "resumed by {nonce:?}");
    }

    fn keep(&self, nonce: Nonce, window: Duration, expected: Keep) {
        let kept = now(self.store.keep(self.key, nonce, self.grant.clone(), window));
        assert_eq!(kept, Ok(expected), "kept by {nonce:?}");
    }

    fn kept(&self, expected: bool) {
        let grant = expected.then(|| self.grant.clone());
        assert_eq!(now(self.store.kept(self.key)), Ok(grant));
    }

    fn forget(&self, nonce: Nonce) {
        assert_eq!(now(self.store.forget(self.key, nonce)), Ok(()));
    }
}

fn comes_back(h: &Harness) {
    let (token, secret) = spent(h);
    token.resume(key(), key(), B, false);
    token.resume(token.key, key(), B, false);
    token.resume(secret, key(), B, true);
    token.resumed(B, Confirm::Confirmed);
    token.claim(C, Claim::Spent(Protocol::Serial));
    token.peek(None);
    token.kept(true);
}

fn secrets_change(h: &Harness) {
    let (token, first) = spent(h);
    let (second, third) = (key(), key());
    token.resume(first, second, B, true);
    token.resumed(B, Confirm::Confirmed);
    // The 101 with the second was lost: the first is what the viewer has.
    token.resume(first, second, C, true);
    token.resumed(C, Confirm::Confirmed);
    token.resume(second, third, A, true);
    token.resume(first, key(), B, false);
    token.resume(third, key(), B, true);
    token.resumed(B, Confirm::Confirmed);
}

fn last_wins(h: &Harness) {
    let (token, secret) = spent(h);
    token.resume(secret, key(), B, true);
    token.resume(secret, key(), C, true);
    token.resumed(B, Confirm::Lost);
    token.resumed(A, Confirm::Lost);
    token.resumed(C, Confirm::Confirmed);
}

fn counted_once(h: &Harness) {
    let (token, secret) = spent(h);
    let mut secrets = vec![secret];
    for at in 0..TIMES {
        let next = key();
        // The console is down a few times; and answers are lost on the way.
        for _ in 0..5 {
            token.resume(secrets[at as usize], next, B, true);
        }
        token.resumed(B, Confirm::Confirmed);
        token.resumed(B, Confirm::Confirmed);
        secrets.push(next);
    }
    token.resume(secrets[TIMES as usize], key(), C, false);
    token.keep(B, WINDOW, Keep::Kept);
}

fn window(h: &Harness) {
    let (token, secret) = spent(h);
    token.pass(WINDOW - INSTANT);
    token.resume(secret, key(), B, true);

    let (token, secret) = spent(h);
    token.pass(WINDOW);
    token.resume(secret, key(), B, false);
    token.keep(A, WINDOW, Keep::Gone);
    token.claim(B, Claim::Spent(Protocol::Serial));

    // A session of hours.
    let (token, secret) = spent(h);
    for _ in 0..100 {
        token.pass(WINDOW - INSTANT);
        token.keep(A, WINDOW, Keep::Kept);
    }
    // It may shorten the window as well.
    token.keep(A, Duration::from_secs(5), Keep::Kept);
    token.pass(Duration::from_secs(5) - INSTANT);
    token.resume(secret, key(), B, true);
    token.resumed(B, Confirm::Confirmed);
    token.keep(B, Duration::from_secs(5), Keep::Kept);
    token.pass(Duration::from_secs(5));
    token.resume(secret, key(), C, false);
}

fn attempt_in_time(h: &Harness) {
    let (token, secret) = spent(h);
    token.pass(WINDOW - INSTANT);
    token.resume(secret, key(), B, true);
    token.pass(LEASE - INSTANT);
    token.resumed(B, Confirm::Confirmed);
    token.pass(WINDOW - INSTANT);
    token.resume(secret, key(), C, true);
    token.pass(LEASE);
    token.resumed(C, Confirm::Lost);
}

fn holder_alone(h: &Harness) {
    let (token, secret) = spent(h);
    token.keep(B, WINDOW, Keep::Taken);
    token.forget(B);
    let next = key();
    token.resume(secret, next, B, true);
    token.keep(A, WINDOW, Keep::Taken);
    token.forget(A);
    token.resumed(B, Confirm::Confirmed);
    token.forget(B);
    token.resume(next, key(), C, false);
    token.keep(B, WINDOW, Keep::Gone);
    token.resumed(B, Confirm::Lost);
    token.claim(C, Claim::Spent(Protocol::Serial));
}

fn longest(h: &Harness) {
    let token = Story::begin(h);
    let secret = key();
    token.wins(A);
    let ends = Some(Duration::from_secs(100));
    let offered = Offer { longest: ends, ..offer(secret) };
    assert_eq!(now(token.store.confirm_with(token.key, A, offered)), Ok(Confirm::Confirmed));
    token.pass(Duration::from_secs(30));
    let resume = |nonce| now(token.store.resume(token.key, secret, key(), nonce)).unwrap();
    assert_eq!(resume(B).unwrap().longest, Some(Duration::from_secs(70)));
    token.resumed(B, Confirm::Confirmed);
    token.keep(B, Duration::from_secs(600), Keep::Kept);
    token.pass(Duration::from_secs(70) - INSTANT);
    assert_eq!(resume(C).unwrap().longest, Some(INSTANT));
    token.pass(INSTANT);
    assert_eq!(resume(B), None);
    token.resumed(C, Confirm::Lost);
}

fn revoked(h: &Harness) {
    for which in [
        |token: &Story<'_>| Revoke::Token(token.key),
        |token: &Story<'_>| Revoke::Target(token.grant.target.clone()),
        |token: &Story<'_>| Revoke::Project(token.grant.project.clone()),
        |token: &Story<'_>| Revoke::User(token.grant.user.clone()),
    ] {
        let (token, secret) = spent(h);
        // Long after the token's own lifetime.
        for _ in 0..20 {
            token.pass(WINDOW - INSTANT);
            token.keep(A, WINDOW, Keep::Kept);
        }
        // Others come and go: who tidies up behind them must not take it for one of them.
        let other = Story::begin(h);
        assert_eq!(now(token.store.revoke(Revoke::Token(other.key))), Ok(1));
        let next = key();
        token.resume(secret, next, B, true);
        let elsewhere = Revoke::Target("elsewhere".into());
        assert_eq!(now(token.store.revoke(elsewhere)), Ok(0));
        token.resume(secret, next, B, true);
        assert_eq!(now(token.store.revoke(which(&token))), Ok(0), "there is no unspent one");
        token.resumed(B, Confirm::Lost);
        token.resume(next, key(), B, false);
        token.keep(B, WINDOW, Keep::Gone);
        token.kept(false);
    }
}

fn no_offer(h: &Harness) {
    let token = Story::begin(h);
    token.resume(token.key, key(), B, false);
    token.kept(false);
    token.wins(A);
    token.resume(token.key, key(), B, false);
    token.confirm(A, Confirm::Confirmed);
    token.resume(token.key, key(), B, false);
    token.resumed(A, Confirm::Lost);
    token.keep(A, WINDOW, Keep::Gone);
    token.forget(A);
    token.claim(B, Claim::Spent(Protocol::Serial));
}
