//! `cargo fuzz run serial_cut`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| consolegate::serial::oracle::cut(data));
