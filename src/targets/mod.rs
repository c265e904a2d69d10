//! Targets: which servers there are and whose they are.

mod inventory;

pub use inventory::{Entry, Inventory};
