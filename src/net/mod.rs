//! Sockets: listeners, TLS, workers, streams. No protocol above TLS.

pub mod listen;
pub mod stream;
pub mod target_tls;
pub mod tls;
pub mod workers;
