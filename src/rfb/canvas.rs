//! A tiny RFB server of our own that paints: why there is no console, or the demo's screen.
//!
//! It holds no framebuffer. A scene is a few lines of text; each band of rows is painted when it is sent, so a
//! viewer that stalls costs no more than its scene, and a thousand refused viewers cost next to nothing.

use std::collections::VecDeque;

use super::greet::{GreetError, ViewerGreeter};
use super::text::clean;
use super::wire::push_string;

mod damage;
mod demo;
mod encode;
mod input;
mod keysym;
mod paint;
mod refusal;

use damage::{Damage, Rect};
use demo::Demo;
pub(super) use encode::PixelFormat;
pub(super) use input::{Input, Reader};
use paint::Band;
use refusal::Refusal;

/// Width of the screen in pixels: 80 columns of a 10 pixel font, what a console is expected to look like.
pub const WIDTH: u16 = 800;
/// Height of the screen in pixels: 24 lines of a 20 pixel font.
pub const HEIGHT: u16 = 480;

/// What a refusal's desktop name begins with; the message follows.
pub const REFUSAL_PREFIX: &str = "consolegate: ";

/// The longest message, hint or title painted, in bytes: more would not fit the screen.
const MAX_TEXT: usize = 512;

/// The most events kept for the owner; a viewer that sends faster than the owner looks loses the oldest.
const MAX_EVENTS: usize = 256;

/// Why a viewer of the canvas was let go: it broke the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanvasError {
    /// The handshake failed.
    #[error(transparent)]
    Greet(#[from] GreetError),
    /// A message type that is none of the protocol's, or not one we told of.
    #[error("viewer sent unknown message type {0}")]
    UnknownMessage(u8),
    /// A pixel format that cannot be painted.
    #[error("viewer asked for an unsupported pixel format: {0}")]
    PixelFormat(&'static str),
    /// A message longer than its limit.
    #[error("viewer sent {what} of {len} bytes; {limit} is the limit")]
    TooLong {
        /// Which message.
        what: &'static str,
        /// Its announced length.
        len: u32,
        /// The limit.
        limit: u32,
    },
}

/// What a viewer did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The handshake is over; the viewer sees the screen.
    Ready,
    /// A key went down or up (keysym of the X Window System, RFC 6143 section 7.5.4).
    Key {
        /// Down or up.
        down: bool,
        /// Which key.
        keysym: u32,
    },
    /// The pointer moved, or a button changed (RFC 6143 section 7.5.5).
    Pointer {
        /// Pixels from the left.
        x: u16,
        /// Pixels from the top.
        y: u16,
        /// One bit a button, the left one lowest.
        buttons: u8,
    },
    /// The viewer's clipboard, cleaned and cut to what is shown.
    CutText(String),
}

/// What is painted.
enum Scene {
    Refusal(Refusal),
    Demo(Box<Demo>),
}

/// The update that is under way: what is left of it, and how it was begun.
struct Sending {
    rects: VecDeque<Rect>,
    format: PixelFormat,
    rre: bool,
}

/// A whole RFB server for one viewer: feed it what the viewer sends, send the viewer what it puts out.
///
/// [`CanvasServer::output`] gives one chunk a call, at most about 64 KiB: ask for the next when the last is
/// written, and a slow viewer holds no more than one. However often a viewer asks, it gets what changed, once.
pub struct CanvasServer {
    scene: Scene,
    name: String,
    greeter: Option<ViewerGreeter>,
    reader: Reader,
    format: PixelFormat,
    rre: bool,
    damage: Damage,
    /// An update was asked for and not yet begun.
    asked: bool,
    sending: Sending,
    out: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
    failed: Option<CanvasError>,
}

impl CanvasServer {
    /// Shows why there is no console, and what to do. The message is also the desktop name.
    pub fn refusal(message: &str, hint: &str) -> Self {
        let message = clean(message.as_bytes(), MAX_TEXT);
        let name = format!("{REFUSAL_PREFIX}{message}");
        Self::new(Scene::Refusal(Refusal::new(message, clean(hint.as_bytes(), MAX_TEXT))), name)
    }

    /// Shows keys, pointer and clipboard as they arrive. `title` is also the desktop name.
    pub fn demo(title: &str) -> Self {
        let title = clean(title.as_bytes(), MAX_TEXT);
        let name = if title.is_empty() { "demo".to_owned() } else { title.clone() };
        Self::new(Scene::Demo(Box::new(Demo::new(title))), name)
    }

    fn new(scene: Scene, name: String) -> Self {
        Self {
            scene,
            name,
            greeter: Some(ViewerGreeter::new()),
            reader: Reader::new(),
            format: PixelFormat::OURS,
            rre: false,
            damage: Damage::default(),
            asked: false,
            sending: Sending { rects: VecDeque::new(), format: PixelFormat::OURS, rre: false },
            out: VecDeque::new(),
            events: VecDeque::new(),
            failed: None,
        }
    }

    /// Takes all of what the viewer sent.
    ///
    /// # Errors
    /// The viewer broke the protocol; every later call says the same. Send what [`CanvasServer::output`] still
    /// holds, then close.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), CanvasError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let fed = self.greet(bytes).and_then(|rest| self.read(rest));
        fed.inspect_err(|error| self.failed = Some(error.clone()))
    }

    /// The next chunk for the viewer; `None` until something changes.
    pub fn output(&mut self) -> Option<Vec<u8>> {
        if let Some(greeter) = &mut self.greeter
            && let Some(message) = greeter.output()
        {
            return Some(message);
        }
        if let Some(message) = self.out.pop_front() {
            return Some(message);
        }
        let mut chunk = Vec::new();
        if self.sending.rects.is_empty() {
            if !self.asked || self.damage.is_empty() {
                return None;
            }
            self.asked = false;
            let rects = self.damage.take();
            self.sending = Sending { rects, format: self.format.clone(), rre: self.rre };
            let count = u16::try_from(self.sending.rects.len()).unwrap_or(u16::MAX);
            // FramebufferUpdate, RFC 6143 section 7.6.1.
            chunk.extend_from_slice(&[0, 0]);
            chunk.extend_from_slice(&count.to_be_bytes());
        }
        let rect = self.sending.rects.pop_front()?;
        let mut band = Band::new(rect.y, rect.h);
        self.paint(&mut band);
        encode::rectangle(&mut chunk, &band, rect, &self.sending.format, self.sending.rre);
        Some(chunk)
    }

    /// What the viewer did, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Shows a line of the owner's on the demo's screen (a clock, a counter); a refusal has none.
    pub fn set_status(&mut self, status: &str) {
        if let Scene::Demo(demo) = &mut self.scene {
            demo.set_status(clean(status.as_bytes(), MAX_TEXT), &mut self.damage);
        }
    }

    /// The handshake's part of `bytes`; what is behind it.
    fn greet<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], CanvasError> {
        let Some(greeter) = &mut self.greeter else { return Ok(bytes) };
        let used = greeter.feed(bytes)?;
        if greeter.done().is_some() {
            self.out.extend(std::iter::from_fn(|| greeter.output()));
            self.greeter = None;
            self.out.push_back(self.server_init());
            self.damage.everything();
            self.note(Event::Ready);
        }
        Ok(bytes.get(used..).unwrap_or_default())
    }

    /// ServerInit, RFC 6143 section 7.3.2.
    fn server_init(&self) -> Vec<u8> {
        let mut message = Vec::with_capacity(24 + self.name.len());
        message.extend_from_slice(&WIDTH.to_be_bytes());
        message.extend_from_slice(&HEIGHT.to_be_bytes());
        message.extend_from_slice(&PixelFormat::OURS.wire());
        push_string(&mut message, &self.name);
        message
    }

    fn read(&mut self, bytes: &[u8]) -> Result<(), CanvasError> {
        if self.greeter.is_some() {
            return Ok(());
        }
        let mut rest = bytes;
        while let Some(input) = self.reader.next(&mut rest)? {
            match input {
                Input::PixelFormat(format) => {
                    // What is on the viewer's screen was sent in the old format.
                    self.format = format;
                    self.damage.everything();
                }
                Input::NoEncodings => self.rre = false,
                Input::Encoding(encode::RRE) => self.rre = true,
                Input::Encoding(_) => {}
                Input::Update { incremental, x, y, w, h } => {
                    if !incremental {
                        self.damage.add(x, y, w, h);
                    }
                    self.asked = true;
                }
                Input::Event(event) => self.act(event),
            }
        }
        Ok(())
    }

    /// A refusal listens to nobody; the demo shows what it hears.
    fn act(&mut self, event: Event) {
        if let Scene::Demo(demo) = &mut self.scene {
            demo.act(&event, &mut self.damage);
            self.note(event);
        }
    }

    fn note(&mut self, event: Event) {
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    fn paint(&self, band: &mut Band) {
        match &self.scene {
            Scene::Refusal(refusal) => refusal.paint(band),
            Scene::Demo(demo) => demo.paint(band),
        }
    }
}

#[cfg(test)]
mod tests;
