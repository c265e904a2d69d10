//! What a serial endpoint needs beyond its address: how a TLS server is known, how a line is set, what is run.

use std::path::PathBuf;

use super::Host;

/// How the certificate of a `tls:` endpoint is judged. There is no way to accept any.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerCheck {
    /// A chain to an authority, and a name (RFC 5280, RFC 6125).
    Chain {
        /// PEM file of the authorities; absent: the operating system's.
        ca: Option<PathBuf>,
        /// The name the certificate must have; absent: the host that is dialled.
        name: Option<Host>,
    },
    /// This certificate and no other: the SHA-256 of its DER form, as `openssl x509 -fingerprint -sha256` prints.
    Pin([u8; 32]),
}

/// Settings of an asynchronous line. What is absent stays as the terminal server has it; a `tty:` line
/// starts from 115200 bit/s, 8 data bits, no parity, one stop bit, no flow control.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LineSettings {
    /// Bits per second.
    pub baud: Option<u32>,
    /// Bits per character, 5 to 8.
    pub data_bits: Option<u8>,
    /// The parity bit.
    pub parity: Option<Parity>,
    /// Stop bits, 1 or 2.
    pub stop_bits: Option<u8>,
    /// Flow control.
    pub flow: Option<Flow>,
    /// The modem line "data terminal ready" while the console is open.
    pub dtr: Option<bool>,
    /// The modem line "request to send" while the console is open; not with hardware flow control, whose it is.
    pub rts: Option<bool>,
}

/// The parity bit of each character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parity {
    /// None is sent.
    None,
    /// An odd number of ones.
    Odd,
    /// An even number of ones.
    Even,
}

/// How a line is told to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flow {
    /// Not at all.
    None,
    /// By the characters XON and XOFF.
    XonXoff,
    /// By the modem lines RTS and CTS.
    RtsCts,
}

/// A program whose terminal is the console. Run as it is, without a shell.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Program {
    /// Absolute path.
    pub path: PathBuf,
    /// Its arguments. Every user of the machine can read them while it runs: no secrets here.
    pub args: Vec<String>,
}
