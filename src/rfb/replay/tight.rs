//! Tight (rfbproto, "Tight Encoding"): fills, JPEG, and three filters inside four zlib streams.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::bytes::{Bytes, Stop};
use super::flat::whole;
use super::inflate::Inflate;
use super::screen::{Area, Canvas, ScreenError};

/// What is shorter than this is not compressed.
const UNCOMPRESSED: usize = 12;

/// A rectangle in Tight.
pub(super) fn rectangle(canvas: &mut Canvas, area: Area, from: &mut Bytes<'_>) -> Result<(), Stop> {
    let control = from.u8()?;
    let kind = control >> 4;
    let mut body = *from;
    match kind {
        8 => {
            let size = canvas.format.tight_size();
            let colour = canvas.format.tight(body.take(size)?, &canvas.map);
            reset(canvas, control);
            canvas.fill(area, colour);
        }
        9 => {
            let len = length(&mut body)?;
            let data = body.take(len)?;
            reset(canvas, control);
            jpeg(canvas, area, data)?;
        }
        0..=7 => basic(canvas, area, control, &mut body)?,
        _ => return Err(ScreenError::Encoding(7).into()),
    }
    *from = body;
    Ok(())
}

/// Streams that begin anew, by the low four bits. Done when all of the rectangle is there: it is done once.
fn reset(canvas: &mut Canvas, control: u8) {
    for (at, stream) in canvas.tight.iter_mut().enumerate() {
        if control & 1 << at != 0 {
            *stream = Inflate::default();
        }
    }
}

/// A length in one to three bytes, seven bits each and eight in the last.
fn length(from: &mut Bytes<'_>) -> Result<usize, Stop> {
    let mut len = 0;
    for shift in [0, 7, 14] {
        let byte = from.u8()?;
        let bits = if shift == 14 { byte } else { byte & 0x7f };
        len |= usize::from(bits) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Ok(len)
}

enum Filter {
    Copy,
    Palette(Vec<u32>),
    Gradient,
}

fn basic(canvas: &mut Canvas, area: Area, control: u8, from: &mut Bytes<'_>) -> Result<(), Stop> {
    let size = canvas.format.tight_size();
    let filter = match if control & 0x40 != 0 { from.u8()? } else { 0 } {
        0 => Filter::Copy,
        1 => {
            let count = usize::from(from.u8()?) + 1;
            let colours = from.take(count * size)?.chunks_exact(size);
            Filter::Palette(colours.map(|pixel| canvas.format.tight(pixel, &canvas.map)).collect())
        }
        2 if size == 3 => Filter::Gradient,
        _ => return Err(ScreenError::Encoding(7).into()),
    };
    let row = match &filter {
        Filter::Palette(colours) if colours.len() == 2 => usize::from(area.w).div_ceil(8),
        Filter::Palette(_) => usize::from(area.w),
        Filter::Copy | Filter::Gradient => usize::from(area.w) * size,
    };
    let len = row * usize::from(area.h);
    let inflated;
    let data = if len < UNCOMPRESSED {
        let data = from.take(len)?;
        reset(canvas, control);
        data
    } else {
        let compressed = length(from)?;
        let data = from.take(compressed)?;
        reset(canvas, control);
        inflated = canvas.tight[usize::from(control >> 4 & 3)].piece(data, len)?;
        &inflated[..]
    };
    let mut data = Bytes(data);
    let data = whole(data.take(len))?;
    match filter {
        Filter::Copy => {
            for ((x, y), pixel) in area.places().zip(data.chunks_exact(size)) {
                let colour = canvas.format.tight(pixel, &canvas.map);
                canvas.set(x, y, colour);
            }
        }
        Filter::Palette(colours) => palette(canvas, area, &colours, data, row)?,
        Filter::Gradient => gradient(canvas, area, data),
    }
    Ok(())
}

fn palette(canvas: &mut Canvas, area: Area, colours: &[u32], data: &[u8], row: usize) -> Result<(), Stop> {
    for (y, row) in (area.y..).zip(data.chunks_exact(row.max(1))) {
        for (at, x) in (area.x..area.x + area.w).enumerate() {
            let index = match colours.len() {
                2 => row[at / 8] >> (7 - at % 8) & 1,
                _ => row[at],
            };
            let colour = colours.get(usize::from(index)).ok_or(ScreenError::Compressed)?;
            canvas.set(x, y, *colour);
        }
    }
    Ok(())
}

/// Each colour as the difference to what its left, upper and upper left neighbours make likely.
fn gradient(canvas: &mut Canvas, area: Area, data: &[u8]) {
    let width = usize::from(area.w);
    let mut above = vec![[0u8; 3]; width + 1];
    for (y, row) in (area.y..).zip(data.chunks_exact(width.max(1) * 3)) {
        let mut current = vec![[0u8; 3]; width + 1];
        for (at, x) in (area.x..area.x + area.w).enumerate() {
            for colour in 0..3 {
                let [left, up, corner] =
                    [current[at][colour], above[at + 1][colour], above[at][colour]].map(i16::from);
                let likely = u8::try_from((left + up - corner).clamp(0, 255)).unwrap_or(0);
                current[at + 1][colour] = likely.wrapping_add(row[at * 3 + colour]);
            }
            let [red, green, blue] = current[at + 1];
            canvas.set(x, y, u32::from_be_bytes([0, red, green, blue]));
        }
        above = current;
    }
}

/// A JPEG picture of the rectangle's size.
pub(super) fn jpeg(canvas: &mut Canvas, area: Area, data: &[u8]) -> Result<(), Stop> {
    let options = DecoderOptions::default()
        .jpeg_set_out_colorspace(ColorSpace::RGB)
        .set_max_width(usize::from(area.w))
        .set_max_height(usize::from(area.h));
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(data), options);
    let pixels = decoder.decode().map_err(|_| ScreenError::Jpeg)?;
    if pixels.len() != area.pixels() * 3 {
        return Err(ScreenError::Jpeg.into());
    }
    for ((x, y), pixel) in area.places().zip(pixels.chunks_exact(3)) {
        canvas.set(x, y, u32::from_be_bytes([0, pixel[0], pixel[1], pixel[2]]));
    }
    Ok(())
}
