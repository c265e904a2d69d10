//! Telnet towards terminal servers (RFC 854, 855), 8 bits both ways (BINARY, RFC 856), with the COM port option
//! (RFC 2217) where the server has it. Pure: bytes in, bytes out.
//!
//! Both directions are exact: what the line sent comes out and what is sent gets there, whatever the options.

mod com_port;
mod options;
#[cfg(test)]
mod tests;

pub use com_port::{Flow, Parity, Setting};

use com_port::ComPort;
use options::{BINARY, COM_PORT, DO, DONT, Options, WILL, WONT};

/// "Interpret as command" (RFC 854); as data it is doubled.
const IAC: u8 = 255;
/// Begins the parameters of an option (RFC 855).
const SB: u8 = 250;
/// Ends them.
const SE: u8 = 240;
/// The break key (RFC 854).
const BRK: u8 = 243;

const CR: u8 = b'\r';
const NUL: u8 = 0;

/// Longest parameters that are looked at; a signature may be longer and says nothing to us.
const MAX_PARAMETERS: usize = 16;

/// Where in a command the stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Data,
    /// After IAC.
    Command,
    /// After IAC and one of WILL, WONT, DO, DONT.
    Option(u8),
    /// Within the parameters of an option.
    Parameters,
    /// After IAC within them.
    ParametersCommand,
}

/// The client's side of one connection.
#[derive(Debug)]
pub struct Telnet {
    state: State,
    /// The last data byte was a CR in NVT form: a NUL behind it is none of the line's (RFC 854, page 11).
    after_cr: bool,
    options: Options,
    com_port: ComPort,
    parameters: [u8; MAX_PARAMETERS],
    /// How many there were, of which the array has the first.
    parameters_len: usize,
    out: Vec<u8>,
    out_at: usize,
}

impl Telnet {
    /// A client that wants the line as `settings` say. It speaks first: see [`Telnet::output`].
    pub fn new(settings: Vec<Setting>) -> Self {
        let mut telnet = Self {
            state: State::Data,
            after_cr: false,
            options: Options::new(),
            com_port: ComPort::new(settings),
            parameters: [0; MAX_PARAMETERS],
            parameters_len: 0,
            out: Vec::new(),
            out_at: 0,
        };
        for (verb, option) in telnet.options.asked() {
            telnet.out.extend([IAC, verb, option]);
        }
        telnet
    }

    /// Takes what the server sent and leaves the line's bytes at the beginning of `bytes`; says how many.
    /// Answers to commands are added to the output: at most three bytes for each byte taken, and once the settings.
    pub fn receive(&mut self, bytes: &mut [u8]) -> usize {
        let mut kept = 0;
        for at in 0..bytes.len() {
            let byte = bytes[at];
            if self.take(byte) {
                bytes[kept] = byte;
                kept += 1;
            }
        }
        kept
    }

    /// Adds bytes for the line to the output, twice as many at most.
    pub fn send(&mut self, bytes: &[u8]) {
        let binary = self.binary();
        for &byte in bytes {
            self.out.push(byte);
            match byte {
                IAC => self.out.push(IAC),
                // Alone it has no meaning on the wire; before a LF it would be a new line of the server's kind.
                CR if !binary => self.out.push(NUL),
                _ => {}
            }
        }
    }

    /// Whether what is sent goes as it is but for IAC (the server takes BINARY).
    pub fn binary(&self) -> bool {
        self.options.ours(BINARY)
    }

    /// Whether the server has said if it takes BINARY. What is sent before may be read in the one form or the
    /// other (RFC 856 has no mark for the moment it begins): who has a little time waits.
    pub fn settled(&self) -> bool {
        self.options.ours(BINARY) || self.options.refused(BINARY)
    }

    /// What has to be written to the server.
    pub fn output(&self) -> &[u8] {
        &self.out[self.out_at..]
    }

    /// The first `count` bytes of the output are written.
    pub fn wrote(&mut self, count: usize) {
        self.out_at = self.out_at.saturating_add(count);
        if self.out_at >= self.out.len() {
            self.out.clear();
            self.out_at = 0;
            // One paste does not weigh on an idle session.
            self.out.shrink_to(KEPT);
        }
    }

    /// Sends a break. `true`: it lasts until [`Telnet::end_break`]; `false`: the server ends it by itself.
    pub fn begin_break(&mut self) -> bool {
        if self.options.ours(COM_PORT) {
            com_port::set_break(true, &mut self.out);
            return true;
        }
        self.out.extend([IAC, BRK]);
        false
    }

    /// Ends a break that lasts.
    pub fn end_break(&mut self) {
        com_port::set_break(false, &mut self.out);
    }

    /// Whether the server asked to be sent nothing for now (RFC 2217, FLOWCONTROL-SUSPEND).
    pub fn suspended(&self) -> bool {
        self.com_port.suspended
    }

    /// The modem lines, as the server last told them (RFC 2217, NOTIFY-MODEMSTATE).
    pub fn modem(&self) -> Option<u8> {
        self.com_port.modem
    }

    /// The next setting that the server did not take as it was asked to, and what the line has instead.
    pub fn differing(&mut self) -> Option<(Setting, u32)> {
        self.com_port.differing.pop()
    }

    /// Whether settings were wanted of a server that has refused RFC 2217. Says so once.
    pub fn unset(&mut self) -> bool {
        self.options.refused(COM_PORT) && self.com_port.give_up()
    }

    /// One byte from the server; whether it is the line's.
    fn take(&mut self, byte: u8) -> bool {
        match self.state {
            State::Data if byte == IAC => self.state = State::Command,
            State::Data => return self.data(byte),
            State::Command => return self.command(byte),
            State::Option(verb) => {
                self.state = State::Data;
                self.option(verb, byte);
            }
            State::Parameters if byte == IAC => self.state = State::ParametersCommand,
            State::Parameters => self.parameter(byte),
            State::ParametersCommand if byte == IAC => {
                self.state = State::Parameters;
                self.parameter(byte);
            }
            State::ParametersCommand if byte == SE => {
                self.state = State::Data;
                self.subnegotiation();
            }
            // Nothing else may stand here (RFC 855): the parameters are void, the command is not.
            State::ParametersCommand => return self.command(byte),
        }
        false
    }

    fn data(&mut self, byte: u8) -> bool {
        let after_cr = std::mem::take(&mut self.after_cr);
        if after_cr && byte == NUL {
            return false;
        }
        self.after_cr = byte == CR && !self.options.theirs(BINARY);
        true
    }

    fn command(&mut self, byte: u8) -> bool {
        self.state = match byte {
            IAC => {
                self.state = State::Data;
                return self.data(IAC);
            }
            WILL | WONT | DO | DONT => State::Option(byte),
            SB => {
                self.parameters_len = 0;
                State::Parameters
            }
            // GA, NOP, DM and the rest ask nothing of a client.
            _ => State::Data,
        };
        false
    }

    fn option(&mut self, verb: u8, option: u8) {
        if let Some(answer) = self.options.receive(verb, option) {
            self.out.extend([IAC, answer, option]);
        }
        if option == COM_PORT && self.options.ours(COM_PORT) {
            self.com_port.begin(&mut self.out);
        }
        // Refused or taken back; the pump of a suspended line would wait for ever.
        if option == COM_PORT && !self.options.ours(COM_PORT) {
            self.com_port.suspended = false;
        }
        if option == BINARY && self.options.theirs(BINARY) {
            self.after_cr = false;
        }
    }

    fn parameter(&mut self, byte: u8) {
        if let Some(place) = self.parameters.get_mut(self.parameters_len) {
            *place = byte;
        }
        self.parameters_len = self.parameters_len.saturating_add(1);
    }

    fn subnegotiation(&mut self) {
        let Some((&option, parameters)) =
            self.parameters.get(..self.parameters_len).and_then(|all| all.split_first())
        else {
            return;
        };
        if option == COM_PORT && self.options.ours(COM_PORT) {
            self.com_port.receive(parameters, &mut self.out);
        }
    }
}

/// Room for output that an idle connection keeps, in bytes.
const KEPT: usize = 256;
