//! Values over a setting: one panel for each setting that was varied.

use std::path::Path;

use super::axis::{Axis, drawable};
use super::font;
use super::picture::{Anchor, Colour, Label, Picture};
use crate::error::{Error, Result};

const INK: Colour = Colour(40, 40, 40);
const GRID: Colour = Colour(228, 228, 228);
const WHITE: Colour = Colour(255, 255, 255);
// Of the palette of Okabe and Ito, as in the picture of a training.
const POINT: Colour = Colour(0, 114, 178);
const MARK: Colour = Colour(213, 94, 0);

const PANEL: (f64, f64) = (800.0, 560.0);
const TEXT: f64 = 22.0;
const SMALL: f64 = 19.0;
/// More panels than this would be a picture that nobody looks at.
const MOST: usize = 24;

/// What a panel has from left to right.
#[derive(Debug, Clone, PartialEq)]
pub enum Across {
    /// Numbers.
    Numbers,
    /// Numbers by their logarithm; those of 0 or less have no place.
    Logarithm,
    /// Names: the x of a point is its index.
    Names(Vec<String>),
}

/// One panel.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// Below the axis.
    pub x_title: String,
    /// Beside the axis.
    pub y_title: String,
    /// The kind of the horizontal axis.
    pub across: Across,
    /// x, y, and how far y is uncertain up and down.
    pub points: Vec<(f64, f64, Option<f64>)>,
    /// Whether a line joins the points in their order, in place of discs.
    pub joined: bool,
    /// A point to mark, with what it is.
    pub marked: Option<(f64, f64, String)>,
}

/// Draws the panels, two in a row, into `path` (`.png` or `.svg`). Points that are
/// not finite are left out, and the panel says how many.
///
/// # Errors
/// There is no panel, the extension is another one, or the file cannot be written.
pub fn charts(path: &Path, charts: &[Chart]) -> Result<()> {
    if charts.is_empty() {
        return Err(Error::file(path, "there is nothing to draw"));
    }
    let charts = &charts[..charts.len().min(MOST)];
    let columns = charts.len().min(2);
    let rows = charts.len().div_ceil(2);
    let (width, height) = PANEL;
    let mut picture = Picture::new(
        (width * columns as f64) as u32,
        (height * rows as f64) as u32,
    );
    for (n, chart) in charts.iter().enumerate() {
        let corner = (width * (n % 2) as f64, height * (n / 2) as f64);
        panel(&mut picture, corner, chart);
    }
    picture.save(path)
}

impl Across {
    fn place(&self, x: f64) -> f64 {
        match self {
            Across::Logarithm => x.log10(),
            Across::Numbers | Across::Names(_) => x,
        }
    }

    fn axis(&self, values: impl Iterator<Item = f64>) -> Axis {
        match self {
            Across::Numbers => Axis::of(values),
            Across::Logarithm => decades(Axis::of(values.map(f64::log10))),
            Across::Names(names) => Axis {
                low: -0.5,
                high: names.len() as f64 - 0.5,
                ticks: (0..).map(f64::from).zip(names.iter().cloned()).collect(),
            },
        }
    }
}

/// An axis of logarithms, with the numbers themselves at its ticks.
fn decades(axis: Axis) -> Axis {
    let steps: &[f64] = match axis.high - axis.low < 2.5 {
        true => &[1.0, 2.0, 5.0],
        false => &[1.0],
    };
    let (first, last) = (axis.low.floor() as i32, axis.high.ceil() as i32);
    let ticks = (first..=last)
        .flat_map(|power| steps.iter().map(move |step| (power, *step)))
        .map(|(power, step)| {
            (
                f64::from(power) + step.log10(),
                format!("{step:.0}e{power}"),
            )
        })
        .filter(|(at, _)| (axis.low..=axis.high).contains(at));
    Axis {
        ticks: ticks.collect(),
        ..axis
    }
}

fn panel(picture: &mut Picture, corner: (f64, f64), chart: &Chart) {
    let shown = |point: &&(f64, f64, Option<f64>)| {
        drawable(chart.across.place(point.0)) && drawable(point.1)
    };
    let points: Vec<_> = chart.points.iter().filter(shown).collect();
    let x = chart.across.axis(points.iter().map(|point| point.0));
    let spread = |point: &&(f64, f64, Option<f64>)| {
        let error = point.2.unwrap_or(0.0);
        [point.1 - error, point.1 + error]
    };
    let y = Axis::of(points.iter().flat_map(spread));
    let numbers = y.ticks.iter().map(|(_, text)| font::width(text, SMALL));
    let left = corner.0 + 30.0 + TEXT + 18.0 + numbers.fold(0.0, f64::max) + 14.0;
    let (top, width, height) = (corner.1 + 76.0, corner.0 + PANEL.0 - 36.0 - left, 372.0);
    let bottom = top + height;
    let place = |at: (f64, f64)| {
        let across = x.place(chart.across.place(at.0));
        (left + width * across, bottom - height * y.place(at.1))
    };

    for (value, text) in &y.ticks {
        let at = bottom - height * y.place(*value);
        picture.line(vec![(left, at), (left + width, at)], 1.5, GRID);
        label(
            picture,
            text,
            (left - 14.0, at + 0.36 * SMALL),
            SMALL,
            Anchor::End,
            false,
        );
    }
    let room = width / x.ticks.len().max(1) as f64;
    for (value, text) in &x.ticks {
        let at = left + width * x.place(*value);
        picture.line(vec![(at, bottom), (at, bottom + 7.0)], 1.5, INK);
        let text = font::fit(text, SMALL, room.max(2.0 * SMALL));
        label(
            picture,
            &text,
            (at, bottom + 32.0),
            SMALL,
            Anchor::Middle,
            false,
        );
    }
    picture.line(
        vec![(left, top), (left, bottom), (left + width, bottom)],
        1.5,
        INK,
    );
    let below = (left + width / 2.0, bottom + 72.0);
    let title = font::fit(&chart.x_title, TEXT, width);
    label(picture, &title, below, TEXT, Anchor::Middle, false);
    let beside = (corner.0 + 30.0 + 0.8 * TEXT, top + height / 2.0);
    let title = font::fit(&chart.y_title, TEXT, height);
    label(picture, &title, beside, TEXT, Anchor::Middle, true);

    if chart.joined {
        let line: Vec<_> = points
            .iter()
            .map(|point| place((point.0, point.1)))
            .collect();
        if line.len() > 1 {
            picture.line(line, 3.0, POINT);
        }
    }
    for (x, y, error) in points.iter().filter(|_| !chart.joined).copied().copied() {
        if let Some(error) = error {
            picture.line(
                vec![place((x, y - error)), place((x, y + error))],
                2.0,
                POINT,
            );
        }
        picture.disc(place((x, y)), 6.5, POINT);
    }
    let missing = chart.points.len() - points.len();
    let mut note = match missing {
        0 => String::new(),
        _ => format!("{missing} not drawn"),
    };
    if let Some((x, y, what)) = &chart.marked {
        let at = place((*x, *y));
        ring(picture, at);
        ring(picture, (left + 12.0, top - 38.0));
        note = match missing {
            0 => what.clone(),
            _ => format!("{what} ({note})"),
        };
    }
    let note = font::fit(&note, TEXT, width - 36.0);
    label(
        picture,
        &note,
        (left + 36.0, top - 30.0),
        TEXT,
        Anchor::Start,
        false,
    );
}

fn ring(picture: &mut Picture, at: (f64, f64)) {
    picture.disc(at, 12.0, MARK);
    picture.disc(at, 8.5, WHITE);
    picture.disc(at, 5.0, MARK);
}

fn label(
    picture: &mut Picture,
    text: &str,
    at: (f64, f64),
    em: f64,
    anchor: Anchor,
    upwards: bool,
) {
    if text.is_empty() {
        return;
    }
    picture.label(Label {
        text: text.to_owned(),
        at,
        em,
        anchor,
        upwards,
        colour: INK,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(across: Across, points: &[(f64, f64)]) -> Chart {
        Chart {
            x_title: "train.learning_rate".to_owned(),
            y_title: "dev accuracy".to_owned(),
            across,
            points: points.iter().map(|&(x, y)| (x, y, Some(0.01))).collect(),
            joined: false,
            marked: points.first().map(|&(x, y)| (x, y, "best".to_owned())),
        }
    }

    #[test]
    fn panels_of_every_kind_are_drawn_and_what_has_no_place_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let names = Across::Names(vec!["max".to_owned(), "last".to_owned()]);
        let all = [
            chart(Across::Numbers, &[(0.1, 0.8), (0.5, 0.7), (0.3, f64::NAN)]),
            chart(Across::Logarithm, &[(1e-4, 0.6), (1e-1, 0.8), (0.0, 0.7)]),
            chart(names, &[(0.0, 0.6), (1.0, 0.8)]),
        ];
        let path = folder.path().join("charts.svg");
        charts(&path, &all).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        for text in ["train.learning_rate", "dev accuracy", "1e-3", "max", "last"] {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(svg.matches("best (1 not drawn)").count(), 2);
        charts(&folder.path().join("charts.png"), &all).unwrap();
        assert!(
            charts(&path, &[])
                .unwrap_err()
                .to_string()
                .contains("nothing to draw")
        );
    }

    #[test]
    fn a_short_axis_of_logarithms_has_ticks_between_the_powers() {
        let labels = |low: f64, high: f64| -> Vec<String> {
            let axis = Across::Logarithm.axis([low, high].into_iter());
            axis.ticks.into_iter().map(|tick| tick.1).collect()
        };
        assert_eq!(
            labels(1e-5, 1.0),
            ["1e-5", "1e-4", "1e-3", "1e-2", "1e-1", "1e0"]
        );
        assert_eq!(labels(1e-3, 4e-3), ["1e-3", "2e-3"]);
    }
}
