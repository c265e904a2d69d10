//! The demo's screen: keys, pointer and clipboard as they arrive, and a place to draw.

use std::collections::VecDeque;

use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::primitives::{Line, PrimitiveStyle, Rectangle, StyledDrawable};

use super::damage::Damage;
use super::paint::{Band, Ink, LARGE, SMALL, width, wrap};
use super::{Event, HEIGHT, WIDTH, keysym};

/// Lines of text lie on bands, so that a changed line is one band.
const KEYS_Y: u16 = 60;
const TYPED_Y: u16 = 80;
const POINTER_Y: u16 = 100;
const CLIPBOARD_Y: u16 = 120;
const PAD_Y: u16 = 180;
const LABEL_X: i32 = 24;
const VALUE_X: i32 = 144;
/// Characters right of a label.
const COLUMNS: usize = 63;
const CLIPBOARD_LINES: usize = 2;

/// Keys kept by name: one-letter ones fill the line, longer ones push the oldest out of it.
const MAX_KEYS: usize = 32;
/// Strokes kept of a drawing: a page full; painting stays far below a millisecond a band.
const MAX_STROKES: usize = 2000;
/// Half the size of the cross at the pointer, in pixels.
const CROSS: u16 = 9;
const PEN: u16 = 3;

/// One piece of a drawing.
#[derive(Clone, Copy)]
struct Stroke {
    from: (u16, u16),
    to: (u16, u16),
    ink: Ink,
}

/// Everything on the demo's screen.
pub(super) struct Demo {
    title: String,
    status: String,
    keys: VecDeque<u32>,
    typed: VecDeque<char>,
    pointer: (u16, u16),
    buttons: u8,
    clipboard: String,
    strokes: VecDeque<Stroke>,
}

impl Demo {
    pub(super) fn new(title: String) -> Self {
        Self {
            title,
            status: String::new(),
            keys: VecDeque::new(),
            typed: VecDeque::new(),
            pointer: (WIDTH / 2, (PAD_Y + HEIGHT) / 2),
            buttons: 0,
            clipboard: String::new(),
            strokes: VecDeque::new(),
        }
    }

    pub(super) fn set_status(&mut self, status: String, damage: &mut Damage) {
        if self.status != status {
            self.status = status;
            damage.add(WIDTH / 2, 0, WIDTH / 2, 40);
        }
    }

    pub(super) fn act(&mut self, event: &Event, damage: &mut Damage) {
        match event {
            Event::Ready | Event::Key { down: false, .. } => {}
            Event::Key { down: true, keysym } => self.key(*keysym, damage),
            Event::Pointer { x, y, buttons } => {
                self.point((*x).min(WIDTH - 1), (*y).min(HEIGHT - 1), *buttons, damage);
            }
            Event::CutText(text) => {
                self.clipboard.clone_from(text);
                line(CLIPBOARD_Y, damage);
                line(CLIPBOARD_Y + 20, damage);
            }
        }
    }

    fn key(&mut self, key: u32, damage: &mut Damage) {
        if self.keys.len() == MAX_KEYS {
            self.keys.pop_front();
        }
        self.keys.push_back(key);
        line(KEYS_Y, damage);
        match key {
            0xff08 => drop(self.typed.pop_back()),
            0xff0d | 0xff8d => self.typed.clear(),
            0xff1b => {
                self.strokes.clear();
                damage.add(0, PAD_Y, WIDTH, HEIGHT);
            }
            key => self.typed.extend(keysym::character(key)),
        }
        // The cursor takes the last column.
        if self.typed.len() == COLUMNS {
            self.typed.pop_front();
        }
        line(TYPED_Y, damage);
    }

    fn point(&mut self, x: u16, y: u16, buttons: u8, damage: &mut Damage) {
        let cross = |(x, y): (u16, u16), damage: &mut Damage| {
            damage.add(x.saturating_sub(CROSS), y.saturating_sub(CROSS), 2 * CROSS + 1, 2 * CROSS + 1);
        };
        let from = if self.buttons == 0 { (x, y) } else { self.pointer };
        cross(self.pointer, damage);
        self.pointer = (x, y);
        self.buttons = buttons;
        cross(self.pointer, damage);
        line(POINTER_Y, damage);
        let ink = match buttons & 7 {
            0 => return,
            b if b & 1 != 0 => Ink::Blue,
            b if b & 4 != 0 => Ink::Green,
            _ => Ink::Amber,
        };
        if y.min(from.1) > PAD_Y {
            if self.strokes.len() == MAX_STROKES
                && let Some(oldest) = self.strokes.pop_front()
            {
                oldest.touch(damage);
            }
            let stroke = Stroke { from, to: (x, y), ink };
            stroke.touch(damage);
            self.strokes.push_back(stroke);
        }
    }

    pub(super) fn paint(&self, band: &mut Band) {
        band.fill(Rectangle::new(Point::zero(), Size::new(u32::from(WIDTH), 40)), 0, Ink::Panel);
        band.fill(Rectangle::new(Point::new(0, 39), Size::new(u32::from(WIDTH), 1)), 0, Ink::Edge);
        let title = wrap(&self.title, 50, 1).pop().unwrap_or_default();
        band.text(Point::new(LABEL_X, 10), &title, LARGE, Ink::Text);
        let status = wrap(&self.status, 24, 1).pop().unwrap_or_default();
        let right = i32::from(WIDTH) - LABEL_X - width(&status, LARGE);
        band.text(Point::new(right, 10), &status, LARGE, Ink::Dim);

        let keys: Vec<_> = self.keys.iter().map(|&k| keysym::name(k)).collect();
        field(band, KEYS_Y, "Keys", &last(&keys.join(" "), COLUMNS), Ink::Amber);
        let typed: String = self.typed.iter().chain(['_'].iter()).collect();
        field(band, TYPED_Y, "Typed", &typed, Ink::Text);
        let (x, y) = self.pointer;
        let pointer = format!("x {x:3}  y {y:3}  buttons {:03b}", self.buttons);
        field(band, POINTER_Y, "Pointer", &pointer, Ink::Green);
        let clipboard = wrap(&self.clipboard, COLUMNS, CLIPBOARD_LINES);
        field(band, CLIPBOARD_Y, "Clipboard", clipboard.first().map_or("", String::as_str), Ink::Blue);
        field(band, CLIPBOARD_Y + 20, "", clipboard.get(1).map_or("", String::as_str), Ink::Blue);
        self.paint_pad(band);
        self.paint_cross(band);
    }

    fn paint_pad(&self, band: &mut Band) {
        let (top, left) = (i32::from(PAD_Y), 16);
        let size = Size::new(u32::from(WIDTH) - 32, u32::from(HEIGHT - PAD_Y) - 20);
        band.fill(Rectangle::new(Point::new(left, top), size), 8, Ink::Edge);
        let inner = Rectangle::new(Point::new(left + 1, top + 1), size - Size::new_equal(2));
        band.fill(inner, 7, Ink::Panel);
        let hint = "Hold a mouse button to draw; Escape clears. Type and paste to see it arrive.";
        let x = (i32::from(WIDTH) - width(hint, SMALL)) / 2;
        band.text(Point::new(x, i32::from(HEIGHT) - 48), hint, SMALL, Ink::Dim);
        for stroke in &self.strokes {
            stroke.paint(band);
        }
    }

    fn paint_cross(&self, band: &mut Band) {
        let (x, y) = (i32::from(self.pointer.0), i32::from(self.pointer.1));
        let arm = i32::from(CROSS);
        let len = u32::from(CROSS) * 2 + 1;
        let ink = if self.buttons == 0 { Ink::Text } else { Ink::Amber };
        band.fill(Rectangle::new(Point::new(x - arm, y), Size::new(len, 1)), 0, ink);
        band.fill(Rectangle::new(Point::new(x, y - arm), Size::new(1, len)), 0, ink);
    }
}

impl Stroke {
    /// The area it paints, with the pen's width around it.
    fn touch(&self, damage: &mut Damage) {
        let span = |a: u16, b: u16| (a.min(b).saturating_sub(PEN), a.abs_diff(b) + 2 * PEN + 1);
        let ((x, w), (y, h)) = (span(self.from.0, self.to.0), span(self.from.1, self.to.1));
        damage.add(x, y, w, h);
    }

    fn paint(&self, band: &mut Band) {
        let (from, to) = (i32::from(self.from.1), i32::from(self.to.1));
        let pen = i32::from(PEN);
        if band.shows(from.min(to) - pen, from.max(to) + pen + 1) {
            let point = |(x, y): (u16, u16)| Point::new(i32::from(x), i32::from(y));
            let style = PrimitiveStyle::with_stroke(self.ink, u32::from(PEN));
            let Ok(()) = Line::new(point(self.from), point(self.to)).draw_styled(&style, band);
        }
    }
}

/// A label and its value on one line.
fn field(band: &mut Band, y: u16, label: &str, value: &str, ink: Ink) {
    let y = i32::from(y);
    band.text(Point::new(LABEL_X, y + 2), label, SMALL, Ink::Dim);
    band.text(Point::new(VALUE_X, y), value, LARGE, ink);
}

/// One line of text has changed.
fn line(y: u16, damage: &mut Damage) {
    damage.add(0, y, WIDTH, 20);
}

/// The last `columns` characters.
fn last(text: &str, columns: usize) -> String {
    text.chars().skip(text.chars().count().saturating_sub(columns)).collect()
}
