//! The screen that says why there is no console, and what to do about it.

use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::primitives::Rectangle;

use super::paint::{Band, Ink, LARGE, SMALL, height, wrap};
use super::{HEIGHT, WIDTH};

/// Left edge and width of the panel.
const LEFT: i32 = 80;
const PANEL: u32 = WIDTH as u32 - 2 * LEFT as u32;
/// Space between the panel's edge and its text.
const PAD: i32 = 36;
/// Characters of a line inside: (640 - 2 * 36) pixels by 10, and by 9.
const LARGE_COLUMNS: usize = 56;
const SMALL_COLUMNS: usize = 63;
/// What fits on the screen beside title and frame.
const MAX_MESSAGE_LINES: usize = 7;
const MAX_HINT_LINES: usize = 3;
/// From one line to the next.
const LARGE_LEADING: i32 = 26;
const SMALL_LEADING: i32 = 21;

/// Message and hint, already cleaned.
pub(super) struct Refusal {
    message: String,
    hint: String,
}

impl Refusal {
    pub(super) fn new(message: String, hint: String) -> Self {
        Self { message, hint }
    }

    pub(super) fn paint(&self, band: &mut Band) {
        let message = wrap(&self.message, LARGE_COLUMNS, MAX_MESSAGE_LINES);
        let hint = wrap(&self.hint, SMALL_COLUMNS, MAX_HINT_LINES);
        let rows = |lines: &[String], leading: i32| i32::try_from(lines.len()).unwrap_or(0) * leading;
        let (message_height, hint_height) = (rows(&message, LARGE_LEADING), rows(&hint, SMALL_LEADING));
        let rule = if hint.is_empty() { 0 } else { 42 };
        let body = 2 * height(LARGE) + 28 + message_height + rule + hint_height;
        let panel_height = body + 2 * PAD;
        let top = (i32::from(HEIGHT) - panel_height) / 2;
        frame(band, top, panel_height);

        let x = LEFT + PAD;
        let mut y = top + PAD;
        band.title(Point::new(x, y), "Console not available", Ink::Text);
        y += 2 * height(LARGE) + 28;
        for line in &message {
            band.text(Point::new(x, y), line, LARGE, Ink::Amber);
            y += LARGE_LEADING;
        }
        if rule > 0 {
            let line = Rectangle::new(Point::new(x, y + 16), Size::new(PANEL - 2 * PAD.unsigned_abs(), 1));
            band.fill(line, 0, Ink::Edge);
            y += rule;
        }
        for line in &hint {
            band.text(Point::new(x, y), line, SMALL, Ink::Dim);
            y += SMALL_LEADING;
        }
        band.text(Point::new(LEFT, i32::from(HEIGHT) - 28), "consolegate", SMALL, Ink::Dim);
    }
}

/// The panel with a thin edge and an amber stripe on its left.
fn frame(band: &mut Band, top: i32, panel_height: i32) {
    let size = Size::new(PANEL, panel_height.unsigned_abs());
    let outer = Rectangle::new(Point::new(LEFT, top), size);
    band.fill(outer, 10, Ink::Amber);
    let edge = Rectangle::new(Point::new(LEFT + 5, top), Size::new(size.width - 5, size.height));
    band.fill(edge, 10, Ink::Edge);
    let inner = Rectangle::new(Point::new(LEFT + 6, top + 1), Size::new(size.width - 7, size.height - 2));
    band.fill(inner, 9, Ink::Panel);
}
