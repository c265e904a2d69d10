//! `cargo fuzz run rfb_target`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| consolegate::rfb::oracle::target(data));
