//! `cargo fuzz run serial_replay`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| consolegate::serial::oracle::replay(data));
