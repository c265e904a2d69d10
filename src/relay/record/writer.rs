//! The one thread that writes recordings: takes what a session has queued and appends it, in one go.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::{error, info};

use super::sink::{Out, Sink};
use super::tape::{Batch, Closed, Track};
use super::{Shared, lock};

/// Runs until everything is written and the recorder is stopped.
pub(super) fn run(shared: &Shared) {
    let (mut batch, mut out) = (Batch::default(), Out::default());
    while let Some(track) = shared.next() {
        turn(shared, &track, &mut batch, &mut out);
    }
}

/// Writes what one session has queued. `batch` is empty, and empty again afterwards: it goes round between the
/// sessions that have much to say, so that those that are silent hold nothing.
fn turn(shared: &Shared, track: &Arc<Track>, batch: &mut Batch, out: &mut Out) {
    let (closed, waker, failed) = {
        let mut queue = lock(&track.queue);
        queue.queued = false;
        std::mem::swap(&mut queue.batch, batch);
        (queue.closed, queue.waker.take(), queue.failed)
    };
    // The session goes on while its bytes are written.
    waker.into_iter().for_each(std::task::Waker::wake);
    let mut sink = lock(&track.sink);
    if let Some(open) = sink.as_mut() {
        let written = if failed { Err(std::io::ErrorKind::TimedOut.into()) } else { open.write(batch, out) };
        let ended = match written {
            Ok(()) => closed.map(|closed| (closed, None)),
            Err(error) => Some((Closed::Ended("recording-failed"), Some(error))),
        };
        if let Some((closed, failure)) = ended
            && let Some(open) = sink.take()
        {
            end(shared, track, open, closed, failure.as_ref());
        }
    }
    drop(sink);
    shared.give_back(&mut batch.blocks);
    batch.clear();
    let mut queue = lock(&track.queue);
    if queue.batch.is_empty() && queue.batch.is_large() {
        std::mem::swap(&mut queue.batch, batch);
        // Ours may be large as well.
        queue.batch.shrink();
    }
}

/// The last of a recording, told where it has to be told.
fn end(shared: &Shared, track: &Track, mut sink: Sink, closed: Closed, failure: Option<&std::io::Error>) {
    let about = sink.about().clone();
    let (session, target) = (about.id, about.target.clone());
    if let Some(error) = failure {
        error!(%session, %target, %error, "recording failed");
        track.running.store(false, Ordering::Relaxed);
        let wakers = {
            let mut queue = lock(&track.queue);
            queue.failed = true;
            queue.batch = Batch::default();
            [queue.waker.take(), queue.on_failure.take()]
        };
        wakers.into_iter().flatten().for_each(std::task::Waker::wake);
    }
    if closed == Closed::Abandoned && sink.is_empty() {
        sink.remove();
        shared.audit.record(|| about.event(Some("never-opened")));
        return;
    }
    let cause = match closed {
        Closed::Ended(cause) => cause,
        Closed::Abandoned => "abandoned",
    };
    let micros = track.micros();
    match sink.finish(micros, shared.clock.today(), cause) {
        Ok(bytes) => info!(%session, %target, bytes, cause, "recording closed"),
        // Nothing is lost but the line that says how it ended.
        Err(error) => error!(%session, %target, %error, "the recording's last line was not written"),
    }
    let what = if failure.is_some() { "failed" } else { "ended" };
    let seconds = Some(micros / 1_000_000);
    shared.audit.record(|| crate::audit::Event { seconds, ..about.event(Some(what)) });
}
