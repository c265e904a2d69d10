//! We are the server towards the viewer: None is all it is offered, the target is already authenticated.

use std::collections::VecDeque;

use crate::rfb::wire::{Gather, push_string};

use super::{GreetError, NONE, VERSION_LEN, Version, version_of_viewer};

/// What is awaited from the viewer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Version,
    Choice,
    ClientInit,
    Done,
}

/// Greets a viewer with version 3.8 and security None, up to its ClientInit.
///
/// Every message comes out on its own, so that each becomes one WebSocket frame: Tempest reads so.
pub struct ViewerGreeter {
    version: Version,
    state: State,
    gather: Gather,
    out: VecDeque<Vec<u8>>,
    shared: Option<u8>,
    failed: Option<GreetError>,
}

impl Default for ViewerGreeter {
    fn default() -> Self {
        Self::new()
    }
}

impl ViewerGreeter {
    /// A greeting whose first message is ready.
    pub fn new() -> Self {
        Self {
            version: Version::V3_8,
            state: State::Version,
            gather: Gather::new(VERSION_LEN),
            out: VecDeque::from([Version::V3_8.line().to_vec()]),
            shared: None,
            failed: None,
        }
    }

    /// Takes bytes from the viewer; how many belonged to the greeting. The rest stay the caller's.
    ///
    /// # Errors
    /// The viewer broke the protocol. What [`ViewerGreeter::output`] still holds tells it why.
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

    /// The next whole message for the viewer.
    pub fn output(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    /// The viewer's ClientInit (its shared flag, as sent) once the greeting is over.
    pub fn done(&self) -> Option<u8> {
        self.shared
    }

    fn step(&mut self, field: &[u8]) -> Result<(), GreetError> {
        match self.state {
            State::Version => {
                self.version = version_of_viewer(field, Version::V3_8)?;
                if self.version == Version::V3_3 {
                    self.out.push_back(u32::from(NONE).to_be_bytes().to_vec());
                    self.expect(State::ClientInit);
                } else {
                    self.out.push_back(vec![1, NONE]);
                    self.expect(State::Choice);
                }
            }
            State::Choice => {
                if field[0] != NONE {
                    return Err(self.refuse(field[0]));
                }
                if self.version.has_result(NONE) {
                    self.out.push_back(0u32.to_be_bytes().to_vec());
                }
                self.expect(State::ClientInit);
            }
            State::ClientInit => {
                self.shared = Some(field[0]);
                self.state = State::Done;
            }
            State::Done => {}
        }
        Ok(())
    }

    /// A choice that was not offered fails as RFC 6143 section 7.1.3 has it; only 3.8 carries a reason.
    fn refuse(&mut self, chosen: u8) -> GreetError {
        let error = GreetError::ViewerSecurity(chosen);
        if self.version == Version::V3_8 {
            let mut failed = 1u32.to_be_bytes().to_vec();
            push_string(&mut failed, &error.to_string());
            self.out.push_back(failed);
        }
        error
    }

    fn expect(&mut self, state: State) {
        self.state = state;
        self.gather.expect(1);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Run = (Vec<Vec<u8>>, usize, Result<Option<u8>, GreetError>);

    fn run(input: &[u8], size: usize) -> Run {
        let mut greeter = ViewerGreeter::new();
        let (mut out, mut used) = (Vec::new(), 0);
        for piece in input.chunks(size) {
            let fed = greeter.feed(piece);
            out.extend(std::iter::from_fn(|| greeter.output()));
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

    #[test]
    fn one_message_at_a_time_in_every_version() {
        let check = |input: &[u8], messages: &[&[u8]], used, shared| {
            for size in [1, 4, 1000] {
                let expected: Vec<Vec<u8>> = messages.iter().map(|m| m.to_vec()).collect();
                assert_eq!(run(input, size), (expected, used, Ok(shared)), "{input:?} by {size}");
            }
        };
        let offer: &[u8] = b"RFB 003.008\n";
        check(b"RFB 003.008\n\x01\x01more", &[offer, &[1, 1], &[0, 0, 0, 0]], 14, Some(1));
        check(b"RFB 003.007\n\x01\0", &[offer, &[1, 1]], 14, Some(0));
        check(b"RFB 003.003\n\x01", &[offer, &[0, 0, 0, 1]], 13, Some(1));
        check(b"RFB 003.889\n\x01", &[offer, &[1, 1], &[0, 0, 0, 0]], 13, None);
    }

    #[test]
    fn refuses_what_was_not_offered() {
        let (out, _, end) = run(b"RFB 003.008\n\x02", 1000);
        assert_eq!(end, Err(GreetError::ViewerSecurity(2)));
        assert_eq!(out[2][..4], [0, 0, 0, 1]);
        assert_eq!(&out[2][8..], b"viewer chose security type 2, which was not offered");
        let (out, _, end) = run(b"RFB 003.007\n\x02", 1000);
        assert_eq!((out.len(), end), (2, Err(GreetError::ViewerSecurity(2))));
        let (_, _, end) = run(b"GET / HTTP/1.1\r\n", 1000);
        assert!(end.is_err_and(|e| e.by_viewer()));
    }

    proptest! {
        #[test]
        fn the_same_however_it_is_split(
            version in prop::sample::select(vec!["RFB 003.003\n", "RFB 003.007\n", "RFB 003.008\n", "RFB 9"]),
            tail in prop::collection::vec(0u8..4, 0..20),
            size in 1usize..20,
        ) {
            let input = [version.as_bytes(), &tail].concat();
            prop_assert_eq!(run(&input, size), run(&input, 1000));
        }
    }
}
