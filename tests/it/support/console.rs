//! Consoles of the tests' own: a VNC server that speaks RFC 6143 as literal bytes, and an echo for serial lines.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::within;

/// ServerInit (RFC 6143 section 7.3.2): 64 x 48, 32 bits a pixel, the name "fake-vnc".
pub(crate) const SERVER_INIT: &[u8] =
    b"\x00\x40\x00\x30\x20\x18\x00\x01\x00\xff\x00\xff\x00\xff\x10\x08\x00\x00\x00\x00\x00\x00\x00\x08fake-vnc";

/// How a console behaves.
#[derive(Clone)]
pub(crate) enum Manner {
    /// RFB 3.8 with security None, then an echo.
    Vnc,
    /// As `Vnc`, but each connection waits for a permit before its first byte, first come first served.
    SlowVnc(Arc<Semaphore>),
    /// Sends back what it gets; at the end of input its own end.
    Echo,
    /// As `Echo`, but keeps no record of what it was sent: for hours of it.
    Forgetful,
    /// Accepts, listens and says nothing.
    Mute,
}

/// What a console has seen so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Who connected, in order.
    pub(crate) peers: Vec<SocketAddr>,
    /// How many connections have ended.
    pub(crate) gone: usize,
    /// What came in, over all connections.
    pub(crate) received: Vec<u8>,
}

/// A running console. Dropping it closes its port and its connections.
pub(crate) struct Console {
    pub(crate) address: SocketAddr,
    seen: watch::Receiver<Seen>,
    task: JoinHandle<()>,
}

impl Drop for Console {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Console {
    /// A console on a fresh port.
    pub(crate) async fn new(manner: Manner) -> Self {
        Self::at("127.0.0.1:0".parse().expect("an address"), manner).await
    }

    /// A console on this port.
    pub(crate) async fn at(address: SocketAddr, manner: Manner) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port for the console");
        let address = listener.local_addr().expect("its address");
        let (seen, watched) = watch::channel(Seen::default());
        let task = tokio::spawn(accept(listener, manner, Arc::new(seen)));
        Self { address, seen: watched, task }
    }

    /// The setting that names it: `vnc = "tcp://..."`.
    pub(crate) fn setting(&self, key: &str) -> String {
        format!("{key} = \"tcp://{}\"\n", self.address)
    }

    /// Closes it and waits until the port is free.
    pub(crate) async fn stop(mut self) -> SocketAddr {
        self.task.abort();
        let _ = (&mut self.task).await;
        self.address
    }

    /// Waits until what it has seen fits.
    pub(crate) async fn until(&self, what: &str, fits: impl FnMut(&Seen) -> bool) -> Seen {
        let mut seen = self.seen.clone();
        within(what, seen.wait_for(fits)).await.expect("the console has ended").clone()
    }

    /// How many connections came before now. Connections are accepted in order, so one of our own, made now,
    /// comes after every one that was made before.
    pub(crate) async fn dialled(&self) -> usize {
        let own = TcpStream::connect(self.address).await.expect("the console is up");
        let own = own.local_addr().expect("an address");
        let seen = self.until("our own connection", |seen| seen.peers.contains(&own)).await;
        seen.peers.iter().position(|peer| *peer == own).expect("our own connection")
    }
}

/// A port that refuses: bound once, so that nobody else gets it, and closed again.
pub(crate) async fn dead_port() -> SocketAddr {
    Console::new(Manner::Mute).await.stop().await
}

async fn accept(listener: TcpListener, manner: Manner, seen: Arc<watch::Sender<Seen>>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, peer)) = listener.accept().await {
        seen.send_modify(|seen| seen.peers.push(peer));
        let (manner, seen) = (manner.clone(), Arc::clone(&seen));
        connections.spawn(async move {
            // How a connection ends is the proxy's choice, and what the tests look at.
            let _ = serve(socket, manner, &seen).await;
            seen.send_modify(|seen| seen.gone += 1);
        });
    }
}

async fn serve(mut socket: TcpStream, manner: Manner, seen: &watch::Sender<Seen>) -> io::Result<()> {
    match &manner {
        Manner::SlowVnc(permits) => {
            // Closed: the console hangs up on everybody.
            let Ok(permit) = permits.acquire().await else { return Ok(()) };
            permit.forget();
            rfb(&mut socket, seen).await?;
        }
        Manner::Vnc => rfb(&mut socket, seen).await?,
        Manner::Echo | Manner::Forgetful | Manner::Mute => {}
    }
    let mut buffer = [0; 4096];
    loop {
        let count = socket.read(&mut buffer).await?;
        if count == 0 {
            return socket.shutdown().await;
        }
        if !matches!(manner, Manner::Forgetful) {
            seen.send_modify(|seen| seen.received.extend_from_slice(&buffer[..count]));
        }
        if !matches!(manner, Manner::Mute) {
            socket.write_all(&buffer[..count]).await?;
        }
    }
}

/// The server's side up to ServerInit (RFC 6143 sections 7.1 and 7.3).
async fn rfb(socket: &mut TcpStream, seen: &watch::Sender<Seen>) -> io::Result<()> {
    let steps: [(&[u8], usize); 4] =
        [(b"RFB 003.008\n", 12), (b"\x01\x01", 1), (b"\x00\x00\x00\x00", 1), (SERVER_INIT, 0)];
    for (said, heard) in steps {
        socket.write_all(said).await?;
        let mut answer = vec![0; heard];
        socket.read_exact(&mut answer).await?;
        seen.send_modify(|seen| seen.received.extend_from_slice(&answer));
    }
    Ok(())
}
