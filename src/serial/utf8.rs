//! Where a frame may end.

/// How many bytes may go now.
pub fn cut(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let at = bytes.len() - back;
        if let Err(e) = std::str::from_utf8(&bytes[at..])
            && e.valid_up_to() == 0
            && e.error_len().is_none()
        {
            return at;
        }
    }
    bytes.len()
}
