//! Sockets: listeners, TLS, workers, streams. No protocol above TLS.

pub mod listen;
pub mod pooled;
pub mod stream;
pub mod tls;
pub mod workers;
