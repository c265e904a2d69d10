//! The handshake on a connection.

use std::io;

use rand::TryRng;
use rand::rngs::SysRng;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use crate::net::inbound::Inbound;
use crate::net::tls_stream::TlsStream;

use super::group::EXPONENT;
use super::{Client, Error, Random};

/// Read at a time: a whole flight of the server's.
const READ: usize = 4096;

const _: () = assert!(READ <= Inbound::EARLY);

/// Does the client's side of a handshake with a server that proves nothing. The caller sets the deadline; dropping
/// the future drops the connection.
///
/// # Errors
/// If the server hangs up, or does not speak TLS 1.2 with anonymous Diffie-Hellman as we do.
pub async fn connect<S>(mut io: S) -> io::Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut client = Client::new(random()?);
    let (mut piece, mut unread) = (vec![0; READ], Vec::new());
    loop {
        let fed = client.feed(&unread);
        // Also when it failed: the alert that says why.
        let sent = send(&mut io, &mut client).await;
        unread.drain(..fed.map_err(invalid)?);
        sent?;
        if client.is_done() {
            break;
        }
        if let Some(agreement) = client.agreement() {
            // Longer than anybody else of this thread's connections should wait.
            let agreed = tokio::task::spawn_blocking(|| agreement.compute()).await;
            let agreed = client.agreed(agreed.map_err(io::Error::other)?);
            let sent = send(&mut io, &mut client).await;
            agreed.map_err(invalid)?;
            sent?;
            continue;
        }
        match io.read(&mut piece).await? {
            0 => {
                let reason = "TLS: hung up during the handshake";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
            }
            count => unread.extend_from_slice(&piece[..count]),
        }
    }
    let records = client.into_records().ok_or_else(|| invalid(Error::Internal))?;
    Ok(TlsStream::new(io, records, Inbound::early(&unread)))
}

async fn send<S: AsyncWrite + Unpin>(io: &mut S, client: &mut Client) -> io::Result<()> {
    io.write_all(&client.output()).await?;
    io.flush().await
}

fn random() -> io::Result<Random> {
    let mut random = Random { hello: [0; 32], exponent: Zeroizing::new([0; EXPONENT]) };
    SysRng.try_fill_bytes(&mut random.hello).map_err(io::Error::other)?;
    SysRng.try_fill_bytes(&mut random.exponent[..]).map_err(io::Error::other)?;
    Ok(random)
}

fn invalid(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
