//! How a text is read, as a picture: tokens, the path of the probability, and gates
//! and states of some units as heat maps.

use std::path::Path;

use crate::error::{Error, Result};
use crate::report::chart::{
    self, Anchor, Axis, DROP, Drawing, Form, Frame, Guide, Paint, Panel, SMALL, Series, Spacing,
    Symbol, TEXT, TITLE, cell, diverging, readable, sequential,
};

/// The room for the cells of all steps, at the least and at the most of a step.
const ACROSS: f64 = 720.0;
const CELL: (f64, f64) = (17.0, 64.0);
/// The room for names.
const LEFT: f64 = 128.0;
const MARGIN: f64 = 18.0;
/// The heights of a row of cells and of the path of the probability.
const ROW: f64 = 19.0;
const PATH: f64 = 96.0;
/// The em of the numbers in cells.
const NUMBER: f64 = 9.5;
/// The most room of a token.
const TOKEN: f64 = 120.0;
/// More steps would be a picture that nobody reads.
const MOST: usize = 120;

/// A row of cells.
#[derive(Debug, Clone, PartialEq)]
pub struct Strip {
    /// In front of it.
    pub name: String,
    /// Whether the numbers have signs; else they are from 0 to 1.
    pub signed: bool,
    /// One for each step.
    pub values: Vec<f64>,
}

/// What is drawn of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceChart {
    /// Above everything.
    pub title: String,
    /// Of each step.
    pub tokens: Vec<String>,
    /// What the probability is called, and what it is before the first and after each
    /// step.
    pub path: Option<(String, f64, Vec<f64>)>,
    /// Strips with a line above each group.
    pub groups: Vec<(String, Vec<Strip>)>,
}

/// Draws it into `path` (`.png` or `.svg`).
///
/// # Errors
/// There is no step or more than 120, the extension is another one, or the file cannot
/// be written.
pub fn draw(path: &Path, chart: &TraceChart) -> Result<()> {
    if !(1..=MOST).contains(&chart.tokens.len()) {
        let message = format!(
            "a picture has 1 to {MOST} steps, not {}",
            chart.tokens.len()
        );
        return Err(Error::file(path, message));
    }
    drawing(chart).save(path)
}

fn drawing(chart: &TraceChart) -> Drawing {
    let steps = chart.tokens.len() as f64;
    let wide = (ACROSS / steps).clamp(CELL.0, CELL.1).floor();
    let widest = chart.tokens.iter().map(|token| chart::width(token, TEXT));
    let widest = widest.fold(0.0, f64::max).min(TOKEN);
    let upwards = widest > wide - 5.0;
    let tall = if upwards { widest + 12.0 } else { 24.0 };
    let width = (LEFT + wide * steps + MARGIN).max(420.0);
    // The height is known when all is drawn.
    let mut drawing = Drawing::new(width.ceil(), 0.0);
    let size = (TITLE, width - 2.0 * MARGIN);
    drawing.text(
        &chart.title,
        (MARGIN, 28.0),
        size,
        Anchor::Start,
        Paint::Ink,
    );
    let mut top = 42.0;
    let moves = moves(chart);
    for (n, token) in chart.tokens.iter().enumerate() {
        let frame = Frame {
            left: LEFT + n as f64 * wide,
            top,
            width: wide,
            height: tall,
        };
        let by = moves.get(n).copied().unwrap_or(0.0);
        draw_token(&mut drawing, frame, token, by, upwards);
    }
    top += tall + 14.0;
    if let Some((name, start, values)) = &chart.path {
        let frame = Frame {
            left: LEFT,
            top,
            width: wide * steps,
            height: PATH,
        };
        draw_path(&mut drawing, frame, name, *start, values);
        top += PATH + 12.0;
    }
    for (name, strips) in &chart.groups {
        top += 22.0;
        let size = (TEXT, width - 2.0 * MARGIN);
        drawing.text(name, (MARGIN, top), size, Anchor::Start, Paint::Ink);
        top += 9.0;
        for strip in strips {
            draw_strip(&mut drawing, top, wide, strip);
            top += ROW;
        }
    }
    drawing.height = (top + MARGIN).ceil();
    drawing
}

fn draw_token(drawing: &mut Drawing, frame: Frame, token: &str, by: f64, upwards: bool) {
    let ground = diverging(by);
    cell(drawing, frame, ground, &[]);
    let ink = Paint::Mixed(readable(ground));
    let middle = frame.left + frame.width / 2.0;
    if upwards {
        let at = (middle + DROP * TEXT, frame.bottom() - 6.0);
        drawing.upwards(token, at, (TEXT, TOKEN), Anchor::Start, ink);
    } else {
        let at = (middle, frame.top + frame.height / 2.0 + DROP * TEXT);
        drawing.text(token, at, (TEXT, frame.width - 4.0), Anchor::Middle, ink);
    }
}

/// What each step does to the probability, over the most that one does.
fn moves(chart: &TraceChart) -> Vec<f64> {
    let Some((_, start, values)) = &chart.path else {
        return Vec::new();
    };
    let before = std::iter::once(start).chain(values);
    let moves: Vec<f64> = values
        .iter()
        .zip(before)
        .map(|(after, before)| after - before)
        .collect();
    let most = moves
        .iter()
        .fold(f64::MIN_POSITIVE, |most, by| most.max(by.abs()));
    moves.iter().map(|by| by / most).collect()
}

fn draw_path(drawing: &mut Drawing, frame: Frame, name: &str, start: f64, values: &[f64]) {
    let x = Axis::with_ticks(Spacing::Linear, -0.5, values.len() as f64 - 0.5, Vec::new());
    let ticks = [0.0, 0.5, 1.0].map(|value: f64| (value, value.to_string()));
    let y = Axis::with_ticks(Spacing::Linear, 0.0, 1.0, ticks.to_vec());
    let mut panel = Panel::new(x, y);
    panel.guides.push(Guide::Level(start, String::new()));
    let form = Form::Line {
        width: 1.8,
        marks: Some((Symbol::Disc, 0, 1)),
    };
    let points = values.iter().enumerate();
    let points = points.map(|(n, &value)| (n as f64, value)).collect();
    panel.series.push(Series::new("", Paint::Ink, form, points));
    panel.draw(drawing, frame);
    let at = (MARGIN, frame.top + frame.height / 2.0 + DROP * TEXT);
    let size = (TEXT, LEFT - MARGIN - panel.left_margin() - 8.0);
    drawing.text(name, at, size, Anchor::Start, Paint::Ink);
}

fn draw_strip(drawing: &mut Drawing, top: f64, wide: f64, strip: &Strip) {
    let at = (LEFT - 8.0, top + ROW / 2.0 + DROP * SMALL);
    let size = (SMALL, LEFT - 16.0);
    drawing.text(&strip.name, at, size, Anchor::End, Paint::Soft);
    let values = strip.values.iter();
    let most = values.fold(f64::MIN_POSITIVE, |most, by| most.max(by.abs()));
    for (n, &value) in strip.values.iter().enumerate() {
        let frame = Frame {
            left: LEFT + n as f64 * wide,
            top,
            width: wide,
            height: ROW,
        };
        let (ground, number) = match strip.signed {
            true => (diverging(value / most), format!("{value:+.2}")),
            false => (sequential(value), format!("{value:.2}")),
        };
        cell(drawing, frame, ground, &[(number, NUMBER)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::chart::drawing_tests::assert_tidy;

    fn example(steps: usize) -> TraceChart {
        TraceChart {
            title: "positive".to_owned(),
            tokens: (0..steps).map(|n| format!("word{n}")).collect(),
            path: Some((
                "p".to_owned(),
                0.5,
                (0..steps).map(|n| n as f64 / steps as f64).collect(),
            )),
            groups: vec![(
                "unit 1".to_owned(),
                vec![Strip {
                    name: "C".to_owned(),
                    signed: true,
                    values: (0..steps).map(|n| n as f64 - 1.0).collect(),
                }],
            )],
        }
    }

    #[test]
    fn everything_is_inside_of_the_sheet() {
        for steps in [1, 7, 40, 120] {
            assert_tidy(&drawing(&example(steps)));
        }
    }

    #[test]
    fn what_is_too_long_or_empty_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for steps in [0, 121] {
            let path = folder.path().join("r.png");
            let error = draw(&path, &example(steps)).unwrap_err().to_string();
            assert!(error.contains("1 to 120"), "{error}");
            assert!(!path.exists());
        }
    }

    #[test]
    fn tokens_have_the_color_of_what_they_do() {
        let expected = [-1.0, 2.0 / 3.0, 2.0 / 3.0];
        let moves = moves(&example(3));
        assert!(
            moves
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-12)
        );
    }
}
