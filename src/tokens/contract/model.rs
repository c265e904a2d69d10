//! Random walks beside a model of a token store that keeps one token's history and nothing else.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::super::{Claim, Confirm, LEASE, Nonce, Revoke, StoreError, TOMBSTONE, TokenKey};
use super::{Harness, grant, key, now};

/// One call, on one of a few tokens, by one of a few holders.
#[derive(Clone, Copy, Debug)]
enum Step {
    Create(usize, Duration),
    Claim(usize, Nonce),
    Confirm(usize, Nonce),
    Release(usize, Nonce),
    Peek(usize),
    Revoke(usize),
    Pass(Duration),
}

const TOKENS: usize = 3;

fn step() -> impl Strategy<Value = Step> {
    let token = 0..TOKENS;
    let nonce = (1..4_u128).prop_map(Nonce);
    // Spans around the limits, so that walks meet their edges to the millisecond.
    let span = prop_oneof![
        Just(1_u64),
        Just(LEASE.as_secs() * 1000),
        Just(LEASE.as_secs() * 1000 - 1),
        Just(30_000),
        Just(TOMBSTONE.as_secs() * 1000),
        0..100_000_u64,
    ];
    let span = span.prop_map(Duration::from_millis).boxed();
    prop_oneof![
        2 => (token.clone(), span.clone()).prop_map(|(t, ttl)| Step::Create(t, ttl)),
        5 => (token.clone(), nonce.clone()).prop_map(|(t, n)| Step::Claim(t, n)),
        4 => (token.clone(), nonce.clone()).prop_map(|(t, n)| Step::Confirm(t, n)),
        2 => (token.clone(), nonce).prop_map(|(t, n)| Step::Release(t, n)),
        1 => token.clone().prop_map(Step::Peek),
        1 => token.prop_map(Step::Revoke),
        4 => span.prop_map(Step::Pass),
    ]
}

/// What happened to one token.
#[derive(Clone, Copy, Debug, Default)]
struct History {
    expires: Option<Duration>,
    claimed: Option<(Nonce, Duration)>,
    spent: Option<(Nonce, Duration)>,
}

#[derive(Debug, PartialEq)]
enum Answer {
    Done,
    Exists,
    Won,
    Busy,
    Spent,
    Unknown,
    Confirmed,
    Lost,
    Remaining(Option<Duration>),
    Revoked(usize),
}

impl History {
    fn fresh(&self, now: Duration) -> bool {
        self.spent.is_none() && self.expires.is_some_and(|at| now < at)
    }

    fn holder(&self, now: Duration) -> Option<Nonce> {
        self.claimed.filter(|(_, since)| self.spent.is_none() && now < *since + LEASE).map(|(nonce, _)| nonce)
    }

    /// Who spent it, while that is remembered: from expiry or use, whichever is later.
    fn spender(&self, now: Duration) -> Option<Nonce> {
        let from = |at: Duration| at.max(self.expires.unwrap_or_default());
        self.spent.filter(|(_, at)| now < from(*at) + TOMBSTONE).map(|(nonce, _)| nonce)
    }

    fn expect(&mut self, step: Step, now: Duration) -> Answer {
        match step {
            Step::Create(_, ttl) => {
                if self.fresh(now) || self.holder(now).is_some() || self.spender(now).is_some() {
                    return Answer::Exists;
                }
                *self = Self { expires: Some(now + ttl), ..Self::default() };
                Answer::Done
            }
            Step::Claim(_, nonce) => match self.holder(now) {
                _ if self.spender(now).is_some() => Answer::Spent,
                Some(holder) if holder == nonce => Answer::Won,
                _ if !self.fresh(now) => Answer::Unknown,
                Some(_) => Answer::Busy,
                None => {
                    self.claimed = Some((nonce, now));
                    Answer::Won
                }
            },
            Step::Confirm(_, nonce) if self.holder(now) == Some(nonce) => {
                self.spent = Some((nonce, now));
                Answer::Confirmed
            }
            Step::Confirm(_, nonce) if self.spender(now) == Some(nonce) => Answer::Confirmed,
            Step::Confirm(..) => Answer::Lost,
            Step::Release(_, nonce) => {
                self.claimed = self.claimed.filter(|_| self.holder(now) != Some(nonce));
                Answer::Done
            }
            Step::Peek(_) => {
                Answer::Remaining(self.expires.filter(|_| self.fresh(now)).map(|expires| expires - now))
            }
            Step::Revoke(_) => {
                let live = self.fresh(now) || self.holder(now).is_some();
                if live {
                    *self = Self::default();
                }
                Answer::Revoked(usize::from(live))
            }
            Step::Pass(_) => Answer::Done,
        }
    }
}

fn perform(harness: &Harness, keys: &[TokenKey], step: Step) -> Answer {
    let store = &harness.store;
    match step {
        Step::Create(token, ttl) => match now(store.create(keys[token], grant(), ttl, 0)) {
            Ok(()) => Answer::Done,
            Err(StoreError::Exists) => Answer::Exists,
            Err(error) => panic!("{error}"),
        },
        Step::Claim(token, nonce) => match now(store.claim(keys[token], nonce)).unwrap() {
            Claim::Won(_) => Answer::Won,
            Claim::Busy(_) => Answer::Busy,
            Claim::Spent(_) => Answer::Spent,
            Claim::Unknown => Answer::Unknown,
        },
        Step::Confirm(token, nonce) => match now(store.confirm(keys[token], nonce)).unwrap() {
            Confirm::Confirmed => Answer::Confirmed,
            Confirm::Lost => Answer::Lost,
        },
        Step::Release(token, nonce) => {
            now(store.release(keys[token], nonce)).unwrap();
            Answer::Done
        }
        Step::Peek(token) => {
            Answer::Remaining(now(store.peek(keys[token])).unwrap().map(|peek| peek.remaining))
        }
        Step::Revoke(token) => Answer::Revoked(now(store.revoke(Revoke::Token(keys[token]))).unwrap()),
        Step::Pass(time) => {
            (harness.advance)(time);
            Answer::Done
        }
    }
}

/// Walks at random; store and model must give the same answers all the way.
pub(crate) fn agrees(make: impl Fn() -> Harness) {
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(500) });
    let walk = |steps: Vec<Step>| {
        let harness = make();
        let keys: Vec<_> = (0..TOKENS).map(|_| key()).collect();
        let mut histories = [History::default(); TOKENS];
        let mut time = Duration::ZERO;
        for (at, step) in steps.into_iter().enumerate() {
            let history = match step {
                Step::Create(t, _) | Step::Claim(t, _) | Step::Confirm(t, _) => &mut histories[t],
                Step::Release(t, _) | Step::Peek(t) | Step::Revoke(t) => &mut histories[t],
                Step::Pass(by) => {
                    time += by;
                    &mut histories[0]
                }
            };
            let expected = history.expect(step, time);
            prop_assert_eq!(perform(&harness, &keys, step), expected, "step {}: {:?}", at, step);
        }
        Ok(())
    };
    runner.run(&prop::collection::vec(step(), 1..60), walk).unwrap();
}
