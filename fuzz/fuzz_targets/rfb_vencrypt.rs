//! `cargo fuzz run rfb_vencrypt`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| consolegate::rfb::oracle::vencrypt(data));
