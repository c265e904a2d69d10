//! `cargo fuzz run serial_history`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| consolegate::serial::oracle::history(data));
