//! One direction's key, its sequence number, and the sealing and opening of single records.

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use rustls::ConnectionTrafficSecrets;

use super::{Alert, HEADER, Kind, MAX_PLAIN};

/// All three AEADs have tags of this length.
const TAG: usize = 16;

/// The part of the nonce that TLS 1.2 sends with each record of AES-GCM (RFC 5288 section 3).
const EXPLICIT: usize = 8;

/// Records that one key of AES-GCM may seal. RFC 8446 section 5.5 allows 2^24.5 full ones.
const GCM_LIMIT: u64 = 1 << 24;

/// Records kept of that for what must still be said: a key update, an alert.
const RESERVE: u64 = 16;

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
        let iv = iv.as_ref().try_into().map_err(|_| Alert::InternalError)?;
        Self::with_key(version, sequence, algorithm, key.as_ref(), iv, limit)
    }

    /// A fresh key of TLS 1.2 with AES-GCM, of 16 or 32 bytes, and its part of the nonce (RFC 5288 section 3). The
    /// other part is the record's number.
    ///
    /// # Errors
    /// `internal_error` for a key of another length.
    pub(in crate::net) fn gcm_of_tls12(key: &[u8], salt: [u8; 4]) -> Result<Self, Alert> {
        let algorithm = match key.len() {
            16 => &AES_128_GCM,
            32 => &AES_256_GCM,
            _ => return Err(Alert::InternalError),
        };
        let mut iv = [0; 12];
        iv[..4].copy_from_slice(&salt);
        Self::with_key(Version::Tls12, 0, algorithm, key, iv, GCM_LIMIT)
    }

    fn with_key(
        version: Version,
        sequence: u64,
        algorithm: &'static Algorithm,
        key: &[u8],
        iv: [u8; 12],
        limit: u64,
    ) -> Result<Self, Alert> {
        let key = UnboundKey::new(algorithm, key).map_err(|_| Alert::InternalError)?;
        let explicit = version == Version::Tls12 && limit == GCM_LIMIT;
        Ok(Self { key: LessSafeKey::new(key), iv, sequence, limit, version, explicit })
    }

    /// As if it might seal only so many more records.
    #[cfg(test)]
    pub(super) fn tire(&mut self, records: u64) {
        self.limit = self.sequence + records + RESERVE;
    }

    /// Whether this key has sealed as many records as it may; room for an alert is left.
    pub fn is_exhausted(&self) -> bool {
        self.sequence >= self.limit - RESERVE
    }

    /// Whether it has sealed and opened nothing yet.
    pub(super) fn is_new(&self) -> bool {
        self.sequence == 0
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

    /// Seals what a peer might: `inner` is payload, type and padding, all in one.
    #[cfg(test)]
    pub(super) fn seal_inner(&mut self, inner: &[u8], out: &mut [u8]) -> Result<(), Alert> {
        let (_, nonce) = self.spend()?;
        let inside = u16::try_from(inner.len() + TAG).unwrap().to_be_bytes();
        let header = [Kind::Data as u8, 3, 3, inside[0], inside[1]];
        out[..HEADER].copy_from_slice(&header);
        let (text, tag) = out[HEADER..].split_at_mut(inner.len());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = self.key.seal_out_of_place_scatter(nonce, Aad::from(header), inner, text, &[], tag);
        sealed.map_err(|_| Alert::InternalError)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::record::record_len;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    /// RFC 8448 section 3, "derive write traffic keys for application data", with the record's number.
    fn cipher(sequence: u64, key: &str, iv: &str) -> Cipher {
        let iv = hex(iv).try_into().unwrap();
        Cipher::with_key(Version::Tls13, sequence, &AES_128_GCM, &hex(key), iv, GCM_LIMIT).unwrap()
    }

    fn client(sequence: u64) -> Cipher {
        cipher(sequence, "17422dda596ed5d9acd890e3c63f5051", "5b78923dee08579033e523d9")
    }

    fn server(sequence: u64) -> Cipher {
        cipher(sequence, "9f02283b6c9c07efc26bb9f2ac92e356", "cf782b88dd83549aadf1e984")
    }

    #[track_caller]
    fn check(direction: fn(u64) -> Cipher, sequence: u64, kind: Kind, plain: &[u8], record: &str) {
        let record = hex(record);
        assert_eq!(record_len(&record, Version::Tls13), Ok(Some(record.len())));
        let mut out = vec![0; record.len()];
        assert_eq!(direction(sequence).seal(kind, plain, &mut out), Ok(record.len()));
        assert_eq!(out, record);
        let mut opener = direction(sequence);
        let mut out = vec![0; opener.room(record.len())];
        assert_eq!(opener.open(&record, &mut out), Ok((kind, plain.len())));
        assert_eq!(&out[..plain.len()], plain);
        // The next number, or any bit changed, and it is not the peer's.
        assert_eq!(opener.open(&record, &mut out), Err(Alert::BadRecordMac));
        for bit in 0..record.len() * 8 {
            let mut broken = record.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(direction(sequence).open(&broken, &mut out), Err(Alert::BadRecordMac), "bit {bit}");
        }
    }

    #[test]
    fn rfc_8448_section_3() {
        let payload: Vec<u8> = (0..50).collect();
        check(
            client,
            0,
            Kind::Data,
            &payload,
            "17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc ab 3f
             2b 98 19 a8 a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd 1e 3d ea e6
             3a ee bb 21 69 49 15 e4",
        );
        // Number 0 was the ticket.
        check(
            server,
            1,
            Kind::Data,
            &payload,
            "17 03 03 00 43 2e 93 7e 11 ef 4a c7 40 e5 38 ad 36 00 5f c4 a4 69 32 fc 32 25 d0 5f 82 aa 1b 36
             e3 0e fa f9 7d 90 e6 df fc 60 2d cb 50 1a 59 a8 fc c4 9c 4b f2 e5 f0 a2 1c 00 47 c2 ab f3 32 54
             0d d0 32 e1 67 c2 95 5d",
        );
        check(
            client,
            1,
            Kind::Alert,
            &[1, 0],
            "17 03 03 00 13 c9 87 27 60 65 56 66 b7 4d 7f f1 15 3e fd 6d b6 d0 b0 e3",
        );
        check(
            server,
            2,
            Kind::Alert,
            &[1, 0],
            "17 03 03 00 13 b5 8f d6 71 66 eb f5 99 d2 47 20 cf be 7e fa 7a 88 64 a9",
        );
    }

    #[test]
    fn a_key_seals_no_more_than_it_may() {
        let mut out = [0; 64];
        let mut last = client(GCM_LIMIT - RESERVE);
        assert!(last.is_exhausted() && !client(GCM_LIMIT - RESERVE - 1).is_exhausted());
        for _ in 0..RESERVE {
            last.seal(Kind::Data, b"x", &mut out).unwrap();
        }
        assert_eq!(last.seal(Kind::Data, b"x", &mut out), Err(Alert::InternalError));
        let mut numbers = client(u64::MAX);
        assert_eq!(numbers.open(&[0; 40], &mut out), Err(Alert::InternalError), "a number is not used twice");
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused_before_anything_is_sealed() {
        let mut cipher = client(0);
        let long = vec![0; MAX_PLAIN + 1];
        assert_eq!(cipher.seal(Kind::Data, &long, &mut vec![0; 20_000]), Err(Alert::InternalError));
        assert_eq!(cipher.seal(Kind::Data, b"abc", &mut [0; 24]), Err(Alert::InternalError));
        assert_eq!(cipher.sequence, 0);
    }
}
