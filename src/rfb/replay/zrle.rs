//! ZRLE (RFC 6143 section 7.7.6): tiles of 64 by 64 pixels, as palettes and runs, inside one zlib stream.

use super::bytes::{Bytes, Stop};
use super::flat::whole;
use super::screen::{Area, Canvas, MAX_RECTANGLE, ScreenError};

/// A rectangle in ZRLE.
pub(super) fn rectangle(canvas: &mut Canvas, area: Area, from: &mut Bytes<'_>) -> Result<(), Stop> {
    let len = from.length("a ZRLE rectangle", MAX_RECTANGLE)?;
    let data = from.take(len)?;
    // At worst a run a pixel, and a palette a tile.
    let tiles = area.tiles(64).count();
    let most = area.pixels() * (canvas.format.compact_size() + 1) + tiles * (1 + 128 * 4);
    let data = canvas.zrle.piece(data, most)?;
    let mut data = Bytes(&data);
    for tile in area.tiles(64) {
        whole(one(canvas, tile, &mut data))?;
    }
    Ok(())
}

fn one(canvas: &mut Canvas, tile: Area, from: &mut Bytes<'_>) -> Result<(), Stop> {
    let kind = from.u8()?;
    let colours = usize::from(kind & 0x7f);
    let size = canvas.format.compact_size();
    let pixel = |canvas: &Canvas, from: &mut Bytes<'_>| -> Result<u32, Stop> {
        Ok(canvas.format.compact(from.take(size)?, &canvas.map))
    };
    // Raw and plain runs have no palette; 129 and the numbers from 17 to 127 are none of the protocol's.
    let palette_len = if kind == 128 { 0 } else { colours };
    if kind == 129 || (17..=127).contains(&kind) {
        return Err(ScreenError::Compressed.into());
    }
    let mut palette = Vec::with_capacity(palette_len);
    for _ in 0..palette_len {
        palette.push(pixel(canvas, from)?);
    }
    let entry =
        |index: u8| palette.get(usize::from(index)).copied().ok_or(Stop::Bad(ScreenError::Compressed));
    match kind {
        0 => {
            for (x, y) in tile.places() {
                let colour = pixel(canvas, from)?;
                canvas.set(x, y, colour);
            }
        }
        1 => canvas.fill(tile, entry(0)?),
        2..=16 => {
            let bits = match kind {
                2 => 1,
                3..=4 => 2,
                _ => 4,
            };
            for y in tile.y..tile.y + tile.h {
                let row = from.take((usize::from(tile.w) * bits).div_ceil(8))?;
                for (at, x) in (tile.x..tile.x + tile.w).enumerate() {
                    let byte = row[at * bits / 8];
                    let index = byte >> (8 - bits - at * bits % 8) & ((1 << bits) - 1);
                    canvas.set(x, y, entry(index)?);
                }
            }
        }
        _ => {
            let mut places = tile.places();
            let mut left = tile.pixels();
            while left > 0 {
                let (colour, run) = if kind == 128 {
                    (pixel(canvas, from)?, run(from)?)
                } else {
                    let index = from.u8()?;
                    (entry(index & 0x7f)?, if index & 0x80 == 0 { 1 } else { run(from)? })
                };
                left = left.checked_sub(run).ok_or(ScreenError::Compressed)?;
                for (x, y) in places.by_ref().take(run) {
                    canvas.set(x, y, colour);
                }
            }
        }
    }
    Ok(())
}

/// The length of a run: one more than the sum of its bytes, of which the last is not 255.
fn run(from: &mut Bytes<'_>) -> Result<usize, Stop> {
    let mut run = 1;
    loop {
        let byte = from.u8()?;
        run += usize::from(byte);
        if byte != 255 {
            return Ok(run);
        }
    }
}
