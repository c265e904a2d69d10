//! `cargo fuzz run serial_cast`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| consolegate::serial::oracle::cast(data));
