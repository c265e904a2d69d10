//! Work that is done to its end: by whoever waits for it, and by itself once nobody does.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// A future that goes on in a task of its own when it is dropped before its end. That costs one only where somebody
/// goes away, which few do.
pub struct Unbroken<F>(Option<Pin<Box<F>>>)
where
    F: Future<Output: Send> + Send + 'static;

impl<F> Unbroken<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    /// This work; it begins when it is first waited for, or let go of.
    pub fn new(work: F) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl<F> Future for Unbroken<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // Taken, so that work that panics is not gone on with.
        let Some(mut work) = self.0.take() else { return Poll::Pending };
        let answer = work.as_mut().poll(cx);
        if answer.is_pending() {
            self.0 = Some(work);
        }
        answer
    }
}

impl<F> Drop for Unbroken<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    fn drop(&mut self) {
        // Without a runtime the process is on its way out.
        if let (Some(work), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::oneshot;
    use tokio_test::{assert_pending, assert_ready_eq, task};

    use super::*;

    #[tokio::test]
    async fn whoever_waits_has_the_answer_and_it_is_done_once() {
        let done = Arc::new(AtomicUsize::new(0));
        let (go, gone) = oneshot::channel::<()>();
        let counted = Arc::clone(&done);
        let mut work = task::spawn(Unbroken::new(async move {
            gone.await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst)
        }));
        assert_pending!(work.poll());
        go.send(()).unwrap();
        assert_ready_eq!(work.poll(), 0);
        drop(work);
        tokio::task::yield_now().await;
        assert_eq!(done.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn it_is_done_to_its_end_if_nobody_waits() {
        let (go, gone) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        let mut begun = task::spawn(Unbroken::new(async move {
            gone.await.unwrap();
            tell.send("whole").unwrap();
        }));
        assert_pending!(begun.poll());
        drop(begun);
        go.send(()).unwrap();
        assert_eq!(told.await, Ok("whole"));
        let (tell, told) = oneshot::channel();
        drop(Unbroken::new(async move { tell.send("never waited for") }));
        assert_eq!(told.await, Ok("never waited for"));
    }

    #[tokio::test]
    async fn work_that_panicked_is_not_gone_on_with() {
        let (tell, told) = oneshot::channel::<()>();
        let mut work = Unbroken::new(async move {
            let _tell = tell;
            panic!("halfway");
        });
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            Pin::new(&mut work).poll(&mut Context::from_waker(std::task::Waker::noop())).is_ready()
        }));
        assert!(polled.is_err());
        drop(work);
        assert!(told.await.is_err(), "all it held is gone");
    }
}
