//! The integration tests: one binary, so that the support code is compiled and linked once.

mod console;
mod drain;
mod endings;
mod handshake;
mod lifecycle;
mod limits;
mod listeners;
mod logs;
mod refusals;
mod support;
mod tempest;
mod tls;
mod tokens_once;
