//! A thread-local pool of relay buffers: an idle session holds none.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use crate::ws::HEADER_ROOM;

/// Payload bytes per buffer. 60 KiB rather than 64: a full 64 KiB payload and its header spill a tiny second
/// packet on loopback, and larger buffers measured no faster.
pub(super) const PAYLOAD: usize = 60 * 1024;

/// Room for the frame header in front, then the payload.
pub(super) const SIZE: usize = HEADER_ROOM + PAYLOAD;

/// Buffers a worker keeps. A session takes two at most, and only while it is being polled or has a write
/// under way; beyond this many, bursts allocate and free.
const KEPT: usize = 64;

thread_local! {
    static POOL: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer on loan from this thread's pool; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Buffer(Box<[u8]>);

impl Buffer {
    /// Takes one. Its contents are whatever the last user left; nobody reads before writing.
    pub(super) fn take() -> Self {
        let pooled = POOL.with_borrow_mut(Vec::pop);
        Self(pooled.unwrap_or_else(|| vec![0; SIZE].into_boxed_slice()))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.0);
        // At thread exit the pool may be gone already; then the buffer is simply freed.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < KEPT {
                pool.push(bytes);
            }
        });
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back() {
        let first = Buffer::take();
        let address = first.as_ptr();
        drop(first);
        assert_eq!(Buffer::take().as_ptr(), address);
        let many: Vec<_> = (0..KEPT + 10).map(|_| Buffer::take()).collect();
        drop(many);
        assert_eq!(POOL.with_borrow(Vec::len), KEPT);
    }
}
