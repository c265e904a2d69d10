//! A store in memory that can move to a new process while calls go on.
//!
//! Calls are answered here; while everything is carried over they wait; then they are passed on, one message each
//! way, to the process that has the tokens now. [`Movable::pack`] returns when no call is being answered here any
//! more, so at no time do two processes decide about one token.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::{
    Claim, Confirm, Grant, Keep, LEASE, MemoryStore, Nonce, Offer, Packed, Peek, Resumed, Revoke, Store,
    StoreError, StoreFuture, TokenKey,
};

/// How long the other process may take to answer.
const DEADLINE: Duration = Duration::from_millis(1500);

/// Calls on their way to the other process: as many as set-ups a second.
const QUEUE: usize = 1024;

/// A call to a store, to be carried to another process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Call {
    /// [`Store::create`].
    Create(TokenKey, Grant, Duration, usize),
    /// [`Store::claim`].
    Claim(TokenKey, Nonce),
    /// [`Store::confirm`], or [`Store::confirm_with`].
    Confirm(TokenKey, Nonce, Option<Offer>),
    /// [`Store::resume`].
    Resume(TokenKey, TokenKey, TokenKey, Nonce),
    /// [`Store::kept`].
    Kept(TokenKey),
    /// [`Store::resumed`].
    Resumed(TokenKey, Nonce, Duration),
    /// [`Store::keep`].
    Keep(TokenKey, Nonce, Arc<Grant>, Duration),
    /// [`Store::forget`].
    Forget(TokenKey, Nonce),
    /// [`Store::release`].
    Release(TokenKey, Nonce),
    /// [`Store::revoke`].
    Revoke(Revoke),
    /// [`Store::peek`].
    Peek(TokenKey),
}

/// What a store said to a [`Call`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// It is done.
    Done,
    /// To a claim.
    Claim(Claim),
    /// To a confirm, or a viewer's coming back.
    Confirm(Confirm),
    /// To a viewer who would come back.
    Resume(Option<Resumed>),
    /// Whose viewer may come back.
    Kept(Option<Arc<Grant>>),
    /// To a session that goes on.
    Keep(Keep),
    /// How many were revoked.
    Revoked(usize),
    /// What a token would open.
    Peek(Option<Peek>),
}

/// Does the call; the store has begun, or finished, when this returns.
pub fn perform(store: &dyn Store, call: Call) -> StoreFuture<'_, Answer> {
    match call {
        Call::Create(key, grant, ttl, most) => map(store.create(key, grant, ttl, most), |()| Answer::Done),
        Call::Claim(key, nonce) => map(store.claim(key, nonce), Answer::Claim),
        Call::Confirm(key, nonce, None) => map(store.confirm(key, nonce), Answer::Confirm),
        Call::Confirm(key, nonce, Some(offer)) => map(store.confirm_with(key, nonce, offer), Answer::Confirm),
        Call::Resume(key, secret, next, nonce) => map(store.resume(key, secret, next, nonce), Answer::Resume),
        Call::Kept(key) => map(store.kept(key), Answer::Kept),
        Call::Resumed(key, nonce, window) => map(store.resumed(key, nonce, window), Answer::Confirm),
        Call::Keep(key, nonce, grant, window) => map(store.keep(key, nonce, grant, window), Answer::Keep),
        Call::Forget(key, nonce) => map(store.forget(key, nonce), |()| Answer::Done),
        Call::Release(key, nonce) => map(store.release(key, nonce), |()| Answer::Done),
        Call::Revoke(which) => map(store.revoke(which), Answer::Revoked),
        Call::Peek(key) => map(store.peek(key), Answer::Peek),
    }
}

fn map<'a, T: Send + Unpin + 'a, U: 'a>(answer: StoreFuture<'a, T>, to: fn(T) -> U) -> StoreFuture<'a, U> {
    StoreFuture::later(async move { answer.await.map(to) })
}

/// A call that waits for its answer.
pub type Asked = (Call, oneshot::Sender<Result<Answer, StoreError>>);

/// The process that has the tokens now, as this one asks it.
#[derive(Clone, Debug)]
pub struct Successor(mpsc::Sender<Asked>);

impl Successor {
    /// A successor, and where its questions arrive.
    pub fn new() -> (Self, mpsc::Receiver<Asked>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), receiver)
    }

    async fn ask(&self, call: Call) -> Result<Answer, StoreError> {
        let gone = || StoreError::Unavailable("the process that has the tokens is gone".to_owned());
        let (answer, answered) = oneshot::channel();
        let asking = async {
            self.0.send((call, answer)).await.map_err(|_| gone())?;
            answered.await.map_err(|_| gone())?
        };
        let late = || StoreError::Unavailable(format!("no answer within {DEADLINE:?}"));
        timeout(DEADLINE, asking).await.unwrap_or_else(|_| Err(late()))
    }
}

/// Where calls are answered.
#[derive(Clone, Debug)]
enum At {
    Here,
    Nowhere,
    Elsewhere(Successor),
}

/// The store of a process that may be followed by another.
pub struct Movable {
    store: Arc<MemoryStore>,
    /// Held to read while a call is answered here.
    at: watch::Sender<At>,
}

impl fmt::Debug for Movable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Movable").field("at", &*self.at.borrow()).finish_non_exhaustive()
    }
}

impl Movable {
    /// The store, for now here.
    pub fn new(store: Arc<MemoryStore>) -> Self {
        Self { store, at: watch::channel(At::Here).0 }
    }

    /// Takes everything out. From now on calls wait until [`Movable::moved`] or [`Movable::unpack`].
    pub fn pack(&self) -> Vec<Packed> {
        // Waits for every call that is being answered here.
        self.at.send_replace(At::Nowhere);
        self.store.pack()
    }

    /// What was taken out so long ago, here or by the process before this one, is answered for here from now on.
    pub fn unpack(&self, packed: Vec<Packed>, ago: Duration) {
        self.store.unpack(packed, ago);
        self.at.send_replace(At::Here);
    }

    /// Calls are for the successor now.
    pub fn moved(&self, to: Successor) {
        self.at.send_replace(At::Elsewhere(to));
    }

    /// Has the call answered where the tokens are.
    fn pass<T: Send + 'static>(&self, call: Call, said: fn(Answer) -> Option<T>) -> StoreFuture<'_, T> {
        StoreFuture::later(async move {
            let strange = || StoreError::Unavailable("an answer to another question".to_owned());
            said(self.elsewhere(call).await?).ok_or_else(strange)
        })
    }

    async fn elsewhere(&self, call: Call) -> Result<Answer, StoreError> {
        let mut changes = self.at.subscribe();
        // As long as a claim waits for its confirm; moving takes a moment.
        let _ = timeout(LEASE, changes.wait_for(|at| !matches!(at, At::Nowhere))).await;
        let answering = {
            let at = self.at.borrow();
            match &*at {
                At::Here => Ok(perform(&*self.store, call)),
                At::Elsewhere(successor) => Err((successor.clone(), call)),
                At::Nowhere => return Err(StoreError::Unavailable("its tokens are on their way".to_owned())),
            }
        };
        match answering {
            Ok(here) => here.await,
            Err((successor, call)) => successor.ask(call).await,
        }
    }
}

/// Answers here, under the lock: everything in memory is done when its call returns. Or passes the call on.
macro_rules! here_or {
    ($self:ident.$method:ident($($argument:ident),*), $call:expr, $said:pat => $value:expr) => {{
        let at = $self.at.borrow();
        if matches!(*at, At::Here) {
            return $self.store.$method($($argument),*);
        }
        drop(at);
        $self.pass($call, |answer| match answer {
            $said => Some($value),
            _ => None,
        })
    }};
}

impl Store for Movable {
    fn create(&self, key: TokenKey, grant: Grant, ttl: Duration, most: usize) -> StoreFuture<'_, ()> {
        here_or!(self.create(key, grant, ttl, most), Call::Create(key, grant, ttl, most), Answer::Done => ())
    }

    fn claim(&self, key: TokenKey, nonce: Nonce) -> StoreFuture<'_, Claim> {
        here_or!(self.claim(key, nonce), Call::Claim(key, nonce), Answer::Claim(claim) => claim)
    }

    fn confirm(&self, key: TokenKey, nonce: Nonce) -> StoreFuture<'_, Confirm> {
        here_or!(self.confirm(key, nonce), Call::Confirm(key, nonce, None), Answer::Confirm(said) => said)
    }

    fn confirm_with(&self, key: TokenKey, nonce: Nonce, offer: Offer) -> StoreFuture<'_, Confirm> {
        let call = Call::Confirm(key, nonce, Some(offer));
        here_or!(self.confirm_with(key, nonce, offer), call, Answer::Confirm(said) => said)
    }

    fn resume(
        &self,
        key: TokenKey,
        secret: TokenKey,
        next: TokenKey,
        nonce: Nonce,
    ) -> StoreFuture<'_, Option<Resumed>> {
        let call = Call::Resume(key, secret, next, nonce);
        here_or!(self.resume(key, secret, next, nonce), call, Answer::Resume(resumed) => resumed)
    }

    fn kept(&self, key: TokenKey) -> StoreFuture<'_, Option<Arc<Grant>>> {
        here_or!(self.kept(key), Call::Kept(key), Answer::Kept(grant) => grant)
    }

    fn resumed(&self, key: TokenKey, nonce: Nonce, window: Duration) -> StoreFuture<'_, Confirm> {
        let call = Call::Resumed(key, nonce, window);
        here_or!(self.resumed(key, nonce, window), call, Answer::Confirm(said) => said)
    }

    fn keep(
        &self,
        key: TokenKey,
        nonce: Nonce,
        grant: Arc<Grant>,
        window: Duration,
    ) -> StoreFuture<'_, Keep> {
        here_or!(
            self.keep(key, nonce, grant, window), Call::Keep(key, nonce, grant, window), Answer::Keep(keep) => keep
        )
    }

    fn forget(&self, key: TokenKey, nonce: Nonce) -> StoreFuture<'_, ()> {
        here_or!(self.forget(key, nonce), Call::Forget(key, nonce), Answer::Done => ())
    }

    fn release(&self, key: TokenKey, nonce: Nonce) -> StoreFuture<'_, ()> {
        here_or!(self.release(key, nonce), Call::Release(key, nonce), Answer::Done => ())
    }

    fn revoke(&self, which: Revoke) -> StoreFuture<'_, usize> {
        here_or!(self.revoke(which), Call::Revoke(which), Answer::Revoked(count) => count)
    }

    fn peek(&self, key: TokenKey) -> StoreFuture<'_, Option<Peek>> {
        here_or!(self.peek(key), Call::Peek(key), Answer::Peek(peek) => peek)
    }
}
