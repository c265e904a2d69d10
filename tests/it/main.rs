//! The integration tests: one binary, so that the support code is compiled and linked once.

mod console;
mod handshake;
mod refusals;
mod support;
mod tokens_once;
