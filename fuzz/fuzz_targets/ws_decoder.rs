//! `cargo fuzz run ws_decoder`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| consolegate::ws::oracle::decoder(data));
