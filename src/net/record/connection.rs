//! Both directions of a connection: payload, key updates, alerts and the two ends.

use std::fmt;

use super::messages::{Messages, key_update};
use super::{Alert, Cipher, Kind, Rekey, Role, Version, record_len};

/// Records in a row that may come without payload: key updates, empty ones, warnings. Each costs us more than the
/// peer, and none is needed that often; BoringSSL and OpenSSL stop at the same number.
const MAX_QUIET: u8 = 32;

/// TLS 1.2's level of an alert that ends nothing.
const WARNING: u8 = 1;
const FATAL: u8 = 2;

/// The peer gives up the handshake that is over; nothing follows from it (RFC 8446 section 6.1).
const USER_CANCELED: u8 = 90;

/// What a record was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes of payload.
    Data(usize),
    /// Nothing for those above.
    Nothing,
    /// The peer sends no more.
    Close,
}

/// Why a connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The peer broke the protocol: this is what it is told.
    #[error("TLS: the peer was sent {0}")]
    Ours(Alert),
    /// The peer gave up, with this alert's number (RFC 8446 section 6).
    #[error("TLS: the peer sent alert {0}")]
    Theirs(u8),
}

/// Why nothing can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// We have said that nothing comes any more.
    #[error("TLS: closed for writing")]
    Closed,
    /// The key of a connection of TLS 1.2 has sealed as much as is safe.
    #[error("TLS 1.2: as much was sent as is safe with one key")]
    Exhausted,
    /// The library refused.
    #[error("TLS: sealing failed")]
    Failed,
}

/// The state of a connection whose handshake is over.
pub struct Records {
    rx: Cipher,
    tx: Cipher,
    rekey: Box<dyn Rekey>,
    version: Version,
    role: Role,
    messages: Messages,
    quiet: u8,
    /// The peer wants us to change our key before we send again.
    owes_update: bool,
    /// No more will be sent.
    closed: bool,
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records")
            .field("version", &self.version)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl Records {
    /// A connection with the keys that its handshake ended with.
    pub fn new(version: Version, role: Role, tx: Cipher, rx: Cipher, rekey: Box<dyn Rekey>) -> Self {
        Self {
            rx,
            tx,
            rekey,
            version,
            role,
            messages: Messages::default(),
            quiet: 0,
            owes_update: false,
            closed: false,
        }
    }

    /// The length of the record that `bytes` begin with; `None` while it cannot be told.
    ///
    /// # Errors
    /// If no record of this connection can begin so.
    pub fn record_len(&self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        record_len(bytes, self.version).map_err(Fault::Ours)
    }

    /// What [`Records::receive`] needs to write for a record of `length` bytes.
    pub fn room(&self, length: usize) -> usize {
        self.rx.room(length)
    }

    /// Takes one whole record and writes its payload to the front of `out`.
    ///
    /// # Errors
    /// If the connection cannot go on. Nothing in `out` may be used then, nor anything received later.
    pub fn receive(&mut self, record: &[u8], out: &mut [u8]) -> Result<Received, Fault> {
        let (kind, length) = self.rx.open(record, out).map_err(Fault::Ours)?;
        // RFC 8446 section 5.1: a message in fragments is not interrupted.
        if kind != Kind::Handshake && self.messages.is_inside() {
            return Err(Fault::Ours(Alert::UnexpectedMessage));
        }
        if kind == Kind::Data && length > 0 {
            self.quiet = 0;
            return Ok(Received::Data(length));
        }
        self.quiet += 1;
        if self.quiet > MAX_QUIET {
            return Err(Fault::Ours(Alert::UnexpectedMessage));
        }
        match (kind, self.version) {
            (Kind::Data, _) => Ok(Received::Nothing),
            (Kind::Alert, _) => self.alerted(&out[..length]),
            (Kind::Handshake, Version::Tls13) => self.messages(&out[..length]),
            (Kind::Handshake, Version::Tls12) => Err(Fault::Ours(Alert::NoRenegotiation)),
            (Kind::ChangeCipherSpec, _) => Err(Fault::Ours(Alert::UnexpectedMessage)),
        }
    }

    fn alerted(&mut self, payload: &[u8]) -> Result<Received, Fault> {
        let &[level, description] = payload else { return Err(Fault::Ours(Alert::DecodeError)) };
        match self.version {
            _ if description == Alert::CloseNotify as u8 => Ok(Received::Close),
            // The level means nothing in TLS 1.3: every other alert is fatal (RFC 8446 section 6).
            Version::Tls13 if description == USER_CANCELED => Ok(Received::Nothing),
            Version::Tls12 if level == WARNING => Ok(Received::Nothing),
            _ => Err(Fault::Theirs(description)),
        }
    }

    fn messages(&mut self, payload: &[u8]) -> Result<Received, Fault> {
        if let Some(update) = self.messages.read(payload, self.role).map_err(Fault::Ours)? {
            let secrets = self.rekey.next_rx().map_err(|_| Fault::Ours(Alert::InternalError))?;
            self.rx = Cipher::new(self.version, 0, &secrets).map_err(Fault::Ours)?;
            // Asked more than once while we were silent, we answer once (RFC 8446 section 4.6.3).
            self.owes_update |= update.asks;
        }
        Ok(Received::Nothing)
    }

    /// Seals from the front of `payload` what fits into `out`, as records of full length first. Returns how much
    /// of `payload` that was, and how much of `out` it became. A key update that is due goes ahead.
    ///
    /// # Errors
    /// If nothing can be sent any more.
    pub fn send(&mut self, payload: &[u8], out: &mut [u8]) -> Result<(usize, usize), SendError> {
        if self.closed {
            return Err(SendError::Closed);
        }
        let (mut taken, mut written) = (0, 0);
        while taken < payload.len() {
            if self.owes_update || self.tx.is_exhausted() {
                let length = self.update(&mut out[written..])?;
                if length == 0 {
                    break;
                }
                written += length;
            }
            let room = (out.len() - written).saturating_sub(self.tx.overhead());
            let count = (payload.len() - taken).min(super::MAX_PLAIN).min(room);
            if count == 0 {
                break;
            }
            let piece = &payload[taken..taken + count];
            written += self.tx.seal(Kind::Data, piece, &mut out[written..]).map_err(|_| SendError::Failed)?;
            taken += count;
        }
        Ok((taken, written))
    }

    /// Tells the peer that our key changes, and changes it. Nothing if `out` is too short.
    fn update(&mut self, out: &mut [u8]) -> Result<usize, SendError> {
        if self.version == Version::Tls12 {
            return Err(SendError::Exhausted);
        }
        let message = key_update(false);
        if out.len() < message.len() + self.tx.overhead() {
            return Ok(0);
        }
        let length = self.tx.seal(Kind::Handshake, &message, out).map_err(|_| SendError::Failed)?;
        let secrets = self.rekey.next_tx().map_err(|_| SendError::Failed)?;
        self.tx = Cipher::new(self.version, 0, &secrets).map_err(|_| SendError::Failed)?;
        self.owes_update = false;
        Ok(length)
    }

    /// Whether nothing was received with the peer's newest key yet.
    pub(super) fn rekeyed(&self) -> bool {
        self.rx.is_new()
    }

    /// As if the key might seal only so many more records.
    #[cfg(test)]
    pub(crate) fn tire(&mut self, records: u64) {
        self.tx.tire(records);
    }

    /// Says that nothing comes any more, with `close_notify` or with what was wrong. Returns the record's length:
    /// nothing if it was said before, or cannot be.
    pub fn close(&mut self, alert: Alert, out: &mut [u8]) -> usize {
        if std::mem::replace(&mut self.closed, true) {
            return 0;
        }
        let level = if alert == Alert::CloseNotify { WARNING } else { FATAL };
        self.tx.seal(Kind::Alert, &[level, alert as u8], out).unwrap_or(0)
    }
}
