//! A viewer's side of a console: frames, the RFB handshake, the closing handshake.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::within;

/// The next data frame's payload. It must be binary.
pub(crate) async fn frame<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) -> Vec<u8> {
    let frame = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Binary(payload))) => return payload.to_vec(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("instead of a binary frame: {other:?}"),
            }
        }
    };
    // Pings do not begin it anew: they come for ever.
    within("a frame", frame).await
}

/// Sends `payload` as one binary frame.
pub(crate) async fn send<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>, payload: &[u8]) {
    within("room to send", socket.send(Message::binary(payload.to_vec()))).await.expect("cannot send");
}

/// Goes through RFB 3.8 with security None; the desktop's name. Each message is a frame of its own.
pub(crate) async fn rfb<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) -> String {
    assert_eq!(frame(socket).await, b"RFB 003.008\n");
    send(socket, b"RFB 003.008\n").await;
    assert_eq!(frame(socket).await, b"\x01\x01");
    send(socket, b"\x01").await;
    assert_eq!(frame(socket).await, b"\x00\x00\x00\x00");
    send(socket, b"\x01").await;
    let init = frame(socket).await;
    let length: [u8; 4] = init[20..24].try_into().expect("four bytes");
    assert_eq!(u32::from_be_bytes(length) as usize, init.len() - 24, "the name's length");
    String::from_utf8(init[24..].to_vec()).expect("a name in UTF-8")
}

/// Sends `payload` to a console that echoes, and waits until it is back.
pub(crate) async fn echo<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>, payload: &[u8]) {
    send(socket, payload).await;
    let mut back = Vec::new();
    while back.len() < payload.len() {
        back.extend(frame(socket).await);
    }
    assert_eq!(back, payload);
}

/// Reads up to the close frame and the end of the connection; code and reason.
pub(crate) async fn closed<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocketStream<S>,
) -> (u16, String) {
    let mut told = None;
    while let Some(message) = within("the close", socket.next()).await {
        match message {
            Ok(Message::Close(Some(CloseFrame { code, reason }))) => {
                told = Some((code.into(), reason.to_string()));
            }
            Ok(Message::Close(None)) => panic!("a close without a code"),
            Ok(_) => {}
            Err(error) => panic!("no closing handshake: {error}; so far {told:?}"),
        }
    }
    told.expect("the connection ended without a close")
}

/// Says goodbye and waits for the answer; code and reason.
pub(crate) async fn goodbye<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocketStream<S>,
) -> (u16, String) {
    within("room for the close", socket.close(None)).await.expect("cannot close");
    closed(socket).await
}
