//! The store that several issuers and proxies share: a Redis, alone, with Sentinels, or a cluster.
//!
//! Each step is one Lua script (`lua/`), atomic in the server that has the token; that server's clock decides.
//! A token remembers the history of writes it was issued in, and is refused in any other, so that a replica that
//! was promoted before it heard of a claim gives nothing out twice.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, Value};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::config;
use crate::ids::Protocol;
use crate::unbroken::Unbroken;

use super::{
    Claim, Confirm, Grant, Keep, LEASE, Nonce, Offer, Peek, Resumed, Revoke, Store, StoreError, StoreFuture,
    TOMBSTONE, TokenKey,
};

mod call;
mod comeback;
mod inventory;
mod issue;
mod lane;
mod link;
mod live;
mod names;
mod once;
mod queue;
mod route;
mod script;
mod vet;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use tests::testing;

use call::Call;
use link::{Link, LinkError, Thread};
use names::TokenNames;
use queue::{Answer, Queue};
use route::Route;
use script::{Scripts, Step};

pub use inventory::{SealedTarget, TargetNews, Write};
pub use live::{Entry, Manner, Most, News, Place, Present, Record};
pub use vet::Unsafe;

/// How long a call may take in all, the second try included: who waits is told 503 within two seconds.
const DEADLINE: Duration = Duration::from_millis(1500);

/// How much longer a key is kept than its content is of use: a minute's step of the server's clock loses nothing.
const SLACK: Duration = Duration::from_secs(60);

/// Tokens that are asked about at the same time, one each call: a cluster has them on different nodes.
const BATCH: usize = 64;

/// Tokens that one call revokes where a server has all of them: a millisecond of its time.
const REVOKED: usize = 256;

/// Why a Redis store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum RedisSetupError {
    /// The server must not be used.
    #[error("tokens.store: {0}")]
    Unsafe(#[from] Unsafe),
    /// The certificates to trust.
    #[error("tokens.redis.ca: {}: {source}", path.display())]
    Ca {
        /// Their file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// What the address or the certificates are not.
    #[error("tokens.store: {0}")]
    Address(#[from] RedisError),
    /// No thread for it.
    #[error("tokens.store: no thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// Keeps tokens in a Redis that is shared.
pub struct RedisStore {
    steps: Arc<Steps>,
    thread: Thread,
}

impl RedisStore {
    /// Connects and looks at the server's settings; waits for that, two seconds at most. A server that does not
    /// answer is no error: calls fail until it does.
    ///
    /// # Errors
    /// If the server is unfit, or the settings cannot be used.
    pub fn open(settings: &config::Redis) -> Result<Self, RedisSetupError> {
        Self::with_scripts(settings, Scripts::new())
    }

    fn with_scripts(settings: &config::Redis, scripts: Scripts) -> Result<Self, RedisSetupError> {
        let link = Link::new(Arc::new(Route::new(settings)?), Arc::new(scripts));
        let thread = Thread::start()?;
        let queue = Queue::new(Arc::clone(&link), Some(thread.handle()));
        let store = Self { steps: Arc::new(Steps { link, queue, fenced: Arc::default() }), thread };
        let (answer, answered) = std::sync::mpsc::channel();
        let steps = Arc::clone(&store.steps);
        store.thread.spawn(async move {
            let _ = answer.send(timeout(DEADLINE, steps.link.connection()).await.map(|made| made.map(drop)));
        });
        match answered.recv() {
            Ok(Ok(Err(LinkError::Unsafe(cause)))) => Err(cause.into()),
            Ok(Err(_)) => {
                warn!("the token store has not answered yet");
                Ok(store)
            }
            // What else is wrong was logged, and may be right soon.
            _ => Ok(store),
        }
    }

    /// How many claims and confirms were refused because the token was issued in another history: before a
    /// failover, a restart, or a move to another node.
    pub fn fenced(&self) -> u64 {
        self.steps.fenced.load(Ordering::Relaxed)
    }

    /// Does the work beside the caller, within [`DEADLINE`], also if nobody waits for it any more.
    fn begin<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        let (answer, mut answered) = oneshot::channel();
        self.spawn(async move {
            let _ = answer.send(in_time(work).await);
        });
        StoreFuture::later(async move { outcome(&mut answered).await })
    }

    /// The same for a single step, and what its answer means: it has a place in the queue, and needs no task.
    fn step<T>(
        &self,
        step: Call,
        meaning: impl FnOnce(&Steps, Value) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        let steps = self.steps();
        let mut answered = steps.queue.put(step);
        StoreFuture::later(async move { meaning(&steps, outcome(&mut answered).await?) })
    }
}

fn late() -> StoreError {
    StoreError::Unavailable(format!("no answer within {DEADLINE:?}"))
}

async fn in_time<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(DEADLINE, work).await.unwrap_or_else(|_| Err(late()))
}

async fn outcome<T>(answered: &mut oneshot::Receiver<Result<T, StoreError>>) -> Result<T, StoreError> {
    answered.await.unwrap_or_else(|_| Err(StoreError::Unavailable("its thread has ended".to_owned())))
}

/// A caller who waits for a claim. Who goes away just when it has been answered gives it back as well.
struct Waiting<'a> {
    store: &'a RedisStore,
    key: TokenKey,
    nonce: Nonce,
    answered: Answer,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.answered.close();
        // Empty if it was taken, or was not sent; what is sent from now on comes back to its sender.
        if let Ok(Ok(answer)) = self.answered.try_recv()
            && !matches!(answer, Value::Array(_))
        {
            drop(self.store.release(self.key, self.nonce));
        }
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("fenced", &self.fenced()).finish_non_exhaustive()
    }
}

impl Store for RedisStore {
    fn create(&self, key: TokenKey, grant: Grant, ttl: Duration, most: usize) -> StoreFuture<'_, ()> {
        let steps = self.steps();
        let create = match issue::create(&key, &grant, ttl, steps.link.route.is_cluster()) {
            Ok(create) => create,
            Err(error) => return StoreFuture::here(Err(error)),
        };
        if most == 0 && !steps.link.route.is_cluster() {
            return self.step(create, |_, answer| issue::created(answer));
        }
        self.begin(async move { steps.create(create, &TokenNames::new(&key), &grant, ttl, most).await })
    }

    fn claim(&self, key: TokenKey, nonce: Nonce) -> StoreFuture<'_, Claim> {
        let steps = self.steps();
        let answered = steps.queue.put(Call::token(Step::Claim, &key, 2).nonce(nonce));
        let mut waiting = Waiting { store: self, key, nonce, answered };
        StoreFuture::later(async move { steps.claimed(outcome(&mut waiting.answered).await?) })
    }

    fn confirm(&self, key: TokenKey, nonce: Nonce) -> StoreFuture<'_, Confirm> {
        self.step(Call::token(Step::Confirm, &key, 2).nonce(nonce), Steps::confirmed)
    }

    fn confirm_with(&self, key: TokenKey, nonce: Nonce, offer: Offer) -> StoreFuture<'_, Confirm> {
        self.step(comeback::confirm(&key, nonce, &offer), Steps::confirmed)
    }

    fn resume(
        &self,
        key: TokenKey,
        secret: TokenKey,
        next: TokenKey,
        nonce: Nonce,
    ) -> StoreFuture<'_, Option<Resumed>> {
        self.step(comeback::resume(&key, [secret, next], nonce), Steps::back)
    }

    fn kept(&self, key: TokenKey) -> StoreFuture<'_, Option<Arc<Grant>>> {
        self.step(Call::token(Step::Kept, &key, 3), |_, answer| comeback::kept(answer))
    }

    fn resumed(&self, key: TokenKey, nonce: Nonce, window: Duration) -> StoreFuture<'_, Confirm> {
        let resumed = Call::token(Step::Resumed, &key, 3).nonce(nonce);
        self.step(resumed.number(ms(window)).number(ms(SLACK)), Steps::confirmed)
    }

    fn keep(
        &self,
        key: TokenKey,
        nonce: Nonce,
        grant: Arc<Grant>,
        window: Duration,
    ) -> StoreFuture<'_, Keep> {
        let steps = self.steps();
        let mut first = steps.queue.put(comeback::keep(&key, nonce, window, Duration::ZERO));
        StoreFuture::later(Unbroken::new(async move {
            match comeback::how_kept(outcome(&mut first).await?)? {
                Some(kept) => Ok(kept),
                // Rare, and large: not to be carried along.
                None => Box::pin(in_time(steps.keep_noted(&key, nonce, &grant, window))).await,
            }
        }))
    }

    fn forget(&self, key: TokenKey, nonce: Nonce) -> StoreFuture<'_, ()> {
        self.step(Call::token(Step::Forget, &key, 3).nonce(nonce), |_, _| Ok(()))
    }

    fn release(&self, key: TokenKey, nonce: Nonce) -> StoreFuture<'_, ()> {
        self.step(Call::token(Step::Release, &key, 2).nonce(nonce), |_, _| Ok(()))
    }

    fn revoke(&self, which: Revoke) -> StoreFuture<'_, usize> {
        let steps = self.steps();
        self.begin(async move { steps.revoke(which).await })
    }

    fn peek(&self, key: TokenKey) -> StoreFuture<'_, Option<Peek>> {
        let steps = self.steps();
        self.begin(async move { steps.peek(&TokenNames::new(&key)).await })
    }
}

/// Answer, logged if the server refused.
fn heard<T>(answer: Result<T, LinkError>) -> Result<T, StoreError> {
    if let Err(LinkError::Redis(error)) = &answer
        && matches!(error.kind(), ErrorKind::Server(_))
    {
        // It answers, but will not: a right that is missing, or memory. Who asked hears only that it failed.
        warn!(%error, "the token store refused");
    }
    Ok(answer?)
}

/// The steps, as the thread does them.
struct Steps {
    link: Arc<Link>,
    queue: Arc<Queue>,
    fenced: Arc<AtomicU64>,
}

impl Steps {
    fn script(&self, step: Step, names: &TokenNames) -> Cmd {
        self.link.scripts.call(step, &names.all())
    }

    async fn call<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        heard(self.link.call(command).await)
    }

    /// Does a step, with those that others want at the same time.
    async fn ask(&self, step: Call) -> Result<Value, StoreError> {
        outcome(&mut self.queue.put(step)).await
    }

    fn claimed(&self, answer: Value) -> Result<Claim, StoreError> {
        let Value::Array(_) = answer else { return Ok(Claim::Won(Arc::new(granted(answer)?))) };
        let answer = words(answer)?;
        let answer: Vec<&str> = answer.iter().map(String::as_str).collect();
        match answer[..] {
            ["busy", protocol] => Ok(Claim::Busy(self::protocol(protocol)?)),
            ["spent", protocol] => Ok(Claim::Spent(self::protocol(protocol)?)),
            ["unknown"] => Ok(Claim::Unknown),
            ["fenced"] => {
                self.count_fenced("claim");
                Ok(Claim::Unknown)
            }
            _ => Err(strange("an unknown answer to a claim")),
        }
    }

    fn confirmed(&self, answer: Value) -> Result<Confirm, StoreError> {
        match word(answer)?.as_str() {
            "confirmed" => Ok(Confirm::Confirmed),
            "lost" => Ok(Confirm::Lost),
            "fenced" => {
                self.count_fenced("confirm");
                Ok(Confirm::Lost)
            }
            other => Err(strange(other)),
        }
    }

    fn count_fenced(&self, step: &'static str) {
        self.fenced.fetch_add(1, Ordering::Relaxed);
        info!(step, cause = "fenced", "the token was issued before the store's last failover or restart");
    }

    /// If an answer is lost on the way, what it counted is not counted again; nothing is left unrevoked.
    async fn revoke(self: Arc<Self>, which: Revoke) -> Result<usize, StoreError> {
        let Some(index) = names::index_of(&which) else {
            let Revoke::Token(key) = which else { return Ok(0) };
            return self.revoke_one(&TokenNames::new(&key)).await;
        };
        let mut range = redis::cmd("ZRANGE");
        range.arg(index).arg(0).arg(-1);
        let tokens: Vec<String> = self.call(&range).await?;
        if self.link.route.is_cluster() {
            let revoked = self.each(tokens, |steps, names| async move { steps.revoke_one(&names).await });
            return Ok(revoked.await?.into_iter().sum());
        }
        let mut revoked = 0;
        // One batch after the other, so that whoever opens a console meanwhile waits for one at most.
        for batch in tokens.chunks(REVOKED) {
            let names: Vec<_> = batch.iter().map(|hash| TokenNames::of(hash.clone())).collect();
            let keys: Vec<_> = names.iter().flat_map(TokenNames::all).collect();
            revoked += self.call::<usize>(&self.link.scripts.call(Step::Revoke, &keys)).await?;
        }
        Ok(revoked)
    }

    async fn revoke_one(&self, names: &TokenNames) -> Result<usize, StoreError> {
        self.call(&self.script(Step::Revoke, names)).await
    }

    async fn peek(&self, names: &TokenNames) -> Result<Option<Peek>, StoreError> {
        let found: Option<(String, u64)> = self.call(&self.script(Step::Peek, names)).await?;
        let Some((grant, remaining)) = found else { return Ok(None) };
        Ok(Some(Peek { grant: Arc::new(parse(&grant)?), remaining: Duration::from_millis(remaining) }))
    }

    /// Does `work` for each token, [`BATCH`] at a time; they may be on different nodes.
    async fn each<T: Send + 'static, F>(
        self: &Arc<Self>,
        tokens: Vec<String>,
        work: impl Fn(Arc<Self>, TokenNames) -> F,
    ) -> Result<Vec<T>, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let mut done = Vec::with_capacity(tokens.len());
        let mut tokens = tokens.into_iter();
        loop {
            let mut batch: JoinSet<_> = tokens
                .by_ref()
                .take(BATCH)
                .map(|hash| work(Arc::clone(self), TokenNames::of(hash)))
                .collect();
            if batch.is_empty() {
                return Ok(done);
            }
            while let Some(one) = batch.join_next().await {
                done.push(one.map_err(strange)??);
            }
        }
    }
}

fn hex(nonce: Nonce) -> String {
    format!("{:032x}", nonce.0)
}

fn word(answer: Value) -> Result<String, StoreError> {
    redis::from_redis_value(answer).map_err(strange)
}

fn words(answer: Value) -> Result<Vec<String>, StoreError> {
    redis::from_redis_value(answer).map_err(strange)
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn parse(grant: &str) -> Result<Grant, StoreError> {
    serde_json::from_str(grant).map_err(strange)
}

/// The grant in a token's record, HISTORY EXPIRY GRANT-ID PROTOCOL GRANT.
fn granted(record: Value) -> Result<Grant, StoreError> {
    let record = word(record)?;
    parse(record.splitn(5, ' ').nth(4).ok_or_else(|| strange("no record of a token"))?)
}

fn protocol(name: &str) -> Result<Protocol, StoreError> {
    serde_json::from_value(serde_json::Value::from(name)).map_err(strange)
}

/// Something in the store is not of our making.
fn strange(what: impl fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("it holds what it should not: {what}"))
}

impl From<LinkError> for StoreError {
    fn from(error: LinkError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
