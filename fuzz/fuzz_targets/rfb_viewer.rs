//! `cargo fuzz run rfb_viewer`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| consolegate::rfb::oracle::viewer(data));
