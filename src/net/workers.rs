//! Worker threads, one current-thread runtime each; a connection goes to the one with the fewest.
//!
//! The kernel's own spreading (`SO_REUSEPORT`) hashes blindly and can put every busy session on one core.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::sync::mpsc;

/// Connections on their way to one worker. A worker takes them as fast as its loop turns; the queue only
/// absorbs a burst, and when it is full the acceptor waits, so that the rest stay in the kernel's backlog.
const QUEUE: usize = 1024;

/// A connection as it was accepted, not yet registered with any runtime.
#[derive(Debug)]
pub struct Accepted {
    /// The socket, non-blocking.
    pub socket: TcpStream,
    /// The other end.
    pub peer: SocketAddr,
    /// Which listener it came through.
    pub listener: usize,
    /// Counts the connection against its worker until dropped; a session carries it to its end.
    pub load: Load,
}

/// One connection's weight on its worker.
#[derive(Debug)]
pub struct Load(Arc<AtomicUsize>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a worker runs for each connection.
pub type Handler = Arc<dyn Fn(Accepted) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

#[derive(Debug)]
struct Worker {
    queue: mpsc::Sender<Accepted>,
    load: Arc<AtomicUsize>,
}

/// The running workers. They end when this is dropped and their sessions with them.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Worker>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Workers {
    /// Starts `count` threads.
    pub fn start(count: usize, handler: &Handler) -> io::Result<Self> {
        let mut workers = Vec::with_capacity(count);
        let mut threads = Vec::with_capacity(count);
        for number in 0..count.max(1) {
            let (queue, incoming) = mpsc::channel(QUEUE);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let handler = Arc::clone(handler);
            let run = move || runtime.block_on(serve(incoming, handler));
            threads.push(thread::Builder::new().name(format!("worker-{number}")).spawn(run)?);
            workers.push(Worker { queue, load: Arc::default() });
        }
        Ok(Self { workers, threads })
    }

    /// Hands a connection to the worker with the fewest; blocks while that worker's queue is full.
    pub fn hand_over(&self, socket: TcpStream, peer: SocketAddr, listener: usize) {
        let least = self.workers.iter().min_by_key(|worker| worker.load.load(Ordering::Relaxed));
        let Some(worker) = least else { return };
        worker.load.fetch_add(1, Ordering::Relaxed);
        let load = Load(Arc::clone(&worker.load));
        // The only error is a worker that has ended: the process is on its way out, the socket closes.
        let _ = worker.queue.blocking_send(Accepted { socket, peer, listener, load });
    }

    /// Each worker's count of its connections, which goes on counting.
    pub fn loads(&self) -> Vec<Arc<AtomicUsize>> {
        self.workers.iter().map(|worker| Arc::clone(&worker.load)).collect()
    }

    /// Ends all workers and whatever still runs on them. Blocks until their threads are gone.
    pub fn stop(self) {
        drop(self.workers);
        for thread in self.threads {
            // A panic outside any session would surface here; it has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

/// A worker's life: tasks are spawned onto its own runtime and end with it.
async fn serve(mut incoming: mpsc::Receiver<Accepted>, handler: Handler) {
    while let Some(accepted) = incoming.recv().await {
        tokio::spawn(handler(accepted));
    }
}
