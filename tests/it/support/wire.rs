//! A viewer with its hands on the wire: frames written and read byte by byte (RFC 6455 section 5).
//!
//! tungstenite answers pings and closes by itself and joins fragments; here the test decides all of it.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};

use super::chance::Chance;
use super::within;

pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// What the proxy sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Data(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, String),
    /// The end of the connection.
    End,
}

/// The side that receives.
pub(crate) struct Incoming {
    stream: OwnedReadHalf,
    read: Vec<u8>,
}

/// Opens a WebSocket; the error is the answer's first line. `receive_buffer` is the socket's, in bytes.
pub(crate) async fn open(
    proxy: SocketAddr,
    token: &str,
    receive_buffer: Option<u32>,
) -> Result<(OwnedWriteHalf, Incoming), String> {
    let mut stream = within("a connection to the proxy", connect(proxy, receive_buffer)).await;
    let request = format!(
        "GET /?token={token} HTTP/1.1\r\nHost: {proxy}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("the proxy takes the request");
    let mut read = Vec::new();
    let end = loop {
        if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        let count = within("the answer to the upgrade", stream.read_buf(&mut read)).await;
        assert!(count.expect("an answer") > 0, "closed after {:?}", String::from_utf8_lossy(&read));
    };
    let answer = String::from_utf8_lossy(&read[..end]).into_owned();
    let status = answer.lines().next().unwrap_or_default().to_owned();
    if !status.contains(" 101 ") {
        return Err(status);
    }
    // The answer to the key above, from RFC 6455 section 1.3.
    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    read.drain(..end);
    let (incoming, outgoing) = stream.into_split();
    Ok((outgoing, Incoming { stream: incoming, read }))
}

async fn connect(proxy: SocketAddr, receive_buffer: Option<u32>) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    if let Some(size) = receive_buffer {
        socket.set_recv_buffer_size(size).expect("a receive buffer");
    }
    let stream = socket.connect(proxy).await.expect("the proxy accepts");
    stream.set_nodelay(true).expect("no Nagle delay");
    stream
}

/// A client's frame: masked with a key of `chance`'s.
pub(crate) fn frame(kind: u8, last: bool, payload: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = vec![u8::from(last) << 7 | kind];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | short as u8),
        medium @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    let key = (chance.next() as u32).to_be_bytes();
    bytes.extend_from_slice(&key);
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// A close frame with a code and no reason.
pub(crate) fn close(code: u16, chance: &mut Chance) -> Vec<u8> {
    frame(CLOSE, true, &code.to_be_bytes(), chance)
}

impl Incoming {
    /// The next frame, which must be whole, final and unmasked.
    pub(crate) async fn next(&mut self) -> Frame {
        loop {
            if let Some((frame, used)) = parse(&self.read) {
                self.read.drain(..used);
                return frame;
            }
            let count = within("a frame", self.stream.read_buf(&mut self.read)).await;
            if count.expect("an orderly end of the connection") == 0 {
                assert!(self.read.is_empty(), "the connection ended within a frame: {:02x?}", self.read);
                return Frame::End;
            }
        }
    }

    /// The next data; pings, if any, are left unanswered.
    ///
    /// # Panics
    /// On a close or an end.
    pub(crate) async fn data(&mut self) -> Vec<u8> {
        loop {
            match self.next().await {
                Frame::Data(data) => return data,
                Frame::Ping(_) | Frame::Pong(_) => {}
                end => panic!("data is due, not {end:?}"),
            }
        }
    }
}

fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    assert!(
        first & 0xf0 == 0x80 && second & 0x80 == 0,
        "a final frame without mask: {first:02x} {second:02x}"
    );
    let (length, start) = match second {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize, 10),
        short => (usize::from(short), 2),
    };
    let payload = bytes.get(start..start + length)?.to_vec();
    let frame = match first & 0x0f {
        BINARY => Frame::Data(payload),
        PING => Frame::Ping(payload),
        PONG => Frame::Pong(payload),
        CLOSE => {
            let code = payload.get(..2).map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]));
            Frame::Close(code, String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned())
        }
        other => panic!("a frame of kind {other}"),
    };
    Some((frame, start + length))
}
