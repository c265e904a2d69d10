//! FNV-1a over 64 bits and a count: finds a byte that is lost, doubled, changed or moved.

/// Both, updated as bytes come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checksum {
    hash: u64,
    count: u64,
}

impl Default for Checksum {
    fn default() -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, count: 0 }
    }
}

impl Checksum {
    /// As it goes over the wire.
    pub(super) const LEN: usize = 16;

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.count += bytes.len() as u64;
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(super) fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.hash.to_be_bytes());
        bytes[8..].copy_from_slice(&self.count.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the test vectors of the algorithm's authors (draft-eastlake-fnv, appendix C).
    #[test]
    fn the_known_values() {
        let of = |text: &[u8]| {
            let mut sum = Checksum::default();
            sum.update(text);
            sum.hash
        };
        assert_eq!(of(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(of(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(of(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
