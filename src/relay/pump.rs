//! The hot loop: one task, one poll function that owns both streams and drives both directions.
//!
//! Down: read at an offset, put the frame header in front, one write. Up: unmask in place, one write. A
//! direction that cannot write does not read, so a session holds two buffers at most and an idle one none.
//! `down.rs` and `up.rs` are the two directions; this file decides how and when a session ends.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};

use crate::rfb::ViewOnly;
use crate::ws::{Close, Decoder, Kind, control_frame, text_frame};

use super::buffer::Buffer;
use super::control::{Control, Notice, to_json};
use super::deadlines::{CLOSING, Deadlines, Due};
use super::end::{End, Side};
use super::record::Tape;

/// Buffers moved in each direction before other sessions on the worker get a turn. Measured: with bulk
/// sessions on the same thread, the delay of a small message grows with this number.
const ROUNDS: usize = 2;

/// Unsent control frames beyond which no pong and no notice is added: a viewer that does not read gets no more.
pub(super) const MAX_CONTROL_QUEUE: usize = 1024;

/// Bytes held back at most: a UTF-8 character's first three.
pub(super) const MAX_CARRY: usize = 3;

/// Decided before the 101; the pump reads it and re-decides nothing.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Frames to the viewer end at UTF-8 boundaries (serial).
    pub whole_characters: bool,
    /// What the viewer sends is read and dropped, but for what a filter lets through.
    pub view_only: bool,
    /// Ping interval; `None` is off.
    pub ping: Option<Duration>,
    /// End after so long without data either way; `None` is off.
    pub idle: Option<Duration>,
    /// End after so long; `None` is off.
    pub longest: Option<Duration>,
}

/// Payload bytes moved so far, readable while the session runs.
#[derive(Debug, Default)]
pub struct Counters {
    /// Target to viewer.
    pub down: AtomicU64,
    /// Viewer to target.
    pub up: AtomicU64,
}

/// Ends a session from outside.
#[derive(Debug)]
pub struct StopHandle(Mutex<Option<oneshot::Sender<End>>>);

impl StopHandle {
    /// Asks the session to end with `cause`; only the first call counts.
    pub fn stop(&self, cause: End) {
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sender) = sender {
            // The session may have ended by itself meanwhile.
            let _ = sender.send(cause);
        }
    }

    /// Whether it was asked to.
    pub fn is_asked(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

/// The session's end of a [`StopHandle`].
#[derive(Debug)]
pub struct Stop(Option<oneshot::Receiver<End>>);

impl Stop {
    /// The cause, once somebody asked; never ready if the handle is gone unused.
    pub fn poll_cause(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let Some(receiver) = &mut self.0 else { return Poll::Pending };
        match Pin::new(receiver).poll(cx) {
            Poll::Ready(asked) => {
                self.0 = None;
                asked.map_or(Poll::Pending, Poll::Ready)
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Waits for the cause. Cancel-safe: a cause that was not returned is still there.
    pub async fn asked(&mut self) -> End {
        poll_fn(|cx| self.poll_cause(cx)).await
    }
}

/// A handle and the end it stops.
pub fn stop_pair() -> (StopHandle, Stop) {
    let (sender, receiver) = oneshot::channel();
    (StopHandle(Mutex::new(Some(sender))), Stop(Some(receiver)))
}

/// A write under way: `buffer[at..end]` still has to go out.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) buffer: Buffer,
    pub(super) at: usize,
    pub(super) end: usize,
}

/// One session's streams and all of its state.
#[derive(Debug)]
pub struct Pump<V, T> {
    pub(super) viewer: V,
    pub(super) target: T,
    pub(super) decoder: Decoder,
    pub(super) whole_characters: bool,
    pub(super) view_only: bool,
    pub(super) filter: Option<Box<ViewOnly>>,
    /// What is recorded of the session goes here.
    pub(super) tape: Option<Box<Tape>>,
    pub(super) channel: Option<Box<Control>>,
    pub(super) counters: Arc<Counters>,
    pub(super) deadlines: Deadlines,
    /// Read already, before the pump began.
    pub(super) early_viewer: Vec<u8>,
    pub(super) early_target: Vec<u8>,
    /// A data frame on its way to the viewer.
    pub(super) down: Option<Pending>,
    /// Payload on its way to the target.
    pub(super) up: Option<Pending>,
    /// Control frames, and held bytes let go, on their way to the viewer.
    pub(super) control: Vec<u8>,
    pub(super) control_at: usize,
    pub(super) flush_viewer: bool,
    /// First bytes of a character whose rest has not come.
    pub(super) carry: [u8; MAX_CARRY],
    pub(super) carry_len: u8,
    /// The target may still send.
    pub(super) target_open: bool,
    /// The target takes no more writes, by its choice or its failure.
    pub(super) target_deaf: bool,
    pub(super) target_shut: bool,
    /// What was written to the target may not all be on its way.
    pub(super) flush_target: bool,
    /// What the viewer sends is still for the target.
    pub(super) deliver: bool,
    /// The viewer's close or end of stream has not been seen.
    pub(super) viewer_open: bool,
    /// The viewer takes no more writes.
    pub(super) viewer_deaf: bool,
    close_queued: bool,
    /// We end the session, for a cause of our own: nobody gets more time.
    forced: bool,
    end: Option<End>,
}

impl<V, T> Pump<V, T>
where
    V: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    /// A session about to begin. `decoder` may stand inside a frame and the `early` bytes were read before;
    /// they are relayed first. Boxed: as a value, every future it is moved through would keep room for it.
    pub fn new(
        (viewer, early_viewer): (V, Vec<u8>),
        (target, early_target): (T, Vec<u8>),
        decoder: Decoder,
        plan: &Plan,
        counters: Arc<Counters>,
    ) -> Box<Self> {
        Box::new(Self {
            viewer,
            target,
            decoder,
            whole_characters: plan.whole_characters,
            view_only: plan.view_only,
            filter: None,
            tape: None,
            channel: None,
            counters,
            deadlines: Deadlines::new(Instant::now(), plan.ping, plan.idle, plan.longest),
            early_viewer,
            early_target,
            down: None,
            up: None,
            control: Vec::new(),
            control_at: 0,
            flush_viewer: false,
            carry: [0; MAX_CARRY],
            carry_len: 0,
            target_open: true,
            target_deaf: false,
            target_shut: false,
            flush_target: false,
            deliver: true,
            viewer_open: true,
            viewer_deaf: false,
            close_queued: false,
            forced: false,
            end: None,
        })
    }

    /// The viewer may watch: of what it sends, `filter` says what goes to the target. It may stand inside a
    /// message.
    #[must_use]
    pub fn watching(mut self: Box<Self>, filter: ViewOnly) -> Box<Self> {
        self.filter = Some(Box::new(filter));
        self
    }

    /// The session is recorded: what goes either way is put on `tape`, and nothing is read that finds no room there.
    #[must_use]
    pub fn recorded(mut self: Box<Self>, tape: Tape) -> Box<Self> {
        self.tape = Some(Box::new(tape));
        self
    }

    /// Ready when what may be read next finds room on the tape, or there is none; `false`: it has failed, and there is
    /// something to tell the viewer first.
    pub(super) fn poll_tape(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Some(tape) = &mut self.tape else { return Poll::Ready(true) };
        if ready!(tape.poll_room(cx)).is_ok() {
            return Poll::Ready(true);
        }
        let strict = tape.is_strict();
        self.tape = None;
        if strict {
            self.finish_for(End::Recording);
        } else if self.channel.is_some() && !self.viewer_deaf && !self.close_queued {
            let notice = to_json(&Notice::Recording { recording: false });
            self.control.extend_from_slice(&text_frame(&notice));
        }
        Poll::Ready(false)
    }

    /// When to look at the clock again.
    fn next_deadline(&self) -> Option<Instant> {
        let tape = self.tape.as_ref().and_then(|tape| tape.deadline());
        let next = self.deadlines.next();
        if tape.is_none() { next } else { tape.min(next.or(tape)) }
    }

    /// The viewer has a control channel; the decoder takes its text messages apart.
    #[must_use]
    pub fn controlled(mut self: Box<Self>, channel: Control) -> Box<Self> {
        self.channel = Some(Box::new(channel));
        self
    }

    /// Queues what the viewer is to be told.
    fn poll_notices(&mut self, cx: &Context<'_>) {
        if let Some(channel) = &self.channel
            && self.control.len() < MAX_CONTROL_QUEUE
            && !self.viewer_deaf
            && !self.close_queued
        {
            for notice in channel.poll_notices(cx) {
                self.control.extend_from_slice(&text_frame(&notice));
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, stop: &mut Stop, timer: &mut Timer<'_>) -> Poll<End> {
        if let Poll::Ready(cause) = stop.poll_cause(cx) {
            self.finish_for(cause);
        }
        for _ in 0..ROUNDS {
            while timer.poll_due(self.next_deadline(), cx).is_ready() {
                if let Poll::Ready(end) = self.on_timer(Instant::now()) {
                    return Poll::Ready(end);
                }
            }
            self.poll_notices(cx);
            let down = self.poll_down(cx);
            let up = self.poll_up(cx);
            if self.is_finished() {
                return Poll::Ready(self.end.clone().unwrap_or(End::ViewerGone));
            }
            if down.is_pending() && up.is_pending() {
                // The deadlines may have moved closer; the timer must know before we sleep.
                if timer.poll_due(self.next_deadline(), cx).is_pending() {
                    self.tape.iter_mut().for_each(|tape| tape.flush());
                    return Poll::Pending;
                }
                if let Poll::Ready(end) = self.on_timer(Instant::now()) {
                    return Poll::Ready(end);
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn on_timer(&mut self, now: Instant) -> Poll<End> {
        if let Some(tape) = self.tape.as_mut().filter(|tape| tape.deadline().is_some_and(|at| at <= now)) {
            // The next look at it finds it failed.
            tape.stall();
        }
        loop {
            match self.deadlines.check(now) {
                Due::Nothing => return Poll::Pending,
                Due::Ping => self.queue_control(Kind::Ping, b""),
                Due::Release => self.release_carry(),
                // Nothing more can be written to a viewer that does not read: no goodbye.
                Due::End(end @ End::Stalled(Side::Viewer)) => return Poll::Ready(end),
                Due::End(end) => self.finish_for(end),
                Due::Cut if self.close_queued || self.viewer_deaf => {
                    return Poll::Ready(self.end.clone().unwrap_or(End::ViewerGone));
                }
                Due::Cut => {
                    // The target was drained long enough; say goodbye within as much time again.
                    self.target_open = false;
                    self.queue_close();
                    self.deadlines.restart_closing(now + CLOSING);
                }
            }
        }
    }

    /// The first cause is the session's; the closing clock starts with it.
    fn set_end(&mut self, end: End) {
        self.end.get_or_insert(end);
        self.deadlines.closing(Instant::now());
    }

    /// The target took bytes. When the viewer can send no more, these are among its last: the closing clock
    /// begins anew, so that a slow target gets them all for as long as it goes on reading. (The other way it
    /// cannot happen: the target's end is not read before what came ahead of it is written.)
    pub(super) fn wrote_to_target(&mut self) {
        if !self.viewer_open && !self.forced {
            self.deadlines.restart_closing(Instant::now() + CLOSING);
        }
    }

    /// Ends from our side: what is under way goes out, then the close; the viewer's answer is waited for.
    pub(super) fn finish_for(&mut self, cause: End) {
        self.forced = true;
        self.set_end(cause);
        self.target_open = false;
        self.deliver = false;
        self.queue_close();
    }

    /// The target sends no more: tell the viewer, and keep delivering what it sends until its close.
    pub(super) fn target_ended(&mut self, cause: End) {
        self.target_open = false;
        self.set_end(cause);
        self.queue_close();
    }

    /// The target takes no more. It may have more to say, so reading goes on.
    pub(super) fn target_failed(&mut self, error: io::ErrorKind) {
        self.target_deaf = true;
        self.up = None;
        self.flush_target = false;
        self.deadlines.stalled(Side::Target, None);
        self.set_end(End::TargetFailed(error));
    }

    /// The viewer said goodbye: the target gets its half-close and is drained, then the answer goes out.
    pub(super) fn viewer_closed(&mut self) {
        self.viewer_open = false;
        self.deliver = false;
        self.set_end(End::ViewerClosed);
        if !self.target_open {
            self.queue_close();
        }
    }

    /// The viewer broke the protocol: nothing it sends has a meaning any more, so no answer to the close is
    /// waited for (RFC 6455 section 7.1.7).
    pub(super) fn viewer_failed(&mut self, cause: End) {
        self.finish_for(cause);
        self.viewer_open = false;
    }

    /// The viewer is gone without goodbye; the target still gets all that was accepted.
    pub(super) fn viewer_gone(&mut self) {
        self.viewer_open = false;
        self.deliver = false;
        self.drop_viewer_writes();
        self.set_end(End::ViewerGone);
    }

    fn drop_viewer_writes(&mut self) {
        self.viewer_deaf = true;
        self.down = None;
        self.control.clear();
        self.control_at = 0;
        self.flush_viewer = false;
        self.deadlines.stalled(Side::Viewer, None);
    }

    pub(super) fn queue_control(&mut self, kind: Kind, payload: &[u8]) {
        if !self.viewer_deaf && !self.close_queued {
            self.control.extend_from_slice(&control_frame(kind, payload));
        }
    }

    fn queue_close(&mut self) {
        if self.close_queued || self.viewer_deaf {
            return;
        }
        self.release_carry();
        if let Some(end) = &self.end {
            let (code, reason) = end.close();
            self.queue_control(Kind::Close, &Close::payload(code, &reason));
            self.close_queued = true;
        }
    }

    fn is_finished(&self) -> bool {
        if self.end.is_none() || self.up.is_some() || self.flush_target || self.target_open {
            return false;
        }
        let written = self.down.is_none() && self.control.is_empty() && !self.flush_viewer;
        self.viewer_deaf || (self.close_queued && written && !self.viewer_open)
    }
}

/// One timer per session, moved closer when needed and otherwise left to fire early: cheaper than moving it
/// with every byte.
struct Timer<'a> {
    sleep: Pin<&'a mut Sleep>,
    armed: Option<Instant>,
}

impl Timer<'_> {
    /// Ready when `next`, or an earlier instant armed before, has come.
    fn poll_due(&mut self, next: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(next) = next else { return Poll::Pending };
        if self.armed.is_none_or(|armed| next < armed) {
            self.sleep.as_mut().reset(next);
            self.armed = Some(next);
        }
        ready!(self.sleep.as_mut().poll(cx));
        self.armed = None;
        Poll::Ready(())
    }
}

/// Runs a session to its end.
pub async fn run<V, T>(mut pump: Box<Pump<V, T>>, mut stop: Stop) -> End
where
    V: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let sleep = pin!(tokio::time::sleep_until(Instant::now()));
    let mut timer = Timer { sleep, armed: None };
    let end = poll_fn(|cx| pump.poll(cx, &mut stop, &mut timer)).await;
    let Pump { mut viewer, target, .. } = *pump;
    drop(target);
    let goodbye = async {
        // For TLS the close_notify.
        viewer.shutdown().await?;
        // What is still on its way in would reset the connection, and the close with it.
        if matches!(end, End::Protocol(_) | End::Control(_)) {
            tokio::io::copy(&mut viewer, &mut tokio::io::sink()).await?;
        }
        io::Result::Ok(())
    };
    // A viewer that does not take it has been waited for long enough.
    let _ = tokio::time::timeout(CLOSING, goodbye).await;
    end
}

/// Reads what was read before the pump began, then the stream.
pub(super) fn poll_read<S: AsyncRead + Unpin>(
    stream: &mut S,
    early: &mut Vec<u8>,
    cx: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<usize>> {
    if early.is_empty() {
        let mut into = ReadBuf::new(buffer);
        ready!(Pin::new(stream).poll_read(cx, &mut into))?;
        return Poll::Ready(Ok(into.filled().len()));
    }
    let count = early.len().min(buffer.len());
    buffer[..count].copy_from_slice(&early[..count]);
    early.drain(..count);
    if early.is_empty() {
        *early = Vec::new();
    }
    Poll::Ready(Ok(count))
}
