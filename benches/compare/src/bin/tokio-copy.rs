//! `tokio-copy LISTEN TARGET`: tokio's own `copy_bidirectional` with 60,000-byte buffers on one thread.

use std::env;
use std::io;
use std::net::SocketAddr;

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};

/// Large enough that system calls do not decide; each session holds two of them.
const BUFFER: usize = 60_000;

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1).map(|address| address.parse::<SocketAddr>());
    let (Some(Ok(listen)), Some(Ok(target))) = (arguments.next(), arguments.next()) else {
        return Err(io::Error::other("usage: tokio-copy LISTEN TARGET"));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async move {
        let listener = TcpListener::bind(listen).await?;
        loop {
            let (viewer, _) = listener.accept().await?;
            // A session that breaks ends; its peers see it.
            tokio::spawn(async move { relay(viewer, target).await.ok() });
        }
    })
}

async fn relay(mut viewer: TcpStream, target: SocketAddr) -> io::Result<()> {
    let mut target = TcpStream::connect(target).await?;
    viewer.set_nodelay(true)?;
    target.set_nodelay(true)?;
    copy_bidirectional_with_sizes(&mut viewer, &mut target, BUFFER, BUFFER).await?;
    Ok(())
}
