//! How a training went, epoch by epoch.

use std::path::Path;

use super::axis::{Axis, drawable};
use super::font;
use super::picture::{Anchor, Colour, Label, Picture};
use crate::error::{Error, Result};

/// What one epoch gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpochPoint {
    /// Epochs so far, parts of one counted: 1.25.
    pub epoch: f64,
    /// The mean loss on the training texts.
    pub train_loss: f64,
    /// The mean loss on the development texts.
    pub dev_loss: f64,
    /// The score on the development texts by which the best epoch is chosen.
    pub dev_score: f64,
}

// Blue, vermillion and bluish green of the palette that people with any
// colour vision can tell apart: M. Okabe and K. Ito, "Color universal
// design" (2008), https://jfly.uni-koeln.de/color/.
const TRAIN: Colour = Colour(0, 114, 178);
const DEV: Colour = Colour(213, 94, 0);
const BEST: Colour = Colour(0, 158, 115);

const INK: Colour = Colour(40, 40, 40);
const GRID: Colour = Colour(228, 228, 228);
const WHITE: Colour = Colour(255, 255, 255);

const WIDTH: u32 = 1600;
const HEIGHT: u32 = 640;
/// Half of it: one panel.
const PANEL: f64 = WIDTH as f64 / 2.0;
/// The em of axis titles and legends, and of the numbers at ticks.
const TEXT: f64 = 22.0;
const SMALL: f64 = 19.0;
/// More epochs than this are a line without marks.
const MARKED: usize = 40;

/// Draws the losses of training and development texts, and beside them the
/// development score with the best epoch marked, into `path` (`.png` or
/// `.svg`). `score_name` is the score's axis title. Values that are not
/// finite, or beyond ±1e30, leave a gap, and the legend counts them.
///
/// # Errors
/// `points` is empty, the extension is another one, or the file cannot be
/// written.
pub fn training_curve(
    path: &Path,
    points: &[EpochPoint],
    score_name: &str,
    best_epoch: Option<f64>,
) -> Result<()> {
    if points.is_empty() {
        return Err(Error::file(
            path,
            "no epoch to draw: train for at least one",
        ));
    }
    picture(points, score_name, best_epoch).save(path)
}

/// One line of a panel.
struct Series {
    name: String,
    colour: Colour,
    square: bool,
    /// Epoch and value.
    points: Vec<(f64, f64)>,
}

impl Series {
    fn new(
        name: &str,
        colour: Colour,
        square: bool,
        points: &[EpochPoint],
        value: fn(&EpochPoint) -> f64,
    ) -> Self {
        Self {
            name: name.to_owned(),
            colour,
            square,
            points: points.iter().map(|p| (p.epoch, value(p))).collect(),
        }
    }
}

/// The place of a panel's plot area.
#[derive(Clone, Copy)]
struct Frame {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl Frame {
    fn bottom(self) -> f64 {
        self.top + self.height
    }
    fn right(self) -> f64 {
        self.left + self.width
    }
}

fn picture(points: &[EpochPoint], score_name: &str, best_epoch: Option<f64>) -> Picture {
    let mut picture = Picture::new(WIDTH, HEIGHT);
    let losses = [
        Series::new("training", TRAIN, false, points, |point| point.train_loss),
        Series::new("development", DEV, true, points, |point| point.dev_loss),
    ];
    panel(&mut picture, 0.0, "loss", &losses, None);
    let score = Series::new("development", DEV, true, points, |point| point.dev_score);
    let best = best_epoch.and_then(|best| {
        let point = points.iter().find(|point| point.epoch == best)?;
        drawable(point.dev_score).then_some((point.epoch, point.dev_score))
    });
    panel(&mut picture, PANEL, score_name, &[score], best);
    picture
}

/// Draws one panel from `left` on: axes, lines, marks and a legend above them.
fn panel(
    picture: &mut Picture,
    left: f64,
    title: &str,
    series: &[Series],
    best: Option<(f64, f64)>,
) {
    let points = || series.iter().flat_map(|series| &series.points);
    let epochs = || points().map(|point| point.0);
    let first = epochs().fold(f64::INFINITY, f64::min).floor();
    let last = epochs().fold(0.0, f64::max).ceil();
    let x = Axis::whole(first.min(last) as u64, last as u64);
    let y = Axis::of(points().map(|point| point.1));
    let numbers = y.ticks.iter().map(|(_, text)| font::width(text, SMALL));
    let numbers = numbers.fold(0.0, f64::max);
    let inner = left + 30.0 + TEXT + 18.0 + numbers + 14.0;
    let frame = Frame {
        left: inner,
        top: 76.0,
        width: left + PANEL - 36.0 - inner,
        height: 452.0,
    };
    axes(picture, frame, &x, &y);
    let title = font::fit(title, TEXT, frame.height);
    let middle = (left + 30.0 + 0.8 * TEXT, frame.top + frame.height / 2.0);
    picture.label(label(title, middle, TEXT, Anchor::Middle, true));
    let place = |(epoch, value): (f64, f64)| {
        (
            frame.left + frame.width * x.place(epoch),
            frame.bottom() - frame.height * y.place(value),
        )
    };
    if let Some(best) = best {
        let (at, height) = place(best);
        for dash in dashes(height, frame.bottom()) {
            picture.line(vec![(at, dash.0), (at, dash.1)], 2.0, BEST);
        }
    }
    for series in series {
        for run in series.points.split(|point| !drawable(point.1)) {
            let run: Vec<_> = run.iter().copied().map(place).collect();
            if run.len() == 1 || series.points.len() <= MARKED {
                run.iter().for_each(|&at| mark(picture, at, series));
            }
            if run.len() > 1 {
                picture.line(run, 3.0, series.colour);
            }
        }
    }
    if let Some(best) = best {
        ring(picture, place(best));
    }
    legend(picture, frame, series, best);
}

/// The two axes with ticks and numbers, and horizontal grid lines.
fn axes(picture: &mut Picture, frame: Frame, x: &Axis, y: &Axis) {
    let (left, bottom) = (frame.left, frame.bottom());
    for (value, text) in &y.ticks {
        let at = bottom - frame.height * y.place(*value);
        picture.line(vec![(left, at), (frame.right(), at)], 1.5, GRID);
        picture.line(vec![(left - 7.0, at), (left, at)], 1.5, INK);
        let place = (left - 14.0, at + 0.36 * SMALL);
        picture.label(label(text.clone(), place, SMALL, Anchor::End, false));
    }
    for (value, text) in &x.ticks {
        let at = left + frame.width * x.place(*value);
        picture.line(vec![(at, bottom), (at, bottom + 7.0)], 1.5, INK);
        let place = (at, bottom + 32.0);
        picture.label(label(text.clone(), place, SMALL, Anchor::Middle, false));
    }
    let corners = vec![(left, frame.top), (left, bottom), (frame.right(), bottom)];
    picture.line(corners, 1.5, INK);
    let middle = (left + frame.width / 2.0, bottom + 72.0);
    let title = "epoch".to_owned();
    picture.label(label(title, middle, TEXT, Anchor::Middle, false));
}

/// What the lines are, in one row above the plot area where no line can
/// cover it.
fn legend(picture: &mut Picture, frame: Frame, series: &[Series], best: Option<(f64, f64)>) {
    let baseline = frame.top - 30.0;
    let centre = baseline - 0.36 * TEXT;
    let mut left = frame.left;
    let entry = |picture: &mut Picture, left: f64, text: String| {
        let text = font::fit(&text, TEXT, frame.right() + 20.0 - left);
        let next = left + font::width(&text, TEXT) + 36.0;
        picture.label(label(text, (left, baseline), TEXT, Anchor::Start, false));
        next
    };
    for series in series {
        picture.line(
            vec![(left, centre), (left + 44.0, centre)],
            3.0,
            series.colour,
        );
        mark(picture, (left + 22.0, centre), series);
        let points = series.points.iter();
        let missing = points.filter(|point| !drawable(point.1)).count();
        let text = match missing {
            0 => series.name.clone(),
            _ => format!("{} ({missing} not drawn)", series.name),
        };
        left = entry(picture, left + 56.0, text);
    }
    if let Some((epoch, score)) = best {
        ring(picture, (left + 12.0, centre));
        let text = format!("best: epoch {epoch}, {}", short(score));
        entry(picture, left + 36.0, text);
    }
}

fn label(text: String, at: (f64, f64), em: f64, anchor: Anchor, upwards: bool) -> Label {
    Label {
        text,
        at,
        em,
        anchor,
        upwards,
        colour: INK,
    }
}

/// Four decimals, or four digits of a number that is no score.
fn short(value: f64) -> String {
    if value.abs() < 1e4 {
        format!("{value:.4}")
    } else {
        format!("{value:.3e}")
    }
}

/// A value: a disc, or a square, so that lines differ without colour too.
fn mark(picture: &mut Picture, at: (f64, f64), series: &Series) {
    if series.square {
        picture.rectangle((at.0 - 6.0, at.1 - 6.0), (12.0, 12.0), series.colour);
    } else {
        picture.disc(at, 6.5, series.colour);
    }
}

/// The mark of the best epoch.
fn ring(picture: &mut Picture, at: (f64, f64)) {
    picture.disc(at, 12.0, BEST);
    picture.disc(at, 8.5, WHITE);
    picture.disc(at, 5.0, BEST);
}

/// A vertical line in dashes.
fn dashes(from: f64, to: f64) -> impl Iterator<Item = (f64, f64)> {
    let count = ((to - from) / 14.0).ceil().max(0.0) as u32;
    (0..count).map(move |index| {
        let start = from + 14.0 * f64::from(index);
        (start, (start + 8.0).min(to))
    })
}

#[cfg(test)]
mod tests;
