//! consolegate: console token issuer and WebSocket proxy. This page is the map.
//!
//! ```text
//! POST .../remote-consoles -> api -> auth (who) -> targets (what) -> tokens.issue -> URL
//! GET  /vnc_lite.html?...  -> web (page; spends nothing)
//! GET  /?token=T  Upgrade  -> proxy: gate (origin, limits, claim) -> targets.connect -> greet -> tokens.confirm -> 101 -> relay
//! ```
//!
//! Layers point down and never beside; `tests/tidy.rs` holds them, `ARCHITECTURE.md` explains them.

pub mod api;
pub mod auth;
pub mod certs;
pub mod clock;
pub mod config;
pub mod ids;
pub mod net;
pub mod targets;
pub mod tokens;
