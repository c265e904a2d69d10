//! `cargo fuzz run rfb_screen`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| consolegate::rfb::oracle::screen(data));
