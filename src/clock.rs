//! Time as an input: the one place that reads a clock for token and limit decisions.

use std::cell::Cell;
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
            Source::System { start } => instant().saturating_duration_since(*start),
            Source::Manual { millis, .. } => Duration::from_millis(millis.load(Ordering::SeqCst)),
        }
    }

    /// The date, for times that others wrote down: expiries, signatures. It may jump; never measure with it.
    pub fn today(&self) -> SystemTime {
        match &self.0 {
            Source::System { .. } => date(),
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

/// How long the calendar is taken to run beside the monotonic clock before it is looked at again: a correction by NTP
/// shows in log lines so much later.
const IN_STEP: Duration = Duration::from_millis(10);

/// Two clocks that are read within this were read at the same moment.
const TOGETHER: Duration = Duration::from_micros(10);

#[derive(Clone, Copy)]
enum Turn {
    /// Every question is answered by the system.
    Outside,
    /// Nobody has asked yet.
    Unread,
    Read(Instant, Option<SystemTime>),
}

thread_local! {
    static TURN: Cell<Turn> = const { Cell::new(Turn::Outside) };
    /// A moment at which both clocks were read.
    static BOTH: Cell<Option<(Instant, SystemTime)>> = const { Cell::new(None) };
}

/// One turn of a task that waits for nothing: the time stands still in it, so that the clock is read once at most,
/// however many steps of it go by the time. A reading costs as much as hashing a token.
pub fn turn<T>(run: impl FnOnce() -> T) -> T {
    struct Outer(Turn);
    impl Drop for Outer {
        fn drop(&mut self) {
            TURN.set(self.0);
        }
    }
    let _outer = Outer(TURN.replace(Turn::Unread));
    run()
}

/// Now, or this [`turn`]'s time.
pub fn instant() -> Instant {
    match TURN.get() {
        Turn::Outside => Instant::now(),
        Turn::Read(instant, _) => instant,
        Turn::Unread => {
            let now = Instant::now();
            TURN.set(Turn::Read(now, None));
            now
        }
    }
}

/// The system's date; within a [`turn`], that turn's.
pub fn date() -> SystemTime {
    match TURN.get() {
        Turn::Outside => SystemTime::now(),
        Turn::Read(_, Some(date)) => date,
        Turn::Unread | Turn::Read(_, None) => {
            let now = instant();
            let date = date_at(now);
            TURN.set(Turn::Read(now, Some(date)));
            date
        }
    }
}

/// The date at a moment that has just been.
fn date_at(now: Instant) -> SystemTime {
    if let Some((instant, date)) = BOTH.get()
        && let Some(since) = now.checked_duration_since(instant)
        && since < IN_STEP
    {
        return date + since;
    }
    let (before, date) = (Instant::now(), SystemTime::now());
    // Unless this thread had to wait between the two.
    BOTH.set((before.elapsed() < TOGETHER).then_some((before, date)));
    date
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
            // One digit more, so that those behind it keep their zeros.
            let mut digits = itoa::Buffer::new();
            self.text.push_str(&digits.format(1_000_000 + since.subsec_micros())[1..]);
            self.text.push('Z');
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
    fn the_time_stands_still_in_a_turn_and_goes_on_after_it() {
        let clock = Clock::system();
        // Until the system's clock has moved, which it does without us.
        let pass = |since: Instant| while Instant::now() == since {};
        let (first, within) = turn(|| {
            let first = (clock.now(), clock.today(), instant());
            pass(Instant::now());
            (first, (clock.now(), clock.today(), instant()))
        });
        assert_eq!(first, within);
        assert!(clock.now() > first.0 && instant() > first.2);
        let inner = turn(|| {
            let outer = instant();
            pass(outer);
            assert!(turn(instant) > outer, "a turn within a turn has its own time");
            (outer, instant())
        });
        assert_eq!(inner.0, inner.1);
        let panicked = std::panic::catch_unwind(|| turn(|| panic!("within")));
        assert!(panicked.is_err());
        let before = instant();
        pass(before);
        assert!(instant() > before, "no turn is left behind");
    }

    #[test]
    fn dates_of_turns_keep_step_with_the_calendar() {
        let near = |a: SystemTime, b: SystemTime| {
            a.duration_since(b).unwrap_or_else(|error| error.duration()) < Duration::from_secs(60)
        };
        let dates: Vec<SystemTime> = (0..1000).map(|_| turn(date)).collect();
        assert!(dates.iter().all(|date| near(*date, SystemTime::now())));
        // As after a long sleep of this thread.
        let long_ago = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
        BOTH.set(Some((long_ago, SystemTime::UNIX_EPOCH)));
        assert!(near(turn(date), SystemTime::now()));
        // What was read lately is gone on from.
        BOTH.set(Some((Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(7))));
        assert!(
            turn(date) >= SystemTime::UNIX_EPOCH + Duration::from_secs(7)
                && !near(turn(date), SystemTime::now())
        );
    }

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
