//! A serial line that is dialled again when it is lost: a rebooted terminal server, a BMC that dropped the
//! session, a command that ended. The viewer stays, and reads on its screen what happened.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::info;

use crate::config::Endpoint;
use crate::net::stream::{Breaker, Line, Resizer, Sizes, TargetStream};
use crate::serial;

use super::{ConnectError, DialPolicy, connect};

/// Before the first try, and doubled after each: what ends at once must not be started at once for ever.
const FIRST: Duration = Duration::from_millis(500);

/// The longest pause between two tries; a machine that comes back is open again within it.
const LONGEST: Duration = Duration::from_secs(5);

/// A connection that holds for so long was a good one: its loss has a time of its own. A shorter one counts as
/// another failed try.
const GOOD: Duration = Duration::from_secs(10);

const LOST: &str = "The connection to this console was lost. Trying again; what you type meanwhile is lost.";
const BACK: &str = "The connection to this console is back.";

type Dialling = Pin<Box<dyn Future<Output = Result<TargetStream, ConnectError>> + Send>>;

/// Where to dial and for how long.
#[derive(Clone, Debug)]
struct Dial {
    endpoint: Endpoint,
    policy: DialPolicy,
    patience: Duration,
}

enum State {
    Up(TargetStream),
    Down(Dialling),
    /// Not found again in time, or not wanted any more.
    Ended,
}

/// The line, up or down.
struct Reconnecting {
    dial: Dial,
    state: State,
    /// When the present connection was made.
    since: Instant,
    /// When the loss began that the tries are counted from.
    lost: Option<Instant>,
    pause: Duration,
    /// What the viewer is told, between what the line says.
    notice: Vec<u8>,
    breaker: Option<Breaker>,
    breaks: Option<tokio::sync::mpsc::Receiver<()>>,
    resizer: Option<Resizer>,
    sizes: Option<Sizes>,
    /// The viewer's, for the next connection too.
    size: Option<(u16, u16)>,
    shut: bool,
}

/// `stream` to `endpoint`, dialled again for up to `patience` each time it is lost.
pub fn reconnecting(
    stream: TargetStream,
    endpoint: &Endpoint,
    policy: &DialPolicy,
    patience: Duration,
) -> TargetStream {
    let (breaker, breaks) = match stream.breaker() {
        // One for all connections: theirs change.
        Some(_) => Some(Breaker::pair()).unzip(),
        None => (None, None),
    };
    let (resizer, sizes) = stream.resizer().map(|_| Resizer::pair()).unzip();
    TargetStream::Line(Box::new(Reconnecting {
        dial: Dial { endpoint: endpoint.clone(), policy: policy.clone(), patience },
        state: State::Up(stream),
        since: Instant::now(),
        lost: None,
        pause: FIRST,
        notice: Vec::new(),
        breaker,
        breaks,
        resizer,
        sizes,
        size: None,
        shut: false,
    }))
}

impl std::fmt::Debug for Reconnecting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let up = matches!(self.state, State::Up(_));
        f.debug_struct("Reconnecting").field("dial", &self.dial).field("up", &up).finish_non_exhaustive()
    }
}

/// Waits, tries, and waits longer, until it succeeds or `deadline` has passed.
async fn again(dial: Dial, mut pause: Duration, deadline: Instant) -> Result<TargetStream, ConnectError> {
    let mut last = None;
    let tries = async {
        loop {
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST);
            match connect(&dial.endpoint, &dial.policy).await {
                Ok(stream) => return stream,
                Err(error) => last = Some(error),
            }
        }
    };
    let tried = timeout_at(deadline, tries).await;
    tried.map_err(|_| last.unwrap_or_else(|| ConnectError::Timeout(dial.endpoint.to_string())))
}

impl Reconnecting {
    /// The connection is gone, if the viewer still wants it: tries begin.
    fn lost(&mut self, why: &str) {
        if self.shut {
            self.state = State::Ended;
            return;
        }
        let now = Instant::now();
        if now - self.since >= GOOD {
            (self.lost, self.pause) = (None, FIRST);
        }
        let begun = *self.lost.get_or_insert(now);
        info!(why, "the line is lost; trying again");
        self.notice.extend_from_slice(serial::notice(LOST).as_bytes());
        let dialling = again(self.dial.clone(), self.pause, begun + self.dial.patience);
        self.pause = (self.pause * 2).min(LONGEST);
        self.state = State::Down(Box::pin(dialling));
    }

    fn poll_breaks(&mut self, cx: &mut Context<'_>) {
        let Some(breaks) = &mut self.breaks else { return };
        while let Poll::Ready(Some(())) = breaks.poll_recv(cx) {
            if let State::Up(stream) = &self.state
                && let Some(breaker) = stream.breaker()
            {
                breaker.send();
            }
        }
    }

    fn poll_sizes(&mut self, cx: &mut Context<'_>) {
        let Some(sizes) = &mut self.sizes else { return };
        if let Poll::Ready(size) = sizes.poll_size(cx) {
            // Once more, for the waker: only the latest counts.
            let size = if let Poll::Ready(newer) = sizes.poll_size(cx) { newer } else { size };
            self.size = Some(size);
            self.resize();
        }
    }

    fn resize(&self) {
        if let State::Up(stream) = &self.state
            && let Some(resizer) = stream.resizer()
            && let Some((columns, rows)) = self.size
        {
            resizer.send(columns, rows);
        }
    }

    /// Some of the notice, if there is one.
    fn tell(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let count = self.notice.len().min(buf.remaining());
        buf.put_slice(&self.notice[..count]);
        self.notice.drain(..count);
        count > 0
    }
}

impl Line for Reconnecting {
    fn breaker(&self) -> Option<Breaker> {
        self.breaker.clone()
    }

    fn resizer(&self) -> Option<Resizer> {
        self.resizer.clone()
    }
}

impl AsyncRead for Reconnecting {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.poll_breaks(cx);
        this.poll_sizes(cx);
        loop {
            if this.tell(buf) {
                return Poll::Ready(Ok(()));
            }
            match &mut this.state {
                State::Up(stream) => {
                    let before = buf.filled().len();
                    match ready!(Pin::new(stream).poll_read(cx, buf)) {
                        Ok(()) if buf.filled().len() > before => return Poll::Ready(Ok(())),
                        Ok(()) => this.lost("it ended"),
                        Err(error) => this.lost(&error.to_string()),
                    }
                }
                State::Down(_) if this.shut => this.state = State::Ended,
                State::Down(dialling) => match ready!(dialling.as_mut().poll(cx)) {
                    Ok(stream) => {
                        info!("the line is back");
                        this.notice.extend_from_slice(serial::notice(BACK).as_bytes());
                        this.since = Instant::now();
                        this.state = State::Up(stream);
                        this.resize();
                    }
                    Err(error) => {
                        info!(%error, "the line did not come back");
                        this.state = State::Ended;
                    }
                },
                State::Ended => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl AsyncWrite for Reconnecting {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match &mut this.state {
            State::Up(stream) => match ready!(Pin::new(stream).poll_write(cx, buf)) {
                Ok(count) if count > 0 => Poll::Ready(Ok(count)),
                // Reading finds out why, and tells the viewer that this is lost.
                _ => Poll::Ready(Ok(buf.len())),
            },
            // Keys kept for minutes and typed into a machine that has just come up would do harm.
            State::Down(_) => Poll::Ready(Ok(buf.len())),
            State::Ended => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().state {
            State::Up(stream) => Pin::new(stream).poll_flush(cx),
            State::Down(_) | State::Ended => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.shut = true;
        match &mut this.state {
            State::Up(stream) => Pin::new(stream).poll_shutdown(cx),
            State::Down(_) | State::Ended => {
                // Whoever waits for the line need not any more.
                cx.waker().wake_by_ref();
                Poll::Ready(Ok(()))
            }
        }
    }
}
