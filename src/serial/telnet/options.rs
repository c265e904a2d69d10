//! Which options are in force on each side, negotiated so that no loop can arise (RFC 1143; its queue bits are
//! not needed, for we never change our mind).

pub(super) const WILL: u8 = 251;
pub(super) const WONT: u8 = 252;
pub(super) const DO: u8 = 253;
pub(super) const DONT: u8 = 254;

/// Eight bits (RFC 856).
pub(super) const BINARY: u8 = 0;
/// The server's side shows what is typed (RFC 857).
pub(super) const ECHO: u8 = 1;
/// No "go ahead" after each turn (RFC 858).
pub(super) const SGA: u8 = 3;
/// The server's serial port (RFC 2217).
pub(super) const COM_PORT: u8 = 44;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    No,
    /// We asked, and there is no answer yet.
    Asked,
    Yes,
    /// The peer answered no.
    Refused,
}

/// Options that may be in force; every other one is refused.
#[derive(Debug)]
pub(super) struct Options {
    ours: [(u8, Use); 3],
    theirs: [(u8, Use); 3],
}

impl Options {
    pub(super) fn new() -> Self {
        Self {
            ours: [(BINARY, Use::Asked), (SGA, Use::Asked), (COM_PORT, Use::Asked)],
            // Who echoes is the server's business; we never do.
            theirs: [(BINARY, Use::Asked), (SGA, Use::Asked), (ECHO, Use::No)],
        }
    }

    /// What is to be asked at the beginning.
    pub(super) fn asked(&self) -> impl Iterator<Item = (u8, u8)> + use<> {
        let ours = self.ours.map(|(option, state)| (WILL, option, state));
        let theirs = self.theirs.map(|(option, state)| (DO, option, state));
        let all = ours.into_iter().chain(theirs);
        all.filter(|(.., state)| *state == Use::Asked).map(|(verb, option, _)| (verb, option))
    }

    /// Whether `option` is in force on our side.
    pub(super) fn ours(&self, option: u8) -> bool {
        self.ours.contains(&(option, Use::Yes))
    }

    /// Whether `option` is in force on the peer's side.
    pub(super) fn theirs(&self, option: u8) -> bool {
        self.theirs.contains(&(option, Use::Yes))
    }

    /// Whether the peer does not want `option` on our side.
    pub(super) fn refused(&self, option: u8) -> bool {
        self.ours.contains(&(option, Use::Refused))
    }

    /// Takes WILL, WONT, DO or DONT; the verb to answer with, if an answer is due: only a change has one.
    pub(super) fn receive(&mut self, verb: u8, option: u8) -> Option<u8> {
        let (side, yes, no) = match verb {
            WILL | WONT => (&mut self.theirs, DO, DONT),
            _ => (&mut self.ours, WILL, WONT),
        };
        let wanted = matches!(verb, WILL | DO);
        let known = side.iter_mut().find(|(known, _)| *known == option);
        let Some((_, state)) = known else { return wanted.then_some(no) };
        let before = std::mem::replace(state, if wanted { Use::Yes } else { Use::Refused });
        match (before, wanted) {
            (Use::No | Use::Refused, true) => Some(yes),
            (Use::Yes, false) => Some(no),
            _ => None,
        }
    }
}
