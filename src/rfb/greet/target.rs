//! We are the client of the real VNC server: from its version line to the end of security.

use crate::rfb::wire::{Gather, u32_at};

use super::{GreetError, NONE, VERSION_LEN, Version, reason_len, refusal, version_of_target};

/// A security type we may use towards a target ourselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// None (type 1): the target trusts whoever reaches it.
    None,
}

impl Security {
    fn number(self) -> u8 {
        match self {
            Self::None => NONE,
        }
    }
}

/// How far the greeting goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Through security, with the first of these that the target offers; ends before ClientInit.
    Authenticate(Vec<Security>),
    /// Ends right after the target's version line, unanswered: the viewer goes through security itself.
    PassThrough,
}

/// How a greeting ended well; what [`super::Handshake`] goes on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The target waits for ClientInit.
    Authenticated(Version),
    /// The target waits for our version line; this is the newest both speak.
    PassThrough(Version),
}

/// What is awaited from the target.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Version,
    /// 3.3: one number decided by the server.
    Decision,
    Count,
    Types,
    Result,
    ReasonLen {
        after_result: bool,
    },
    Reason {
        after_result: bool,
    },
    Done,
}

/// Greets a target; feed it what the target sends, send the target what it puts out.
pub struct TargetGreeter {
    mode: Mode,
    version: Version,
    state: State,
    gather: Gather,
    out: Vec<u8>,
    outcome: Option<Outcome>,
    failed: Option<GreetError>,
}

impl TargetGreeter {
    /// A greeting that goes as far as `mode` says.
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            version: Version::V3_8,
            state: State::Version,
            gather: Gather::new(VERSION_LEN),
            out: Vec::new(),
            outcome: None,
            failed: None,
        }
    }

    /// Takes bytes from the target; how many belonged to the greeting. The rest stay the caller's.
    ///
    /// # Errors
    /// The greeting failed; every later call says the same.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<usize, GreetError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let mut rest = bytes;
        while self.state != State::Done {
            let Some(field) = self.gather.take(&mut rest) else { break };
            if let Err(error) = self.step(&field) {
                self.failed = Some(error.clone());
                return Err(error);
            }
        }
        Ok(bytes.len() - rest.len())
    }

    /// What to send to the target now; empty if nothing. Flush it before dialling on, also once done.
    pub fn output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// The outcome, once the greeting has ended well.
    pub fn done(&self) -> Option<Outcome> {
        self.outcome
    }

    /// What to report when the target closed, or its time ran out, before [`TargetGreeter::done`].
    pub fn closed(&self) -> GreetError {
        if let Some(error) = &self.failed {
            return error.clone();
        }
        let partial = self.gather.partial();
        GreetError::TargetClosed(match self.state {
            State::Version
                if !partial.is_empty() && !b"RFB ".starts_with(&partial[..partial.len().min(4)]) =>
            {
                return version_of_target(partial).err().unwrap_or(GreetError::Repeater);
            }
            State::Version => "before it sent its RFB version",
            State::Decision | State::Count | State::Types => "before it sent its security types",
            State::Result => "before it sent SecurityResult",
            State::ReasonLen { after_result } | State::Reason { after_result } => {
                return refusal(after_result, self.reason_so_far());
            }
            State::Done => "after the greeting",
        })
    }

    fn reason_so_far(&self) -> &[u8] {
        if matches!(self.state, State::Reason { .. }) { self.gather.partial() } else { &[] }
    }

    fn step(&mut self, field: &[u8]) -> Result<(), GreetError> {
        match self.state {
            State::Version => return self.on_version(field),
            State::Decision => match u32_at(field, 0) {
                0 => self.expect(State::ReasonLen { after_result: false }, 4),
                decided => {
                    let decided = u8::try_from(decided).unwrap_or(u8::MAX);
                    self.choose(&[decided])?;
                    self.finish();
                }
            },
            State::Count => match field[0] {
                0 => self.expect(State::ReasonLen { after_result: false }, 4),
                count => self.expect(State::Types, usize::from(count)),
            },
            State::Types => {
                let chosen = self.choose(field)?;
                self.out.push(chosen);
                if self.version.has_result(chosen) {
                    self.expect(State::Result, 4);
                } else {
                    self.finish();
                }
            }
            State::Result => match u32_at(field, 0) {
                0 => self.finish(),
                _ if self.version == Version::V3_8 => self.expect(State::ReasonLen { after_result: true }, 4),
                _ => return Err(refusal(true, &[])),
            },
            State::ReasonLen { after_result } => {
                self.expect(State::Reason { after_result }, reason_len(u32_at(field, 0)));
            }
            State::Reason { after_result } => return Err(refusal(after_result, field)),
            State::Done => {}
        }
        Ok(())
    }

    fn on_version(&mut self, line: &[u8]) -> Result<(), GreetError> {
        self.version = version_of_target(line)?;
        if self.mode == Mode::PassThrough {
            self.finish();
            return Ok(());
        }
        self.out.extend_from_slice(self.version.line());
        match self.version {
            Version::V3_3 => self.expect(State::Decision, 4),
            Version::V3_7 | Version::V3_8 => self.expect(State::Count, 1),
        }
        Ok(())
    }

    /// Our first allowed type that is among the `offered`.
    fn choose(&self, offered: &[u8]) -> Result<u8, GreetError> {
        let Mode::Authenticate(allowed) = &self.mode else {
            return Err(GreetError::Security(offered.to_vec()));
        };
        let chosen = allowed.iter().map(|s| s.number()).find(|n| offered.contains(n));
        chosen.ok_or_else(|| GreetError::Security(offered.to_vec()))
    }

    fn expect(&mut self, state: State, need: usize) {
        self.state = state;
        self.gather.expect(need);
    }

    fn finish(&mut self) {
        self.state = State::Done;
        self.outcome = Some(match self.mode {
            Mode::Authenticate(_) => Outcome::Authenticated(self.version),
            Mode::PassThrough => Outcome::PassThrough(self.version),
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Output, consumed bytes and end of a greeting fed in pieces of `size`.
    type Run = (Vec<u8>, usize, Result<Option<Outcome>, GreetError>);

    fn run(mode: Mode, input: &[u8], size: usize) -> Run {
        let mut greeter = TargetGreeter::new(mode);
        let (mut out, mut used) = (Vec::new(), 0);
        for piece in input.chunks(size.max(1)) {
            let fed = greeter.feed(piece);
            out.extend(greeter.output());
            match fed {
                Ok(n) => used += n,
                Err(e) => return (out, 0, Err(e)),
            }
            if greeter.done().is_some() {
                break;
            }
        }
        (out, used, Ok(greeter.done()))
    }

    fn none() -> Mode {
        Mode::Authenticate(vec![Security::None])
    }

    #[test]
    fn greets_every_version() {
        let check = |input: &[u8], sent: &[u8], used: usize, outcome| {
            for size in [1, 2, 5, 1000] {
                assert_eq!(
                    run(none(), input, size),
                    (sent.to_vec(), used, Ok(outcome)),
                    "{input:?} by {size}"
                );
            }
        };
        // 3.8: version, types, result; one byte of ServerInit stays unread.
        check(
            b"RFB 003.008\n\x02\x02\x01\0\0\0\0X",
            b"RFB 003.008\n\x01",
            19,
            Some(Outcome::Authenticated(Version::V3_8)),
        );
        check(
            b"RFB 003.889\n\x01\x01\0\0\0\0",
            b"RFB 003.008\n\x01",
            18,
            Some(Outcome::Authenticated(Version::V3_8)),
        );
        check(
            b"RFB 003.007\n\x01\x01XY",
            b"RFB 003.007\n\x01",
            14,
            Some(Outcome::Authenticated(Version::V3_7)),
        );
        check(
            b"RFB 003.003\n\0\0\0\x01XY",
            b"RFB 003.003\n",
            16,
            Some(Outcome::Authenticated(Version::V3_3)),
        );
        check(b"RFB 003.005\n\0\0\0\x01", b"RFB 003.003\n", 16, Some(Outcome::Authenticated(Version::V3_3)));
        check(b"RFB 003.008\n\x01\x01\0\0\0", b"RFB 003.008\n\x01", 17, None);
    }

    #[test]
    fn passing_through_answers_nothing() {
        let input = b"RFB 003.008\nrest";
        assert_eq!(
            run(Mode::PassThrough, input, 3),
            (vec![], 12, Ok(Some(Outcome::PassThrough(Version::V3_8))))
        );
        let apple = run(Mode::PassThrough, b"RFB 003.889\n", 100);
        assert_eq!(apple.2, Ok(Some(Outcome::PassThrough(Version::V3_8))));
    }

    #[test]
    fn says_why_a_target_refused() {
        let check = |input: &[u8], expected: GreetError| {
            for size in [1, 3, 1000] {
                assert_eq!(run(none(), input, size).2, Err(expected.clone()), "{input:?} by {size}");
            }
        };
        let refused = |reason: &str| GreetError::Refused { reason: reason.to_owned() };
        let failed = |reason: &str| GreetError::Failed { reason: reason.to_owned() };
        check(b"RFB 003.008\n\0\0\0\0\x0cToo\x1b[31mbusy", refused("Too[31mbusy"));
        check(b"RFB 003.003\n\0\0\0\0\0\0\0\x04busy", refused("busy"));
        check(b"RFB 003.008\n\x01\x01\0\0\0\x01\0\0\0\x02no", failed("no"));
        check(b"RFB 003.008\n\x01\x01\0\0\0\x02\0\0\0\0", failed("it gave no reason"));
        check(b"RFB 003.008\n\x01\x02", GreetError::Security(vec![2]));
        check(b"RFB 003.003\n\0\0\0\x02", GreetError::Security(vec![2]));
        check(b"RFB 003.003\n\x01\0\0\0", GreetError::Security(vec![255]));
        check(b"HTTP/1.1 400 Bad", GreetError::NotRfb { said: "HTTP/1.1 400".to_owned() });
        let mut long = b"RFB 003.008\n\0\xff\xff\xff\xff".to_vec();
        long.extend([b'x'; 300]);
        check(&long, refused(&"x".repeat(256)));
    }

    #[test]
    fn says_what_was_awaited_when_the_target_hung_up() {
        let check = |input: &[u8], expected: &str| {
            let mut greeter = TargetGreeter::new(none());
            assert_eq!(greeter.feed(input), Ok(input.len()));
            assert_eq!(greeter.closed().to_string(), expected);
        };
        check(b"", "target closed the connection before it sent its RFB version");
        check(b"RFB 003", "target closed the connection before it sent its RFB version");
        check(
            b"login: ",
            "target is not a VNC server: it began with \"login:\"; check the host and port of `vnc`",
        );
        check(b"RFB 003.008\n\x02\x01", "target closed the connection before it sent its security types");
        check(b"RFB 003.008\n\x01\x01", "target closed the connection before it sent SecurityResult");
        check(b"RFB 003.008\n\0\0\0\0\x09Too ma", "target refused the connection: Too ma");
    }

    #[test]
    fn a_failed_greeting_stays_failed() {
        let mut greeter = TargetGreeter::new(none());
        let first = greeter.feed(b"RFB 003.008\n\x01\x02").expect_err("password only");
        assert_eq!(greeter.feed(b"\x01"), Err(first.clone()));
        assert_eq!(greeter.closed(), first);
    }

    proptest! {
        #[test]
        fn the_same_however_it_is_split(
            version in prop::sample::select(vec!["RFB 003.003\n", "RFB 003.007\n", "RFB 003.008\n", "RFB 9"]),
            tail in prop::collection::vec(0u8..4, 0..40),
            size in 1usize..20,
            through: bool,
        ) {
            let input = [version.as_bytes(), &tail].concat();
            let mode = if through { Mode::PassThrough } else { none() };
            prop_assert_eq!(run(mode.clone(), &input, size), run(mode, &input, usize::MAX));
        }
    }
}
