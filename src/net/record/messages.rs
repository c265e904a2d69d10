//! Handshake messages after the handshake, of TLS 1.3: key updates, and the tickets that a client is sent.

use super::{Alert, Role};

const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

/// A ticket with its label, its nonce and its extensions, each as long as its length field lets it be.
const MAX_TICKET: u32 = 4 + 4 + 256 + 2 * (2 + 0xffff);

/// The message that changes keys; nothing may follow it in its record (RFC 8446 section 5.1).
pub(super) const fn key_update(asks: bool) -> [u8; 5] {
    [KEY_UPDATE, 0, 0, 1, asks as u8]
}

/// Reads messages from the records that carry them. Keeps a begun message's first bytes, never a whole ticket.
#[derive(Debug, Default)]
pub(super) struct Messages {
    head: [u8; 4],
    have: u8,
    /// Of the message begun, bytes that still come and mean nothing to us.
    skip: u32,
}

/// What the peer wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyUpdate {
    /// It wants us to change our key as well.
    pub(super) asks: bool,
}

impl Messages {
    /// Whether a message has begun and not ended.
    pub(super) fn is_inside(&self) -> bool {
        self.have > 0 || self.skip > 0
    }

    /// Reads one record's payload.
    pub(super) fn read(&mut self, mut bytes: &[u8], role: Role) -> Result<Option<KeyUpdate>, Alert> {
        // RFC 8446 section 5.1: no empty fragments.
        if bytes.is_empty() {
            return Err(Alert::UnexpectedMessage);
        }
        while let [first, rest @ ..] = bytes {
            if self.skip > 0 {
                let count = bytes.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
                bytes = &bytes[count..];
                self.skip -= u32::try_from(count).unwrap_or(self.skip);
                continue;
            }
            if usize::from(self.have) < self.head.len() {
                self.head[usize::from(self.have)] = *first;
                self.have += 1;
                bytes = rest;
                if usize::from(self.have) == self.head.len() {
                    self.begin(role)?;
                }
                continue;
            }
            // Only a key update is read beyond its head.
            self.have = 0;
            let asks = match *first {
                0 => false,
                1 => true,
                _ => return Err(Alert::IllegalParameter),
            };
            return if rest.is_empty() {
                Ok(Some(KeyUpdate { asks }))
            } else {
                Err(Alert::UnexpectedMessage)
            };
        }
        Ok(None)
    }

    fn begin(&mut self, role: Role) -> Result<(), Alert> {
        let [kind, a, b, c] = self.head;
        let length = u32::from_be_bytes([0, a, b, c]);
        match kind {
            KEY_UPDATE if length == 1 => Ok(()),
            // Sessions are not resumed towards consoles.
            NEW_SESSION_TICKET if role == Role::Client && (1..=MAX_TICKET).contains(&length) => {
                (self.have, self.skip) = (0, length);
                Ok(())
            }
            KEY_UPDATE => Err(Alert::DecodeError),
            NEW_SESSION_TICKET if role == Role::Client => Err(Alert::DecodeError),
            _ => Err(Alert::UnexpectedMessage),
        }
    }
}
