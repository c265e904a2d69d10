//! Serial consoles without sockets or clock: where a frame may be cut, and the line that says no.

mod message;
#[doc(hidden)]
pub mod oracle;
mod utf8;

pub use message::refusal;
pub use utf8::{HOLD_MAX, cut};
