//! Which pixel format the server's pixels are in: a recording cannot be shown without it, and it is the viewer who
//! says (RFC 6143 section 7.5.1).

use super::view_only::ViewOnly;
use super::wire::u16_at;

/// Bytes looked at together.
const STEP: usize = 1024;

/// Watches what a viewer sends behind its ClientInit for SetPixelFormat. Everything else is passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PixelFormats {
    /// Drops what is of no interest, input above all, and finds where messages begin. `None` once the viewer has
    /// sent what nobody can take apart.
    filter: Option<ViewOnly>,
    /// The beginning of a message, without input.
    kept: Vec<u8>,
}

impl Default for PixelFormats {
    fn default() -> Self {
        Self { filter: Some(ViewOnly::new()), kept: Vec::new() }
    }
}

impl PixelFormats {
    /// Takes bytes from the viewer; the last pixel format they ask for, if any.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<[u8; 16]> {
        let mut found = None;
        let mut buffer = [0; ViewOnly::ROOM + STEP];
        for piece in bytes.chunks(STEP) {
            let filter = self.filter.as_mut()?;
            let range = ViewOnly::ROOM..ViewOnly::ROOM + piece.len();
            buffer[range.clone()].copy_from_slice(piece);
            match filter.apply(&mut buffer, range) {
                Ok(kept) => self.kept.extend_from_slice(&buffer[kept]),
                Err(_) => {
                    // Nobody can tell where the next message begins.
                    self.filter = None;
                    return found;
                }
            }
            found = self.take().or(found);
        }
        found
    }

    /// Takes whole messages from what was kept.
    fn take(&mut self) -> Option<[u8; 16]> {
        let (mut at, mut found) = (0, None);
        while let Some(len) = message_len(&self.kept[at..]).filter(|len| at + len <= self.kept.len()) {
            if self.kept[at] == 0 {
                found = self.kept[at + 4..at + 20].try_into().ok().or(found);
            }
            at += len;
        }
        self.kept.drain(..at);
        found
    }
}

/// The length of the message that begins here, of those that the filter keeps; `None`: not yet known.
fn message_len(bytes: &[u8]) -> Option<usize> {
    let has = |count: usize| bytes.get(..count);
    Some(match bytes.first()? {
        0 => 20,
        2 => 4 + 4 * usize::from(u16_at(has(4)?, 2)),
        248 => 9 + usize::from(has(9)?[8]),
        // QEMU's audio (rfbproto): to begin, to end, and its format.
        255 => match u16_at(has(4)?, 2) {
            2 => 10,
            _ => 4,
        },
        // Update requests and continuous updates.
        _ => 10,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORMAT: [u8; 16] = [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 0, 8, 16, 0, 0, 0];

    fn set(format: [u8; 16]) -> Vec<u8> {
        [&[0; 4][..], &format].concat()
    }

    /// What noVNC sends: pixel format, encodings, requests; keys, pointer, a clipboard, fences, QEMU's keys.
    fn session() -> Vec<u8> {
        [
            &set([9; 16])[..],
            b"\x02\0\0\x02\0\0\0\x05\0\0\0\0",
            b"\x03\0\0\0\0\0\x02\x80\x01\xe0",
            b"\x04\x01\0\0\0\0\0a",
            b"\x05\0\0\x01\0\x02",
            b"\x06\0\0\0\0\0\0\x04\0\0\0\0",
            b"\xf8\0\0\0\x80\0\0\x01\x02\0\0",
            b"\xff\0\0\x01\0\0\0a\0\0\0\x1e",
            b"\xff\x01\0\0",
            b"\xff\x01\0\x02\x03\x02\0\0\xac\x44",
            b"\x96\x01\0\0\0\0\x02\x80\x01\xe0",
            &set(FORMAT),
            b"\x03\x01\0\0\0\0\x02\x80\x01\xe0",
        ]
        .concat()
    }

    #[test]
    fn formats_are_found_among_everything_else() {
        let mut formats = PixelFormats::default();
        assert_eq!(formats.feed(&set([9; 16])), Some([9; 16]));
        assert_eq!(formats.feed(b"\x04\x01\0\0\0\0\0a"), None);
        assert_eq!(PixelFormats::default().feed(&session()), Some(FORMAT));
        let mut lost = PixelFormats::default();
        assert_eq!(lost.feed(&[&[99][..], &set(FORMAT)].concat()), None);
        assert_eq!(lost.feed(&set(FORMAT)), None);
    }

    proptest! {
        #[test]
        fn any_split_finds_the_same(size in 1usize..60) {
            let (mut formats, mut last) = (PixelFormats::default(), None);
            for piece in session().chunks(size) {
                last = formats.feed(piece).or(last);
            }
            prop_assert_eq!(last, Some(FORMAT));
            prop_assert!(formats.kept.is_empty());
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            let mut formats = PixelFormats::default();
            formats.feed(&bytes);
            prop_assert!(formats.kept.len() <= 4 + 4 * 1024 + STEP);
        }
    }
}
