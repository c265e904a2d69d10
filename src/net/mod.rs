//! Sockets: what bytes arrive on and leave by.

pub mod tls;
