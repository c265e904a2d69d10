//! A signed request is good once: at one issuer, and at all that remember together.

use super::*;

#[test]
fn a_request_passes_once() {
    let clock = Clock::manual_at(then());
    let keys = AccessKeys::new(&auth(vec![key()]), None, &Policy::new(Role::defaults()), clock.clone());
    let (first, second) = (Sent::of(&vectors()[0]), Sent::of(&vectors()[1]));
    assert!(ask(&keys, &first).is_ok());
    assert_eq!(ask(&keys, &first), Err(AuthError::SignatureReplayed));
    assert!(ask(&keys, &second).is_ok());
    clock.advance(WINDOW);
    assert_eq!(ask(&keys, &first), Err(AuthError::SignatureReplayed));
    clock.advance(Duration::from_millis(1));
    assert_eq!(ask(&keys, &first), Err(AuthError::SignatureDate));
    // Another spelling of the same request has the same signature.
    let keys = keys_at(key(), then());
    let spelled = Sent { path: format!("{}/", first.path), ..first.clone() };
    assert!(ask(&keys, &first).is_ok());
    assert_eq!(ask(&keys, &spelled), Err(AuthError::SignatureReplayed));
}

/// Issuers of one key that remember together.
fn fleet(everywhere: &Arc<impl Once>) -> [AccessKeys; 2] {
    let policy = Policy::new(Role::defaults());
    let issuer = || {
        let everywhere = Arc::clone(everywhere) as Arc<dyn Once>;
        AccessKeys::new(&auth(vec![key()]), Some(everywhere), &policy, Clock::manual_at(then()))
    };
    [issuer(), issuer()]
}

#[test]
fn what_passed_at_one_issuer_is_refused_by_all() {
    let [one, other] = fleet(&Arc::new(Memory::new(MOST, Clock::manual())));
    let (first, second) = (Sent::of(&vectors()[0]), Sent::of(&vectors()[1]));
    assert!(ask(&one, &first).is_ok());
    assert_eq!(ask(&other, &first), Err(AuthError::SignatureReplayed));
    assert!(ask(&other, &second).is_ok());
    assert_eq!(ask(&one, &second), Err(AuthError::SignatureReplayed));
    let [one, _] = fleet(&Arc::new(Memory::new(0, Clock::manual())));
    assert_eq!(ask(&one, &first), Err(AuthError::TooMany));
}

/// Remembers for as long as it is told, and says so; answers while it is up.
#[derive(Debug, Default)]
struct Shared {
    down: std::sync::atomic::AtomicBool,
    kept: std::sync::Mutex<Vec<Duration>>,
}

impl Once for Shared {
    fn first(&self, _: &str, _: [u8; 32], keep: Duration) -> crate::once::OnceFuture<'_> {
        self.kept.lock().unwrap().push(keep);
        let down = self.down.load(std::sync::atomic::Ordering::SeqCst);
        let answer = if down { Err(OnceError::Unavailable("down".to_owned())) } else { Ok(true) };
        Box::pin(std::future::ready(answer))
    }
}

#[test]
fn without_the_shared_memory_nobody_is_let_in_and_the_same_request_may_be_tried_again() {
    let shared = Arc::new(Shared::default());
    let [one, _] = fleet(&shared);
    let sent = Sent::of(&vectors()[0]);
    shared.down.store(true, std::sync::atomic::Ordering::SeqCst);
    for _ in 0..2 {
        assert_eq!(ask(&one, &sent), Err(AuthError::Store));
    }
    shared.down.store(false, std::sync::atomic::Ordering::SeqCst);
    assert!(ask(&one, &sent).is_ok());
    assert_eq!(ask(&one, &sent), Err(AuthError::SignatureReplayed));
    assert_eq!((AuthError::Store.status().as_u16(), AuthError::Store.cause()), (503, "store"));
    // As long as the slowest issuer's clock lets the date pass.
    assert_eq!(*shared.kept.lock().unwrap(), [WINDOW + APART; 3]);
}

#[test]
fn a_key_that_signs_too_much_waits() {
    let policy = Policy::new(Role::defaults());
    let auth = Auth { signatures_per_key: 1, ..auth(vec![key()]) };
    let keys = AccessKeys::new(&auth, None, &policy, Clock::manual_at(then()));
    assert!(ask(&keys, &Sent::of(&vectors()[0])).is_ok());
    assert_eq!(ask(&keys, &Sent::of(&vectors()[1])), Err(AuthError::TooMany));
}

#[test]
fn a_forgery_is_not_remembered() {
    let keys = keys_at(key(), then());
    let good = Sent::of(&vectors()[0]);
    let forged = Sent { body: b"{}".to_vec(), ..good.clone() };
    assert_eq!(ask(&keys, &forged), Err(AuthError::Unauthenticated));
    assert!(ask(&keys, &good).is_ok());
}
