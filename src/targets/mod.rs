//! What can be opened: the inventory of servers and where their consoles are.

mod inventory;

pub use inventory::{Changes, Entry, Inventory, generation};
