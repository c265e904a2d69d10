//! Unmasking (RFC 6455 section 5.3), in place or towards the front of the same buffer.

/// A client's masking key, rotated so that its first byte applies to the next payload byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mask([u8; 4]);

impl Mask {
    pub(super) fn new(key: [u8; 4]) -> Self {
        Self(key)
    }

    /// The key for the payload byte `by` bytes further on.
    fn rotated(self, by: usize) -> Self {
        let [a, b, c, d] = self.0;
        Self(match by % 4 {
            0 => [a, b, c, d],
            1 => [b, c, d, a],
            2 => [c, d, a, b],
            _ => [d, a, b, c],
        })
    }

    /// Eight bytes of the repeated key, for word-wide work.
    fn word(self) -> u64 {
        let [a, b, c, d] = self.0;
        u64::from_ne_bytes([a, b, c, d, a, b, c, d])
    }

    /// Unmasks `data` where it lies and turns the key on.
    pub(super) fn apply(&mut self, data: &mut [u8]) {
        let word = self.word();
        let (words, rest) = data.as_chunks_mut::<8>();
        for chunk in words {
            *chunk = (u64::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
        }
        for (byte, key) in rest.iter_mut().zip(self.0) {
            *byte ^= key;
        }
        // The key repeats every 4 bytes, so only the tail turns it.
        let tail = rest.len();
        if tail > 4 {
            for (byte, key) in rest[4..].iter_mut().zip(self.0) {
                *byte ^= key;
            }
        }
        *self = self.rotated(tail);
    }

    /// Unmasks `buf[from..from + len]` into `buf[to..to + len]`, `to <= from`, in one forward pass.
    pub(super) fn apply_towards_front(&mut self, buf: &mut [u8], from: usize, to: usize, len: usize) {
        debug_assert!(to <= from && from + len <= buf.len());
        if from == to {
            return self.apply(&mut buf[from..from + len]);
        }
        let word = self.word();
        let whole = len & !7;
        let mut at = 0;
        while at < whole {
            // Reads stay ahead of writes: `to <= from`, and each word is read before it is written.
            let mut chunk = [0; 8];
            chunk.copy_from_slice(&buf[from + at..from + at + 8]);
            chunk = (u64::from_ne_bytes(chunk) ^ word).to_ne_bytes();
            buf[to + at..to + at + 8].copy_from_slice(&chunk);
            at += 8;
        }
        for i in whole..len {
            buf[to + i] = buf[from + i] ^ self.0[i % 4];
        }
        *self = self.rotated(len - whole);
    }
}

#[cfg(test)]
mod tests {
    use super::Mask;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_split_and_shift_equals_the_definition(
            data in proptest::collection::vec(any::<u8>(), 0..200),
            key: [u8; 4],
            cut in 0usize..200,
            gap in 0usize..20,
        ) {
            let expected: Vec<u8> = data.iter().enumerate().map(|(i, b)| b ^ key[i % 4]).collect();
            let cut = cut.min(data.len());

            let mut in_place = data.clone();
            let mut mask = Mask::new(key);
            let (head, tail) = in_place.split_at_mut(cut);
            mask.apply(head);
            mask.apply(tail);
            prop_assert_eq!(&in_place, &expected);

            let mut shifted = vec![0; gap];
            shifted.extend_from_slice(&data);
            let mut mask = Mask::new(key);
            mask.apply_towards_front(&mut shifted, gap, 0, cut);
            mask.apply_towards_front(&mut shifted, gap + cut, cut, data.len() - cut);
            prop_assert_eq!(&shifted[..data.len()], &expected[..]);
        }
    }
}
