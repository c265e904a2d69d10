//! How long to wait before the next attempt: at once, then twice as long each time, for so long in all.

use std::time::Duration;

/// The longest wait: a server that boots is back in a minute or two.
const LONGEST: Duration = Duration::from_secs(20);

/// One row of attempts.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    left: Duration,
}

impl Backoff {
    /// Attempts for `total`; none for zero.
    pub(super) fn new(total: Duration) -> Self {
        Self { next: Duration::from_millis(500), left: total }
    }

    /// The wait before the next attempt; `None` once the time is up.
    pub(super) fn wait(&mut self) -> Option<Duration> {
        if self.left.is_zero() {
            return None;
        }
        let wait = self.next.min(self.left);
        self.left -= wait;
        self.next = (self.next * 2).min(LONGEST);
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_end() {
        let mut backoff = Backoff::new(Duration::from_secs(60));
        let waits: Vec<f64> = std::iter::from_fn(|| backoff.wait()).map(|wait| wait.as_secs_f64()).collect();
        assert_eq!(waits, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 8.5]);
        assert_eq!(Backoff::new(Duration::ZERO).wait(), None);
    }
}
