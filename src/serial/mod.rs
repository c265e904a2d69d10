//! Serial consoles without sockets or clock: Telnet, where a frame may be cut, what a line has said
//! and how much of it is fit to be shown again, and the lines of our own.

pub mod cast;
mod escape;
mod history;
mod message;
#[doc(hidden)]
pub mod oracle;
mod replay;
pub mod telnet;
mod utf8;

pub use history::{Found, History};
pub use message::{notice, refusal};
pub use replay::Replay;
pub use utf8::{HOLD_MAX, cut};
