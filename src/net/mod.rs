//! Sockets: listeners, TLS on both sides, workers, streams. No protocol above TLS.

pub mod inherit;
pub mod listen;
pub mod pooled;
pub mod secure;
pub mod stream;
pub mod target_tls;
pub mod tls;
pub mod workers;
