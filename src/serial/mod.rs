//! Serial consoles without sockets or clock: Telnet, where a frame may be cut, and the lines of our own.

pub mod cast;
mod message;
#[doc(hidden)]
pub mod oracle;
pub mod telnet;
mod utf8;

pub use message::{notice, refusal};
pub use utf8::{HOLD_MAX, cut};
