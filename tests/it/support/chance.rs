//! Chance from a seed, and streams whose every byte says whose it is and where it belongs.

/// SplitMix64 (Steele, Lea, Flood 2014): the same numbers from the same seed, whatever the platform.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of `range`.
    pub(crate) fn among(&mut self, range: std::ops::RangeInclusive<usize>) -> usize {
        let width = (range.end() - range.start()) as u64 + 1;
        range.start() + (self.next() % width) as usize
    }

    /// Whether one of `n` came up.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.among(1..=n) == 1
    }
}

/// Bytes per record: stream 4, number 4, check 8.
pub(crate) const RECORD: usize = 16;

fn record(stream: u32, number: u32) -> [u8; RECORD] {
    let mut bytes = [0; RECORD];
    bytes[..4].copy_from_slice(&stream.to_be_bytes());
    bytes[4..8].copy_from_slice(&number.to_be_bytes());
    let check = Chance::new(u64::from(stream) << 32 | u64::from(number)).next();
    bytes[8..].copy_from_slice(&check.to_be_bytes());
    bytes
}

/// Records `from` to `to` of a stream, as they are sent.
pub(crate) fn records(stream: u32, from: u32, to: u32) -> Vec<u8> {
    (from..to).flat_map(|number| record(stream, number)).collect()
}

/// Takes a stream as it arrives and fails at the first byte that is lost, doubled, changed or another's.
#[derive(Debug)]
pub(crate) struct Checker {
    stream: u32,
    due: u32,
    partial: Vec<u8>,
}

impl Checker {
    pub(crate) fn new(stream: u32) -> Self {
        Self { stream, due: 0, partial: Vec::with_capacity(RECORD) }
    }

    /// Whole records so far.
    pub(crate) fn seen(&self) -> u32 {
        self.due
    }

    /// # Panics
    /// When the bytes are not the ones that are due.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(RECORD - self.partial.len()));
            self.partial.extend_from_slice(now);
            bytes = rest;
            if self.partial.len() == RECORD {
                let due = record(self.stream, self.due);
                assert!(
                    self.partial == due,
                    "stream {}: record {} is due, not {}",
                    self.stream,
                    self.due,
                    named(&self.partial)
                );
                self.partial.clear();
                self.due += 1;
            }
        }
    }

    /// # Panics
    /// Unless exactly `count` records came.
    pub(crate) fn ends_at(&self, count: u32) {
        assert_eq!((self.due, self.partial.len()), (count, 0), "records and bytes of stream {}", self.stream);
    }
}

/// What a wrong record claims to be, for the failure message.
fn named(bytes: &[u8]) -> String {
    let number = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let (stream, number) = (number(0), number(4));
    if bytes == record(stream, number) {
        format!("record {number} of stream {stream}")
    } else {
        format!("{bytes:02x?}")
    }
}

#[test]
fn what_is_lost_doubled_changed_or_crossed_is_seen() {
    let good = records(7, 0, 100);
    let check = |bytes: &[u8], size: usize| {
        let mut checker = Checker::new(7);
        bytes.chunks(size).for_each(|piece| checker.take(piece));
        checker.ends_at(100);
    };
    (1..40).for_each(|size| check(&good, size));
    let lost = [&good[..33], &good[34..]].concat();
    let doubled = [&good[..33], &good[32..]].concat();
    let crossed = [&good[..32], &records(8, 2, 3), &good[48..]].concat();
    let mut changed = good.clone();
    changed[1599] ^= 1;
    for bad in [&lost[..], &doubled, &crossed, &changed, &good[..1584], &good[..1599], &[]] {
        assert!(std::panic::catch_unwind(|| check(bad, 7)).is_err());
    }
}
