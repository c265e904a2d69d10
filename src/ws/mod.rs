//! WebSocket (RFC 6455), server side, pure: bytes in, bytes out. No sockets, no clock, no runtime.

mod close;
mod decoder;
mod frame;
mod handshake;
mod mask;
mod utf8;

#[doc(hidden)]
pub mod oracle;

pub use close::{Close, CloseCode};
pub use decoder::{Decoded, Decoder};
pub use frame::{
    FrameError, HEADER_ROOM, Kind, MAX_CONTROL, MAX_FRAME, MAX_NOTE, control_frame, put_header, text_frame,
};
pub use handshake::{CONTROL, HandshakeError, Offer, check_request, is_upgrade};
