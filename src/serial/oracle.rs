//! Fuzz oracle of the serial cut: the standard library's decoder is the judge.

/// Cuts `data` and every beginning of it as std's decoder would.
pub fn cut(data: &[u8]) {
    for end in 0..=data.len().min(64) {
        check(&data[..end]);
    }
    check(data);
}

fn check(bytes: &[u8]) {
    let sent = super::cut(bytes);
    // std says what is open at the end: the invalid parts before it are chunks of their own.
    let open = match bytes.utf8_chunks().last() {
        Some(last) if std::str::from_utf8(last.invalid()).is_err_and(|e| e.error_len().is_none()) => {
            last.invalid().len()
        }
        _ => 0,
    };
    assert_eq!(sent, bytes.len() - open, "{bytes:x?}");
}
