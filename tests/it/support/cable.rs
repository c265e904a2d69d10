//! A cable to a server that a test cuts and mends: while it is cut, nothing gets through and nobody is told.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// The cable; dropping it cuts it for good.
pub(crate) struct Cable {
    address: SocketAddr,
    whole: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Cable {
    /// To a port of loopback.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port for the cable");
        let address = listener.local_addr().expect("its address");
        let whole = watch::channel(true).0;
        let state = Arc::new(whole.subscribe());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let mut state = (*state).clone();
                connections.spawn(async move {
                    // Who connects while it is cut waits, as for a host that does not answer.
                    if state.wait_for(|whole| *whole).await.is_err() {
                        return;
                    }
                    let Ok(mut far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = state.wait_for(|whole| !*whole) => {}
                    }
                });
            }
        });
        Self { address, whole, task }
    }

    /// Where it begins.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts it, and every connection over it.
    pub(crate) fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// Puts it together again.
    pub(crate) fn mend(&self) {
        self.whole.send_replace(true);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.task.abort();
    }
}
