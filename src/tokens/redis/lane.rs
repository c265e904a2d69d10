//! Where a call is made: on the worker it is needed by, over a connection of that worker's own, or on the store's thread.
//!
//! From a worker no call goes through another thread, and those that are made at the same time go out together.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use tokio::runtime::Handle;

use super::link::Link;
use super::queue::Queue;
use super::{RedisStore, Steps};

thread_local! {
    /// Of each store that this thread has a connection to.
    static LANES: RefCell<Vec<(Weak<Steps>, Arc<Steps>)>> = const { RefCell::new(Vec::new()) };
}

impl RedisStore {
    /// From now on, calls from this thread are made on its runtime, which has to be one that is always driven: a worker
    /// calls this, and who looks after the sessions. A second time is nothing.
    pub fn come_near(&self) {
        LANES.with_borrow_mut(|lanes| {
            lanes.retain(|(store, _)| store.strong_count() > 0);
            if !lanes.iter().any(|(store, _)| std::ptr::eq(store.as_ptr(), Arc::as_ptr(&self.steps))) {
                let far = &self.steps;
                let link = Link::new(Arc::clone(&far.link.route), Arc::clone(&far.link.scripts));
                let queue = Queue::new(Arc::clone(&link), None);
                let near = Arc::new(Steps { link, queue, fenced: Arc::clone(&far.fenced) });
                lanes.push((Arc::downgrade(far), near));
            }
        });
    }

    fn near(&self) -> Option<Arc<Steps>> {
        let find = |lanes: &Vec<(Weak<Steps>, Arc<Steps>)>| {
            let mine =
                |(store, _): &&(Weak<Steps>, _)| std::ptr::eq(store.as_ptr(), Arc::as_ptr(&self.steps));
            lanes.iter().find(mine).map(|(_, near)| Arc::clone(near))
        };
        // A thread that is ending, or is in no runtime, is no worker.
        LANES.try_with(|lanes| find(&lanes.borrow())).ok().flatten().filter(|_| Handle::try_current().is_ok())
    }

    /// The steps for this caller, to be done by [`RedisStore::spawn`] from the same place.
    pub(super) fn steps(&self) -> Arc<Steps> {
        self.near().unwrap_or_else(|| Arc::clone(&self.steps))
    }

    /// Does work beside the caller, who may go away meanwhile.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        match self.near() {
            Some(_) => _ = tokio::spawn(work),
            None => self.thread.spawn(work),
        }
    }
}
