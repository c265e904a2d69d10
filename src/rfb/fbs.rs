//! Recordings of VNC consoles as FBS 001.001, the format of rfbproxy and of TightVNC's player: what the server
//! sent, handshake and all, in records of a length, the bytes and a time.
//!
//! ```text
//! "FBS 001.001\n"                      12 bytes
//! then records, each:
//!   u32  length of the data in bytes
//!        data, padded with zeros to a multiple of four
//!   u32  milliseconds since the start
//! ```
//!
//! All numbers are big-endian. The data of all records, joined, is an RFB 3.3 server's stream without
//! authentication, whatever the console's own handshake was: nothing of it, and no challenge, is ever recorded.
//! The pixel format in its ServerInit is the one that the viewer asked for, in which the pixels are.

use super::wire::u32_at;

/// How a file begins.
pub const MAGIC: &[u8; 12] = b"FBS 001.001\n";

/// The longest record that is read, in bytes. Ours have at most one read of the relay, 60 KiB; others' tools write
/// an update a record.
pub const MAX_RECORD: usize = 64 << 20;

/// Adds a record of `data`, `millis` after the start, to `out`.
pub fn record(millis: u32, data: &[u8], out: &mut Vec<u8>) {
    begin(data.len(), out);
    out.extend_from_slice(data);
    end(millis, data.len(), out);
}

/// Adds what stands before `len` bytes of data.
pub fn begin(len: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
}

/// Adds what stands behind `len` bytes of data.
pub fn end(millis: u32, len: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0; 3][..padding(len)]);
    out.extend_from_slice(&millis.to_be_bytes());
}

/// How many of `bytes`, which begin with a record, are whole records.
pub fn whole(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let len = usize::try_from(u32_at(rest, 0)).unwrap_or(usize::MAX);
        let end = len.checked_add(4 + padding(len) + 4).filter(|end| rest.len() >= 4 && *end <= rest.len());
        let Some(end) = end else { return at };
        at += end;
    }
}

/// Zeros behind `len` bytes of data.
fn padding(len: usize) -> usize {
    len.wrapping_neg() % 4
}

/// The handshake a recording begins with (RFC 6143 appendix A.1: version 3.3 without authentication), and ServerInit,
/// as it was sent to the viewer but for the pixel format.
pub fn handshake(server_init: &[u8], format: [u8; 16]) -> Vec<u8> {
    let mut stream = b"RFB 003.003\n\0\0\0\x01".to_vec();
    stream.extend_from_slice(server_init);
    if let Some(place) = stream.get_mut(20..36) {
        place.copy_from_slice(&format);
    }
    stream
}

/// Why a file could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FbsError {
    /// It begins with something else.
    #[error("is no FBS recording: it does not begin with FBS 001.000 or FBS 001.001")]
    Magic,
    /// A record longer than any is.
    #[error("announces a record of {0} bytes; {MAX_RECORD} is the limit")]
    Record(u32),
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Milliseconds since the start.
    pub millis: u32,
    /// What the server sent then.
    pub data: Vec<u8>,
}

/// Takes a file apart, in any pieces. What a crash cut off in the middle of a record is left over: see
/// [`Reader::leftover`].
#[derive(Debug, Default)]
pub struct Reader {
    begun: bool,
    bytes: Vec<u8>,
    /// How many of them are done with.
    at: usize,
}

impl Reader {
    /// Adds bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.at));
        self.bytes.extend_from_slice(bytes);
    }

    /// The next record; `None`: more bytes are needed.
    ///
    /// # Errors
    /// It is no FBS file, or damaged; every later call says the same.
    pub fn next_record(&mut self) -> Result<Option<Record>, FbsError> {
        if !self.begun {
            let head = &self.bytes[..self.bytes.len().min(MAGIC.len())];
            if !MAGIC.starts_with(head) && !b"FBS 001.000\n".starts_with(head) {
                return Err(FbsError::Magic);
            }
            if head.len() < MAGIC.len() {
                return Ok(None);
            }
            (self.begun, self.at) = (true, MAGIC.len());
        }
        let rest = &self.bytes[self.at..];
        if rest.len() < 4 {
            return Ok(None);
        }
        let announced = u32_at(rest, 0);
        let len = usize::try_from(announced).ok().filter(|len| *len <= MAX_RECORD);
        let len = len.ok_or(FbsError::Record(announced))?;
        let end = 4 + len + padding(len);
        if rest.len() < end + 4 {
            return Ok(None);
        }
        let record = Record { millis: u32_at(rest, end), data: rest[4..4 + len].to_vec() };
        self.at += end + 4;
        Ok(Some(record))
    }

    /// Bytes behind the last whole record.
    pub fn leftover(&self) -> usize {
        self.bytes.len() - self.at
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::oracle;
    use super::*;

    fn read(file: &[u8]) -> Result<(Vec<Record>, usize), FbsError> {
        let mut reader = Reader::default();
        reader.push(file);
        let mut records = Vec::new();
        while let Some(record) = reader.next_record()? {
            records.push(record);
        }
        Ok((records, reader.leftover()))
    }

    #[test]
    fn records_are_as_the_format_says() {
        let mut file = MAGIC.to_vec();
        record(0, b"RFB 003.003\n", &mut file);
        record(258, b"ab\xff", &mut file);
        record(259, b"", &mut file);
        let expected: &[u8] =
            b"FBS 001.001\n\0\0\0\x0cRFB 003.003\n\0\0\0\0\0\0\0\x03ab\xff\0\0\0\x01\x02\0\0\0\0\0\0\x01\x03";
        assert_eq!(file, expected);
        let (records, leftover) = read(&file).expect("a file");
        assert_eq!((records.len(), leftover), (3, 0));
        assert_eq!(records[1], Record { millis: 258, data: b"ab\xff".to_vec() });
    }

    #[test]
    fn the_handshake_has_the_viewers_pixel_format() {
        let init = [&[0, 2, 0, 1][..], &[7; 16], &[0, 0, 0, 1, b'x']].concat();
        let format = [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0];
        let expected = [b"RFB 003.003\n\0\0\0\x01\0\x02\0\x01", &format[..], b"\0\0\0\x01x"].concat();
        assert_eq!(handshake(&init, format), expected);
    }

    #[test]
    fn what_is_no_recording_is_told() {
        assert_eq!(read(b"RFB 003.008\n"), Err(FbsError::Magic));
        assert_eq!(read(b"FBS 001.002\n"), Err(FbsError::Magic));
        assert_eq!(read(b"FBS 0"), Ok((vec![], 5)), "cut off");
        assert_eq!(read(b"FBS 001.000\n\xff\xff\xff\xff"), Err(FbsError::Record(u32::MAX)));
    }

    fn fbs_whole(file: &[u8], cut: usize) -> usize {
        let head = cut.min(12);
        head + super::whole(&file[head..cut])
    }

    proptest! {
        #[test]
        fn a_file_cut_anywhere_gives_all_whole_records(
            sizes in prop::collection::vec(0usize..70, 0..12), cut in any::<prop::sample::Index>(), split in 1usize..40,
        ) {
            let mut file = MAGIC.to_vec();
            let mut ends = vec![];
            for (at, size) in (0..).zip(&sizes) {
                record(at, &vec![u8::try_from(at).unwrap_or(0); *size], &mut file);
                ends.push(file.len());
            }
            let cut = cut.index(file.len() + 1);
            let (records, leftover) = read(&file[..cut]).expect("a beginning");
            let whole = ends.iter().take_while(|end| **end <= cut).count();
            prop_assert_eq!(records.len(), whole);
            let begun = if cut < 12 { 0 } else { whole.checked_sub(1).map_or(12, |last| ends[last]) };
            prop_assert_eq!(leftover, cut - begun);
            prop_assert_eq!(fbs_whole(&file, cut), begun.max(cut.min(12)));
            oracle::fbs(&[&[u8::try_from(split).unwrap_or(0)][..], &file].concat());
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), magic: bool) {
            let head: &[u8] = if magic { MAGIC } else { b"" };
            oracle::fbs(&[&[3], head, &bytes].concat());
        }
    }
}
