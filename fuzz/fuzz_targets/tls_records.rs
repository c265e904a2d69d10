//! `cargo fuzz run tls_records`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| consolegate::net::record::oracle::records(data));
