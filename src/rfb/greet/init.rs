//! ServerInit (RFC 6143 section 7.3.2): gathered whole, its desktop name cleaned, passed on as one message.

use crate::rfb::text::clean;
use crate::rfb::wire::{Gather, push_string, u32_at};

use super::{GreetError, MAX_NAME};

/// Size of ServerInit before the name: width, height, pixel format, name length.
const FIXED: usize = 24;

/// The name shown for a target that has none: clients (Tempest among them) take an empty one for an error.
const UNNAMED: &str = "console";

/// Gathers the target's ServerInit.
pub(super) struct ServerInit {
    fixed: Option<Vec<u8>>,
    gather: Gather,
}

impl ServerInit {
    pub(super) fn new() -> Self {
        Self { fixed: None, gather: Gather::new(FIXED) }
    }

    /// Takes bytes from the front of `input`; the message for the viewer once it is whole.
    pub(super) fn feed(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, GreetError> {
        while let Some(field) = self.gather.take(input) {
            let Some(mut message) = self.fixed.take() else {
                self.gather.expect(name_len(&field)?);
                self.fixed = Some(field);
                continue;
            };
            let name = clean(&field, MAX_NAME);
            message.truncate(FIXED - 4);
            push_string(&mut message, if name.is_empty() { UNNAMED } else { &name });
            return Ok(Some(message));
        }
        Ok(None)
    }
}

/// The announced name length, checked before a byte of it is gathered.
fn name_len(fixed: &[u8]) -> Result<usize, GreetError> {
    let announced = u32_at(fixed, FIXED - 4);
    usize::try_from(announced).ok().filter(|&len| len <= MAX_NAME).ok_or(GreetError::NameTooLong(announced))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(name: &[u8]) -> Vec<u8> {
        let mut message = vec![7; FIXED - 4];
        message.extend(u32::try_from(name.len()).expect("short").to_be_bytes());
        message.extend(name);
        message
    }

    #[test]
    fn whole_cleaned_and_nothing_more() {
        let check = |name: &[u8], expected: &[u8]| {
            for size in [1, 24, 25, 1000] {
                let mut input = message(name);
                input.extend(b"update");
                let (mut init, mut out, mut used) = (ServerInit::new(), None, 0);
                for piece in input.chunks(size) {
                    let mut rest = piece;
                    out = init.feed(&mut rest).expect("short name");
                    used += piece.len() - rest.len();
                    if out.is_some() {
                        break;
                    }
                }
                assert_eq!((out, used), (Some(message(expected)), input.len() - 6), "by {size}");
            }
        };
        check(b"QEMU (bm1)", b"QEMU (bm1)");
        check(b"a\x1b]0;title\x07b", b"a]0;titleb");
        check(b"", b"console");
        check(b"\x1b\x07", b"console");
    }

    #[test]
    fn a_long_name_is_refused_before_it_is_read() {
        let mut announced = vec![0; FIXED - 4];
        announced.extend(5000u32.to_be_bytes());
        assert_eq!(ServerInit::new().feed(&mut &announced[..]), Err(GreetError::NameTooLong(5000)));
    }
}
