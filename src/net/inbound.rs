//! Ciphertext that was read and not opened: many records in a thread's buffer while they come, or the begin of one
//! in memory of its own length while its rest is waited for.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::pooled::Pooled;
use super::record::{Fault, HEADER, MAX_OVERHEAD, MAX_PLAIN, Records};

/// Read at a time: three full records, what a buffer of the relay has room for. A fourth would wait, opened in vain
/// or copied.
const FILL: usize = 3 * (MAX_PLAIN + MAX_OVERHEAD);

/// What came and is not opened yet.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    bulk: Option<Pooled>,
    parked: Option<Parked>,
}

/// A record whose rest has not come. A peer that sends the begin of a record and falls silent makes us keep that
/// record's length and not a whole buffer.
#[derive(Debug)]
struct Parked {
    /// As long as the record; as its header while that is not whole.
    bytes: Box<[u8]>,
    have: usize,
}

impl Inbound {
    /// Begins with what was read before; at most [`Inbound::EARLY`].
    pub(super) fn early(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::default();
        }
        let mut bulk = Pooled::take();
        bulk.bytes[..bytes.len()].copy_from_slice(bytes);
        bulk.end = bytes.len();
        Self { bulk: Some(bulk), parked: None }
    }

    /// The longest that [`Inbound::early`] takes.
    pub(super) const EARLY: usize = MAX_PLAIN;

    fn waiting(&self) -> &[u8] {
        match (&self.parked, &self.bulk) {
            (Some(parked), _) => &parked.bytes[..parked.have],
            (None, Some(bulk)) => bulk.waiting(),
            (None, None) => &[],
        }
    }

    /// The first record, when it is there whole.
    pub(super) fn record(&self, records: &Records) -> Result<Option<&[u8]>, Fault> {
        let waiting = self.waiting();
        let length = records.record_len(waiting)?;
        Ok(length.and_then(|length| waiting.get(..length)))
    }

    /// Whether the next record was waited for.
    pub(super) fn is_parked(&self) -> bool {
        self.parked.is_some()
    }

    /// Takes the first record away.
    pub(super) fn consume(&mut self, length: usize) {
        if self.parked.take().is_none()
            && let Some(bulk) = &mut self.bulk
        {
            bulk.at += length;
        }
    }

    /// Whether it holds nothing.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.held() == (0, 0) && self.bulk.is_none()
    }

    /// Of the record that is waited for: bytes there, and the memory for them.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize) {
        self.parked.as_ref().map_or((0, 0), |parked| (parked.have, parked.bytes.len()))
    }

    /// Gives back a buffer in which nothing waits.
    pub(super) fn release(&mut self) {
        if self.bulk.as_ref().is_some_and(Pooled::is_empty) {
            self.bulk = None;
        }
    }

    /// Reads more; called when no record is there whole. `0` is the end.
    pub(super) fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        io: &mut S,
        records: &Records,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Some(parked) = &mut self.parked {
            parked.widen(records);
            let have = parked.have;
            let count = ready!(poll_read(io, cx, &mut parked.bytes[have..]))?;
            parked.have += count;
            return Poll::Ready(Ok(count));
        }
        let bulk = self.bulk.get_or_insert_with(Pooled::take);
        if bulk.at > 0 {
            bulk.bytes.copy_within(bulk.at..bulk.end, 0);
            (bulk.at, bulk.end) = (0, bulk.end - bulk.at);
        }
        let read = poll_read(io, cx, &mut bulk.bytes[bulk.end..FILL]);
        match read {
            Poll::Ready(Ok(count)) => bulk.end += count,
            Poll::Ready(Err(_)) => self.bulk = None,
            Poll::Pending => self.park(records),
        }
        read
    }

    fn park(&mut self, records: &Records) {
        let Some(bulk) = self.bulk.take() else { return };
        let waiting = bulk.waiting();
        if !waiting.is_empty() {
            let length = records.record_len(waiting).ok().flatten().unwrap_or(HEADER);
            let mut bytes = vec![0; length].into_boxed_slice();
            bytes[..waiting.len()].copy_from_slice(waiting);
            self.parked = Some(Parked { bytes, have: waiting.len() });
        }
    }
}

impl Parked {
    /// Once the header is whole, makes room for the record.
    fn widen(&mut self, records: &Records) {
        if self.have == self.bytes.len() {
            let length = records.record_len(&self.bytes[..self.have]).ok().flatten().unwrap_or(self.have);
            let mut bytes = vec![0; length].into_boxed_slice();
            bytes[..self.have].copy_from_slice(&self.bytes[..self.have]);
            self.bytes = bytes;
        }
    }
}

fn poll_read<S: AsyncRead + Unpin>(
    io: &mut S,
    cx: &mut Context<'_>,
    into: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut into = ReadBuf::new(into);
    ready!(Pin::new(io).poll_read(cx, &mut into))?;
    Poll::Ready(Ok(into.filled().len()))
}
