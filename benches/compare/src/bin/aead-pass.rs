//! `aead-pass`: CPU seconds to encrypt 1e9 bytes once, with the library, cipher and record size of our TLS.
//!
//! The floor under what TLS may cost: every byte has to go through the cipher once.

use std::fs;
use std::io::{self, Write};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// Plaintext of a full TLS record (RFC 8446 section 5.1).
const RECORD: usize = 16 * 1024;

const BYTES: usize = 1_000_000_000;

fn main() -> io::Result<()> {
    let failed = |_| io::Error::other("the cipher failed");
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[7; 16]).map_err(failed)?);
    let mut record = vec![0x55; RECORD];
    let records = BYTES / RECORD;
    let before = cpu_seconds()?;
    for number in 0..records {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&(number as u64).to_be_bytes());
        let sealed = key.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from([23, 3, 3, 0x40, 0x11]),
            &mut record,
        );
        let _tag = sealed.map_err(failed)?;
    }
    let seconds = cpu_seconds()? - before;
    writeln!(io::stdout(), "{:.4}", seconds * BYTES as f64 / (records * RECORD) as f64)
}

/// Nanoseconds this thread has run (proc(5), schedstat).
fn cpu_seconds() -> io::Result<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = text.split_whitespace().next().and_then(|number| number.parse::<f64>().ok());
    first.map(|ns| ns / 1e9).ok_or_else(|| io::Error::other("no schedstat in this kernel"))
}
