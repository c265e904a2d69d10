//! A zlib stream (RFC 1950) that goes on from one rectangle to the next.

use flate2::{Decompress, FlushDecompress, Status};

use super::bytes::Stop;
use super::screen::ScreenError;

/// Room made at a time.
const STEP: usize = 64 * 1024;

/// One stream.
pub(super) struct Inflate(Decompress);

impl Default for Inflate {
    fn default() -> Self {
        Self(Decompress::new(true))
    }
}

impl Inflate {
    /// What `data`, a piece of the stream, stands for; at most `most` bytes.
    pub(super) fn piece(&mut self, mut data: &[u8], most: usize) -> Result<Vec<u8>, Stop> {
        let mut out = Vec::new();
        loop {
            out.reserve(STEP.min(most + 1 - out.len()));
            let before = self.0.total_in();
            let status = self.0.decompress_vec(data, &mut out, FlushDecompress::Sync);
            let status = status.map_err(|_| ScreenError::Compressed)?;
            let used = usize::try_from(self.0.total_in() - before).unwrap_or(usize::MAX);
            data = data.get(used..).unwrap_or_default();
            if out.len() > most {
                return Err(ScreenError::Compressed.into());
            }
            // Room left over: there is no more to come of what was given.
            if status == Status::StreamEnd || out.len() < out.capacity() {
                return Ok(out);
            }
        }
    }
}
