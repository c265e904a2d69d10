//! Targets: the servers whose consoles may be opened, and the way to them.

mod breaks;
mod command;
mod connect;
#[cfg(test)]
pub(crate) mod contract;
mod database;
mod dial_policy;
mod durable;
mod inventory;
mod reconnect;
mod registrar;
mod registry;
mod telnet;
mod tty;

pub use command::kill_session;
pub use connect::{ConnectError, DIAL, connect};
pub use database::Database;
pub use dial_policy::{DialPolicy, Forbidden};
pub use durable::DurableError;
pub use inventory::{Changes, Entry, Inventory, generation};
pub use reconnect::reconnecting;
pub use registrar::{Change, Expected, MAX_RECORD, Registrar, RegistrarFuture, RegistryError};
pub use registry::{Registered, Registry, Source, target_of_record};
