//! Breaks on a line that has to be told when they begin and when they end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep};

use crate::net::stream::Breaker;

/// How long a break lasts: within the 0.25 to 0.5 s of tcsendbreak(3), which consoles are made for.
const LENGTH: Duration = Duration::from_millis(300);

/// The line's end of a [`Breaker`], and the break under way.
#[derive(Debug)]
pub(super) struct Breaks {
    breaker: Breaker,
    asked: mpsc::Receiver<()>,
    ends: Option<Pin<Box<Sleep>>>,
}

/// What to do to the line now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Begin,
    End,
}

impl Breaks {
    pub(super) fn new() -> Self {
        let (breaker, asked) = Breaker::pair();
        Self { breaker, asked, ends: None }
    }

    pub(super) fn breaker(&self) -> Breaker {
        self.breaker.clone()
    }

    /// The next step. After `Begin` the line calls [`Breaks::lasts`] if it has to end the break itself.
    pub(super) fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        if let Some(ends) = &mut self.ends {
            ready!(ends.as_mut().poll(cx));
            self.ends = None;
            return Poll::Ready(Step::End);
        }
        // Never closed: we hold a sender ourselves.
        match ready!(self.asked.poll_recv(cx)) {
            Some(()) => Poll::Ready(Step::Begin),
            None => Poll::Pending,
        }
    }

    /// The break has begun.
    pub(super) fn lasts(&mut self) {
        self.ends = Some(Box::pin(sleep(LENGTH)));
    }
}
