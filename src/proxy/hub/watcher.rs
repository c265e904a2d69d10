//! A viewer's place at a hub as the relay sees it: a line of its own.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use uuid::Uuid;

use crate::net::stream::{Breaker, Line};
use crate::relay::Notice;
use crate::serial::{self, Replay};

use super::{Hub, Start};

/// One viewer; dropping it is leaving.
#[derive(Debug)]
pub(in crate::proxy) struct Watcher {
    hub: Arc<Hub>,
    id: Uuid,
    /// Where the next byte is, once the viewer is seated.
    at: Option<u64>,
    /// While it reads what was said before it came.
    replay: Option<(Replay, u64)>,
    /// A line of our own that goes first.
    notice: Vec<u8>,
}

impl Watcher {
    pub(super) fn new(hub: Arc<Hub>, id: Uuid) -> Self {
        Self { hub, id, at: None, replay: None, notice: Vec::new() }
    }

    /// Copies what comes next; nothing if there is nothing, or the viewer has to be told of a gap first.
    fn next(&mut self, buf: &mut ReadBuf<'_>, cx: &Context<'_>) -> Poll<usize> {
        let mut shared = self.hub.lock();
        let Some(place) = shared.places.iter_mut().position(|place| place.id == self.id) else {
            return Poll::Ready(0);
        };
        if let Some(Start { at, live, filter }) = shared.places[place].start.take() {
            self.at = Some(at);
            self.replay = Some((filter, live));
        }
        let found = self.at.map(|at| (at, shared.history.read(at, buf.initialize_unfilled())));
        let Some((at, found)) = found.filter(|(_, found)| found.count > 0) else {
            if shared.ended && self.at.is_some() {
                return Poll::Ready(0);
            }
            shared.places[place].reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        if found.missing > 0 {
            let old = self.replay.as_ref().is_some_and(|(_, live)| at < *live);
            // Who is too slow would fall behind again at once: half of what is kept is left out.
            let half = shared.history.end() - shared.history.last_kept() / 2;
            let next = if old { at + found.missing } else { half.max(at + found.missing) };
            self.at = Some(next);
            if let Some((filter, _)) = &mut self.replay {
                *filter = Replay::default();
            }
            let bytes = next - at;
            match &shared.places[place].mailbox {
                // Sent before anything that is read from now on.
                Some(mailbox) => mailbox.post(&Notice::Gap { bytes }),
                None => self.notice = serial::notice(&format!("{bytes} bytes are missing here.")).into(),
            }
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let (end, ended) = (shared.history.end(), shared.ended);
        drop(shared);
        let full = found.count == buf.remaining();
        let count = self.fit(at, &mut buf.initialize_unfilled()[..found.count], (end, ended), full);
        if count == 0 {
            // A string of the history's is still open, and its last byte may be the beginning of its end.
            let mut shared = self.hub.lock();
            if shared.history.end() > end || shared.ended {
                cx.waker().wake_by_ref();
            } else if let Some(place) = shared.places.iter_mut().find(|place| place.id == self.id) {
                place.reader = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        buf.advance(count);
        self.at = Some(at + count as u64);
        Poll::Ready(count)
    }

    /// How many of `bytes`, which begin at `at`, may be shown now, with what may not blanked. `end` is where what
    /// was said ends, and whether it does for good; `full`, whether more may be there than found room.
    fn fit(&mut self, at: u64, bytes: &mut [u8], (end, ended): (u64, bool), full: bool) -> usize {
        let Some((filter, live)) = &mut self.replay else { return bytes.len() };
        if at >= *live && filter.at_rest() {
            self.replay = None;
            return bytes.len();
        }
        let settled = filter.apply(bytes);
        if settled > 0 {
            return settled;
        }
        if at + bytes.len() as u64 == end && (at < *live || ended) {
            // A sequence that has only begun: its end is said live, or never.
            self.replay = None;
            return bytes.len();
        }
        if full {
            // Longer than there is room to judge it: its beginning is not shown, so its end is text.
            bytes.fill(0);
            return bytes.len();
        }
        0
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.hub.leave(self.id);
    }
}

impl Line for Watcher {
    fn breaker(&self) -> Option<Breaker> {
        self.hub.breaker()
    }
}

impl AsyncRead for Watcher {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.notice.is_empty() {
            let count = this.notice.len().min(buf.remaining());
            buf.put_slice(&this.notice[..count]);
            this.notice.drain(..count);
            return Poll::Ready(Ok(()));
        }
        this.next(buf, cx).map(|_| Ok(()))
    }
}

impl AsyncWrite for Watcher {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.hub.typed(this.id, buf, cx).map(Ok)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
