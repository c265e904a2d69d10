//! The relay: bytes between a viewer's WebSocket and a target's console until somebody ends it.

mod buffer;
mod channel;
mod control;
mod deadlines;
mod down;
mod end;
mod pump;
pub mod record;
mod up;

#[cfg(test)]
mod tests;

pub use channel::Channel;
pub use control::{Command, Control, ControlError, Hello, Mailbox, Notice, Remote, Role};
pub use end::{End, Side};
pub use pump::{Counters, Plan, Pump, Stop, StopHandle, run, stop_pair};
