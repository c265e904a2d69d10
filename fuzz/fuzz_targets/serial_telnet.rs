//! `cargo fuzz run serial_telnet`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| consolegate::serial::oracle::telnet(data));
