//! Time as an input: the one place that reads a clock for token and limit decisions.

use std::fmt::Write as _;
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

/// Writes dates as RFC 3339 has them, to the microsecond: `2026-11-21T19:30:00.123456Z`. Most dates it is asked for
/// are of the same second as the one before, whose text it keeps.
#[derive(Clone, Debug, Default)]
pub struct Stamp {
    text: String,
    /// Of `text`, since the epoch.
    second: Option<u64>,
}

/// Where the microseconds begin.
const MICROS: usize = "2026-11-21T19:30:00.".len();

impl Stamp {
    /// The date's text; a date before 1970 is shown as its beginning.
    pub fn text(&mut self, date: SystemTime) -> &str {
        let since = date.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if self.second == Some(since.as_secs()) {
            self.text.truncate(MICROS);
            // Writing to a String cannot fail.
            let _ = write!(self.text, "{:06}Z", since.subsec_micros());
        } else {
            self.second = Some(since.as_secs());
            self.text.clear();
            // Fails for years of five digits, which then have no text.
            let _ = write!(self.text, "{}", humantime::format_rfc3339_micros(SystemTime::UNIX_EPOCH + since));
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_to_the_microsecond_whatever_came_before() {
        let mut stamp = Stamp::default();
        let mut check = |micros: u64, expected: &str| {
            let date = SystemTime::UNIX_EPOCH + Duration::from_micros(micros);
            assert_eq!(stamp.text(date), expected);
        };
        check(0, "1970-01-01T00:00:00.000000Z");
        check(1_000_000_000_000_001, "2001-09-09T01:46:40.000001Z");
        check(1_000_000_000_999_999, "2001-09-09T01:46:40.999999Z");
        check(1_000_000_000_000_002, "2001-09-09T01:46:40.000002Z");
        check(1_000_000_001_000_000, "2001-09-09T01:46:41.000000Z");
        check(999_999, "1970-01-01T00:00:00.999999Z");
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(stamp.text(before), "1970-01-01T00:00:00.000000Z");
    }
}
