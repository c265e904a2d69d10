//! What a script waits for in a console's output.

/// Looks for a text in what comes, across pieces.
#[derive(Debug)]
pub(super) struct Until {
    text: Vec<u8>,
    tail: Vec<u8>,
    pub(super) found: bool,
}

impl Until {
    pub(super) fn new(text: Vec<u8>) -> Self {
        Self { text, tail: Vec::new(), found: false }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        self.found |= self.tail.windows(self.text.len()).any(|window| window == self.text);
        // What may still become the beginning of the text.
        let keep = self.tail.len().min(self.text.len() - 1);
        self.tail.drain(..self.tail.len() - keep);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_text_is_found_however_it_is_split(bytes in "[ab]{0,20}", text in "[ab]{1,4}", cut in 0usize..20) {
            let mut until = Until::new(text.clone().into_bytes());
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            until.feed(head.as_bytes());
            until.feed(tail.as_bytes());
            prop_assert_eq!(until.found, bytes.contains(&text));
        }
    }
}
