//! UTF-8 checked piece by piece: text messages are validated as they pass, never collected.

/// The state between two pieces: the bytes of a character that has begun but not ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Utf8 {
    held: [u8; 4],
    len: u8,
}

impl Utf8 {
    /// Whether `piece`, after all before it, is still valid UTF-8 so far.
    pub(super) fn push(&mut self, mut piece: &[u8]) -> bool {
        while self.len > 0 {
            let Some((&next, rest)) = piece.split_first() else { return true };
            self.held[usize::from(self.len)] = next;
            self.len += 1;
            piece = rest;
            match std::str::from_utf8(&self.held[..usize::from(self.len)]) {
                Ok(_) => self.len = 0,
                Err(e) if e.error_len().is_some() => return false,
                Err(_) => {}
            }
        }
        match std::str::from_utf8(piece) {
            Ok(_) => true,
            Err(e) if e.error_len().is_some() => false,
            Err(e) => {
                let tail = &piece[e.valid_up_to()..];
                self.held[..tail.len()].copy_from_slice(tail);
                self.len = u8::try_from(tail.len()).unwrap_or(0);
                true
            }
        }
    }

    /// Whether no character is open: a message may end here.
    pub(super) fn at_boundary(self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::Utf8;
    use proptest::prelude::*;

    fn check(pieces: &[&[u8]]) -> bool {
        let mut state = Utf8::default();
        pieces.iter().all(|p| state.push(p)) && state.at_boundary()
    }

    proptest! {
        #[test]
        fn pieces_are_judged_as_the_whole(
            text in prop_oneof![
                any::<String>().prop_map(String::into_bytes),
                proptest::collection::vec(any::<u8>(), 0..12),
                proptest::collection::vec(prop_oneof![Just(0xf0u8), Just(0x9f), Just(0x98), Just(0x80), Just(b'a'), Just(0xed), Just(0xa0)], 0..9),
            ],
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..5),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|c| c.index(text.len() + 1)).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&text[from..cut]);
                from = cut;
            }
            pieces.push(&text[from..]);
            prop_assert_eq!(check(&pieces), std::str::from_utf8(&text).is_ok());
        }
    }
}
