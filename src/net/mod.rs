//! Sockets: listeners, workers, streams. No protocol above TLS.

pub mod listen;
pub mod stream;
pub mod workers;
