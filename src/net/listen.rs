//! Listening sockets and the accept loop.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tracing::{info, warn};

/// Connections the kernel holds for us while we hand over: a reconnect storm of a whole rack fits.
const BACKLOG: i32 = 4096;

/// How long to wait when the process is out of descriptors: some session ends meanwhile.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How long nothing more is said of it. At the edge each end of a session lets one in, and the next is too many.
const QUIET: Duration = Duration::from_secs(60);

/// Unacknowledged data for so long means the peer is gone, though TCP would go on for 15 minutes.
const USER_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes the kernel queues for a peer beyond what is on its way to it. Without this a reader that stops costs
/// as much kernel memory as `tcp_wmem` allows (4 MiB), and one on a slow line sees its screen that much late.
/// Two of the relay's buffers: one is sent while the next is filled.
const UNSENT: u32 = 128 * 1024;

/// Why a listener could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Binding failed.
    #[error(
        "cannot listen on {address} ({role}): {source}. Is another process using the port? Choose another in [listen]"
    )]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What it is for.
        role: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

/// Binds a TCP listener.
pub fn bind(address: SocketAddr, role: &'static str) -> Result<TcpListener, ListenError> {
    let open = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(TcpListener::from(socket))
    };
    open().map_err(|source| ListenError::Bind { address, role, source })
}

/// A thread that accepts from one listener until it is stopped.
#[derive(Debug)]
pub struct Acceptor {
    listener: Arc<TcpListener>,
    stopping: Arc<AtomicBool>,
    /// Closing it wakes the thread.
    wake: UnixStream,
    thread: JoinHandle<()>,
}

impl Acceptor {
    /// Starts accepting; `take` gets each connection, non-blocking and tuned, and may block to slow us down.
    pub fn start(
        listener: TcpListener,
        role: &'static str,
        take: impl Fn(TcpStream, SocketAddr) + Send + 'static,
    ) -> io::Result<Self> {
        // Another process may accept from the same socket: what poll(2) announced may be gone at accept(2).
        listener.set_nonblocking(true)?;
        let (wake, woken) = UnixStream::pair()?;
        let listener = Arc::new(listener);
        let stopping = Arc::new(AtomicBool::new(false));
        let (theirs, stop) = (Arc::clone(&listener), Arc::clone(&stopping));
        let run = move || accept_loop((&theirs, &woken), &stop, take);
        let thread = thread::Builder::new().name(format!("accept-{role}")).spawn(run)?;
        Ok(Self { listener, stopping, wake, thread })
    }

    /// Another handle of the listener, for another process.
    ///
    /// # Errors
    /// If there are no descriptors left.
    pub fn share(&self) -> io::Result<TcpListener> {
        self.listener.try_clone()
    }

    /// Stops accepting and gives the listener back, open: who connects waits in its queue.
    ///
    /// # Errors
    /// If there are no descriptors left.
    pub fn pause(self) -> io::Result<TcpListener> {
        let listener = self.share();
        self.halt();
        listener
    }

    /// Stops accepting and closes the listener, for all who have it.
    pub fn stop(self) {
        let _ = SockRef::from(&*self.halt()).shutdown(Shutdown::Both);
    }

    fn halt(self) -> Arc<TcpListener> {
        self.stopping.store(true, Ordering::SeqCst);
        let _ = self.wake.shutdown(Shutdown::Both);
        let _ = self.thread.join();
        self.listener
    }
}

fn accept_loop(
    (listener, woken): (&TcpListener, &UnixStream),
    stopping: &AtomicBool,
    take: impl Fn(TcpStream, SocketAddr),
) {
    let mut shortage = Shortage::default();
    loop {
        if stopping.load(Ordering::SeqCst) {
            return;
        }
        match listener.accept() {
            Ok((socket, peer)) => {
                if shortage.accepted(Instant::now()) {
                    info!("accepting again");
                }
                if socket.set_nonblocking(true).and_then(|()| tune(&socket)).is_ok() {
                    take(socket, peer);
                }
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                let mut ready = [PollFd::new(listener, PollFlags::IN), PollFd::new(woken, PollFlags::IN)];
                // An error is a signal's, or the listener's, which accept(2) tells.
                let _ = poll(&mut ready, None);
                // Whoever started us is gone, stopped us or not: nobody else could.
                if !ready[1].revents().is_empty() {
                    return;
                }
            }
            // The peer gave up between the handshake and our accept.
            Err(e) if matches!(e.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {}
            Err(e) => {
                // EMFILE, ENFILE, ENOBUFS: live on, and say it once.
                if shortage.failed(Instant::now()) {
                    warn!(error = %e, "cannot accept; waiting for sessions to end (raise the open files limit)");
                }
                thread::sleep(BACK_OFF);
            }
        }
    }
}

/// Whether descriptors are short, and what was said about it.
#[derive(Debug, Default)]
struct Shortage {
    /// When it was last said that they are.
    told: Option<Instant>,
    /// When one last could not be had, if its end was not told yet.
    last: Option<Instant>,
}

impl Shortage {
    /// A connection could not be accepted; whether that is to be said.
    fn failed(&mut self, now: Instant) -> bool {
        self.last = Some(now);
        let tell = self.told.is_none_or(|told| now - told >= QUIET);
        if tell {
            self.told = Some(now);
        }
        tell
    }

    /// A connection was accepted; whether that is worth a line, for there was a shortage, and it is over.
    fn accepted(&mut self, now: Instant) -> bool {
        let over = self.last.is_some_and(|last| now - last >= 2 * BACK_OFF);
        if over {
            self.last = None;
        }
        over
    }
}

/// What every TCP leg of a session gets: no Nagle delay, a short queue, and a dead peer is noticed.
pub fn tune<S: std::os::fd::AsFd>(socket: &S) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(UNSENT)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    let keepalive = TcpKeepalive::new().with_time(USER_TIMEOUT).with_interval(Duration::from_secs(15));
    socket.set_tcp_keepalive(&keepalive)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn accepts_until_stopped_and_then_refuses() {
        let listener = bind("127.0.0.1:0".parse().unwrap(), "test").unwrap();
        let address = listener.local_addr().unwrap();
        let (tx, rx) = mpsc::channel();
        let acceptor = Acceptor::start(listener, "test", move |_, peer| tx.send(peer).unwrap()).unwrap();
        let client = TcpStream::connect(address).unwrap();
        assert_eq!(rx.recv().unwrap(), client.local_addr().unwrap());
        acceptor.stop();
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn a_shortage_is_told_once_and_its_end_once() {
        let begun = Instant::now();
        let at = |millis| begun + Duration::from_millis(millis);
        let mut shortage = Shortage::default();
        assert!(!shortage.accepted(at(0)));
        assert!(shortage.failed(at(0)));
        // At the edge: one ends, one gets in, the next does not.
        for millis in (100..50_000).step_by(100) {
            assert!(!shortage.accepted(at(millis)) && !shortage.failed(at(millis)));
        }
        assert!(shortage.accepted(at(51_000)) && !shortage.accepted(at(51_001)));
        assert!(!shortage.failed(at(59_999)) && shortage.failed(at(60_000)), "a minute after the last time");
        assert!(shortage.accepted(at(61_000)));
    }

    #[test]
    fn its_thread_ends_with_whoever_started_it() {
        let listener = bind("127.0.0.1:0".parse().unwrap(), "test").unwrap();
        let Acceptor { wake, thread, .. } = Acceptor::start(listener, "test", |_, _| {}).unwrap();
        drop(wake);
        thread.join().unwrap();
    }

    #[test]
    fn who_connects_during_a_pause_is_accepted_after_it() {
        let listener = bind("127.0.0.1:0".parse().unwrap(), "test").unwrap();
        let address = listener.local_addr().unwrap();
        let (tx, rx) = mpsc::channel();
        let start = |listener| {
            let tx = tx.clone();
            Acceptor::start(listener, "test", move |_, peer| tx.send(peer).unwrap()).unwrap()
        };
        let first = start(listener);
        let shared = first.share().unwrap();
        let paused = first.pause().unwrap();
        let client = TcpStream::connect(address).unwrap();
        assert!(rx.try_recv().is_err());
        // The other process has it now; this one's handle goes.
        drop(paused);
        let second = start(shared);
        assert_eq!(rx.recv().unwrap(), client.local_addr().unwrap());
        second.stop();
    }

    #[test]
    fn a_port_in_use_is_explained() {
        let listener = bind("127.0.0.1:0".parse().unwrap(), "test").unwrap();
        let error = bind(listener.local_addr().unwrap(), "api").unwrap_err().to_string();
        assert!(error.contains("(api)") && error.contains("[listen]"), "{error}");
    }
}
