//! What a serial line has said: its first bytes and its latest, each by its place in the whole, and no more
//! memory than was allowed.

/// The line's output since the beginning, of which the first and the last part are kept.
#[derive(Debug)]
pub struct History {
    first: Vec<u8>,
    first_most: usize,
    /// The byte of offset `o` is at `o % last_most`; grows up to `last_most`.
    last: Vec<u8>,
    last_most: usize,
    end: u64,
}

/// Bytes found in a [`History`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// So many bytes from the offset asked for on are not kept any more.
    pub missing: u64,
    /// Behind them, so many were copied.
    pub count: usize,
}

impl History {
    /// Keeps the first `first` bytes and the last `last` ones, at least one; memory is taken as they come.
    pub fn new(first: usize, last: usize) -> Self {
        Self { first: Vec::new(), first_most: first, last: Vec::new(), last_most: last.max(1), end: 0 }
    }

    /// Where the next byte will be: how many there were.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The earliest offset from which on all is kept.
    pub fn last_begins(&self) -> u64 {
        self.end - self.last.len() as u64
    }

    /// How many of the latest bytes are kept.
    pub fn last_kept(&self) -> u64 {
        self.last.len() as u64
    }

    /// Bytes of memory held.
    pub fn held(&self) -> usize {
        self.first.capacity() + self.last.capacity()
    }

    /// The line said `bytes`.
    pub fn push(&mut self, bytes: &[u8]) {
        let room = self.first_most - self.first.len();
        if room > 0 {
            let new = &bytes[..room.min(bytes.len())];
            grow(&mut self.first, new.len(), self.first_most);
            self.first.extend_from_slice(new);
        }
        let mut rest = bytes;
        let fresh = self.last_most - self.last.len();
        if fresh > 0 {
            let (new, behind) = rest.split_at(fresh.min(rest.len()));
            grow(&mut self.last, new.len(), self.last_most);
            self.last.extend_from_slice(new);
            self.end += new.len() as u64;
            rest = behind;
        }
        // What would be overwritten at once need not be written.
        let skipped = rest.len().saturating_sub(self.last_most);
        self.end += skipped as u64;
        rest = &rest[skipped..];
        while !rest.is_empty() {
            let at = self.place(self.end);
            let (new, behind) = rest.split_at(rest.len().min(self.last_most - at));
            self.last[at..at + new.len()].copy_from_slice(new);
            self.end += new.len() as u64;
            rest = behind;
        }
    }

    /// Copies what was said from offset `from` on into `into`, up to where it is full or a part is missing.
    /// Nothing is found behind the end.
    pub fn read(&self, from: u64, into: &mut [u8]) -> Found {
        if let Some(first) = usize::try_from(from).ok().and_then(|from| self.first.get(from..))
            && !first.is_empty()
        {
            let count = first.len().min(into.len());
            into[..count].copy_from_slice(&first[..count]);
            return Found { missing: 0, count };
        }
        let start = from.max(self.last_begins());
        let mut count = 0;
        while count < into.len() && start + (count as u64) < self.end {
            let offset = start + count as u64;
            let at = self.place(offset);
            let left = usize::try_from(self.end - offset).unwrap_or(usize::MAX);
            let piece = left.min(self.last.len() - at).min(into.len() - count);
            into[count..count + piece].copy_from_slice(&self.last[at..at + piece]);
            count += piece;
        }
        Found { missing: start.min(self.end).saturating_sub(from), count }
    }

    fn place(&self, offset: u64) -> usize {
        usize::try_from(offset % self.last_most as u64).unwrap_or(0)
    }
}

/// Room for `more` bytes: doubled as a `Vec` does, and never beyond `most`.
fn grow(bytes: &mut Vec<u8>, more: usize, most: usize) {
    let needed = bytes.len() + more;
    if needed > bytes.capacity() {
        let capacity = needed.max(bytes.capacity() * 2).max(1024).min(most);
        bytes.reserve_exact(capacity.max(needed) - bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::oracle;
    use super::*;

    fn read(history: &History, from: u64, most: usize) -> (u64, Vec<u8>) {
        let mut into = vec![0; most];
        let found = history.read(from, &mut into);
        into.truncate(found.count);
        (found.missing, into)
    }

    #[test]
    fn the_first_and_the_last_part_stay() {
        let mut history = History::new(4, 8);
        assert_eq!(read(&history, 0, 9), (0, vec![]));
        history.push(b"abcdef");
        assert_eq!(read(&history, 0, 9), (0, b"abcd".to_vec()));
        assert_eq!(read(&history, 4, 9), (0, b"ef".to_vec()));
        history.push(b"ghijklmnop");
        assert_eq!((history.end(), history.last_begins()), (16, 8));
        assert_eq!(read(&history, 0, 3), (0, b"abc".to_vec()));
        assert_eq!(read(&history, 3, 9), (0, b"d".to_vec()));
        assert_eq!(read(&history, 4, 9), (4, b"ijklmnop".to_vec()));
        assert_eq!(read(&history, 9, 4), (0, b"jklm".to_vec()));
        assert_eq!(read(&history, 16, 4), (0, vec![]));
        assert_eq!(read(&history, 99, 4), (0, vec![]));
        history.push(&[b'x'; 100]);
        assert_eq!((history.end(), read(&history, 5, 99)), (116, (103, b"xxxxxxxx".to_vec())));
    }

    #[test]
    fn memory_is_taken_as_bytes_come_and_never_more_than_allowed() {
        let mut history = History::new(1 << 16, 1 << 20);
        assert_eq!(history.held(), 0);
        history.push(b"login: ");
        assert!(history.held() <= 2 * 1024, "{}", history.held());
        for _ in 0..10_000 {
            history.push(&[b'x'; 1000]);
            assert!(history.held() <= (1 << 16) + (1 << 20), "{}", history.held());
        }
    }

    proptest! {
        #[test]
        fn it_is_the_whole_with_a_hole(data in prop::collection::vec(any::<u8>(), 0..400)) {
            oracle::history(&data);
        }
    }
}
