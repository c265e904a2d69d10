//! The target asks, the viewer answers: security relayed message by message, with only None and VNC password
//! offered onward. Challenge and response are moved, never kept, shown or logged.

use std::collections::VecDeque;

use crate::rfb::wire::{Gather, push_string, u32_at};

use super::{
    CHALLENGE_LEN, GreetError, NONE, VERSION_LEN, VNC, Version, reason_len, refusal, version_of_viewer,
};

/// Whose bytes come next; the other side's stay unread until then.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Viewer,
    Target,
    Over,
}

/// Which message comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    ViewerVersion,
    /// 3.3: one number decided by the server.
    Decision,
    Count,
    Types,
    Choice,
    Challenge,
    Response,
    Result,
    ReasonLen {
        after_result: bool,
    },
    Reason {
        after_result: bool,
    },
    ClientInit,
    Done,
}

/// What came of one message.
type Queue = VecDeque<Vec<u8>>;

/// Relays the handshake from the viewer's version to its ClientInit.
pub(super) struct PassThrough {
    version: Version,
    state: State,
    offered: Vec<u8>,
    gather: Gather,
}

impl PassThrough {
    /// Starts behind the target's version line, by offering its version to the viewer.
    pub(super) fn new(target: Version, to_viewer: &mut Queue) -> Self {
        to_viewer.push_back(target.line().to_vec());
        Self {
            version: target,
            state: State::ViewerVersion,
            offered: Vec::new(),
            gather: Gather::new(VERSION_LEN),
        }
    }

    pub(super) fn turn(&self) -> Turn {
        match self.state {
            State::ViewerVersion | State::Choice | State::Response | State::ClientInit => Turn::Viewer,
            State::Done => Turn::Over,
            _ => Turn::Target,
        }
    }

    /// What to report when the target closed in its turn.
    pub(super) fn closed(&self) -> GreetError {
        GreetError::TargetClosed(match self.state {
            State::Decision | State::Count | State::Types => "before it sent its security types",
            State::Challenge => "before it sent its challenge",
            State::Result => "before it sent SecurityResult",
            State::ReasonLen { after_result } => return refusal(after_result, &[]),
            State::Reason { after_result } => return refusal(after_result, self.gather.partial()),
            _ => "before the viewer answered",
        })
    }

    /// Takes bytes of the side whose turn it is, until the turn changes.
    pub(super) fn feed(
        &mut self,
        input: &mut &[u8],
        to_viewer: &mut Queue,
        to_target: &mut Queue,
    ) -> Result<(), GreetError> {
        let turn = self.turn();
        while self.turn() == turn && turn != Turn::Over {
            let Some(field) = self.gather.take(input) else { break };
            match turn {
                Turn::Viewer => self.on_viewer(field, to_target)?,
                _ => self.on_target(field, to_viewer)?,
            }
        }
        Ok(())
    }

    fn on_viewer(&mut self, field: Vec<u8>, to_target: &mut Queue) -> Result<(), GreetError> {
        match self.state {
            State::ViewerVersion => {
                self.version = version_of_viewer(&field, self.version)?;
                to_target.push_back(self.version.line().to_vec());
                match self.version {
                    Version::V3_3 => self.expect(State::Decision, 4),
                    Version::V3_7 | Version::V3_8 => self.expect(State::Count, 1),
                }
                return Ok(());
            }
            State::Choice => {
                let chosen = field[0];
                if !self.offered.contains(&chosen) {
                    return Err(GreetError::ViewerSecurity(chosen));
                }
                self.chosen(chosen);
            }
            State::Response => self.expect(State::Result, 4),
            _ => self.state = State::Done,
        }
        to_target.push_back(field);
        Ok(())
    }

    fn on_target(&mut self, field: Vec<u8>, to_viewer: &mut Queue) -> Result<(), GreetError> {
        match self.state {
            State::Decision => return self.on_decision(field, to_viewer),
            State::Count => match field[0] {
                0 => self.expect(State::ReasonLen { after_result: false }, 4),
                count => self.expect(State::Types, usize::from(count)),
            },
            State::Types => {
                let mut offered = field.clone();
                offered.retain(|t| matches!(*t, NONE | VNC));
                if offered.is_empty() {
                    return Err(self.refuse(GreetError::Security(field), to_viewer));
                }
                to_viewer.push_back(list(&offered));
                self.offered = offered;
                self.expect(State::Choice, 1);
            }
            State::Challenge => {
                to_viewer.push_back(field);
                self.expect(State::Response, CHALLENGE_LEN);
            }
            State::Result => match u32_at(&field, 0) {
                0 => {
                    to_viewer.push_back(field);
                    self.expect(State::ClientInit, 1);
                }
                _ if self.version == Version::V3_8 => self.expect(State::ReasonLen { after_result: true }, 4),
                _ => {
                    to_viewer.push_back(field);
                    return Err(refusal(true, &[]));
                }
            },
            State::ReasonLen { after_result } => {
                self.expect(State::Reason { after_result }, reason_len(u32_at(&field, 0)));
            }
            State::Reason { after_result } => {
                return Err(self.refuse(refusal(after_result, &field), to_viewer));
            }
            _ => {}
        }
        Ok(())
    }

    /// 3.3: the target has decided; the viewer is told if it is something it can do here.
    fn on_decision(&mut self, field: Vec<u8>, to_viewer: &mut Queue) -> Result<(), GreetError> {
        match u8::try_from(u32_at(&field, 0)).unwrap_or(u8::MAX) {
            0 => self.expect(State::ReasonLen { after_result: false }, 4),
            decided @ (NONE | VNC) => {
                to_viewer.push_back(field);
                self.chosen(decided);
            }
            other => return Err(self.refuse(GreetError::Security(vec![other]), to_viewer)),
        }
        Ok(())
    }

    fn chosen(&mut self, security: u8) {
        if security == VNC {
            self.expect(State::Challenge, CHALLENGE_LEN);
        } else if self.version.has_result(security) {
            self.expect(State::Result, 4);
        } else {
            self.expect(State::ClientInit, 1);
        }
    }

    /// Tells the viewer in RFB's own form (RFC 6143 sections 7.1.2 and 7.1.3) why there is no console.
    fn refuse(&self, error: GreetError, to_viewer: &mut Queue) -> GreetError {
        let (mut message, text) = match (&error, self.version) {
            (GreetError::Failed { reason }, _) => (1u32.to_be_bytes().to_vec(), reason.clone()),
            (GreetError::Refused { reason }, Version::V3_3) => (vec![0; 4], reason.clone()),
            (GreetError::Refused { reason }, _) => (vec![0], reason.clone()),
            (other, Version::V3_3) => (vec![0; 4], other.to_string()),
            (other, _) => (vec![0], other.to_string()),
        };
        push_string(&mut message, &text);
        to_viewer.push_back(message);
        error
    }

    fn expect(&mut self, state: State, need: usize) {
        self.state = state;
        self.gather.expect(need);
    }
}

/// A list of security types, as 3.7 and 3.8 send it.
fn list(types: &[u8]) -> Vec<u8> {
    let count = u8::try_from(types.len()).unwrap_or(u8::MAX);
    [&[count], types].concat()
}
