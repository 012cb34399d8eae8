//! How a training went, epoch by epoch.

use std::path::Path;

use super::axis::{Axis, drawable};
use super::drawing::{Anchor, DROP, Drawing, Frame, LineStyle, SMALL, Symbol, TEXT, TITLE};
use super::font;
use super::paint::Paint;
use super::panel::{Form, Guide, Panel, Series};
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

const TRAIN: Paint = Paint::Blue;
const DEV: Paint = Paint::Vermillion;
const BEST: Paint = Paint::Green;

const WIDTH: f64 = 920.0;
const HEIGHT: f64 = 320.0;
/// Half of it: one panel.
const PANEL: f64 = WIDTH / 2.0;
/// More epochs than this are a line without marks.
const MARKED: usize = 40;
/// The most room that the name at the end of a line has.
const NAME: f64 = 200.0;

/// Draws the losses of training and development texts, and beside them the
/// development score with the best epoch marked, into `path` (`.png` or
/// `.svg`). `score_name` is the title of the score. Values that are not
/// finite, or beyond ±1e30, leave a gap, and the name of the line counts them.
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
    drawing(points, score_name, best_epoch).save(path)
}

fn drawing(points: &[EpochPoint], score_name: &str, best_epoch: Option<f64>) -> Drawing {
    let mut drawing = Drawing::new(WIDTH, HEIGHT);
    let losses = vec![
        series("training", TRAIN, Symbol::Disc, points, |p| p.train_loss),
        series("development", DEV, Symbol::Square, points, |p| p.dev_loss),
    ];
    panel(&mut drawing, 0.0, "loss", losses, None);
    let score = series("development", DEV, Symbol::Square, points, |p| p.dev_score);
    let best = best_epoch.and_then(|best| {
        let point = points.iter().find(|point| point.epoch == best)?;
        drawable(point.dev_score).then_some((point.epoch, point.dev_score))
    });
    panel(&mut drawing, PANEL, score_name, vec![score], best);
    drawing
}

/// One line: epoch and value.
fn series(
    name: &str,
    paint: Paint,
    symbol: Symbol,
    points: &[EpochPoint],
    value: fn(&EpochPoint) -> f64,
) -> Series {
    let points: Vec<_> = points.iter().map(|p| (p.epoch, value(p))).collect();
    let form = Form::Line {
        width: 1.8,
        marks: (points.len() <= MARKED).then_some((symbol, 0, 1)),
    };
    let missing = points.iter().filter(|point| !drawable(point.1)).count();
    let name = match missing {
        0 => name.to_owned(),
        _ => format!("{name} ({missing} not drawn)"),
    };
    Series::new(name, paint, form, points)
}

/// Draws one panel from `left` on, with the names of its lines at their ends.
fn panel(
    drawing: &mut Drawing,
    left: f64,
    title: &str,
    series: Vec<Series>,
    best: Option<(f64, f64)>,
) {
    let points = || series.iter().flat_map(|series| &series.points);
    let epochs = || points().map(|point| point.0);
    let first = epochs().fold(f64::INFINITY, f64::min).floor();
    let last = epochs().fold(0.0, f64::max).ceil();
    let x = Axis::whole(first.min(last) as u64, last as u64).titled("epoch");
    let y = Axis::of(points().map(|point| point.1));
    let mut panel = Panel::new(x, y);
    let names = series.iter().map(|series| font::width(&series.name, TEXT));
    let names = names.fold(0.0, f64::max).min(NAME);
    let start = left + 16.0 + panel.left_margin();
    let frame = Frame {
        left: start,
        top: 44.0,
        width: left + PANEL - 16.0 - names - 8.0 - start,
        height: HEIGHT - 44.0 - 54.0,
    };
    // The note of the best epoch stands to the right of the title, in its line.
    let note = best.map(|(epoch, score)| {
        let note = format!("best: epoch {epoch}, {}", short(score));
        font::fit(&note, SMALL, PANEL / 2.0)
    });
    let right = left + PANEL - 16.0;
    let used = note
        .as_ref()
        .map_or(0.0, |note| font::width(note, SMALL) + 32.0);
    panel.y.title = font::fit(title, TITLE, right - used - frame.left);
    if let Some((epoch, _)) = best {
        panel.guides.push(Guide::Upright(epoch, LineStyle::Dotted));
    }
    panel.series = series;
    panel.draw(drawing, frame);
    let line = frame.top - 14.0;
    if let (Some(best), Some(note)) = (best, note) {
        drawing.target(panel.place(frame, best), BEST);
        let key = right - font::width(&note, SMALL) - 12.0;
        drawing.target((key, line - 4.0), BEST);
        let size = (SMALL, PANEL);
        drawing.text(&note, (right, line), size, Anchor::End, Paint::Ink);
    }
    name_lines(drawing, &panel, frame, names);
}

/// The name of each line, at the height of its last point and clear of the others.
fn name_lines(drawing: &mut Drawing, panel: &Panel, frame: Frame, width: f64) {
    let mut names: Vec<(f64, &Series)> = (panel.series.iter())
        .map(|series| {
            let last = series.points.iter().rfind(|point| drawable(point.1));
            let height = last.map_or(frame.top, |&last| panel.place(frame, last).1);
            (height, series)
        })
        .collect();
    names.sort_by(|a, b| a.0.total_cmp(&b.0));
    // From above, then back from below where that pushed one out of the frame.
    let mut above = frame.top;
    for (height, _) in &mut names {
        *height = height.max(above);
        above = *height + 1.4 * TEXT;
    }
    let mut below = frame.bottom();
    for (height, _) in names.iter_mut().rev() {
        *height = height.min(below);
        below = *height - 1.4 * TEXT;
    }
    for (height, series) in names {
        let at = (frame.right() + 8.0, height + DROP * TEXT);
        let size = (TEXT, width + 0.5);
        drawing.text(&series.name, at, size, Anchor::Start, Paint::Ink);
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

#[cfg(test)]
mod tests;
