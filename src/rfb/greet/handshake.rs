//! What is left of the handshake once the viewer is there: one façade over both ways of doing it.

use std::collections::VecDeque;
use std::fmt;

use super::init::ServerInit;
use super::pass_through::{PassThrough, Turn};
use super::{GreetError, Outcome, ViewerGreeter};

enum State {
    /// The target is authenticated; the viewer is greeted with None.
    Greet(ViewerGreeter),
    /// Security is between viewer and target.
    PassThrough(PassThrough),
    /// ClientInit is sent; ServerInit is awaited.
    Init(ServerInit),
    Done,
    Failed(GreetError),
}

/// The handshake between viewer and target, up to and with ServerInit; then the plain relay begins.
///
/// Both `from_` functions say how many bytes they took; what they leave is the caller's and is fed again after
/// the other side has spoken, or relayed once [`Handshake::done`]. A caller stops reading a side that takes
/// nothing. Messages come out one a call: one WebSocket frame each. After an error, what
/// [`Handshake::to_viewer`] still holds tells the viewer why, in RFB's own form.
pub struct Handshake {
    state: State,
    to_viewer: VecDeque<Vec<u8>>,
    to_target: VecDeque<Vec<u8>>,
    watching: bool,
}

impl Handshake {
    /// Goes on from how the target was greeted; the first message for the viewer is ready.
    pub fn new(outcome: Outcome) -> Self {
        let mut to_viewer = VecDeque::new();
        let state = match outcome {
            Outcome::Authenticated(_) => {
                let mut greeter = ViewerGreeter::new();
                to_viewer.extend(std::iter::from_fn(|| greeter.output()));
                State::Greet(greeter)
            }
            Outcome::PassThrough(version) => State::PassThrough(PassThrough::new(version, &mut to_viewer)),
        };
        Self { state, to_viewer, to_target: VecDeque::new(), watching: false }
    }

    /// The viewer may only watch: its ClientInit always shares the desktop, for the other flag would disconnect
    /// everybody else (RFC 6143 section 7.3.1).
    #[must_use]
    pub fn watching(mut self) -> Self {
        self.watching = true;
        self
    }

    /// Takes bytes from the viewer; how many.
    ///
    /// # Errors
    /// The handshake failed; every later call says the same.
    pub fn from_viewer(&mut self, bytes: &[u8]) -> Result<usize, GreetError> {
        let mut rest = bytes;
        let fed = match &mut self.state {
            State::Greet(greeter) => {
                let fed = greeter.feed(bytes);
                self.to_viewer.extend(std::iter::from_fn(|| greeter.output()));
                if let Some(shared) = greeter.done() {
                    self.to_target.push_back(vec![shared]);
                }
                fed.map(|used| rest = &bytes[used..])
            }
            State::PassThrough(relay) if relay.turn() == Turn::Viewer => {
                relay.feed(&mut rest, &mut self.to_viewer, &mut self.to_target)
            }
            State::Failed(error) => return Err(error.clone()),
            State::PassThrough(_) | State::Init(_) | State::Done => Ok(()),
        };
        self.advance(fed)?;
        Ok(bytes.len() - rest.len())
    }

    /// Takes bytes from the target; how many.
    ///
    /// # Errors
    /// The handshake failed; every later call says the same.
    pub fn from_target(&mut self, bytes: &[u8]) -> Result<usize, GreetError> {
        let mut rest = bytes;
        let fed = match &mut self.state {
            State::PassThrough(relay) if relay.turn() == Turn::Target => {
                relay.feed(&mut rest, &mut self.to_viewer, &mut self.to_target)
            }
            State::Init(init) => match init.feed(&mut rest) {
                Ok(Some(message)) => {
                    self.to_viewer.push_back(message);
                    self.state = State::Done;
                    Ok(())
                }
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            },
            State::Failed(error) => return Err(error.clone()),
            State::Greet(_) | State::PassThrough(_) | State::Done => Ok(()),
        };
        self.advance(fed)?;
        Ok(bytes.len() - rest.len())
    }

    /// The next whole message for the viewer.
    pub fn to_viewer(&mut self) -> Option<Vec<u8>> {
        self.to_viewer.pop_front()
    }

    /// The next whole message for the target.
    pub fn to_target(&mut self) -> Option<Vec<u8>> {
        self.to_target.pop_front()
    }

    /// Whether the handshake is over; messages may still wait to be sent.
    pub fn done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// What to report when the target closed, or its time ran out, before [`Handshake::done`].
    pub fn target_closed(&self) -> GreetError {
        match &self.state {
            State::Greet(_) => GreetError::TargetClosed("before the viewer answered"),
            State::PassThrough(relay) => relay.closed(),
            State::Init(_) | State::Done => GreetError::TargetClosed("before it sent ServerInit"),
            State::Failed(error) => error.clone(),
        }
    }

    fn advance(&mut self, fed: Result<(), GreetError>) -> Result<(), GreetError> {
        let over = match &self.state {
            State::Greet(greeter) => greeter.done().is_some(),
            State::PassThrough(relay) => relay.turn() == Turn::Over,
            _ => false,
        };
        if over {
            if let Some(init) = self.to_target.back_mut().filter(|_| self.watching) {
                *init = vec![1];
            }
            self.state = State::Init(ServerInit::new());
        }
        fed.inspect_err(|error| self.state = State::Failed(error.clone()))
    }
}

/// Never shows bytes: a challenge and its response may be among them.
impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").field("done", &self.done()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Version;
    use super::*;

    const CHALLENGE: &[u8; 16] = b"challengechallen";
    const RESPONSE: &[u8; 16] = b"responseresponse";
    const SERVER_INIT: &[u8] =
        b"\x02\x80\x01\x90\x20\x18\0\x01\0\xff\0\xff\0\xff\x10\x08\0\0\0\0\0\0\0\x03bm1";

    /// Everything both sides sent and got, driven until neither side's bytes are taken.
    #[derive(Debug, PartialEq)]
    struct Run {
        to_viewer: Vec<Vec<u8>>,
        to_target: Vec<Vec<u8>>,
        used: (usize, usize),
        end: Result<bool, GreetError>,
    }

    fn run(outcome: Outcome, viewer: &[u8], target: &[u8], size: usize) -> Run {
        let mut hs = Handshake::new(outcome);
        let mut run = Run { to_viewer: vec![], to_target: vec![], used: (0, 0), end: Ok(false) };
        loop {
            let v = &viewer[run.used.0..viewer.len().min(run.used.0.saturating_add(size))];
            let from_viewer = hs.from_viewer(v);
            let t = &target[run.used.1..target.len().min(run.used.1.saturating_add(size))];
            let from_target = from_viewer.clone().and_then(|_| hs.from_target(t));
            run.to_viewer.extend(std::iter::from_fn(|| hs.to_viewer()));
            run.to_target.extend(std::iter::from_fn(|| hs.to_target()));
            match from_viewer.and_then(|v| from_target.map(|t| (v, t))) {
                Ok((0, 0)) => {
                    run.end = Ok(hs.done());
                    return run;
                }
                Ok((v, t)) => run.used = (run.used.0 + v, run.used.1 + t),
                Err(error) => {
                    run.used = (0, 0);
                    run.end = Err(error);
                    return run;
                }
            }
        }
    }

    fn check(outcome: Outcome, viewer: &[&[u8]], target: &[&[u8]], to_viewer: &[&[u8]], to_target: &[&[u8]]) {
        let (viewer, target) = (viewer.concat(), target.concat());
        for size in [1, 2, 7, 1000] {
            let run = run(outcome, &viewer, &target, size);
            assert_eq!(run.to_viewer, to_viewer, "to the viewer, by {size}");
            assert_eq!(run.to_target, to_target, "to the target, by {size}");
            assert_eq!(run.end, Ok(true));
        }
    }

    #[test]
    fn an_authenticated_target_sees_only_client_init() {
        check(
            Outcome::Authenticated(Version::V3_3),
            &[b"RFB 003.008\n", b"\x01", b"\x01", b"\x02\0rest"],
            &[SERVER_INIT, b"\0\0rest"],
            &[b"RFB 003.008\n", b"\x01\x01", b"\0\0\0\0", SERVER_INIT],
            &[b"\x01"],
        );
    }

    #[test]
    fn who_may_only_watch_disconnects_nobody() {
        let check = |outcome, viewer: &[u8], target: &[u8]| {
            for (handshake, sent) in [(Handshake::new(outcome), 0), (Handshake::new(outcome).watching(), 1)] {
                let mut handshake = handshake;
                assert_eq!(handshake.from_viewer(&viewer[..12]), Ok(12));
                assert_eq!(handshake.from_target(target), Ok(target.len()));
                assert_eq!(handshake.from_viewer(&viewer[12..]), Ok(2));
                let last = std::iter::from_fn(|| handshake.to_target()).last();
                assert_eq!(last, Some(vec![sent]), "ClientInit");
            }
        };
        check(Outcome::Authenticated(Version::V3_8), b"RFB 003.008\n\x01\0", b"");
        check(Outcome::PassThrough(Version::V3_7), b"RFB 003.007\n\x01\0", b"\x01\x01");
    }

    #[test]
    fn bytes_after_the_handshake_stay_with_the_caller() {
        let viewer = b"RFB 003.008\n\x01\x01\x02\0rest";
        let target = [SERVER_INIT, b"\0\0rest"].concat();
        let run = run(Outcome::Authenticated(Version::V3_8), viewer, &target, 1000);
        assert_eq!(run.used, (14, SERVER_INIT.len()));
    }

    #[test]
    fn passes_a_vnc_password_through() {
        check(
            Outcome::PassThrough(Version::V3_8),
            &[b"RFB 003.008\n", b"\x02", RESPONSE, b"\0"],
            &[b"\x03\x13\x02\x10", CHALLENGE, b"\0\0\0\0", SERVER_INIT],
            &[b"RFB 003.008\n", b"\x01\x02", CHALLENGE, b"\0\0\0\0", SERVER_INIT],
            &[b"RFB 003.008\n", b"\x02", RESPONSE, b"\0"],
        );
        check(
            Outcome::PassThrough(Version::V3_8),
            &[b"RFB 003.003\n", RESPONSE, b"\x01"],
            &[b"\0\0\0\x02", CHALLENGE, b"\0\0\0\0", SERVER_INIT],
            &[b"RFB 003.008\n", b"\0\0\0\x02", CHALLENGE, b"\0\0\0\0", SERVER_INIT],
            &[b"RFB 003.003\n", RESPONSE, b"\x01"],
        );
    }

    #[test]
    fn passes_none_through() {
        check(
            Outcome::PassThrough(Version::V3_7),
            &[b"RFB 003.008\n", b"\x01", b"\x01"],
            &[b"\x02\x01\x02", SERVER_INIT],
            &[b"RFB 003.007\n", b"\x02\x01\x02", SERVER_INIT],
            &[b"RFB 003.007\n", b"\x01", b"\x01"],
        );
        check(
            Outcome::PassThrough(Version::V3_3),
            &[b"RFB 003.008\n", b"\x01"],
            &[b"\0\0\0\x01", SERVER_INIT],
            &[b"RFB 003.003\n", b"\0\0\0\x01", SERVER_INIT],
            &[b"RFB 003.003\n", b"\x01"],
        );
    }

    #[test]
    fn the_viewer_hears_why_in_rfb() {
        let check = |version, viewer: &[u8], target: &[u8], last: &[u8], error: GreetError| {
            for size in [1, 1000] {
                let run = run(Outcome::PassThrough(version), viewer, target, size);
                assert_eq!(run.to_viewer.last().map(Vec::as_slice), Some(last), "by {size}");
                assert_eq!(run.end, Err(error.clone()));
            }
        };
        let reason = "no".to_owned();
        let failed = [b"\x02", CHALLENGE.as_slice(), b"\0\0\0\x01\0\0\0\x03\x1bno"].concat();
        check(
            Version::V3_8,
            &[b"RFB 003.008\n\x02", RESPONSE.as_slice()].concat(),
            &[b"\x01", failed.as_slice()].concat(),
            b"\0\0\0\x01\0\0\0\x02no",
            GreetError::Failed { reason: reason.clone() },
        );
        check(
            Version::V3_8,
            b"RFB 003.008\n",
            b"\0\0\0\0\x02no",
            b"\0\0\0\0\x02no",
            GreetError::Refused { reason: reason.clone() },
        );
        check(
            Version::V3_3,
            b"RFB 003.003\n",
            b"\0\0\0\0\0\0\0\x02no",
            b"\0\0\0\0\0\0\0\x02no",
            GreetError::Refused { reason },
        );
        let none_left = GreetError::Security(vec![19, 16]);
        let mut told = vec![0];
        crate::rfb::wire::push_string(&mut told, &none_left.to_string());
        check(Version::V3_8, b"RFB 003.008\n", b"\x02\x13\x10", &told, none_left);
    }

    #[test]
    fn a_choice_that_was_not_offered_ends_it() {
        let run = run(Outcome::PassThrough(Version::V3_8), b"RFB 003.008\n\x13", b"\x02\x13\x02", 1000);
        assert_eq!(run.end, Err(GreetError::ViewerSecurity(0x13)));
        assert_eq!(run.to_target, [b"RFB 003.008\n".to_vec()]);
    }

    #[test]
    fn debug_shows_no_bytes() {
        let mut hs = Handshake::new(Outcome::PassThrough(Version::V3_8));
        assert_eq!(hs.from_viewer(b"RFB 003.008\n"), Ok(12));
        assert_eq!(hs.from_target(b"\x01\x02"), Ok(2));
        assert_eq!(hs.from_viewer(b"\x02"), Ok(1));
        assert_eq!(hs.from_target(CHALLENGE), Ok(16));
        assert_eq!(hs.from_viewer(RESPONSE), Ok(16));
        assert_eq!(format!("{hs:?}"), "Handshake { done: false, .. }");
        assert_eq!(hs.target_closed(), GreetError::TargetClosed("before it sent SecurityResult"));
    }

    proptest! {
        #[test]
        fn the_same_however_it_is_split(
            viewer in prop::collection::vec(0u8..3, 0..40),
            target in prop::collection::vec(0u8..3, 0..80),
            version in prop::sample::select(vec![Version::V3_3, Version::V3_7, Version::V3_8]),
            through: bool,
            size in 1usize..30,
        ) {
            let outcome =
                if through { Outcome::PassThrough(version) } else { Outcome::Authenticated(version) };
            let viewer = [version.line().as_slice(), &viewer].concat();
            prop_assert_eq!(run(outcome, &viewer, &target, size), run(outcome, &viewer, &target, 1000));
        }
    }
}
