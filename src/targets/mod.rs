//! Targets: the servers whose consoles may be opened, and the way to them.

mod connect;
mod dial_policy;
mod inventory;

pub use connect::{ConnectError, DIAL, connect};
pub use dial_policy::{DialPolicy, Forbidden};
pub use inventory::{Changes, Entry, Inventory, generation};
