//! Several lines over a number in one panel, for a page or a file. Each line has a mark of
//! its own, so that they differ without color too.

use std::path::Path;

use super::axis::{Axis, drawable};
use super::drawing::{Anchor, Drawing, Frame, Symbol, TITLE};
use super::legend::{key, legend};
use super::paint::Paint;
use super::panel::{Form, Guide, Panel, Series};
use crate::error::Result;

/// The room of a panel.
const SIZE: (f64, f64) = (440.0, 260.0);
/// So many marks on a line.
const MARKS: usize = 7;

/// How a line is drawn: four that can be told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stroke {
    /// Reddish purple with rings.
    Rings,
    /// Vermillion with squares.
    Squares,
    /// Blue with discs.
    Discs,
    /// Bluish green, wider, without marks.
    Plain,
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// How it is drawn.
    pub stroke: Stroke,
    /// x and y.
    pub points: Vec<(f64, f64)>,
}

/// A panel.
#[derive(Debug, Clone, PartialEq)]
pub struct Lines {
    /// Above the panel.
    pub title: String,
    /// Below the axis.
    pub x_title: String,
    /// Whether the vertical axis is by decades. What is below `low` is drawn at its
    /// lower end then.
    pub logarithm: bool,
    /// The least and the largest value of the vertical axis.
    pub range: (f64, f64),
    /// The lines, later ones above.
    pub lines: Vec<Line>,
    /// A value to compare with: a dashed line over the whole width.
    pub level: Option<f64>,
}

impl Stroke {
    fn paint(self) -> Paint {
        match self {
            Stroke::Rings => Paint::Purple,
            Stroke::Squares => Paint::Vermillion,
            Stroke::Discs => Paint::Blue,
            Stroke::Plain => Paint::Green,
        }
    }

    fn symbol(self) -> Option<Symbol> {
        match self {
            Stroke::Rings => Some(Symbol::Ring),
            Stroke::Squares => Some(Symbol::Square),
            Stroke::Discs => Some(Symbol::Disc),
            Stroke::Plain => None,
        }
    }

    /// A series that is drawn so; its marks are not at the places of the `n`th others.
    fn series(self, name: &str, n: usize, points: Vec<(f64, f64)>) -> Series {
        let every = (points.len() / MARKS).max(1);
        let marks = self.symbol().map(|symbol| (symbol, n * every / 4, every));
        let width = if self == Stroke::Plain { 2.8 } else { 1.6 };
        Series::new(name, self.paint(), Form::Line { width, marks }, points)
    }

    /// Its key: a short line with its mark, as an element of a page.
    pub fn key(self) -> String {
        key(&self.series("", 0, Vec::new()))
    }
}

/// Draws the panels, two in a row, with a legend above, into `path` (`.png` or `.svg`).
///
/// # Errors
/// The extension is another one, or the file cannot be written.
pub fn sheet(
    path: &Path,
    title: &str,
    legend: &[(Stroke, String)],
    panels: &[Lines],
) -> Result<()> {
    sheet_drawing(title, legend, panels).save(path)
}

fn sheet_drawing(title: &str, strokes: &[(Stroke, String)], panels: &[Lines]) -> Drawing {
    const HEAD: f64 = 66.0;
    let rows = panels.len().div_ceil(2) as f64;
    let mut drawing = Drawing::new(2.0 * SIZE.0, HEAD + rows * SIZE.1 + 6.0);
    let size = (TITLE, drawing.width - 32.0);
    drawing.text(title, (16.0, 26.0), size, Anchor::Start, Paint::Ink);
    let keys: Vec<Series> = (strokes.iter())
        .map(|(stroke, name)| stroke.series(name, 0, Vec::new()))
        .collect();
    let keys: Vec<&Series> = keys.iter().collect();
    let right = drawing.width - 16.0;
    legend(&mut drawing, (16.0, 50.0), right, &keys);
    for (n, panel) in panels.iter().enumerate() {
        let corner = (SIZE.0 * (n % 2) as f64, HEAD + SIZE.1 * (n / 2) as f64);
        panel.draw(&mut drawing, corner);
    }
    drawing
}

impl Lines {
    /// The panel as an element of a page. Points that are not finite leave a gap.
    pub fn svg(&self) -> String {
        self.drawing().page_svg()
    }

    /// A value where it has a place.
    fn height(&self, value: f64) -> f64 {
        match self.logarithm {
            true => value.max(self.range.0),
            false => value,
        }
    }

    fn drawing(&self) -> Drawing {
        let mut drawing = Drawing::new(SIZE.0, SIZE.1);
        self.draw(&mut drawing, (0.0, 0.0));
        drawing
    }

    fn draw(&self, drawing: &mut Drawing, corner: (f64, f64)) {
        let xs = self.lines.iter().flat_map(|line| &line.points);
        let mut x = Axis::of(xs.map(|point| point.0)).titled(self.x_title.as_str());
        x.ticks.retain(|tick| tick.0 >= 0.0);
        let y = match self.logarithm {
            true => Axis::decades(self.range),
            false => Axis::of([self.range.0, self.range.1].into_iter()),
        };
        let mut panel = Panel::new(x, y.titled(self.title.as_str()));
        let left = corner.0 + 12.0 + panel.left_margin();
        let frame = Frame {
            left,
            top: corner.1 + 36.0,
            width: corner.0 + SIZE.0 - 16.0 - left,
            height: SIZE.1 - 36.0 - 50.0,
        };
        let level = self.level.map(|value| Guide::Level(value, String::new()));
        panel.guides.extend(level);
        for (n, line) in self.lines.iter().enumerate() {
            let place = |&(x, y): &(f64, f64)| match drawable(y) {
                true => (x, self.height(y)),
                false => (x, f64::NAN),
            };
            let points = line.points.iter().map(place).collect();
            panel.series.push(line.stroke.series("", n, points));
        }
        panel.draw(drawing, frame);
    }
}

#[cfg(test)]
mod tests {
    use super::super::drawing::tests::{all, assert_tidy, marks};
    use super::super::drawing::{LineStyle, Shape};
    use super::*;

    fn lines(logarithm: bool, points: &[(f64, f64)]) -> Lines {
        Lines {
            title: "gradient & <distance>".to_owned(),
            x_title: "steps".to_owned(),
            logarithm,
            range: (1e-20, 10.0),
            lines: vec![Line {
                stroke: Stroke::Squares,
                points: points.to_vec(),
            }],
            level: Some(2.0),
        }
    }

    #[test]
    fn a_sheet_has_room_for_all() {
        let panel = lines(true, &[(0.0, 1.0), (9.0, 1e-9)]);
        let legend = [Stroke::Rings, Stroke::Plain].map(|stroke| (stroke, "a model".to_owned()));
        for count in [1, 2, 3] {
            let panels = vec![panel.clone(); count];
            assert_tidy(&sheet_drawing("a task", &legend, &panels));
        }
    }

    /// How many lines of a color there are.
    fn strokes(lines: &Lines, wanted: Paint) -> usize {
        let drawing = lines.drawing();
        let found = all(&drawing).into_iter();
        let is = |shape: &&Shape| matches!(shape, Shape::Line { paint, .. } if *paint == wanted);
        found.filter(is).count()
    }

    #[test]
    fn lines_are_drawn_and_text_is_escaped() {
        let points: Vec<(f64, f64)> = (0..100).map(|n| (f64::from(n), 10f64.powi(-n))).collect();
        let lines = lines(true, &points);
        let svg = lines.svg();
        for part in [
            "1e-9",
            "steps",
            "var(--soft)",
            "&amp; &lt;distance",
            "var(--vermillion)",
        ] {
            assert!(svg.contains(part), "{part} is not in {svg}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        // One line, and a mark at every fourteenth point.
        assert_eq!(marks(&lines.drawing(), Paint::Vermillion), 8);
        assert_eq!(strokes(&lines, Paint::Vermillion), 1);
    }

    #[test]
    fn what_is_no_number_leaves_a_gap_and_what_is_too_small_is_at_the_end() {
        let points = [
            (0.0, 1.0),
            (1.0, 0.5),
            (2.0, f64::NAN),
            (3.0, 0.0),
            (4.0, 1e-300),
        ];
        let panel = lines(true, &points);
        assert_eq!(strokes(&panel, Paint::Vermillion), 2);
        assert_eq!(panel.height(0.0), 1e-20);
        let dashed = |shape: &&Shape| {
            matches!(
                shape,
                Shape::Line {
                    dash: LineStyle::Dashed,
                    ..
                }
            )
        };
        let empty = lines(false, &[]).drawing();
        assert_eq!(all(&empty).into_iter().filter(dashed).count(), 1);
    }
}
