//! `cargo fuzz run rfb_fbs`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| consolegate::rfb::oracle::fbs(data));
