//! consolegate: console token issuer and WebSocket proxy. This page is the map.
//!
//! ```text
//! POST .../remote-consoles -> api -> auth (who) -> targets (what) -> tokens.issue -> URL
//! GET  /vnc_lite.html?...  -> web (page; spends nothing)
//! GET  /?token=T  Upgrade  -> proxy: gate (origin, limits, claim) -> targets.connect -> greet -> tokens.confirm -> 101 -> relay
//! ```
//!
//! Layers point down and never beside; `tests/tidy.rs` holds them, `ARCHITECTURE.md` explains them.

pub mod admin;
pub mod api;
pub mod audit;
pub mod auth;
pub mod certs;
pub mod cli;
pub mod clock;
pub mod config;
pub mod fleet;
pub mod ids;
pub mod json;
pub mod limits;
pub mod log;
pub mod metrics;
pub mod net;
pub mod once;
pub mod proxy;
pub mod relay;
pub mod rfb;
pub mod serial;
pub mod server;
pub mod targets;
pub mod tokens;
pub mod unbroken;
pub mod web;
pub mod ws;
