//! The COM port option (RFC 2217): the client sets the server's serial port and the server tells its state.

use super::options::COM_PORT;
use super::{IAC, SB, SE};

/// Added to a command's number in the server's answer (RFC 2217 section 3).
const ANSWER: u8 = 100;

const SIGNATURE: u8 = 0;
const SET_BAUD: u8 = 1;
const SET_DATASIZE: u8 = 2;
const SET_PARITY: u8 = 3;
const SET_STOPSIZE: u8 = 4;
const SET_CONTROL: u8 = 5;
const NOTIFY_MODEMSTATE: u8 = 7;
const SUSPEND: u8 = 8;
const RESUME: u8 = 9;

const BREAK_ON: u8 = 5;
const BREAK_OFF: u8 = 6;

/// One setting of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Bits per second.
    Baud(u32),
    /// Bits per character.
    DataBits(u8),
    /// The parity bit.
    Parity(Parity),
    /// Stop bits, 1 or 2.
    StopBits(u8),
    /// Flow control, both ways.
    Flow(Flow),
    /// The modem line DTR.
    Dtr(bool),
    /// The modem line RTS.
    Rts(bool),
}

/// The parity bit, by its number in RFC 2217.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Parity {
    /// Not sent.
    None = 1,
    /// An odd number of ones.
    Odd = 2,
    /// An even number of ones.
    Even = 3,
}

/// Flow control, by its number in RFC 2217.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Flow {
    /// None.
    None = 1,
    /// By characters.
    XonXoff = 2,
    /// By modem lines.
    RtsCts = 3,
}

impl Setting {
    fn command(self) -> u8 {
        match self {
            Self::Baud(_) => SET_BAUD,
            Self::DataBits(_) => SET_DATASIZE,
            Self::Parity(_) => SET_PARITY,
            Self::StopBits(_) => SET_STOPSIZE,
            Self::Flow(_) | Self::Dtr(_) | Self::Rts(_) => SET_CONTROL,
        }
    }

    fn value(self) -> u32 {
        match self {
            Self::Baud(baud) => baud,
            Self::DataBits(bits) | Self::StopBits(bits) => bits.into(),
            Self::Parity(parity) => (parity as u8).into(),
            Self::Flow(flow) => (flow as u8).into(),
            Self::Dtr(on) => {
                if on {
                    8
                } else {
                    9
                }
            }
            Self::Rts(on) => {
                if on {
                    11
                } else {
                    12
                }
            }
        }
    }

    /// Whether a server's `value` is about this setting: those of SET-CONTROL share a command.
    fn concerns(self, command: u8, value: u32) -> bool {
        command == self.command()
            && match self {
                Self::Flow(_) => matches!(value, 1..=3 | 17 | 19),
                Self::Dtr(_) => matches!(value, 8 | 9),
                Self::Rts(_) => matches!(value, 11 | 12),
                _ => true,
            }
    }

    fn encode(self, out: &mut Vec<u8>) {
        let value = self.value().to_be_bytes();
        let value = if matches!(self, Self::Baud(_)) { &value[..] } else { &value[3..] };
        encode(self.command(), value, out);
    }
}

/// A command with its value, in which IAC is doubled (RFC 855).
fn encode(command: u8, value: &[u8], out: &mut Vec<u8>) {
    out.extend([IAC, SB, COM_PORT, command]);
    for &byte in value {
        out.push(byte);
        if byte == IAC {
            out.push(IAC);
        }
    }
    out.extend([IAC, SE]);
}

/// Begins or ends a break.
pub(super) fn set_break(on: bool, out: &mut Vec<u8>) {
    encode(SET_CONTROL, &[if on { BREAK_ON } else { BREAK_OFF }], out);
}

/// What we want of the port and what we know of it.
#[derive(Debug)]
pub(super) struct ComPort {
    wanted: Vec<Setting>,
    begun: bool,
    /// Asked for and taken otherwise; each setting comes here once at most.
    pub(super) differing: Vec<(Setting, u32)>,
    pub(super) suspended: bool,
    pub(super) modem: Option<u8>,
}

impl ComPort {
    pub(super) fn new(wanted: Vec<Setting>) -> Self {
        Self { wanted, begun: false, differing: Vec::new(), suspended: false, modem: None }
    }

    /// The server has the option: it is told the settings, once.
    pub(super) fn begin(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.begun, true) {
            self.wanted.iter().for_each(|setting| setting.encode(out));
        }
    }

    /// The server has not got the option; whether that is a loss.
    pub(super) fn give_up(&mut self) -> bool {
        !self.begun && !std::mem::take(&mut self.wanted).is_empty()
    }

    /// Takes one command of the server's.
    pub(super) fn receive(&mut self, parameters: &[u8], out: &mut Vec<u8>) {
        let Some((&number, value)) = parameters.split_first() else { return };
        // Below are a client's commands; no server sends them.
        let Some(command) = number.checked_sub(ANSWER) else { return };
        match (command, value) {
            (SIGNATURE, []) => encode(SIGNATURE, b"consolegate", out),
            (SUSPEND, []) => self.suspended = true,
            (RESUME, []) => self.suspended = false,
            (NOTIFY_MODEMSTATE, [state]) => self.modem = Some(*state),
            (SET_BAUD, &[a, b, c, d]) => self.answered(command, u32::from_be_bytes([a, b, c, d])),
            (SET_DATASIZE..=SET_CONTROL, [value]) => self.answered(command, (*value).into()),
            _ => {}
        }
    }

    fn answered(&mut self, command: u8, value: u32) {
        let asked = self.wanted.iter().position(|setting| setting.concerns(command, value));
        let Some(asked) = asked else { return };
        let setting = self.wanted.remove(asked);
        if setting.value() != value {
            self.differing.push((setting, value));
        }
    }
}
