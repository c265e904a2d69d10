//! `cargo fuzz run rfb_canvas`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| consolegate::rfb::oracle::canvas(data));
