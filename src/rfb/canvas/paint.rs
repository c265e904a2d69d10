//! Painting one band of rows: a small palette, text and boxes, everything outside the band left out.

use std::convert::Infallible;

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Dimensions, OriginDimensions, Point, Size};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle, iso_8859_1};
use embedded_graphics::pixelcolor::PixelColor;
use embedded_graphics::pixelcolor::raw::RawU8;
use embedded_graphics::primitives::{
    PointsIter, PrimitiveStyle, Rectangle, RoundedRectangle, StyledDrawable,
};
use embedded_graphics::text::{Baseline, Text};
use embedded_graphics::{Drawable, Pixel};

use super::WIDTH;

/// What people read: 10 by 20 pixels.
pub(super) const LARGE: &MonoFont<'_> = &iso_8859_1::FONT_10X20;
/// Labels and hints: 9 by 15 pixels.
pub(super) const SMALL: &MonoFont<'_> = &iso_8859_1::FONT_9X15;

/// The colours there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    Night,
    Panel,
    Edge,
    Text,
    Dim,
    Amber,
    Green,
    Blue,
}

/// Red, green and blue of every ink, in its order.
pub(super) const PALETTE: [[u8; 3]; 8] = [
    [0x0e, 0x13, 0x19],
    [0x18, 0x20, 0x2a],
    [0x2e, 0x3b, 0x4a],
    [0xe8, 0xee, 0xf4],
    [0x93, 0xa1, 0xb0],
    [0xf5, 0xb8, 0x4b],
    [0x5f, 0xd3, 0x8d],
    [0x6c, 0xb6, 0xff],
];

impl Ink {
    pub(super) const ALL: [Self; PALETTE.len()] =
        [Self::Night, Self::Panel, Self::Edge, Self::Text, Self::Dim, Self::Amber, Self::Green, Self::Blue];

    pub(super) fn index(self) -> usize {
        self as usize
    }
}

impl PixelColor for Ink {
    type Raw = RawU8;
}

/// The rows of the screen that are painted right now.
pub(super) struct Band {
    top: u16,
    rows: u16,
    cells: Vec<Ink>,
}

impl Band {
    /// Rows `top` to `top + rows`, dark.
    pub(super) fn new(top: u16, rows: u16) -> Self {
        Self { top, rows, cells: vec![Ink::Night; usize::from(WIDTH) * usize::from(rows)] }
    }

    /// `len` cells of the row `y` of the screen, from column `x`; empty outside the band.
    pub(super) fn row(&self, y: u16, x: u16, len: u16) -> &[Ink] {
        let start = usize::from(y.saturating_sub(self.top)) * usize::from(WIDTH) + usize::from(x);
        self.cells.get(start..start + usize::from(len)).unwrap_or_default()
    }

    /// Whether anything between the rows `top` and `bottom` of the screen can be seen here.
    pub(super) fn shows(&self, top: i32, bottom: i32) -> bool {
        bottom > i32::from(self.top) && top < i32::from(self.top) + i32::from(self.rows)
    }

    /// Draws one line of text with its upper left corner at `at`.
    pub(super) fn text(&mut self, at: Point, text: &str, font: &MonoFont<'_>, ink: Ink) {
        if self.shows(at.y, at.y + height(font)) {
            let style = MonoTextStyle::new(font, ink);
            let Ok(_) = Text::with_baseline(text, at, style, Baseline::Top).draw(self);
        }
    }

    /// Draws one line of text at twice its size.
    pub(super) fn title(&mut self, at: Point, text: &str, ink: Ink) {
        if self.shows(at.y, at.y + 2 * height(LARGE)) {
            let style = MonoTextStyle::new(LARGE, ink);
            let mut twice = Twice { band: self, at };
            let Ok(_) = Text::with_baseline(text, Point::zero(), style, Baseline::Top).draw(&mut twice);
        }
    }

    /// Fills a box; `radius` rounds its corners.
    pub(super) fn fill(&mut self, area: Rectangle, radius: u32, ink: Ink) {
        let bottom = area.bottom_right().map_or(area.top_left.y, |p| p.y + 1);
        if self.shows(area.top_left.y, bottom) {
            let shape = RoundedRectangle::with_equal_corners(area, Size::new_equal(radius));
            let Ok(()) = shape.draw_styled(&PrimitiveStyle::with_fill(ink), self);
        }
    }
}

/// Pixels of one line of `font`.
pub(super) fn height(font: &MonoFont<'_>) -> i32 {
    font.character_size.height.cast_signed()
}

/// Pixels of `text` in `font`.
pub(super) fn width(text: &str, font: &MonoFont<'_>) -> i32 {
    let advance = font.character_size.width + font.character_spacing;
    i32::try_from(text.chars().count()).unwrap_or(i32::MAX).saturating_mul(advance.cast_signed())
}

/// Breaks `text` into at most `lines` lines of `columns` characters, at spaces where it can; an ellipsis of
/// dots says that something was left out.
pub(super) fn wrap(text: &str, columns: usize, lines: usize) -> Vec<String> {
    let mut wrapped: Vec<String> = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        if used > 0 && used + 1 + word.len() > columns {
            wrapped.push(std::mem::take(&mut line));
            used = 0;
        }
        while word.len() > columns {
            let rest = word.split_off(columns);
            wrapped.push(word.into_iter().collect());
            word = rest;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        used += word.len();
        line.extend(word);
    }
    if used > 0 {
        wrapped.push(line);
    }
    if wrapped.len() > lines {
        wrapped.truncate(lines);
        if let Some(last) = wrapped.last_mut() {
            let kept: String = last.chars().take(columns.saturating_sub(3)).collect();
            *last = kept + "...";
        }
    }
    wrapped
}

impl OriginDimensions for Band {
    fn size(&self) -> Size {
        Size::new(u32::from(WIDTH), u32::from(super::HEIGHT))
    }
}

impl DrawTarget for Band {
    type Color = Ink;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Ink>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(at, ink) in pixels {
            let (Ok(x), Ok(row)) = (u16::try_from(at.x), u16::try_from(at.y - i32::from(self.top))) else {
                continue;
            };
            if x < WIDTH && row < self.rows {
                self.cells[usize::from(row) * usize::from(WIDTH) + usize::from(x)] = ink;
            }
        }
        Ok(())
    }

    fn fill_solid(&mut self, area: &Rectangle, ink: Ink) -> Result<(), Infallible> {
        let band = Rectangle::new(
            Point::new(0, i32::from(self.top)),
            Size::new(u32::from(WIDTH), u32::from(self.rows)),
        );
        self.draw_iter(area.intersection(&band).points().map(|at| Pixel(at, ink)))
    }
}

/// Draws every pixel as four, from `at` on.
struct Twice<'b> {
    band: &'b mut Band,
    at: Point,
}

impl Dimensions for Twice<'_> {
    fn bounding_box(&self) -> Rectangle {
        self.band.bounding_box()
    }
}

impl DrawTarget for Twice<'_> {
    type Color = Ink;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Ink>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(at, ink) in pixels {
            self.band.fill_solid(&Rectangle::new(self.at + at * 2, Size::new_equal(2)), ink)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_at_spaces_and_says_what_is_left_out() {
        let check = |text: &str, columns, lines, expected: &[&str]| {
            assert_eq!(wrap(text, columns, lines), expected, "{text:?}");
        };
        check("", 10, 3, &[]);
        check("one two three", 7, 3, &["one two", "three"]);
        check("exactly ten", 11, 3, &["exactly ten"]);
        check("averyverylongword end", 8, 9, &["averyver", "ylongwor", "d end"]);
        check("a b c d", 1, 2, &["a", "..."]);
        check("one two three four", 9, 1, &["one tw..."]);
    }

    #[test]
    fn a_band_is_the_same_rows_of_the_whole_screen() {
        let scene = |band: &mut Band| {
            band.fill(Rectangle::new(Point::new(30, 15), Size::new(700, 100)), 8, Ink::Panel);
            band.title(Point::new(40, 18), "Title", Ink::Text);
            band.text(Point::new(-5, 55), "text beyond the edge", LARGE, Ink::Amber);
        };
        let mut whole = Band::new(0, super::super::HEIGHT);
        scene(&mut whole);
        for top in (0..480).step_by(20) {
            let mut band = Band::new(top, 20);
            scene(&mut band);
            for y in top..top + 20 {
                assert_eq!(band.row(y, 0, WIDTH), whole.row(y, 0, WIDTH), "row {y}");
            }
        }
    }
}
