//! Pixels on the wire: the viewer's pixel format (RFC 6143 section 7.4), Raw and RRE (sections 7.7.1, 7.7.3).

use super::CanvasError;
use super::damage::Rect;
use super::paint::{Band, Ink, PALETTE};
use crate::rfb::wire::u16_at;

/// Encoding number of RRE.
pub(super) const RRE: i32 = 2;
const RAW: i32 = 0;

/// A true-colour pixel format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::rfb) struct PixelFormat {
    /// Bytes of a pixel: 1, 2 or 4.
    bytes: usize,
    depth: u8,
    big_endian: bool,
    /// Red, green, blue.
    max: [u16; 3],
    shift: [u8; 3],
}

impl PixelFormat {
    /// What we announce: 32 bits, little-endian, as QEMU does.
    pub(in crate::rfb) const OURS: Self =
        Self { bytes: 4, depth: 24, big_endian: false, max: [255; 3], shift: [16, 8, 0] };

    /// The 16 bytes of a PIXEL_FORMAT.
    pub(in crate::rfb) fn wire(&self) -> [u8; 16] {
        let mut wire = [0; 16];
        // 1, 2 or 4 bytes: the product fits.
        wire[0] = [0, 8, 16, 0, 32][self.bytes.min(4)];
        wire[1] = self.depth;
        wire[2] = u8::from(self.big_endian);
        wire[3] = 1;
        for (i, max) in self.max.iter().enumerate() {
            wire[4 + 2 * i..6 + 2 * i].copy_from_slice(&max.to_be_bytes());
        }
        wire[10..13].copy_from_slice(&self.shift);
        wire
    }

    /// Reads the 16 bytes of a PIXEL_FORMAT.
    pub(super) fn parse(wire: &[u8]) -> Result<Self, CanvasError> {
        let bits = wire[0];
        let bytes = match bits {
            8 => 1,
            16 => 2,
            32 => 4,
            _ => return Err(CanvasError::PixelFormat("8, 16 or 32 bits a pixel are spoken")),
        };
        if wire[3] == 0 {
            return Err(CanvasError::PixelFormat("colour maps are not spoken, true colour is"));
        }
        let max = [u16_at(wire, 4), u16_at(wire, 6), u16_at(wire, 8)];
        let shift = [wire[10], wire[11], wire[12]];
        for (max, shift) in max.into_iter().zip(shift) {
            if shift >= bits || u64::from(max) << shift >= 1 << bits {
                return Err(CanvasError::PixelFormat("a colour lies outside of the pixel"));
            }
        }
        Ok(Self { bytes, depth: wire[1], big_endian: wire[2] != 0, max, shift })
    }

    /// Bytes of a pixel.
    pub(in crate::rfb) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A colour's pixel; the first [`PixelFormat::bytes`] count.
    pub(in crate::rfb) fn pixel(&self, rgb: [u8; 3]) -> [u8; 4] {
        let mut value = 0u32;
        for ((colour, max), shift) in rgb.into_iter().zip(self.max).zip(self.shift) {
            value |= ((u32::from(colour) * u32::from(max) + 127) / 255) << shift;
        }
        let mut pixel = [0; 4];
        if self.big_endian {
            pixel[..self.bytes].copy_from_slice(&value.to_be_bytes()[4 - self.bytes..]);
        } else {
            pixel = value.to_le_bytes();
        }
        pixel
    }

    /// The pixel of every ink, encoded; the first [`PixelFormat::bytes`] of each count.
    fn table(&self) -> [[u8; 4]; PALETTE.len()] {
        PALETTE.map(|rgb| self.pixel(rgb))
    }
}

/// Appends the rectangle at `rect` of what `band` holds: in RRE if the viewer reads it and it is smaller.
pub(super) fn rectangle(out: &mut Vec<u8>, band: &Band, rect: Rect, format: &PixelFormat, rre: bool) {
    for number in [rect.x, rect.y, rect.w, rect.h] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    let table = format.table();
    let pixel = |ink: Ink| &table[ink.index()][..format.bytes];
    let raw_len = usize::from(rect.w) * usize::from(rect.h) * format.bytes;
    if rre {
        let (background, runs) = runs(band, rect);
        let rre_len = 4 + format.bytes + runs.len() * (format.bytes + 8);
        if rre_len < raw_len {
            out.extend_from_slice(&RRE.to_be_bytes());
            out.extend_from_slice(&u32::try_from(runs.len()).unwrap_or(0).to_be_bytes());
            out.extend_from_slice(pixel(background));
            for (ink, run) in runs {
                out.extend_from_slice(pixel(ink));
                for number in [run.x, run.y, run.w, run.h] {
                    out.extend_from_slice(&number.to_be_bytes());
                }
            }
            return;
        }
    }
    out.extend_from_slice(&RAW.to_be_bytes());
    out.reserve(raw_len);
    for row in rect.y..rect.y + rect.h {
        for &ink in band.row(row, rect.x, rect.w) {
            out.extend_from_slice(pixel(ink));
        }
    }
}

/// The most frequent ink, and rectangles (relative to `rect`) of all others: runs of a row, joined with equal
/// runs right above.
fn runs(band: &Band, rect: Rect) -> (Ink, Vec<(Ink, Rect)>) {
    let mut count = [0u32; PALETTE.len()];
    for row in rect.y..rect.y + rect.h {
        for ink in band.row(row, rect.x, rect.w) {
            count[ink.index()] += 1;
        }
    }
    let background = Ink::ALL.into_iter().max_by_key(|ink| count[ink.index()]).unwrap_or(Ink::Night);
    let mut runs: Vec<(Ink, Rect)> = Vec::new();
    // Where the runs of the row above begin in `runs`, in order of x.
    let mut above: Vec<usize> = Vec::new();
    for y in 0..rect.h {
        let (mut current, mut candidates) = (Vec::new(), above.iter().copied().peekable());
        let mut x = 0;
        for equal in band.row(rect.y + y, rect.x, rect.w).chunk_by(|a, b| a == b) {
            let (ink, w) = (equal[0], u16::try_from(equal.len()).unwrap_or(0));
            if ink != background {
                while candidates.next_if(|&i| runs[i].1.x < x).is_some() {}
                match candidates.next_if(|&i| runs[i].0 == ink && runs[i].1.x == x && runs[i].1.w == w) {
                    Some(same) => {
                        runs[same].1.h += 1;
                        current.push(same);
                    }
                    None => {
                        current.push(runs.len());
                        runs.push((ink, Rect { x, y, w, h: 1 }));
                    }
                }
            }
            x += w;
        }
        above = current;
    }
    (background, runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_format_is_what_qemu_announces() {
        let wire = [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0];
        assert_eq!(PixelFormat::OURS.wire(), wire);
        assert_eq!(PixelFormat::parse(&wire), Ok(PixelFormat::OURS));
    }

    #[test]
    fn pixels_in_every_size_and_order() {
        let check = |bits, big: u8, max: [u8; 3], shift: [u8; 3], expected: &[u8]| {
            let [r, g, b] = max;
            let wire = [bits, bits, big, 1, 0, r, 0, g, 0, b, shift[0], shift[1], shift[2], 0, 0, 0];
            let format = PixelFormat::parse(&wire).expect("a good format");
            assert_eq!(&format.table()[Ink::Amber.index()][..format.bytes], expected);
        };
        assert_eq!(PALETTE[Ink::Amber.index()], [0xf5, 0xb8, 0x4b]);
        check(32, 0, [255; 3], [16, 8, 0], &[0x4b, 0xb8, 0xf5, 0]);
        check(32, 1, [255; 3], [16, 8, 0], &[0, 0xf5, 0xb8, 0x4b]);
        check(32, 0, [255; 3], [0, 8, 16], &[0xf5, 0xb8, 0x4b, 0]);
        // RGB565: 30 << 11 | 45 << 5 | 9.
        check(16, 0, [31, 63, 31], [11, 5, 0], &[0xa9, 0xf5]);
        check(16, 1, [31, 63, 31], [11, 5, 0], &[0xf5, 0xa9]);
        // BGR233: red 7, green 5, blue 1.
        check(8, 0, [7, 7, 3], [0, 3, 6], &[0x6f]);
    }

    #[test]
    fn refuses_formats_that_cannot_be() {
        let good = PixelFormat::OURS.wire();
        let check = |at: usize, value: u8| {
            let mut wire = good;
            wire[at] = value;
            assert!(PixelFormat::parse(&wire).is_err(), "byte {at} = {value}");
        };
        check(0, 24);
        check(0, 0);
        check(0, 8);
        check(3, 0);
        check(10, 25);
        check(10, 32);
        check(10, 255);
    }
}
