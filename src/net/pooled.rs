//! A stream that reads 60 KiB at a time into a buffer of its thread's, for a reader above that asks for less.
//!
//! rustls reads 4 KiB at a time from what is below it; under bulk that is a system call for every quarter of
//! a record. The buffer is taken when bytes are there and given back when they have been handed on, so that
//! an idle session holds none.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// As the relay's own buffers: larger ones measured no faster.
const SIZE: usize = 60 * 1024;

/// Buffers a thread keeps. A session has one only while bytes of it wait in between.
const KEPT: usize = 16;

thread_local! {
    static POOL: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// `S`, read in large pieces; writes pass through.
#[derive(Debug)]
pub struct Pooled<S> {
    inner: S,
    /// Bytes read and not handed on: `buffer[at..end]`. `None` when there are none.
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    buffer: Box<[u8]>,
    at: usize,
    end: usize,
}

impl<S> Pooled<S> {
    /// Wraps a stream from which nothing has been read ahead.
    pub fn new(inner: S) -> Self {
        Self { inner, waiting: None }
    }
}

fn take() -> Box<[u8]> {
    POOL.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; SIZE].into_boxed_slice())
}

fn give_back(buffer: Box<[u8]>) {
    // At thread exit the pool may be gone already; then the buffer is simply freed.
    let _ = POOL.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < KEPT {
            pool.push(buffer);
        }
    });
}

impl<S> Drop for Pooled<S> {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            give_back(waiting.buffer);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Pooled<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.waiting.is_none() {
            // Who asks for that much needs nobody in between.
            if buf.remaining() >= SIZE {
                return Pin::new(&mut this.inner).poll_read(cx, buf);
            }
            let mut buffer = take();
            let mut into = ReadBuf::new(&mut buffer);
            let read = Pin::new(&mut this.inner).poll_read(cx, &mut into);
            let end = into.filled().len();
            if !matches!(read, Poll::Ready(Ok(()))) || end == 0 {
                give_back(buffer);
                return read;
            }
            this.waiting = Some(Waiting { buffer, at: 0, end });
        }
        if let Some(mut waiting) = this.waiting.take() {
            let count = buf.remaining().min(waiting.end - waiting.at);
            buf.put_slice(&waiting.buffer[waiting.at..waiting.at + count]);
            waiting.at += count;
            if waiting.at == waiting.end {
                give_back(waiting.buffer);
            } else {
                this.waiting = Some(waiting);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Pooled<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn bytes_come_in_order_and_the_buffer_goes_back() {
        let (mut far, near) = tokio::io::duplex(1 << 20);
        let mut near = Pooled::new(near);
        let sent: Vec<u8> = (0..150_000u32).map(|n| n.to_le_bytes()[1]).collect();
        far.write_all(&sent).await.unwrap();
        drop(far);
        let (mut got, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            let count = near.read(&mut piece).await.unwrap();
            if count == 0 {
                break;
            }
            got.extend_from_slice(&piece[..count]);
        }
        assert!(got == sent);
        assert!(near.waiting.is_none());
        assert_eq!(POOL.with_borrow(Vec::len), 1);
    }

    #[tokio::test]
    async fn an_idle_stream_holds_no_buffer_and_a_dropped_one_gives_it_back() {
        let (mut far, near) = tokio::io::duplex(1024);
        let mut near = Pooled::new(near);
        assert!(tokio_test::task::spawn(near.read(&mut [0; 10])).poll().is_pending());
        assert!(near.waiting.is_none());
        far.write_all(b"0123456789").await.unwrap();
        near.read_exact(&mut [0; 3]).await.unwrap();
        assert!(near.waiting.is_some());
        drop(near);
        assert_eq!(POOL.with_borrow(Vec::len), 1);
    }
}
