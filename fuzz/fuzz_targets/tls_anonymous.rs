//! `cargo fuzz run tls_anonymous`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| consolegate::net::anonymous::oracle::handshake(data));
