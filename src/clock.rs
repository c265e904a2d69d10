//! Time as an input: the one place that reads a clock for token and limit decisions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// A monotonic clock, and the calendar beside it. The system's by default; tests hold one they turn by hand.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System { start: Instant },
    Manual { millis: Arc<AtomicU64>, start: SystemTime },
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl Clock {
    /// The operating system's monotonic clock.
    pub fn system() -> Self {
        Self(Source::System { start: Instant::now() })
    }

    /// A clock that stands still until [`Clock::advance`]; its calendar begins today.
    pub fn manual() -> Self {
        Self::manual_at(SystemTime::now())
    }

    /// A clock that stands still until [`Clock::advance`], at this date.
    pub fn manual_at(start: SystemTime) -> Self {
        Self(Source::Manual { millis: Arc::default(), start })
    }

    /// Time since the clock was made.
    pub fn now(&self) -> Duration {
        match &self.0 {
            Source::System { start } => start.elapsed(),
            Source::Manual { millis, .. } => Duration::from_millis(millis.load(Ordering::SeqCst)),
        }
    }

    /// The date, for times that others wrote down: expiries, signatures. It may jump; never measure with it.
    pub fn today(&self) -> SystemTime {
        match &self.0 {
            Source::System { .. } => SystemTime::now(),
            Source::Manual { start, .. } => *start + self.now(),
        }
    }

    /// Turns a manual clock forward, whole milliseconds; a system clock goes its own way.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual { millis, .. } = &self.0 {
            millis.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
        }
    }
}
