//! Steps on their way: those that are called at the same time, or while others are on their way, go out in one call.
//!
//! Nobody waits for more to come: what is called in one turn of a thread is sent at its end, so that a step alone goes at
//! once, and the more there are the fewer calls they cost.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::Value;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::tokens::StoreError;

use super::call::Call;
use super::link::Link;
use super::script::Scripts;
use super::{DEADLINE, heard, late};

/// Steps in one call. The server does nothing else meanwhile, a third of a millisecond at most; twice as many
/// save less than a tenth of a step's cost.
pub(super) const MOST: usize = 32;

/// Calls on their way at the same time, so that the server has work while answers are read; more would only be smaller.
const CALLS: usize = 2;

/// Steps that a further call is begun for. With fewer they wait for an answer, and go out with those that come.
const ENOUGH: usize = MOST / 2;

type Caller = oneshot::Sender<Result<Value, StoreError>>;

/// What becomes of a step.
pub(super) type Answer = oneshot::Receiver<Result<Value, StoreError>>;

/// The steps of one connection.
pub(super) struct Queue {
    link: Arc<Link>,
    /// Where calls are made; `None`: where they are asked for.
    home: Option<Handle>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    calls: usize,
}

struct Waiting {
    call: Call,
    /// Until when its caller waits.
    until: Instant,
    answer: Caller,
}

impl Queue {
    pub(super) fn new(link: Arc<Link>, home: Option<Handle>) -> Arc<Self> {
        Arc::new(Self { link, home, state: Mutex::default() })
    }

    /// Does a step within [`DEADLINE`], also if nobody waits for it any more. What a claim may have won unheard is given
    /// back.
    pub(super) fn put(self: &Arc<Self>, call: Call) -> Answer {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { call, until: Instant::now() + DEADLINE, answer };
        if self.link.route.is_cluster() || !Scripts::joins(&waiting.call) {
            // Keys are on different nodes, and one that is slow must not hold up what the others do.
            let queue = Arc::clone(self);
            self.spawn(async move { queue.send(vec![waiting], false).await });
            return answered;
        }
        let mut state = self.state();
        state.waiting.push_back(waiting);
        if state.calls == 0 || (state.calls < CALLS && state.waiting.len() >= ENOUGH) {
            state.calls += 1;
            drop(state);
            let carrier = Carrier { queue: Arc::clone(self), done: false };
            self.spawn(carrier.carry());
        }
        answered
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        match &self.home {
            Some(home) => _ = home.spawn(work),
            None => _ = tokio::spawn(work),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the next call takes; `None` if there is none to make, and then its place is free.
    fn next(&self) -> Option<Vec<Waiting>> {
        let mut state = self.state();
        let waiting = state.waiting.len();
        if waiting == 0 || (state.calls > 1 && waiting < ENOUGH) {
            state.calls -= 1;
            return None;
        }
        Some(state.waiting.drain(..waiting.min(MOST)).collect())
    }

    /// Sends steps and tells their callers; those whose time is over before there is an answer are told so.
    async fn send(self: &Arc<Self>, batch: Vec<Waiting>, together: bool) {
        let parts = batch.into_iter().map(|one| (one.call, (one.until, one.answer)));
        let (calls, mut callers): (Vec<_>, VecDeque<_>) = parts.unzip();
        let mut untold = calls.iter();
        let mut work = pin!(self.work(&calls, together));
        // Those who came first are the first whose time is over.
        while let Some((until, _)) = callers.front() {
            if let Ok(answers) = timeout_at(*until, &mut work).await {
                let late = calls.len() - callers.len();
                for ((call, (_, caller)), answer) in untold.zip(callers).zip(answers.into_iter().skip(late)) {
                    self.tell(call, caller, answer);
                }
                return;
            }
            if let (Some(call), Some((_, caller))) = (untold.next(), callers.pop_front()) {
                self.tell(call, caller, Err(late()));
            }
        }
    }

    async fn work(&self, calls: &[Call], together: bool) -> Vec<Result<Value, StoreError>> {
        match calls {
            [call] if !together => vec![heard(self.link.step(call).await)],
            _ => match self.link.steps(calls).await {
                Ok(answers) => answers.into_iter().map(heard).collect(),
                Err(error) => vec![heard(Err(error)); calls.len()],
            },
        }
    }

    fn tell(self: &Arc<Self>, call: &Call, caller: Caller, answer: Result<Value, StoreError>) {
        let unheard = answer.is_err();
        if (caller.send(answer).is_err() || unheard)
            && let Some(back) = call.give_back()
        {
            drop(self.put(back));
        }
    }
}

/// Makes calls as long as there are steps.
struct Carrier {
    queue: Arc<Queue>,
    done: bool,
}

impl Carrier {
    async fn carry(mut self) {
        let least = self.queue.link.scripts.least();
        while let Some(batch) = self.queue.next() {
            let together = batch.len() >= least;
            self.queue.send(batch, together).await;
        }
        self.done = true;
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        if !self.done {
            // Its runtime has ended. Who waits hears of it, once the lock is free: they may have something to give back.
            let mut state = self.queue.state();
            state.calls -= 1;
            let left = if state.calls == 0 { std::mem::take(&mut state.waiting) } else { VecDeque::new() };
            drop(state);
            drop(left);
        }
    }
}
