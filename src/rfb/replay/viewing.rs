//! A server of our own that shows a [`Screen`] to one viewer of any kind: Raw pixels in the form the viewer asks for.

use std::collections::VecDeque;
use std::fmt;

use crate::rfb::canvas::{CanvasError, Event, Input, PixelFormat, Reader};
use crate::rfb::greet::ViewerGreeter;
use crate::rfb::wire::push_string;

use super::screen::{Area, Canvas, Screen};

/// Encoding by which a viewer says that it follows a change of size (RFC 6143 section 7.8.2).
const DESKTOP_SIZE: i32 = -223;

/// One viewer of a recording. [`Viewing::output`] puts out what is to be sent; nothing is kept beyond that.
pub struct Viewing {
    greeter: Option<ViewerGreeter>,
    /// What came with the end of the greeting, until the screen is there.
    early: Vec<u8>,
    reader: Reader,
    format: PixelFormat,
    follows_size: bool,
    /// As the viewer knows it.
    size: Option<(u16, u16)>,
    damage: Option<Area>,
    asked: bool,
    events: VecDeque<Event>,
}

impl Default for Viewing {
    fn default() -> Self {
        Self {
            greeter: Some(ViewerGreeter::new()),
            early: Vec::new(),
            reader: Reader::new(),
            format: PixelFormat::OURS,
            follows_size: false,
            size: None,
            damage: None,
            asked: false,
            events: VecDeque::new(),
        }
    }
}

/// The most keys and clicks kept for whoever steers the replay.
const MAX_EVENTS: usize = 64;

impl Viewing {
    /// Takes what the viewer sent.
    ///
    /// # Errors
    /// The viewer broke the protocol: send what is still put out, then close.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), CanvasError> {
        let mut rest = bytes;
        if let Some(greeter) = &mut self.greeter {
            let used = greeter.feed(bytes)?;
            rest = &bytes[used..];
            // Messages come behind ServerInit, which waits for the screen.
            self.early.extend_from_slice(rest);
            return Ok(());
        }
        self.read(&mut rest)
    }

    /// What the viewer did, the oldest first: keys may steer the replay.
    pub fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next message for the viewer; `None` until something changes.
    ///
    /// # Errors
    /// As [`Viewing::feed`], of what came ahead of its turn.
    pub fn output(&mut self, screen: &mut Screen) -> Result<Option<Vec<u8>>, CanvasError> {
        if let Some(area) = screen.take_damage() {
            self.damage = Some(self.damage.map_or(area, |damage| damage.join(area)));
        }
        if let Some(greeter) = &mut self.greeter {
            if let Some(message) = greeter.output() {
                return Ok(Some(message));
            }
            let (Some(_), Some(canvas)) = (greeter.done(), screen.canvas()) else { return Ok(None) };
            self.greeter = None;
            self.size = Some((canvas.width, canvas.height));
            self.damage = Some(canvas.all());
            let message = server_init(canvas, screen.name());
            let early = std::mem::take(&mut self.early);
            self.read(&mut &early[..])?;
            return Ok(Some(message));
        }
        if !self.asked || self.damage.is_none() || screen.is_torn() {
            return Ok(None);
        }
        let Some(canvas) = screen.canvas() else { return Ok(None) };
        self.asked = false;
        Ok(Some(self.update(canvas)))
    }

    fn read(&mut self, bytes: &mut &[u8]) -> Result<(), CanvasError> {
        while let Some(input) = self.reader.next(bytes)? {
            match input {
                Input::PixelFormat(format) => {
                    // What is on the viewer's screen was sent in the old one.
                    self.format = format;
                    self.everything();
                }
                Input::NoEncodings => self.follows_size = false,
                Input::Encoding(DESKTOP_SIZE) => self.follows_size = true,
                Input::Encoding(_) => {}
                Input::Update { incremental, .. } => {
                    self.asked = true;
                    if !incremental {
                        self.everything();
                    }
                }
                Input::Event(event) => {
                    if self.events.len() == MAX_EVENTS {
                        self.events.pop_front();
                    }
                    self.events.push_back(event);
                }
            }
        }
        Ok(())
    }

    fn everything(&mut self) {
        // Cut to what there is when it is sent.
        self.damage = self.size.map(|(w, h)| Area { x: 0, y: 0, w, h }).or(self.damage);
    }

    /// FramebufferUpdate (RFC 6143 section 7.6.1): a new size if there is one, and what changed.
    fn update(&mut self, canvas: &Canvas) -> Vec<u8> {
        let size = (canvas.width, canvas.height);
        let resized = self.follows_size && self.size != Some(size);
        if resized {
            self.size = Some(size);
        }
        let damage = if resized { Some(canvas.all()) } else { self.damage.take() };
        self.damage = None;
        let (width, height) = self.size.unwrap_or(size);
        // A viewer that cannot follow sees the corner.
        let area = damage.and_then(|area| clip(area, width.min(canvas.width), height.min(canvas.height)));
        let count = u16::from(resized) + u16::from(area.is_some());
        let mut message = vec![0, 0];
        message.extend_from_slice(&count.to_be_bytes());
        if resized {
            head(&mut message, Area { x: 0, y: 0, w: width, h: height }, DESKTOP_SIZE);
        }
        if let Some(area) = area {
            head(&mut message, area, 0);
            message.reserve(area.pixels() * 4);
            let mut last = (0, self.format.pixel([0; 3]));
            for y in area.y..area.y + area.h {
                for colour in canvas.row(area.x, y, area.w) {
                    if *colour != last.0 {
                        let [_, red, green, blue] = colour.to_be_bytes();
                        last = (*colour, self.format.pixel([red, green, blue]));
                    }
                    message.extend_from_slice(&last.1[..self.format.bytes()]);
                }
            }
        }
        message
    }
}

fn clip(area: Area, width: u16, height: u16) -> Option<Area> {
    let (right, bottom) = ((area.x + area.w).min(width), (area.y + area.h).min(height));
    let (w, h) = (right.checked_sub(area.x)?, bottom.checked_sub(area.y)?);
    (w > 0 && h > 0).then_some(Area { w, h, ..area })
}

fn head(message: &mut Vec<u8>, area: Area, encoding: i32) {
    for number in [area.x, area.y, area.w, area.h] {
        message.extend_from_slice(&number.to_be_bytes());
    }
    message.extend_from_slice(&encoding.to_be_bytes());
}

fn server_init(canvas: &Canvas, name: &str) -> Vec<u8> {
    let mut message = [canvas.width.to_be_bytes(), canvas.height.to_be_bytes()].concat();
    message.extend_from_slice(&PixelFormat::OURS.wire());
    // Clients take an empty name for an error.
    push_string(&mut message, if name.is_empty() { "recording" } else { name });
    message
}

impl fmt::Debug for Viewing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Viewing").field("greeted", &self.greeter.is_none()).finish_non_exhaustive()
    }
}
