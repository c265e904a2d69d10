//! Pixels as they were sent, as 0x00RRGGBB.

use crate::rfb::wire::u16_at;

use super::bytes::{Bytes, Stop};
use super::screen::ScreenError;

/// A pixel format (RFC 6143 section 7.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format {
    /// Bytes of a pixel: 1, 2 or 4.
    pub(super) size: usize,
    big_endian: bool,
    /// Largest value and shift of red, green, blue; `None`: an index of the colour map.
    colours: Option<[(u32, u8); 3]>,
    /// ZRLE's shorter pixel: which three of the four bytes count.
    compact: Option<usize>,
    /// Tight's: red, green, blue, a byte each.
    plain: bool,
}

impl Format {
    pub(super) fn parse(wire: &[u8; 16]) -> Result<Self, ScreenError> {
        let [bits, depth, big_endian, true_colour, ..] = *wire;
        let size = match bits {
            8 => 1,
            16 => 2,
            32 => 4,
            _ => return Err(ScreenError::PixelFormat),
        };
        let big_endian = big_endian != 0;
        if true_colour == 0 {
            let fits = size == 1;
            let map = Self { size, big_endian, colours: None, compact: None, plain: false };
            return fits.then_some(map).ok_or(ScreenError::PixelFormat);
        }
        let max = [u16_at(wire, 4), u16_at(wire, 6), u16_at(wire, 8)];
        let shift = [wire[10], wire[11], wire[12]];
        let mut used = 0u64;
        for (max, shift) in max.into_iter().zip(shift) {
            if max == 0 || shift >= bits || u64::from(max) << shift >= 1 << bits {
                return Err(ScreenError::PixelFormat);
            }
            used |= u64::from(max) << shift;
        }
        // RFC 6143 section 7.7.5: where a byte of four is always zero, it is left out.
        let compact = match (size, depth) {
            (4, 0..=24) if used < 1 << 24 => Some(usize::from(big_endian)),
            (4, 0..=24) if used & 0xff == 0 => Some(usize::from(!big_endian)),
            _ => None,
        };
        let plain = size == 4 && depth == 24 && max == [255; 3];
        let [red, green, blue] = [0, 1, 2].map(|i| (u32::from(max[i]), shift[i]));
        Ok(Self { size, big_endian, colours: Some([red, green, blue]), compact, plain })
    }

    /// Bytes of ZRLE's pixel.
    pub(super) fn compact_size(&self) -> usize {
        if self.compact.is_some() { 3 } else { self.size }
    }

    /// Bytes of Tight's pixel.
    pub(super) fn tight_size(&self) -> usize {
        if self.plain { 3 } else { self.size }
    }

    /// The colour of a pixel of [`Format::size`] bytes.
    pub(super) fn colour(&self, bytes: &[u8], map: &[u32; 256]) -> u32 {
        let mut value = [0; 4];
        for (at, byte) in bytes.iter().take(4).enumerate() {
            let place = if self.big_endian { bytes.len() - 1 - at } else { at };
            value[place.min(3)] = *byte;
        }
        self.value(u32::from_le_bytes(value), map)
    }

    fn value(&self, value: u32, map: &[u32; 256]) -> u32 {
        let Some(colours) = &self.colours else { return map[usize::from(value.to_le_bytes()[0])] };
        colours.iter().fold(0, |rgb, (max, shift)| {
            let level = (value >> shift) & max;
            let level = if *max == 255 { level } else { (level * 255 + max / 2) / max };
            rgb << 8 | level
        })
    }

    /// The colour of ZRLE's pixel.
    pub(super) fn compact(&self, bytes: &[u8], map: &[u32; 256]) -> u32 {
        let (Some(at), [a, b, c]) = (self.compact, bytes) else { return self.colour(bytes, map) };
        let whole = if at == 0 { [*a, *b, *c, 0] } else { [0, *a, *b, *c] };
        self.colour(&whole, map)
    }

    /// The colour of Tight's pixel.
    pub(super) fn tight(&self, bytes: &[u8], map: &[u32; 256]) -> u32 {
        match bytes {
            [red, green, blue] if self.plain => u32::from_be_bytes([0, *red, *green, *blue]),
            _ => self.colour(bytes, map),
        }
    }

    /// The next pixel as it is.
    pub(super) fn next(&self, from: &mut Bytes<'_>, map: &[u32; 256]) -> Result<u32, Stop> {
        Ok(self.colour(from.take(self.size)?, map))
    }
}
