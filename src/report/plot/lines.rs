//! Several lines over a number in one panel, as the text of an SVG for a page. Each
//! line has a mark of its own, so that they differ without colour too.

use std::path::Path;

use super::axis::{Axis, drawable};
use super::font;
use super::picture::{Anchor, Colour, Label, Picture};
use crate::error::Result;

// A page maps these to those of its theme; `page.css` names them.
const INK: Colour = Colour(40, 40, 40);
const GRID: Colour = Colour(228, 228, 228);
const WHITE: Colour = Colour(255, 255, 255);
const LEVEL: Colour = Colour(89, 99, 110);

const SIZE: (u32, u32) = (800, 460);
const TEXT: f64 = 22.0;
const SMALL: f64 = 19.0;
/// So many marks on a line.
const MARKS: usize = 7;
/// The most decades between two ticks and the most ticks.
const TICKS: i32 = 8;

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
    // Of the palette of Okabe and Ito, as in the picture of a training.
    fn colour(self) -> Colour {
        match self {
            Stroke::Rings => Colour(204, 121, 167),
            Stroke::Squares => Colour(213, 94, 0),
            Stroke::Discs => Colour(0, 114, 178),
            Stroke::Plain => Colour(0, 158, 115),
        }
    }

    fn width(self) -> f64 {
        if self == Stroke::Plain { 5.0 } else { 3.0 }
    }

    fn mark(self, picture: &mut Picture, at: (f64, f64)) {
        match self {
            Stroke::Rings => {
                picture.disc(at, 8.0, self.colour());
                picture.disc(at, 5.0, WHITE);
            }
            Stroke::Squares => {
                picture.rectangle((at.0 - 7.0, at.1 - 7.0), (14.0, 14.0), self.colour());
            }
            Stroke::Discs => picture.disc(at, 8.0, self.colour()),
            Stroke::Plain => {}
        }
    }

    /// Its key: a short line with its mark, as the text of an SVG.
    ///
    /// # Errors
    /// As [`Lines::svg`].
    pub fn key(self) -> Result<String> {
        let mut picture = Picture::new(60, 22);
        picture.line(vec![(2.0, 11.0), (58.0, 11.0)], self.width(), self.colour());
        self.mark(&mut picture, (30.0, 11.0));
        picture.svg(Path::new("key"))
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
    sheet_picture(title, legend, panels).save(path)
}

fn sheet_picture(title: &str, legend: &[(Stroke, String)], panels: &[Lines]) -> Picture {
    const HEAD: f64 = 104.0;
    let (wide, tall) = (f64::from(SIZE.0), f64::from(SIZE.1));
    let rows = panels.len().div_ceil(2) as f64;
    let mut picture = Picture::new(2 * SIZE.0, (HEAD + rows * tall) as u32);
    label(&mut picture, title, (24.0, 38.0), TEXT, Anchor::Start);
    let mut at = 24.0;
    for (stroke, name) in legend {
        let (middle, end) = (at + 30.0, at + 60.0);
        picture.line(
            vec![(at, 76.0), (end, 76.0)],
            stroke.width(),
            stroke.colour(),
        );
        stroke.mark(&mut picture, (middle, 76.0));
        label(
            &mut picture,
            name,
            (end + 12.0, 76.0 + 0.36 * TEXT),
            TEXT,
            Anchor::Start,
        );
        at = end + 12.0 + font::width(name, TEXT) + 40.0;
    }
    for (n, panel) in panels.iter().enumerate() {
        let corner = (wide * (n % 2) as f64, HEAD + tall * (n / 2) as f64);
        picture.put(corner, panel.picture());
    }
    picture
}

impl Lines {
    /// The panel as the text of an SVG. Points that are not finite leave a gap.
    ///
    /// # Errors
    /// It cannot be drawn.
    pub fn svg(&self) -> Result<String> {
        self.picture().svg(Path::new("lines"))
    }

    /// Where a value is, before it becomes a place.
    fn height(&self, value: f64) -> f64 {
        match self.logarithm {
            true => value.max(self.range.0).log10(),
            false => value,
        }
    }

    fn picture(&self) -> Picture {
        let mut picture = Picture::new(SIZE.0, SIZE.1);
        let xs = self.lines.iter().flat_map(|line| &line.points);
        let x = Axis::of(xs.map(|point| point.0));
        let y = match self.logarithm {
            true => decades(self.range),
            false => Axis::of([self.range.0, self.range.1].into_iter()),
        };
        let numbers = y.ticks.iter().map(|(_, text)| font::width(text, SMALL));
        let left = 10.0 + numbers.fold(0.0, f64::max) + 14.0;
        let (top, right) = (56.0, f64::from(SIZE.0) - 16.0);
        let bottom = f64::from(SIZE.1) - 78.0;
        let place = |at: (f64, f64)| {
            (
                left + (right - left) * x.place(at.0),
                bottom - (bottom - top) * y.place(self.height(at.1)),
            )
        };
        for (value, text) in &y.ticks {
            let at = bottom - (bottom - top) * y.place(*value);
            picture.line(vec![(left, at), (right, at)], 1.5, GRID);
            let place = (left - 10.0, at + 0.36 * SMALL);
            label(&mut picture, text, place, SMALL, Anchor::End);
        }
        for (value, text) in x.ticks.iter().filter(|tick| tick.0 >= 0.0) {
            let at = place((*value, self.range.0)).0;
            picture.line(vec![(at, bottom), (at, bottom + 7.0)], 1.5, INK);
            label(
                &mut picture,
                text,
                (at, bottom + 30.0),
                SMALL,
                Anchor::Middle,
            );
        }
        let corners = vec![(left, top), (left, bottom), (right, bottom)];
        picture.line(corners, 1.5, INK);
        let middle = (left + (right - left) / 2.0, bottom + 64.0);
        label(&mut picture, &self.x_title, middle, TEXT, Anchor::Middle);
        label(&mut picture, &self.title, (left, 28.0), TEXT, Anchor::Start);

        if let Some(value) = self.level {
            let at = place((0.0, value)).1;
            let mut from = left;
            while from < right {
                picture.line(vec![(from, at), ((from + 10.0).min(right), at)], 2.5, LEVEL);
                from += 18.0;
            }
        }
        for (n, line) in self.lines.iter().enumerate() {
            let shown = |point: &(f64, f64)| drawable(point.0) && drawable(point.1);
            for run in line.points.split(|point| !shown(point)) {
                let run: Vec<_> = run.iter().copied().map(place).collect();
                if run.len() > 1 {
                    picture.line(run.clone(), line.stroke.width(), line.stroke.colour());
                }
                // Not at the same places as those of the other lines.
                let every = (run.len() / MARKS).max(1);
                let marked = run.iter().skip(n * every / 4).step_by(every);
                marked.for_each(|&at| line.stroke.mark(&mut picture, at));
            }
        }
        picture
    }
}

/// An axis of logarithms with the powers of ten at its ticks.
fn decades(range: (f64, f64)) -> Axis {
    let (low, high) = (range.0.log10(), range.1.log10());
    let room = (0.03 * (high - low)).max(0.2);
    let (low, high) = (low - room, high + room);
    let (first, last) = (low.ceil() as i32, high.floor() as i32);
    let every = ((last - first) / TICKS + 1).max(1);
    let ticks = (first..=last).filter(|power| power % every == 0);
    Axis {
        low,
        high,
        ticks: ticks
            .map(|power| (f64::from(power), format!("1e{power}")))
            .collect(),
    }
}

fn label(picture: &mut Picture, text: &str, at: (f64, f64), em: f64, anchor: Anchor) {
    picture.label(Label {
        text: font::fit(text, em, f64::from(SIZE.0) - 40.0),
        at,
        em,
        anchor,
        upwards: false,
        colour: INK,
    });
}

#[cfg(test)]
mod tests {
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
            let picture = sheet_picture("a task", &legend, &panels);
            crate::report::plot::picture::tests::assert_tidy(&picture);
        }
    }

    #[test]
    fn lines_are_drawn_and_text_is_escaped() {
        let points: Vec<(f64, f64)> = (0..100).map(|n| (f64::from(n), 10f64.powi(-n))).collect();
        let svg = lines(true, &points).svg().unwrap();
        for part in ["1e-9", "steps", "#59636E", "&amp; &lt;distance", "#D55E00"] {
            assert!(svg.contains(part), "{part} is not in {svg}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        // One line, and a mark at every fourteenth point.
        assert_eq!(svg.matches("fill=\"#D55E00\"").count(), 8);
        assert_eq!(
            svg.matches("<polyline fill=\"none\" opacity=\"1\" stroke=\"#D55E00\"")
                .count(),
            1
        );
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
        let svg = panel.svg().unwrap();
        assert_eq!(
            svg.matches("<polyline fill=\"none\" opacity=\"1\" stroke=\"#D55E00\"")
                .count(),
            2
        );
        assert!((panel.height(0.0) + 20.0).abs() < 1e-9);
        assert!(lines(false, &[]).svg().unwrap().contains("#59636E"));
    }

    #[test]
    fn decades_have_a_few_ticks() {
        for (low, high) in [(1.0, 1.0), (1e-300, 1e10), (1e-3, 1e2), (0.2, 0.3)] {
            let axis = decades((low, high));
            assert!(axis.ticks.len() <= 10 && axis.low < axis.high, "{axis:?}");
        }
        assert_eq!(decades((1e-3, 1e1)).ticks.len(), 5);
    }
}
