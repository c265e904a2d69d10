//! What has changed since it was last sent: one stretch of columns for each band of rows.

use std::collections::VecDeque;
use std::ops::Range;

use super::{HEIGHT, WIDTH};

/// Rows of a band: one line of text. A raw band of 32-bit pixels is 64,000 bytes, one good write.
pub(super) const BAND: u16 = 20;

const BANDS: usize = (HEIGHT / BAND) as usize;

/// A rectangle of the screen, never empty and never beyond an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rect {
    pub(super) x: u16,
    pub(super) y: u16,
    pub(super) w: u16,
    pub(super) h: u16,
}

/// The damaged columns of every band; an empty range is undamaged.
#[derive(Clone, Debug)]
pub(super) struct Damage([Range<u16>; BANDS]);

impl Default for Damage {
    fn default() -> Self {
        Self(std::array::from_fn(|_| 0..0))
    }
}

impl Damage {
    /// Adds an area; what lies beyond the screen does not count.
    pub(super) fn add(&mut self, x: u16, y: u16, w: u16, h: u16) {
        let columns = x.min(WIDTH)..x.saturating_add(w).min(WIDTH);
        let rows = y.min(HEIGHT)..y.saturating_add(h).min(HEIGHT);
        if columns.is_empty() || rows.is_empty() {
            return;
        }
        let bands = usize::from(rows.start / BAND)..usize::from(rows.end.div_ceil(BAND));
        for damaged in &mut self.0[bands] {
            *damaged = if Range::is_empty(damaged) {
                columns.clone()
            } else {
                damaged.start.min(columns.start)..damaged.end.max(columns.end)
            };
        }
    }

    pub(super) fn everything(&mut self) {
        self.add(0, 0, WIDTH, HEIGHT);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(Range::is_empty)
    }

    /// All of it, which from now on counts as sent. A request's area is not looked at (QEMU does not either):
    /// a viewer gets what changed anywhere, once, and an update is never larger than the screen.
    pub(super) fn take(&mut self) -> VecDeque<Rect> {
        let tops = (0..HEIGHT).step_by(usize::from(BAND));
        let damaged = std::mem::take(self).0.into_iter().zip(tops).filter(|(columns, _)| !columns.is_empty());
        damaged
            .map(|(columns, y)| Rect { x: columns.start, y, w: columns.end - columns.start, h: BAND })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn covers_the_screen_exactly() {
        assert_eq!(HEIGHT % BAND, 0);
        let mut damage = Damage::default();
        assert!(damage.is_empty());
        damage.everything();
        let rects = damage.take();
        assert_eq!(rects.len(), BANDS);
        assert_eq!(rects.iter().map(|r| u32::from(r.w) * u32::from(r.h)).sum::<u32>(), 800 * 480);
        assert!(damage.is_empty());
    }

    proptest! {
        #[test]
        fn every_damaged_pixel_is_in_a_rectangle(areas: Vec<(u16, u16, u16, u16)>, px in 0..WIDTH, py in 0..HEIGHT) {
            let mut damage = Damage::default();
            let mut hit = false;
            for (x, y, w, h) in areas {
                damage.add(x, y, w, h);
                let inside = |at: u16, from: u16, len: u16| at >= from && u32::from(at) < u32::from(from) + u32::from(len);
                hit |= inside(px, x, w) && inside(py, y, h);
            }
            let rects = damage.take();
            let covered = rects.iter().any(|r| (r.x..r.x + r.w).contains(&px) && (r.y..r.y + r.h).contains(&py));
            prop_assert!(!hit || covered);
            prop_assert!(rects.iter().all(|r| r.w > 0 && r.x + r.w <= WIDTH && r.y + r.h <= HEIGHT));
        }
    }
}
