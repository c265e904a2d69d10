//! A session's deadlines as plain arithmetic on instants: what is due, and when to look again.

use std::time::Duration;

use tokio::time::Instant;

use super::end::{End, Side};

/// A write that makes no progress for so long ends the session: the reader is gone or wants to hold our
/// memory hostage.
pub(super) const STALL: Duration = Duration::from_secs(60);

/// How long the closing handshake and the last bytes may take.
pub(super) const CLOSING: Duration = Duration::from_secs(5);

/// How long the first bytes of a character wait for the rest.
pub(super) const HOLD: Duration = Duration::from_millis(50);

/// What a deadline asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing yet.
    Nothing,
    /// Send a ping.
    Ping,
    /// Send the held bytes as they are.
    Release,
    /// End the session for this cause.
    End(End),
    /// The closing handshake has taken long enough.
    Cut,
}

/// All of a session's timers.
#[derive(Debug)]
pub(super) struct Deadlines {
    ping: Option<Duration>,
    idle: Option<Duration>,
    end: Option<Instant>,
    next_ping: Option<Instant>,
    heard: Instant,
    moved: Instant,
    stalled: [Option<Instant>; 2],
    held: Option<Instant>,
    cut: Option<Instant>,
}

fn slot(side: Side) -> usize {
    match side {
        Side::Viewer => 0,
        Side::Target => 1,
    }
}

impl Deadlines {
    pub(super) fn new(
        now: Instant,
        ping: Option<Duration>,
        idle: Option<Duration>,
        longest: Option<Duration>,
    ) -> Self {
        Self {
            ping,
            idle,
            end: longest.map(|d| now + d),
            next_ping: ping.map(|d| now + d),
            heard: now,
            moved: now,
            stalled: [None; 2],
            held: None,
            cut: None,
        }
    }

    /// The viewer sent something, if only a pong.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Data moved in either direction.
    pub(super) fn moved(&mut self, now: Instant) {
        self.moved = now;
    }

    /// A write to `side` is waiting (or no longer is).
    pub(super) fn stalled(&mut self, side: Side, now: Option<Instant>) {
        let since = &mut self.stalled[slot(side)];
        *since = now.map(|now| since.unwrap_or(now + STALL));
    }

    /// Bytes are held back (or no longer are).
    pub(super) fn held(&mut self, now: Option<Instant>) {
        self.held = now.map(|now| self.held.unwrap_or(now + HOLD));
    }

    /// The session is closing; once set, the time is not extended.
    pub(super) fn closing(&mut self, now: Instant) {
        self.cut.get_or_insert(now + CLOSING);
    }

    /// The first closing time is over; the goodbye gets its own.
    pub(super) fn restart_closing(&mut self, cut: Instant) {
        self.cut = Some(cut);
    }

    /// When to call [`Deadlines::check`] next.
    pub(super) fn next(&self) -> Option<Instant> {
        if let Some(cut) = self.cut {
            return Some(self.held.map_or(cut, |held| held.min(cut)));
        }
        let idle = self.idle.map(|d| self.moved + d);
        [self.end, self.next_ping, idle, self.stalled[0], self.stalled[1], self.held]
            .into_iter()
            .flatten()
            .min()
    }

    /// The most important thing that is due. Called again until it says nothing is.
    pub(super) fn check(&mut self, now: Instant) -> Due {
        let past = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if past(self.held) {
            self.held = None;
            return Due::Release;
        }
        if self.cut.is_some() {
            return if past(self.cut) { Due::Cut } else { Due::Nothing };
        }
        if past(self.end) {
            return Due::End(End::MaxSession);
        }
        if past(self.idle.map(|d| self.moved + d)) {
            return Due::End(End::Idle);
        }
        for side in [Side::Viewer, Side::Target] {
            if past(self.stalled[slot(side)]) {
                return Due::End(End::Stalled(side));
            }
        }
        let Some(ping) = self.ping.filter(|_| past(self.next_ping)) else { return Due::Nothing };
        // Two pings unanswered: nothing at all was heard since before the last but one.
        if now - self.heard >= 2 * ping {
            return Due::End(End::Silent);
        }
        self.next_ping = Some(now + ping);
        Due::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Runs `check` at whole seconds up to `until`; what was due, and when.
    fn timeline(deadlines: &mut Deadlines, start: Instant, until: u32) -> Vec<(u32, Due)> {
        let mut seen = Vec::new();
        for second in 0..=until {
            let due = deadlines.check(start + SECOND * second);
            if due != Due::Nothing {
                seen.push((second, due));
            }
        }
        seen
    }

    #[test]
    fn a_silent_viewer_is_pinged_and_then_gone() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(start, Some(SECOND * 30), None, None);
        assert_eq!(deadlines.next(), Some(start + SECOND * 30));
        assert_eq!(timeline(&mut deadlines, start, 60), [(30, Due::Ping), (60, Due::End(End::Silent))]);
    }

    #[test]
    fn a_viewer_that_answers_stays() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(start, Some(SECOND * 30), None, None);
        for beat in 1..10 {
            let now = start + SECOND * 30 * beat;
            assert_eq!(deadlines.check(now), Due::Ping);
            deadlines.heard(now + SECOND);
        }
    }

    #[test]
    fn idle_counts_from_the_last_byte_and_the_longest_session_from_the_first() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(start, None, Some(SECOND * 10), Some(SECOND * 25));
        deadlines.moved(start + SECOND * 9);
        assert_eq!(deadlines.check(start + SECOND * 18), Due::Nothing);
        assert_eq!(deadlines.next(), Some(start + SECOND * 19));
        assert_eq!(deadlines.check(start + SECOND * 19), Due::End(End::Idle));
        deadlines.moved(start + SECOND * 20);
        assert_eq!(deadlines.check(start + SECOND * 25), Due::End(End::MaxSession));
    }

    #[test]
    fn a_stall_counts_from_its_first_moment_and_progress_clears_it() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(start, None, None, None);
        assert_eq!(deadlines.next(), None);
        deadlines.stalled(Side::Viewer, Some(start));
        deadlines.stalled(Side::Viewer, Some(start + SECOND * 59));
        assert_eq!(deadlines.check(start + STALL), Due::End(End::Stalled(Side::Viewer)));
        deadlines.stalled(Side::Viewer, None);
        assert_eq!(deadlines.check(start + STALL), Due::Nothing);
    }

    #[test]
    fn closing_silences_the_rest_and_is_not_extended() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(start, Some(SECOND), Some(SECOND), Some(SECOND));
        deadlines.closing(start);
        deadlines.closing(start + SECOND);
        assert_eq!(timeline(&mut deadlines, start, 5), [(5, Due::Cut)]);
    }
}
