//! Targets: the servers whose consoles may be opened, and the way to them.

mod connect;
mod dial_policy;
mod durable;
mod inventory;
mod registry;

pub use connect::{ConnectError, DIAL, connect};
pub use dial_policy::{DialPolicy, Forbidden};
pub use durable::DurableError;
pub use inventory::{Changes, Entry, Inventory, generation};
pub use registry::{Change, Registry, RegistryError, Source};
