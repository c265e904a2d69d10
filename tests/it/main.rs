//! The integration tests: one binary, so that the support code is compiled and linked once.

mod console;
mod drain;
mod handshake;
mod limits;
mod listeners;
mod refusals;
mod support;
mod tempest;
mod tls;
mod tokens_once;
