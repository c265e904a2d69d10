//! A thread-local pool of relay buffers: an idle session holds none.

use std::cell::RefCell;
use std::iter::repeat_n;
use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

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
    static POOL: RefCell<Vec<Arc<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer on loan from this thread's pool; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Buffer(Arc<[u8]>);

impl Buffer {
    /// Takes one. Its contents are whatever the last user left; nobody reads before writing.
    pub(super) fn take() -> Self {
        let pooled = POOL.with_borrow_mut(Vec::pop);
        Self(pooled.unwrap_or_else(|| repeat_n(0, SIZE).collect()))
    }

    /// These bytes of it for somebody else to read, without a copy. What is written to the buffer meanwhile goes to a
    /// copy: share what is finished.
    pub(super) fn share(&self, range: Range<usize>) -> Block {
        Block { bytes: Arc::clone(&self.0), range }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // One that is still read elsewhere comes back from there, if at all.
        if Arc::strong_count(&self.0) > 1 {
            return;
        }
        // At thread exit the pool may be gone already; then the buffer is simply freed.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < KEPT {
                pool.push(Arc::clone(&self.0));
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
        Arc::make_mut(&mut self.0)
    }
}

/// Bytes of a buffer, shared with whoever had it. It keeps the whole buffer.
#[derive(Debug)]
pub(super) struct Block {
    bytes: Arc<[u8]>,
    range: Range<usize>,
}

impl Block {
    /// Gives the buffer to the pool of this thread, unless it is still in use.
    pub(super) fn give_back(self) {
        drop(Buffer(self.bytes));
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.range.clone()]
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
    #[test]
    fn what_is_shared_stays_as_it_was_and_comes_back_once() {
        let mut buffer = Buffer::take();
        buffer[..4].copy_from_slice(b"abcd");
        let block = buffer.share(1..3);
        buffer[1] = b'x';
        assert_eq!((&*block, &buffer[..4]), (&b"bc"[..], &b"axcd"[..]));
        let shared = buffer.share(0..4);
        POOL.with_borrow_mut(Vec::clear);
        drop(buffer);
        assert_eq!(POOL.with_borrow(Vec::len), 0, "somebody reads it");
        shared.give_back();
        block.give_back();
        assert_eq!(POOL.with_borrow(Vec::len), 2);
    }
}
