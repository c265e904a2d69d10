//! One direction's key, its sequence number, and the sealing and opening of single records.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use rustls::ConnectionTrafficSecrets;

use super::{Alert, HEADER, Kind, MAX_PLAIN};

/// All three AEADs have tags of this length.
const TAG: usize = 16;

/// The part of the nonce that TLS 1.2 sends with each record of AES-GCM (RFC 5288 section 3).
const EXPLICIT: usize = 8;

/// Records that one key of AES-GCM may seal. RFC 8446 section 5.5 allows 2^24.5 full ones.
const GCM_LIMIT: u64 = 1 << 24;

/// The versions that we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// RFC 5246, with AEAD suites only.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// Seals, or opens, the records of one direction. It owns the sequence number: none is used twice.
pub struct Cipher {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
    limit: u64,
    version: Version,
    /// The nonce's second part stands in the record.
    explicit: bool,
}

impl Cipher {
    /// A key from rustls; `sequence` is the next record's number.
    ///
    /// # Errors
    /// `internal_error` for an AEAD that is none of ours.
    pub fn new(version: Version, sequence: u64, secrets: &ConnectionTrafficSecrets) -> Result<Self, Alert> {
        let (algorithm, key, iv, limit) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv, GCM_LIMIT),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv, GCM_LIMIT),
            // The sequence number ends before it is unsafe (RFC 8446 section 5.5).
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv, u64::MAX),
            _ => return Err(Alert::InternalError),
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| Alert::InternalError)?;
        Ok(Self {
            key: LessSafeKey::new(key),
            iv: iv.as_ref().try_into().map_err(|_| Alert::InternalError)?,
            sequence,
            limit,
            version,
            explicit: version == Version::Tls12 && limit == GCM_LIMIT,
        })
    }

    /// Whether this key has sealed as many records as it may; room for an alert is left.
    pub fn is_exhausted(&self) -> bool {
        self.sequence >= self.limit - 16
    }

    /// How much longer than its payload a sealed record is.
    pub fn overhead(&self) -> usize {
        let inside = match self.version {
            // The content type.
            Version::Tls13 => 1,
            Version::Tls12 => self.front() - HEADER,
        };
        HEADER + inside + TAG
    }

    /// From a record's begin to its ciphertext.
    fn front(&self) -> usize {
        HEADER + if self.explicit { EXPLICIT } else { 0 }
    }

    /// The next record's number and the nonce made of it (RFC 8446 section 5.3); never the same again.
    fn spend(&mut self) -> Result<(u64, [u8; 12]), Alert> {
        let number = self.sequence;
        self.sequence = number.checked_add(1).ok_or(Alert::InternalError)?;
        let mut nonce = self.iv;
        for (byte, with) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= with;
        }
        Ok((number, nonce))
    }

    /// Seals `plain` as one record at the front of `out` and returns its length.
    ///
    /// # Errors
    /// `internal_error` if `plain` is longer than a record's may be, `out` too short, or the key used up.
    pub fn seal(&mut self, kind: Kind, plain: &[u8], out: &mut [u8]) -> Result<usize, Alert> {
        let total = plain.len() + self.overhead();
        if plain.len() > MAX_PLAIN || out.len() < total || self.sequence >= self.limit {
            return Err(Alert::InternalError);
        }
        let (number, nonce) = self.spend()?;
        let inside = u16::try_from(total - HEADER).map_err(|_| Alert::InternalError)?.to_be_bytes();
        let outer = if self.version == Version::Tls13 { Kind::Data } else { kind };
        let header = [outer as u8, 3, 3, inside[0], inside[1]];
        let (front, rest) = out[..total].split_at_mut(self.front());
        front[..HEADER].copy_from_slice(&header);
        if self.explicit {
            front[HEADER..].copy_from_slice(&nonce[4..]);
        }
        let (text, end) = rest.split_at_mut(plain.len());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = match self.version {
            Version::Tls13 => {
                let inner = [kind as u8];
                self.key.seal_out_of_place_scatter(nonce, Aad::from(header), plain, text, &inner, end)
            }
            Version::Tls12 => {
                let aad = Aad::from(additional(number, header, plain.len()));
                self.key.seal_out_of_place_scatter(nonce, aad, plain, text, &[], end)
            }
        };
        sealed.map_err(|_| Alert::InternalError)?;
        Ok(total)
    }

    /// What [`Cipher::open`] needs to write for a record of `length` bytes: its payload, in TLS 1.3 with what
    /// pads it.
    pub fn room(&self, length: usize) -> usize {
        length.saturating_sub(self.front() + TAG)
    }

    /// Opens one whole record into `out`, which has at least [`Cipher::room`]. Returns what it is and how much
    /// of `out` is its payload; the rest of `out` means nothing.
    ///
    /// # Errors
    /// The alert to send. Nothing in `out` may be used then.
    pub fn open(&mut self, record: &[u8], out: &mut [u8]) -> Result<(Kind, usize), Alert> {
        let inside = record.len().checked_sub(self.front() + TAG).ok_or(Alert::BadRecordMac)?;
        let (front, rest) = record.split_at(self.front());
        let header = *front.first_chunk::<HEADER>().ok_or(Alert::InternalError)?;
        let (text, tag) = rest.split_at(inside);
        let out = out.get_mut(..inside).ok_or(Alert::InternalError)?;
        let (number, mut nonce) = self.spend()?;
        if self.explicit {
            nonce[..4].copy_from_slice(&self.iv[..4]);
            nonce[4..].copy_from_slice(&front[HEADER..]);
        }
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = match self.version {
            Version::Tls13 => self.key.open_separate_gather(nonce, Aad::from(header), text, tag, out),
            Version::Tls12 => {
                let aad = Aad::from(additional(number, header, inside));
                self.key.open_separate_gather(nonce, aad, text, tag, out)
            }
        };
        opened.map_err(|_| Alert::BadRecordMac)?;
        let (kind, length) = match self.version {
            Version::Tls12 => (header[0], inside),
            // The type is the last byte that is not padding; there must be one (RFC 8446 section 5.4).
            Version::Tls13 => {
                let at = out.iter().rposition(|&byte| byte != 0).ok_or(Alert::UnexpectedMessage)?;
                (out[at], at)
            }
        };
        if length > MAX_PLAIN {
            return Err(Alert::RecordOverflow);
        }
        Ok((Kind::from_wire(kind).ok_or(Alert::UnexpectedMessage)?, length))
    }
}

/// What TLS 1.2 authenticates besides the payload (RFC 5246 section 6.2.3.3).
fn additional(number: u64, header: [u8; HEADER], plain: usize) -> [u8; 13] {
    let mut bytes = [0; 13];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes[8..11].copy_from_slice(&header[..3]);
    // A record's payload is under 2^16.
    bytes[11..].copy_from_slice(&(plain as u64).to_be_bytes()[6..]);
    bytes
}
