//! `cargo fuzz run rfb_view_only`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| consolegate::rfb::oracle::view_only(data));
