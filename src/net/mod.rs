//! Sockets: listeners, TLS on both sides, workers, streams. No protocol above TLS.

pub mod anonymous;
pub mod file_body;
pub mod handshake;
mod inbound;
pub mod inherit;
pub mod listen;
mod pinned;
mod pooled;
pub mod record;
pub mod secure;
pub mod stream;
pub mod target_tls;
pub mod tls;
pub mod tls_stream;
pub mod workers;
