//! `cargo fuzz run rfb_handshake`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| consolegate::rfb::oracle::handshake(data));
