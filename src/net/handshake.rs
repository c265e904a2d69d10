//! Handshakes of TLS, done by rustls; what follows them is our record layer's.
//!
//! rustls is given one record at a time, so that it never sees one of those that are ours to open, and its keys
//! are taken at a moment at which it owes the peer nothing.

use std::io;
use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::kernel::KernelConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use rustls::{ClientConfig, ConnectionTrafficSecrets, ExtractedSecrets, ProtocolVersion, ServerConfig};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::inbound::Inbound;
use super::record::{Cipher, HEADER, Records, Rekey, Role, Version};
use super::tls_stream::TlsStream;

/// Read at a time: what most messages of a handshake fit in.
const READ: usize = 4096;

/// Bytes that a handshake may have under way. A message has 64 KiB at most in rustls, in records of any size.
const MAX_INCOMING: usize = 128 * 1024;

const _: () = assert!(READ <= Inbound::EARLY);

/// Does the server's side of a handshake. The caller sets the deadline; dropping the future drops the connection.
///
/// # Errors
/// If the peer hangs up or does not speak TLS as `config` has it.
pub async fn accept<S>(config: Arc<ServerConfig>, io: S) -> io::Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    drive(UnbufferedServerConnection::new(config).map_err(invalid)?, io).await
}

/// Does the client's side of a handshake. The caller sets the deadline; dropping the future drops the connection.
///
/// # Errors
/// If the server is not the one that `config` and `name` ask for, hangs up or does not speak TLS as `config` has it.
pub async fn connect<S>(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    io: S,
) -> io::Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    drive(UnbufferedClientConnection::new(config, name).map_err(invalid)?, io).await
}

/// What both sides of a handshake have in common.
trait Handshake: Sized {
    type Data: 'static;
    const ROLE: Role;

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
    fn is_handshaking(&self) -> bool;
    fn finish(self) -> Result<(ExtractedSecrets, KernelConnection<Self::Data>), rustls::Error>;
}

macro_rules! handshake {
    ($connection:ident, $data:ident, $role:expr) => {
        impl Handshake for $connection {
            type Data = $data;
            const ROLE: Role = $role;

            fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, $data> {
                self.process_tls_records(incoming)
            }

            fn is_handshaking(&self) -> bool {
                (**self).is_handshaking()
            }

            fn finish(self) -> Result<(ExtractedSecrets, KernelConnection<$data>), rustls::Error> {
                self.dangerous_into_kernel_connection()
            }
        }

        impl Rekey for KernelConnection<$data> {
            fn next_tx(&mut self) -> Result<ConnectionTrafficSecrets, rustls::Error> {
                self.update_tx_secret().map(|(_, secrets)| secrets)
            }

            fn next_rx(&mut self) -> Result<ConnectionTrafficSecrets, rustls::Error> {
                self.update_rx_secret().map(|(_, secrets)| secrets)
            }
        }
    };
}

handshake!(UnbufferedServerConnection, ServerConnectionData, Role::Server);
handshake!(UnbufferedClientConnection, ClientConnectionData, Role::Client);

/// What the handshake asks for.
enum Next {
    /// To be asked again.
    Step,
    Send,
    Receive,
    Done,
    Fail(rustls::Error),
}

/// What was received for the handshake.
#[derive(Default)]
struct Incoming {
    bytes: Vec<u8>,
    /// The end of the records that rustls has been given.
    given: usize,
}

impl Incoming {
    /// The end of the first record that rustls has not been given, once it is there whole.
    fn next_record(&self) -> Option<usize> {
        let rest = &self.bytes[self.given..];
        let &[.., high, low] = rest.first_chunk::<HEADER>()?;
        let length = HEADER + usize::from(u16::from_be_bytes([high, low]));
        (rest.len() >= length).then_some(self.given + length)
    }

    fn discard(&mut self, count: usize) {
        self.bytes.drain(..count);
        self.given -= count;
    }

    async fn read<S: AsyncRead + Unpin>(&mut self, io: &mut S, piece: &mut [u8]) -> io::Result<()> {
        if self.bytes.len() > MAX_INCOMING {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "TLS: the handshake is too long"));
        }
        let count = io.read(piece).await?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "TLS: hung up during the handshake"));
        }
        self.bytes.extend_from_slice(&piece[..count]);
        Ok(())
    }
}

async fn drive<C, S>(mut connection: C, mut io: S) -> io::Result<TlsStream<S>>
where
    C: Handshake,
    KernelConnection<C::Data>: Rekey,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut incoming = Incoming::default();
    let mut outgoing = Vec::new();
    let mut piece = vec![0; READ];
    // A record that is not there whole is shown all the same: rustls refuses at its header what is no TLS.
    let mut shown = 0;
    loop {
        let (discard, next) = step(&mut connection, &mut incoming.bytes[..shown], &mut outgoing);
        incoming.given = incoming.given.max(discard);
        incoming.discard(discard);
        shown -= discard;
        match next {
            Next::Step => {}
            Next::Send => {
                io.write_all(&outgoing).await?;
                io.flush().await?;
                outgoing.clear();
            }
            Next::Receive => {
                if incoming.next_record().is_none() {
                    incoming.read(&mut io, &mut piece).await?;
                }
                if let Some(end) = incoming.next_record() {
                    incoming.given = end;
                    shown = end;
                } else {
                    shown = incoming.bytes.len();
                }
            }
            Next::Fail(error) => {
                // The alert that says why.
                while matches!(step(&mut connection, &mut [], &mut outgoing).1, Next::Step | Next::Send) {}
                let _ = io.write_all(&outgoing).await;
                let _ = io.flush().await;
                return Err(invalid(error));
            }
            Next::Done => break,
        }
    }
    let records = records(connection).map_err(invalid)?;
    Ok(TlsStream::new(io, records, Inbound::early(&incoming.bytes[incoming.given..])))
}

fn step<C: Handshake>(connection: &mut C, incoming: &mut [u8], outgoing: &mut Vec<u8>) -> (usize, Next) {
    let UnbufferedStatus { discard, state } = connection.process(incoming);
    let next = match state {
        Ok(ConnectionState::EncodeTlsData(mut data)) => match encode(&mut data, outgoing) {
            Ok(()) => Next::Step,
            Err(error) => Next::Fail(rustls::Error::General(error.to_string())),
        },
        Ok(ConnectionState::TransmitTlsData(sent)) => {
            sent.done();
            Next::Send
        }
        Ok(ConnectionState::BlockedHandshake) => Next::Receive,
        Ok(ConnectionState::WriteTraffic(_)) => Next::Done,
        // Early data is off, and no record of traffic is given to rustls.
        Ok(_) => Next::Fail(rustls::Error::General("no traffic was expected yet".to_owned())),
        Err(error) => Next::Fail(error),
    };
    match next {
        // It may send before it has heard all.
        Next::Done if connection.is_handshaking() => (discard, Next::Receive),
        next => (discard, next),
    }
}

fn encode<D>(data: &mut EncodeTlsData<'_, D>, outgoing: &mut Vec<u8>) -> Result<(), EncodeError> {
    let begin = outgoing.len();
    let mut room = 0;
    loop {
        outgoing.resize(begin + room, 0);
        match data.encode(&mut outgoing[begin..]) {
            Ok(count) => {
                outgoing.truncate(begin + count);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(needs)) if room < needs.required_size => {
                room = needs.required_size;
            }
            Err(error) => return Err(error),
        }
    }
}

fn records<C>(connection: C) -> Result<Records, rustls::Error>
where
    C: Handshake,
    KernelConnection<C::Data>: Rekey,
{
    let (secrets, keys) = connection.finish()?;
    let version = match keys.protocol_version() {
        ProtocolVersion::TLSv1_3 => Version::Tls13,
        ProtocolVersion::TLSv1_2 => Version::Tls12,
        other => return Err(rustls::Error::General(format!("no record layer for {other:?}"))),
    };
    let cipher = |(sequence, secrets): (u64, ConnectionTrafficSecrets)| {
        Cipher::new(version, sequence, &secrets).map_err(|error| rustls::Error::General(error.to_string()))
    };
    Ok(Records::new(version, C::ROLE, cipher(secrets.tx)?, cipher(secrets.rx)?, Box::new(keys)))
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
