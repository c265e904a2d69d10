//! Where in a recording we are: runs, stands still, goes faster, jumps. Time is an input.

use std::time::Duration;

use tokio::time::Instant;

/// How far one key leads.
pub(super) const STEP: Duration = Duration::from_secs(10);

/// What whoever watches can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Pause,
    Back,
    Forward,
    Faster,
    Slower,
    Restart,
    Quit,
}

/// A clock of the recording's own time.
#[derive(Clone, Debug)]
pub(super) struct Clockwork {
    /// The place at `since`.
    at: Duration,
    since: Instant,
    speed: f64,
    running: bool,
}

impl Clockwork {
    pub(super) fn new(from: Duration, speed: f64, now: Instant) -> Self {
        Self { at: from, since: now, speed, running: true }
    }

    /// Where we are.
    pub(super) fn at(&self, now: Instant) -> Duration {
        match self.running {
            true => self.at + now.saturating_duration_since(self.since).mul_f64(self.speed),
            false => self.at,
        }
    }

    /// When we will be at `place`; `None`: we stand still before it.
    pub(super) fn when(&self, place: Duration, now: Instant) -> Option<Instant> {
        let left = place.saturating_sub(self.at(now));
        match left.is_zero() {
            true => Some(now),
            false => self.running.then(|| now + left.div_f64(self.speed)),
        }
    }

    /// Goes to `place` at once.
    pub(super) fn jump(&mut self, place: Duration, now: Instant) {
        (self.at, self.since) = (place, now);
    }

    /// Does what a key asks for; the recording ends at `end`. Quitting is the caller's.
    pub(super) fn press(&mut self, key: Key, end: Duration, now: Instant) {
        let at = self.at(now).min(end);
        self.jump(at, now);
        match key {
            Key::Pause => self.running = !self.running,
            Key::Back => self.jump(at.saturating_sub(STEP), now),
            Key::Forward => self.jump((at + STEP).min(end), now),
            Key::Faster => self.speed = (self.speed * 2.0).min(1000.0),
            Key::Slower => self.speed = (self.speed / 2.0).max(0.01),
            Key::Restart => self.jump(Duration::ZERO, now),
            Key::Quit => {}
        }
    }
}

/// The times of events with the long waits between them cut.
pub(super) struct Cut {
    limit: Option<Duration>,
    last: Duration,
    removed: Duration,
}

impl Cut {
    pub(super) fn new(limit: Option<Duration>) -> Self {
        Self { limit, last: Duration::ZERO, removed: Duration::ZERO }
    }

    /// The time at which an event of the recording's `time` is played. Called in order.
    pub(super) fn place(&mut self, time: Duration) -> Duration {
        let gap = time.saturating_sub(self.last);
        self.last = self.last.max(time);
        if let Some(over) = self.limit.and_then(|limit| gap.checked_sub(limit)) {
            self.removed += over;
        }
        self.last - self.removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn runs_stands_still_and_jumps() {
        let start = Instant::now();
        let after = |s: u64| start + seconds(s);
        let end = seconds(100);
        let mut clock = Clockwork::new(seconds(5), 2.0, start);
        assert_eq!(clock.at(after(10)), seconds(25));
        assert_eq!(clock.when(seconds(45), after(10)), Some(after(20)));
        assert_eq!(clock.when(seconds(1), after(10)), Some(after(10)), "what is past is due");
        clock.press(Key::Pause, end, after(10));
        assert_eq!((clock.at(after(99)), clock.when(seconds(26), after(99))), (seconds(25), None));
        clock.press(Key::Forward, end, after(99));
        clock.press(Key::Pause, end, after(99));
        clock.press(Key::Slower, end, after(99));
        assert_eq!(clock.at(after(100)), seconds(36));
        clock.press(Key::Back, end, after(100));
        clock.press(Key::Back, end, after(100));
        clock.press(Key::Back, end, after(100));
        clock.press(Key::Back, end, after(100));
        assert_eq!(clock.at(after(100)), Duration::ZERO);
        clock.press(Key::Faster, end, after(100));
        clock.press(Key::Forward, end, after(400));
        assert_eq!(clock.at(after(400)), end, "no further than the end");
        clock.press(Key::Restart, end, after(400));
        assert_eq!(clock.at(after(401)), seconds(2));
    }

    #[test]
    fn long_waits_are_cut() {
        let mut cut = Cut::new(Some(seconds(2)));
        let places: Vec<_> = [1, 10, 11, 100, 100].map(|time| cut.place(seconds(time))).into();
        assert_eq!(places, [1, 3, 4, 6, 6].map(seconds));
        let mut uncut = Cut::new(None);
        assert_eq!([1, 10, 5].map(|time| uncut.place(seconds(time))), [1, 10, 10].map(seconds));
    }
}
