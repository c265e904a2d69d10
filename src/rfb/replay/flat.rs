//! The encodings that need no decompression (RFC 6143 section 7.7): Raw, CopyRect, RRE, CoRRE, Hextile; and Zlib,
//! which is Raw inside a stream.

use super::bytes::{Bytes, Stop};
use super::screen::{Area, Canvas, ScreenError};

/// Raw.
pub(super) fn raw(canvas: &mut Canvas, area: Area, from: &mut Bytes<'_>) -> Result<(), Stop> {
    let size = canvas.format.size;
    let row = usize::from(area.w) * size;
    let data = from.take(row * usize::from(area.h))?;
    for (y, pixels) in (area.y..).zip(data.chunks_exact(row.max(1))) {
        for (x, pixel) in (area.x..).zip(pixels.chunks_exact(size)) {
            let colour = canvas.format.colour(pixel, &canvas.map);
            canvas.set(x, y, colour);
        }
    }
    Ok(())
}

/// Zlib (rfbproto, "Zlib Encoding").
pub(super) fn zlib(canvas: &mut Canvas, area: Area, from: &mut Bytes<'_>) -> Result<(), Stop> {
    let len = from.length("a Zlib rectangle", super::screen::MAX_RECTANGLE)?;
    let data = from.take(len)?;
    let most = area.pixels() * canvas.format.size;
    let pixels = canvas.zlib.piece(data, most)?;
    whole(raw(canvas, area, &mut Bytes(&pixels)))
}

/// What is read from what is all there.
pub(super) fn whole<T>(read: Result<T, Stop>) -> Result<T, Stop> {
    read.map_err(|stop| match stop {
        Stop::More => Stop::Bad(ScreenError::Compressed),
        bad @ Stop::Bad(_) => bad,
    })
}

/// CopyRect.
pub(super) fn copy(canvas: &mut Canvas, area: Area, from: &mut Bytes<'_>) -> Result<(), Stop> {
    let source = Area { x: from.u16()?, y: from.u16()?, ..area };
    canvas.check(source)?;
    let mut rows = Vec::with_capacity(area.pixels());
    for y in source.y..source.y + source.h {
        rows.extend_from_slice(canvas.row(source.x, y, source.w));
    }
    for (y, row) in (area.y..).zip(rows.chunks_exact(usize::from(area.w).max(1))) {
        for (x, colour) in (area.x..).zip(row) {
            canvas.set(x, y, *colour);
        }
    }
    Ok(())
}

/// RRE; with bytes for coordinates it is CoRRE.
pub(super) fn rre(canvas: &mut Canvas, area: Area, from: &mut Bytes<'_>, short: bool) -> Result<(), Stop> {
    let count = from.length("a list of subrectangles", area.pixels())?;
    let background = canvas.format.next(from, &canvas.map)?;
    let each = canvas.format.size + if short { 4 } else { 8 };
    let mut list = Bytes(from.take(count * each)?);
    canvas.fill(area, background);
    for _ in 0..count {
        let colour = canvas.format.next(&mut list, &canvas.map)?;
        let mut number = || if short { list.u8().map(u16::from) } else { list.u16() };
        let inner = Area { x: number()?, y: number()?, w: number()?, h: number()? };
        canvas.fill(area.within(inner)?, colour);
    }
    Ok(())
}

const RAW: u8 = 1;
const BACKGROUND: u8 = 2;
const FOREGROUND: u8 = 4;
const SUBRECTS: u8 = 8;
const COLOURED: u8 = 16;

/// Hextile.
pub(super) fn hextile(canvas: &mut Canvas, area: Area, from: &mut Bytes<'_>) -> Result<(), Stop> {
    let (mut background, mut foreground) = (0, 0);
    for tile in area.tiles(16) {
        let kind = from.u8()?;
        if kind & RAW != 0 {
            raw(canvas, tile, from)?;
            continue;
        }
        if kind & BACKGROUND != 0 {
            background = canvas.format.next(from, &canvas.map)?;
        }
        if kind & FOREGROUND != 0 {
            foreground = canvas.format.next(from, &canvas.map)?;
        }
        canvas.fill(tile, background);
        let count = if kind & SUBRECTS != 0 { from.u8()? } else { 0 };
        for _ in 0..count {
            let coloured = kind & COLOURED != 0;
            let colour = if coloured { canvas.format.next(from, &canvas.map)? } else { foreground };
            let (at, size) = (from.u8()?, from.u8()?);
            let [x, y, w, h] = [at >> 4, at & 15, (size >> 4) + 1, (size & 15) + 1].map(u16::from);
            canvas.fill(tile.within(Area { x, y, w, h })?, colour);
        }
    }
    Ok(())
}
