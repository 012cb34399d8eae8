//! What the series of a panel are: a row of keys on a sheet, or one key for a page.

use super::drawing::{Anchor, DROP, Drawing, TEXT};
use super::font;
use super::paint::Paint;
use super::panel::{Form, Series};
use super::series;

/// The length of the line of a key.
const LINE: f64 = 26.0;

fn width(series: &Series) -> f64 {
    match series.form {
        Form::Points(_) => 12.0,
        _ => LINE,
    }
}

/// Draws the keys of the series with their names in a row from `at` on, in its middle;
/// names are cut where they would pass `right`.
pub fn legend(drawing: &mut Drawing, at: (f64, f64), right: f64, entries: &[&Series]) {
    let mut left = at.0;
    for series in entries {
        let wide = width(series);
        let key = series::key(series, (left + wide / 2.0, at.1), wide);
        drawing.shapes.extend(key);
        left += wide + 8.0;
        let place = (left, at.1 + DROP * TEXT);
        let size = (TEXT, (right - left).max(TEXT));
        drawing.text(&series.name, place, size, Anchor::Start, Paint::Ink);
        left += font::width(&series.name, TEXT) + 22.0;
    }
}

/// The key of a series as an element of a page.
pub fn key(series: &Series) -> String {
    let wide = width(series).max(14.0);
    let mut drawing = Drawing::new(wide, 12.0);
    drawing.shapes = series::key(series, (wide / 2.0, 6.0), wide);
    let svg = drawing.page_svg();
    let size =
        format!("<svg class=\"key-mark\" width=\"{wide}\" height=\"12\" aria-hidden=\"true\"");
    svg.replacen("<svg class=\"chart\"", &size, 1)
}
