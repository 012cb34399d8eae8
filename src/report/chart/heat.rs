//! Cells of a heat map on a sheet, each with its number where there is room for it.

use super::drawing::{Anchor, DROP, Drawing, Frame};
use super::font;
use super::paint::{Paint, Rgb, readable};

/// Between two cells.
const SEAM: f64 = 1.0;

/// Draws one cell, with lines of text of these ems in its middle, one below the other.
/// A line that is wider than the cell is left out.
pub fn cell(drawing: &mut Drawing, frame: Frame, ground: Rgb, lines: &[(String, f64)]) {
    let seams = (frame.width - 2.0 * SEAM, frame.height - 2.0 * SEAM);
    let corner = (frame.left + SEAM, frame.top + SEAM);
    drawing.rectangle(corner, seams, Paint::Mixed(ground));
    let ink = Paint::Mixed(readable(ground));
    let height: f64 = lines.iter().map(|(_, em)| 1.25 * em).sum();
    let mut top = frame.top + (frame.height - height) / 2.0;
    for (text, em) in lines {
        let middle = top + 1.25 * em / 2.0;
        top += 1.25 * em;
        if font::width(text, *em) > frame.width - 4.0 {
            continue;
        }
        let at = (frame.left + frame.width / 2.0, middle + DROP * em);
        drawing.text(text, at, (*em, frame.width), Anchor::Middle, ink);
    }
}
