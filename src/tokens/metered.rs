//! A store whose answers are timed.

use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::metrics::{Metrics, StoreCall};

use super::{
    Claim, Confirm, Grant, Keep, Nonce, Offer, Peek, Resumed, Revoke, Store, StoreError, StoreFuture,
    TokenKey,
};

/// Passes every call on and counts how long the answer took.
#[derive(Debug)]
pub struct Metered {
    store: Arc<dyn Store>,
    metrics: Metrics,
}

impl Metered {
    /// The store, timed.
    pub fn new(store: Arc<dyn Store>, metrics: Metrics) -> Self {
        Self { store, metrics }
    }

    /// The store may do its work when it is called, or when its answer is waited for. One that is there at once took no
    /// time within a request's [`clock::turn`].
    fn timed<'a, T: Send + Unpin + 'a>(
        &'a self,
        call: StoreCall,
        ask: impl FnOnce(&'a dyn Store) -> StoreFuture<'a, T>,
    ) -> StoreFuture<'a, T> {
        let begun = clock::instant();
        let note = move |answer: Result<T, StoreError>| {
            self.metrics.store(call, clock::instant().saturating_duration_since(begun), answer.is_ok());
            answer
        };
        match ask(&*self.store).at_once() {
            Ok(answer) => StoreFuture::here(note(answer)),
            Err(coming) => StoreFuture::later(async move { note(coming.await) }),
        }
    }
}

impl Store for Metered {
    fn create(&self, key: TokenKey, grant: Grant, ttl: Duration, most: usize) -> StoreFuture<'_, ()> {
        self.timed(StoreCall::Create, move |store| store.create(key, grant, ttl, most))
    }

    fn claim(&self, key: TokenKey, nonce: Nonce) -> StoreFuture<'_, Claim> {
        self.timed(StoreCall::Claim, move |store| store.claim(key, nonce))
    }

    fn confirm(&self, key: TokenKey, nonce: Nonce) -> StoreFuture<'_, Confirm> {
        self.timed(StoreCall::Confirm, move |store| store.confirm(key, nonce))
    }

    fn confirm_with(&self, key: TokenKey, nonce: Nonce, offer: Offer) -> StoreFuture<'_, Confirm> {
        self.timed(StoreCall::Confirm, move |store| store.confirm_with(key, nonce, offer))
    }

    fn resume(
        &self,
        key: TokenKey,
        secret: TokenKey,
        next: TokenKey,
        nonce: Nonce,
    ) -> StoreFuture<'_, Option<Resumed>> {
        self.timed(StoreCall::Resume, move |store| store.resume(key, secret, next, nonce))
    }

    fn kept(&self, key: TokenKey) -> StoreFuture<'_, Option<Arc<Grant>>> {
        self.timed(StoreCall::Peek, move |store| store.kept(key))
    }

    fn resumed(&self, key: TokenKey, nonce: Nonce, window: Duration) -> StoreFuture<'_, Confirm> {
        self.timed(StoreCall::Resume, move |store| store.resumed(key, nonce, window))
    }

    fn keep(
        &self,
        key: TokenKey,
        nonce: Nonce,
        grant: Arc<Grant>,
        window: Duration,
    ) -> StoreFuture<'_, Keep> {
        self.timed(StoreCall::Keep, move |store| store.keep(key, nonce, grant, window))
    }

    fn forget(&self, key: TokenKey, nonce: Nonce) -> StoreFuture<'_, ()> {
        self.timed(StoreCall::Keep, move |store| store.forget(key, nonce))
    }

    fn release(&self, key: TokenKey, nonce: Nonce) -> StoreFuture<'_, ()> {
        self.timed(StoreCall::Release, move |store| store.release(key, nonce))
    }

    fn revoke(&self, which: Revoke) -> StoreFuture<'_, usize> {
        self.timed(StoreCall::Revoke, move |store| store.revoke(which))
    }

    fn peek(&self, key: TokenKey) -> StoreFuture<'_, Option<Peek>> {
        self.timed(StoreCall::Peek, move |store| store.peek(key))
    }
}
