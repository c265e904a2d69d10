//! RFB (VNC) without sockets or clock: greet both sides of a console, and a tiny server that paints.
//!
//! Sources: RFC 6143, the community specification (rfbproto), and what noVNC, QEMU and Tempest really do.
//! Nothing here reads, writes, sleeps or logs: bytes go in, bytes come out, the same however they were split.
//!
//! - [`TargetGreeter`]: we are the client of the real VNC server, up to SecurityResult.
//! - [`Handshake`]: what is left of the handshake once a viewer is there, up to and with ServerInit.
//! - [`ViewOnly`]: what a viewer who may only watch may send.
//! - [`fbs`] and [`PixelFormats`]: recordings, and what has to be known of a viewer to show them.
//! - [`Screen`], [`Viewing`]: a recording as a picture, and a server that shows it.
//! - [`CanvasServer`]: a server of our own that shows a refusal, or the demo.

mod canvas;
pub mod fbs;
mod greet;
#[doc(hidden)]
pub mod oracle;
mod pixel_format;
mod replay;
mod text;
mod view_only;
mod wire;

pub use canvas::{CanvasError, CanvasServer, Event, HEIGHT, REFUSAL_PREFIX, WIDTH};
pub use greet::{
    Credentials, GreetError, Handshake, MAX_NAME, MAX_REASON, Mode, Outcome, Security, TargetGreeter,
    Version, ViewerGreeter,
};
pub use pixel_format::PixelFormats;
pub use replay::{Screen, ScreenError, Viewing};
pub use text::clean;
pub use view_only::{ViewOnly, ViewOnlyError};
