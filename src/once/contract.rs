//! What every memory must do, as a suite any of them runs.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::thread;

use super::*;

/// A memory under test.
pub(crate) struct Harness {
    pub(crate) once: Arc<dyn Once>,
    /// Lets this much time pass for it, in whole milliseconds.
    pub(crate) advance: Box<dyn Fn(Duration)>,
    /// How much longer than asked it remembers.
    pub(crate) slack: Duration,
}

const KEEP: Duration = Duration::from_secs(900);
const INSTANT: Duration = Duration::from_millis(1);

/// One like no other.
pub(crate) fn deed() -> Deed {
    let mut deed = [0; 32];
    let halves = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
    deed[..16].copy_from_slice(halves[0].as_bytes());
    deed[16..].copy_from_slice(halves[1].as_bytes());
    deed
}

/// Waits for an answer, which may have to cross a network.
pub(crate) fn now(answer: OnceFuture<'_>) -> Result<bool, OnceError> {
    let mut answer = pin!(answer);
    match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(answer)
        }
    }
}

/// The whole suite.
pub(crate) fn all(harness: &Harness) {
    once_and_again_when_it_is_over(harness);
    each_for_itself(harness);
    one_of_many_at_once(harness);
}

fn once_and_again_when_it_is_over(Harness { once, advance, slack }: &Harness) {
    let one = deed();
    assert_eq!(now(once.first("key", one, KEEP)), Ok(true));
    assert_eq!(now(once.first("key", one, KEEP)), Ok(false));
    advance(KEEP - INSTANT);
    assert_eq!(now(once.first("key", one, KEEP)), Ok(false), "to its end, however often it was repeated");
    advance(*slack + 2 * INSTANT);
    assert_eq!(now(once.first("key", one, KEEP)), Ok(true));
}

fn each_for_itself(Harness { once, .. }: &Harness) {
    let (one, other) = (deed(), deed());
    for whose in ["a", "b", "", "a key: {of} odd\ncharacters %"] {
        assert_eq!(now(once.first(whose, one, KEEP)), Ok(true), "{whose}");
        assert_eq!(now(once.first(whose, other, KEEP)), Ok(true), "{whose}");
        assert_eq!(now(once.first(whose, one, KEEP)), Ok(false), "{whose}");
    }
}

fn one_of_many_at_once(Harness { once, .. }: &Harness) {
    const RACERS: usize = 16;
    for round in 0..50 {
        let (one, barrier, won) = (deed(), Barrier::new(RACERS), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..RACERS {
                scope.spawn(|| {
                    barrier.wait();
                    let first = now(once.first("key", one, KEEP)).unwrap();
                    won.fetch_add(usize::from(first), Ordering::SeqCst);
                });
            }
        });
        assert_eq!(won.into_inner(), 1, "round {round}");
    }
}
