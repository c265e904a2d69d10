//! A thread's buffers for the records of TLS: taken when there are bytes, given back when there are none, so that
//! an idle connection holds none.

use std::cell::RefCell;

/// A relay buffer (60 KiB and a frame header) as records, with room beside it for an alert and a key update.
pub(super) const SIZE: usize = 62 * 1024;

/// Buffers a thread keeps. A connection has one only while bytes of it wait.
const KEPT: usize = 16;

thread_local! {
    static POOL: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer on loan; `bytes[at..end]` waits. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Pooled {
    pub(super) bytes: Box<[u8]>,
    pub(super) at: usize,
    pub(super) end: usize,
}

impl Pooled {
    /// Takes one in which nothing waits. What it holds is what the last user left; nobody reads before writing.
    pub(super) fn take() -> Self {
        let pooled = POOL.with_borrow_mut(Vec::pop);
        Self { bytes: pooled.unwrap_or_else(|| vec![0; SIZE].into_boxed_slice()), at: 0, end: 0 }
    }

    /// What waits.
    pub(super) fn waiting(&self) -> &[u8] {
        &self.bytes[self.at..self.end]
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.at == self.end
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        // At thread exit the pool may be gone already; then the buffer is simply freed.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < KEPT {
                pool.push(bytes);
            }
        });
    }
}

/// Buffers that lie in this thread's pool.
#[cfg(test)]
pub(super) fn pooled() -> usize {
    POOL.with_borrow(Vec::len)
}
