//! Reading whole fields from bytes that come in any pieces.

/// Gathers one field of a known length, however many reads it takes.
///
/// Its memory grows with what has arrived, never with what a length on the wire promises.
pub(super) struct Gather {
    bytes: Vec<u8>,
    need: usize,
}

impl Gather {
    /// Waits for `need` bytes.
    pub(super) fn new(need: usize) -> Self {
        Self { bytes: Vec::new(), need }
    }

    /// Moves bytes from the front of `input`; the whole field once it is there.
    pub(super) fn take(&mut self, input: &mut &[u8]) -> Option<Vec<u8>> {
        let missing = self.need.saturating_sub(self.bytes.len());
        let (mine, rest) = input.split_at(missing.min(input.len()));
        self.bytes.extend_from_slice(mine);
        *input = rest;
        (self.bytes.len() == self.need).then(|| std::mem::take(&mut self.bytes))
    }

    /// What has arrived of an unfinished field.
    pub(super) fn partial(&self) -> &[u8] {
        &self.bytes
    }

    /// Waits for another field of `need` bytes.
    pub(super) fn expect(&mut self, need: usize) {
        self.bytes.clear();
        self.need = need;
    }
}

/// The big-endian 16-bit number at `at`, or 0 past the end (callers gather whole fields).
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_be_bytes)
}

/// The big-endian 32-bit number at `at`, or 0 past the end (callers gather whole fields).
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// `text` behind its length, as RFB writes reasons and names (RFC 6143 section 7.1.2).
pub(super) fn push_string(out: &mut Vec<u8>, text: &str) {
    let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathers_across_pieces_and_leaves_the_rest() {
        let mut gather = Gather::new(4);
        let mut input: &[u8] = &[0, 0];
        assert_eq!(gather.take(&mut input), None);
        assert_eq!(gather.partial(), [0, 0]);
        let mut input: &[u8] = &[1, 2, 9];
        assert_eq!(gather.take(&mut input), Some(vec![0, 0, 1, 2]));
        assert_eq!(input, [9]);
        gather.expect(0);
        assert_eq!(gather.take(&mut input), Some(vec![]));
    }

    #[test]
    fn numbers_are_big_endian() {
        assert_eq!(u16_at(&[9, 1, 2], 1), 0x0102);
        assert_eq!(u32_at(&[0, 0, 1, 0], 0), 256);
        assert_eq!(u32_at(&[1], 0), 0);
    }
}
