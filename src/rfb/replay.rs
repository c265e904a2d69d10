//! Recordings shown again: what a server once sent becomes a picture, and the picture a server of our own.
//!
//! A recorded stream is in the pixels and encodings of the viewer it was recorded with. Another viewer speaks
//! others, and somebody who looks for a moment in the middle wants nothing of what was before. So the stream is
//! decoded ([`Screen`]), and whoever watches gets what changed in pixels of their own choice ([`Viewing`]).

mod bytes;
mod flat;
mod inflate;
mod pixels;
mod screen;
mod tight;
mod viewing;
mod zrle;

#[cfg(test)]
mod tests;

pub use screen::{Screen, ScreenError};
pub use viewing::Viewing;
