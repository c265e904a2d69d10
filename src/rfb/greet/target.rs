//! We are the client of the real VNC server: from its version line to the end of security.

use std::mem;

use zeroize::Zeroizing;

use crate::rfb::wire::{Gather, u32_at};

use super::security::VENCRYPT;
use super::{
    CHALLENGE_LEN, Credentials, GreetError, NONE, Security, VERSION_LEN, VNC, Version, reason_len, refusal,
    version_of_target,
};

#[cfg(test)]
mod tests;

/// The version of VeNCrypt we speak, 0.2; the sub-types of 0.1 were numbered otherwise and never seen.
const VENCRYPT_VERSION: [u8; 2] = [0, 2];

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
    /// VeNCrypt's own version, and whether ours will do.
    VeNCryptVersion,
    VeNCryptAnswer,
    SubtypeCount,
    Subtypes,
    /// Whether the target takes the sub-type.
    TlsAnswer,
    /// Nothing: TLS is the caller's to begin.
    Tls,
    Challenge,
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
///
/// With VeNCrypt it asks for TLS in the middle ([`TargetGreeter::wants_tls`]): the caller does the TLS handshake
/// on the same connection, checks the certificate unless [`Security::is_anonymous`], says
/// [`TargetGreeter::secured`], and goes on inside.
pub struct TargetGreeter {
    mode: Mode,
    credentials: Credentials,
    version: Version,
    security: Option<Security>,
    state: State,
    gather: Gather,
    out: Zeroizing<Vec<u8>>,
    outcome: Option<Outcome>,
    failed: Option<GreetError>,
}

impl TargetGreeter {
    /// A greeting that goes as far as `mode` says, and proves what is asked for with `credentials`.
    pub fn new(mode: Mode, credentials: Credentials) -> Self {
        Self {
            mode,
            credentials,
            version: Version::V3_8,
            security: None,
            state: State::Version,
            gather: Gather::new(VERSION_LEN),
            out: Zeroizing::default(),
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
        while !matches!(self.state, State::Done | State::Tls) {
            let Some(field) = self.gather.take(&mut rest) else { break };
            if let Err(error) = self.step(&field) {
                self.failed = Some(error.clone());
                return Err(error);
            }
        }
        // In TLS the client speaks first. What stands here was sent in the clear, by whoever is on the way, and
        // must never be taken for something said inside.
        if self.state == State::Tls && !rest.is_empty() {
            self.failed = Some(GreetError::BeforeTls);
            return Err(GreetError::BeforeTls);
        }
        Ok(bytes.len() - rest.len())
    }

    /// What to send to the target now; empty if nothing. Flush it before dialling on, also once done.
    pub fn output(&mut self) -> Zeroizing<Vec<u8>> {
        mem::take(&mut self.out)
    }

    /// Whether TLS is to begin now, once the output is sent. Nothing else is taken before.
    pub fn wants_tls(&self) -> bool {
        self.state == State::Tls && self.failed.is_none()
    }

    /// TLS stands and, if it has a certificate, the target is the one that was meant: from here on, bytes are those inside it.
    pub fn secured(&mut self) {
        if !self.wants_tls() {
            return;
        }
        match self.security {
            Some(Security::TlsVnc | Security::X509Vnc) => self.expect(State::Challenge, CHALLENGE_LEN),
            Some(Security::TlsPlain | Security::X509Plain) => {
                self.out.extend_from_slice(&self.credentials.plain());
                self.expect(State::Result, 4);
            }
            _ => self.expect(State::Result, 4),
        }
    }

    /// The security type that was chosen, once it was.
    pub fn security(&self) -> Option<Security> {
        self.security
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
            State::VeNCryptVersion | State::VeNCryptAnswer => "before it agreed on a VeNCrypt version",
            State::SubtypeCount | State::Subtypes => "before it sent its VeNCrypt types",
            State::TlsAnswer | State::Tls => "before TLS began",
            State::Challenge => "before it sent its challenge",
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
                decided => return self.on_decision(u8::try_from(decided).unwrap_or(u8::MAX)),
            },
            State::Count => match field[0] {
                0 => self.expect(State::ReasonLen { after_result: false }, 4),
                count => self.expect(State::Types, usize::from(count)),
            },
            State::Types => {
                let chosen = self.choose(field)?;
                self.out.push(chosen);
                self.begin(chosen);
            }
            State::VeNCryptVersion
            | State::VeNCryptAnswer
            | State::SubtypeCount
            | State::Subtypes
            | State::TlsAnswer => return self.on_vencrypt(field),
            State::Challenge => {
                self.out.extend_from_slice(&self.credentials.answer(field));
                self.expect(State::Result, 4);
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
            State::Tls | State::Done => {}
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

    /// 3.3 knows None and VNC password only (RFC 6143 section 7.1.2).
    fn on_decision(&mut self, decided: u8) -> Result<(), GreetError> {
        if decided == VENCRYPT {
            return Err(GreetError::Security(vec![decided]));
        }
        let chosen = self.choose(&[decided])?;
        self.begin(chosen);
        Ok(())
    }

    /// Our first allowed type that is among the `offered`. Of VeNCrypt's, which one is seen later.
    fn choose(&mut self, offered: &[u8]) -> Result<u8, GreetError> {
        let chosen = self.allowed().iter().copied().find(|one| offered.contains(&one.number()));
        let chosen = chosen.ok_or_else(|| GreetError::Security(offered.to_vec()))?;
        self.security = Some(chosen).filter(|one| one.subtype().is_none());
        Ok(chosen.number())
    }

    fn allowed(&self) -> &[Security] {
        match &self.mode {
            Mode::Authenticate(allowed) => allowed,
            Mode::PassThrough => &[],
        }
    }

    /// What comes after the choice of a type.
    fn begin(&mut self, chosen: u8) {
        match chosen {
            VENCRYPT => self.expect(State::VeNCryptVersion, 2),
            VNC => self.expect(State::Challenge, CHALLENGE_LEN),
            _ if self.version.has_result(NONE) => self.expect(State::Result, 4),
            _ => self.finish(),
        }
    }

    /// VeNCrypt up to TLS (rfbproto, "VeNCrypt"). Having begun, it is this or nothing: no way leads back to a
    /// type that is not encrypted.
    fn on_vencrypt(&mut self, field: &[u8]) -> Result<(), GreetError> {
        match self.state {
            State::VeNCryptVersion => {
                let spoken = [field[0], field[1]];
                if spoken < VENCRYPT_VERSION {
                    return Err(GreetError::VeNCryptVersion(spoken[0], spoken[1]));
                }
                self.out.extend_from_slice(&VENCRYPT_VERSION);
                self.expect(State::VeNCryptAnswer, 1);
            }
            State::VeNCryptAnswer if field[0] != 0 => return Err(GreetError::VeNCryptRefused),
            State::VeNCryptAnswer => self.expect(State::SubtypeCount, 1),
            State::SubtypeCount if field[0] == 0 => return Err(GreetError::Subtypes(Vec::new())),
            State::SubtypeCount => self.expect(State::Subtypes, usize::from(field[0]) * 4),
            State::Subtypes => {
                let offered: Vec<u32> = field.chunks_exact(4).map(|number| u32_at(number, 0)).collect();
                let mine = |one: &Security| one.subtype().filter(|number| offered.contains(number));
                let chosen = self.allowed().iter().find_map(|one| mine(one).map(|number| (*one, number)));
                let (security, number) = chosen.ok_or(GreetError::Subtypes(offered))?;
                self.security = Some(security);
                self.out.extend_from_slice(&number.to_be_bytes());
                self.expect(State::TlsAnswer, 1);
            }
            _ if field[0] == 1 => self.state = State::Tls,
            _ => return Err(GreetError::TlsRefused),
        }
        Ok(())
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
