//! What a server sent, as a picture: every message of RFC 6143 and of the extensions that QEMU, TigerVNC and their
//! kin send, and every encoding that has no need of hardware.

use std::fmt;

use crate::rfb::greet::MAX_NAME;
use crate::rfb::text::clean;
use crate::rfb::wire::u16_at;

use super::bytes::{Bytes, Stop};
use super::inflate::Inflate;
use super::pixels::Format;
use super::{flat, tight, zrle};

/// The largest screen, in pixels: 8K.
const MAX_PIXELS: usize = 7680 * 4320;

/// The longest rectangle that is compressed, in bytes: a whole screen that could not be.
pub(super) const MAX_RECTANGLE: usize = 192 << 20;

/// The longest clipboard that is passed over, in bytes.
const MAX_CUT: usize = 64 << 20;

/// Why a stream cannot be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScreenError {
    /// It does not begin as a server without authentication does.
    #[error("does not begin with an RFB handshake without authentication")]
    Handshake,
    /// Its pixels have a form that nobody uses.
    #[error("has pixels of an impossible form")]
    PixelFormat,
    /// Its screen is larger than 8K.
    #[error("has a screen of {0} by {1} pixels, which is larger than 8K")]
    Size(u16, u16),
    /// A rectangle lies beyond the screen.
    #[error("draws beyond its screen")]
    Beyond,
    /// A length that cannot be meant.
    #[error("announces {0} longer than any is")]
    TooLong(&'static str),
    /// Compressed bytes that do not say what they should.
    #[error("holds damaged pixels")]
    Compressed,
    /// A JPEG picture that is none, or of another size.
    #[error("holds a damaged JPEG picture")]
    Jpeg,
    /// An encoding that is not read here.
    #[error("uses encoding {0}, which is not read here")]
    Encoding(i32),
    /// A message that is not known here.
    #[error("holds a message of type {0}, which is not known here")]
    Message(u8),
}

/// A rectangle in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) x: u16,
    pub(super) y: u16,
    pub(super) w: u16,
    pub(super) h: u16,
}

impl Area {
    pub(super) fn pixels(self) -> usize {
        usize::from(self.w) * usize::from(self.h)
    }

    /// Every place of it, row by row.
    pub(super) fn places(self) -> impl Iterator<Item = (u16, u16)> {
        let Self { x, y, w, h } = self;
        (y..y + h).flat_map(move |y| (x..x + w).map(move |x| (x, y)))
    }

    /// It cut into squares, row by row; the last of a row or column are smaller.
    pub(super) fn tiles(self, side: u16) -> impl Iterator<Item = Self> {
        let Self { x, y, w, h } = self;
        (0..h).step_by(usize::from(side)).flat_map(move |down| {
            (0..w).step_by(usize::from(side)).map(move |right| Self {
                x: x + right,
                y: y + down,
                w: side.min(w - right),
                h: side.min(h - down),
            })
        })
    }

    /// `inner`, which is measured from this one's corner.
    pub(super) fn within(self, inner: Self) -> Result<Self, ScreenError> {
        let fits = |from: u16, len: u16, most: u16| from.checked_add(len).is_some_and(|end| end <= most);
        if fits(inner.x, inner.w, self.w) && fits(inner.y, inner.h, self.h) {
            Ok(Self { x: self.x + inner.x, y: self.y + inner.y, ..inner })
        } else {
            Err(ScreenError::Beyond)
        }
    }

    /// The smallest that holds both.
    pub(super) fn join(self, other: Self) -> Self {
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        let right = (self.x + self.w).max(other.x + other.w);
        let bottom = (self.y + self.h).max(other.y + other.h);
        Self { x, y, w: right - x, h: bottom - y }
    }
}

/// The picture, and what is needed to go on with it.
pub(super) struct Canvas {
    pub(super) width: u16,
    pub(super) height: u16,
    pixels: Vec<u32>,
    pub(super) map: Box<[u32; 256]>,
    pub(super) format: Format,
    pub(super) zlib: Inflate,
    pub(super) zrle: Inflate,
    pub(super) tight: [Inflate; 4],
    damage: Option<Area>,
}

impl Canvas {
    fn new(width: u16, height: u16, format: Format) -> Result<Self, ScreenError> {
        let mut canvas = Self {
            width: 0,
            height: 0,
            pixels: Vec::new(),
            map: Box::new([0; 256]),
            format,
            zlib: Inflate::default(),
            zrle: Inflate::default(),
            tight: Default::default(),
            damage: None,
        };
        canvas.resize(width, height)?;
        Ok(canvas)
    }

    /// What fits stays where it is.
    fn resize(&mut self, width: u16, height: u16) -> Result<(), ScreenError> {
        let count = usize::from(width) * usize::from(height);
        if count > MAX_PIXELS {
            return Err(ScreenError::Size(width, height));
        }
        let mut pixels = vec![0; count];
        let (old, new) = (usize::from(self.width), usize::from(width));
        let common = old.min(new);
        if common > 0 {
            for (to, from) in pixels.chunks_exact_mut(new).zip(self.pixels.chunks_exact(old)) {
                to[..common].copy_from_slice(&from[..common]);
            }
        }
        (self.width, self.height, self.pixels) = (width, height, pixels);
        self.damage = Some(self.all());
        Ok(())
    }

    pub(super) fn all(&self) -> Area {
        Area { x: 0, y: 0, w: self.width, h: self.height }
    }

    pub(super) fn check(&self, area: Area) -> Result<Area, ScreenError> {
        self.all().within(area)
    }

    pub(super) fn set(&mut self, x: u16, y: u16, colour: u32) {
        let at = usize::from(y) * usize::from(self.width) + usize::from(x);
        if let Some(place) = self.pixels.get_mut(at) {
            *place = colour;
        }
    }

    pub(super) fn fill(&mut self, area: Area, colour: u32) {
        for y in area.y..area.y + area.h {
            let from = usize::from(y) * usize::from(self.width) + usize::from(area.x);
            if let Some(row) = self.pixels.get_mut(from..from + usize::from(area.w)) {
                row.fill(colour);
            }
        }
    }

    pub(super) fn row(&self, x: u16, y: u16, w: u16) -> &[u32] {
        let from = usize::from(y) * usize::from(self.width) + usize::from(x);
        self.pixels.get(from..from + usize::from(w)).unwrap_or_default()
    }
}

/// Where in the stream we stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Version,
    /// 3.3: one number.
    Security,
    /// 3.7 and 3.8: a list; 3.8 a result too.
    Securities {
        result: bool,
    },
    Init,
    Message,
    /// Within an update, which has so many rectangles left.
    Rectangles(u16),
}

/// A recorded server's screen.
pub struct Screen {
    state: State,
    buffer: Vec<u8>,
    canvas: Option<Canvas>,
    name: String,
    /// In force from the next update on.
    next_format: Option<[u8; 16]>,
    failed: Option<ScreenError>,
}

impl Default for Screen {
    fn default() -> Self {
        let (state, buffer) = (State::Version, Vec::new());
        Self { state, buffer, canvas: None, name: String::new(), next_format: None, failed: None }
    }
}

impl Screen {
    /// Takes what the server sent next.
    ///
    /// # Errors
    /// It cannot be shown; every later call says the same. What was shown before stays.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), ScreenError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.buffer.extend_from_slice(bytes);
        let buffer = std::mem::take(&mut self.buffer);
        let mut rest = Bytes(&buffer);
        loop {
            let mut ahead = rest;
            match self.step(&mut ahead) {
                Ok(()) => rest = ahead,
                Err(Stop::More) => break,
                Err(Stop::Bad(error)) => {
                    self.failed = Some(error);
                    return Err(error);
                }
            }
        }
        let used = buffer.len() - rest.0.len();
        self.buffer = buffer;
        self.buffer.drain(..used);
        Ok(())
    }

    /// The pixels have this form (RFC 6143 section 7.4) from the next update on.
    pub fn set_format(&mut self, format: [u8; 16]) {
        self.next_format = Some(format);
    }

    /// Width and height in pixels, once the handshake is over.
    pub fn size(&self) -> Option<(u16, u16)> {
        self.canvas.as_ref().map(|canvas| (canvas.width, canvas.height))
    }

    /// The desktop's name, cleaned.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The picture, row by row, as 0x00RRGGBB.
    pub fn pixels(&self) -> &[u32] {
        self.canvas.as_ref().map_or(&[], |canvas| &canvas.pixels)
    }

    /// Whether an update has begun and not ended: the picture is half the old one, half the new.
    pub fn is_torn(&self) -> bool {
        matches!(self.state, State::Rectangles(_))
    }

    pub(super) fn canvas(&self) -> Option<&Canvas> {
        self.canvas.as_ref()
    }

    /// What has changed since the last call.
    pub(super) fn take_damage(&mut self) -> Option<Area> {
        self.canvas.as_mut().and_then(|canvas| canvas.damage.take())
    }

    /// Takes one part from the front of `from`.
    fn step(&mut self, from: &mut Bytes<'_>) -> Result<(), Stop> {
        match self.state {
            State::Version => {
                self.state = match from.take(12)? {
                    b"RFB 003.003\n" => State::Security,
                    b"RFB 003.007\n" => State::Securities { result: false },
                    b"RFB 003.008\n" => State::Securities { result: true },
                    _ => return Err(ScreenError::Handshake.into()),
                };
            }
            State::Security => {
                if from.u32()? != 1 {
                    return Err(ScreenError::Handshake.into());
                }
                self.state = State::Init;
            }
            State::Securities { result } => {
                let count = usize::from(from.u8()?);
                let offered = from.take(count)?;
                if !offered.contains(&1) || (result && from.u32()? != 0) {
                    return Err(ScreenError::Handshake.into());
                }
                self.state = State::Init;
            }
            State::Init => self.init(from)?,
            State::Message => self.message(from)?,
            State::Rectangles(0) => self.state = State::Message,
            State::Rectangles(left) => {
                let last = self.rectangle(from)?;
                self.state = if last { State::Message } else { State::Rectangles(left - 1) };
            }
        }
        Ok(())
    }

    fn init(&mut self, from: &mut Bytes<'_>) -> Result<(), Stop> {
        let (width, height) = (from.u16()?, from.u16()?);
        let format = from.take(16)?;
        let len = from.length("a desktop name", MAX_NAME)?;
        self.name = clean(from.take(len)?, MAX_NAME);
        self.canvas = Some(Canvas::new(width, height, parse_format(format)?)?);
        self.state = State::Message;
        Ok(())
    }

    fn message(&mut self, from: &mut Bytes<'_>) -> Result<(), Stop> {
        match from.u8()? {
            0 => {
                let head = from.take(3)?;
                if let (Some(format), Some(canvas)) = (self.next_format.take(), &mut self.canvas) {
                    canvas.format = parse_format(&format)?;
                }
                self.state = State::Rectangles(u16_at(head, 1));
            }
            1 => {
                let head = from.take(5)?;
                let colours = from.take(usize::from(u16_at(head, 3)) * 6)?;
                for (at, colour) in (usize::from(u16_at(head, 1))..).zip(colours.chunks_exact(6)) {
                    if let Some(place) = self.canvas.as_mut().and_then(|canvas| canvas.map.get_mut(at)) {
                        *place = u32::from_be_bytes([0, colour[0], colour[2], colour[4]]);
                    }
                }
            }
            // A bell; the end of continuous updates.
            2 | 150 => {}
            3 => {
                from.take(3)?;
                // A negative length is the extended clipboard's.
                let len = from.u32()?.cast_signed().unsigned_abs();
                let len = usize::try_from(len).ok().filter(|len| *len <= MAX_CUT);
                from.take(len.ok_or(ScreenError::TooLong("a clipboard"))?)?;
            }
            248 => {
                let head = from.take(8)?;
                from.take(usize::from(head[7]))?;
            }
            250 => drop(from.take(3)?),
            255 => {
                let head = from.take(3)?;
                if head[0] != 1 {
                    return Err(ScreenError::Message(255).into());
                }
                // QEMU's audio: to begin, to end, or data.
                if u16_at(head, 1) == 2 {
                    let len = from.length("a piece of audio", MAX_CUT)?;
                    from.take(len)?;
                }
            }
            other => return Err(ScreenError::Message(other).into()),
        }
        Ok(())
    }

    /// One rectangle of an update; whether it says that it is the last.
    fn rectangle(&mut self, from: &mut Bytes<'_>) -> Result<bool, Stop> {
        let area = Area { x: from.u16()?, y: from.u16()?, w: from.u16()?, h: from.u16()? };
        let encoding = from.u32()?.cast_signed();
        let Some(canvas) = &mut self.canvas else { return Err(ScreenError::Handshake.into()) };
        if !(0..=0xffff).contains(&encoding) {
            return self.pseudo(encoding, area, from);
        }
        let area = canvas.check(area)?;
        match encoding {
            0 => flat::raw(canvas, area, from)?,
            1 => flat::copy(canvas, area, from)?,
            2 => flat::rre(canvas, area, from, false)?,
            4 => flat::rre(canvas, area, from, true)?,
            5 => flat::hextile(canvas, area, from)?,
            6 => flat::zlib(canvas, area, from)?,
            7 => tight::rectangle(canvas, area, from)?,
            16 => zrle::rectangle(canvas, area, from)?,
            other => return Err(ScreenError::Encoding(other).into()),
        }
        if area.pixels() > 0 {
            canvas.damage = Some(canvas.damage.map_or(area, |damage| damage.join(area)));
        }
        Ok(false)
    }

    /// What is no pixels: sizes, names, pointers. A pointer's shape is passed over, for where it was only the viewer
    /// knew.
    fn pseudo(&mut self, encoding: i32, area: Area, from: &mut Bytes<'_>) -> Result<bool, Stop> {
        let Some(canvas) = &mut self.canvas else { return Err(ScreenError::Handshake.into()) };
        let (pixels, mask) = (area.pixels(), usize::from(area.w).div_ceil(8) * usize::from(area.h));
        match encoding {
            // LastRect.
            -224 => return Ok(true),
            // DesktopSize; ExtendedDesktopSize, of which a refusal changes nothing.
            -223 => canvas.resize(area.w, area.h)?,
            -308 => {
                let head = from.take(4)?;
                from.take(usize::from(head[0]) * 16)?;
                if area.y == 0 && (area.w, area.h) != (canvas.width, canvas.height) {
                    canvas.resize(area.w, area.h)?;
                }
            }
            -307 => {
                let len = from.length("a desktop name", MAX_NAME)?;
                self.name = clean(from.take(len)?, MAX_NAME);
            }
            // Cursor, XCursor.
            -239 => drop(from.take(pixels * canvas.format.size + mask)?),
            -240 if pixels > 0 => drop(from.take(6 + 2 * mask)?),
            // Cursor with alpha: an encoding of its own, of which only Raw is known to be used.
            -314 => {
                if from.u32()? != 0 {
                    return Err(ScreenError::Encoding(encoding).into());
                }
                from.take(pixels * 4)?;
            }
            // LED state, and VMware's.
            -261 => drop(from.take(1)?),
            0x574d_5668 => drop(from.take(4)?),
            // VMware's cursor: two masks, or colours with alpha.
            0x574d_5664 => {
                let kind = from.take(2)?[0];
                from.take(if kind == 0 { 2 * pixels * canvas.format.size } else { pixels * 4 })?;
            }
            // XCursor of no size; pointer position, QEMU's pointer kind, extended keys, audio; xvp, fence, continuous
            // updates, extended mouse buttons: nothing behind the head.
            -240 | -232 | -259..=-257 | -309 | -312 | -313 | -316 => {}
            other => return Err(ScreenError::Encoding(other).into()),
        }
        Ok(false)
    }
}

fn parse_format(wire: &[u8]) -> Result<Format, Stop> {
    let wire = wire.try_into().map_err(|_| ScreenError::PixelFormat)?;
    Ok(Format::parse(wire)?)
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen")
            .field("size", &self.size())
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
