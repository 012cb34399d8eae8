//! Values over a setting: one panel for each setting that was varied.

use std::path::Path;

use super::axis::{Axis, Spacing};
use super::drawing::{Anchor, Drawing, Frame, LineStyle, SMALL, Symbol};
use super::font;
use super::paint::Paint;
use super::panel::{Form, Guide, Panel, Series};
use crate::error::{Error, Result};

/// The room of a panel.
const PANEL: (f64, f64) = (440.0, 300.0);
/// More panels than this would be a picture that nobody looks at.
const MOST: usize = 24;

/// The kind of the horizontal axis of a panel.
#[derive(Debug, Clone, PartialEq)]
pub enum XScale {
    /// Numbers.
    Linear,
    /// Numbers by their logarithm; those of 0 or less have no place.
    Log,
    /// Names: the x of a point is its index.
    Names(Vec<String>),
}

/// One panel.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// Below the axis.
    pub x_title: String,
    /// Above the panel: what its values are.
    pub y_title: String,
    /// The kind of the horizontal axis.
    pub x_scale: XScale,
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
    drawing(&charts[..charts.len().min(MOST)]).save(path)
}

fn drawing(charts: &[Chart]) -> Drawing {
    let columns = charts.len().min(2) as f64;
    let rows = charts.len().div_ceil(2) as f64;
    let mut drawing = Drawing::new(PANEL.0 * columns, PANEL.1 * rows);
    for (n, chart) in charts.iter().enumerate() {
        let corner = (PANEL.0 * (n % 2) as f64, PANEL.1 * (n / 2) as f64);
        panel(&mut drawing, corner, chart);
    }
    drawing
}

fn x_axis(scale: &XScale, values: impl Iterator<Item = f64>) -> Axis {
    match scale {
        XScale::Linear => Axis::of(values),
        XScale::Log => Axis::log(values),
        XScale::Names(names) => Axis::categories(names.iter().cloned()),
    }
}

fn panel(drawing: &mut Drawing, corner: (f64, f64), chart: &Chart) {
    let spacing = match chart.x_scale {
        XScale::Log => Spacing::Log,
        _ => Spacing::Linear,
    };
    // Only what has a place says how far the axes reach.
    let probe = Axis::with_ticks(spacing, 0.0, 1.0, Vec::new());
    let shown =
        |point: &&(f64, f64, Option<f64>)| probe.has(point.0) && super::axis::drawable(point.1);
    let points: Vec<_> = chart.points.iter().filter(shown).collect();
    let x = x_axis(&chart.x_scale, points.iter().map(|point| point.0));
    let spread = |point: &&(f64, f64, Option<f64>)| {
        let error = point.2.unwrap_or(0.0);
        [point.1 - error, point.1 + error]
    };
    let y = Axis::of(points.iter().flat_map(spread));
    let mut panel = Panel::new(
        x.titled(chart.x_title.as_str()),
        y.titled(chart.y_title.as_str()),
    );
    let left = corner.0 + 16.0 + panel.left_margin();
    let width = corner.0 + PANEL.0 - 20.0 - left;
    let (_, labels) = panel.labels_height(width);
    let frame = Frame {
        left,
        top: corner.1 + 44.0,
        width,
        height: PANEL.1 - 44.0 - 34.0 - labels,
    };
    let form = match chart.joined {
        true => Form::Line {
            width: 1.8,
            marks: None,
        },
        false => Form::Points(Symbol::Disc),
    };
    let at = points.iter().map(|point| (point.0, point.1)).collect();
    let mut series = Series::new("", Paint::Blue, form, at);
    series.errors = points.iter().map(|point| point.2).collect();
    panel.series.push(series);

    let missing = chart.points.len() - points.len();
    let mut note = match missing {
        0 => String::new(),
        _ => format!("{missing} not drawn"),
    };
    if let Some((x, _, what)) = &chart.marked {
        if chart.joined && panel.x.has(*x) {
            panel.guides.push(Guide::Upright(*x, LineStyle::Dotted));
        }
        note = match missing {
            0 => what.clone(),
            _ => format!("{what} ({note})"),
        };
    }
    // The note stands to the right of the title, in its line.
    let note = font::fit(&note, SMALL, frame.width - 30.0);
    let used = match note.is_empty() {
        true => 0.0,
        false => font::width(&note, SMALL) + 40.0,
    };
    let room = (frame.width - used).max(20.0);
    panel.y.title = font::fit(&panel.y.title, super::drawing::TITLE, room);
    panel.draw(drawing, frame);
    let line = (frame.right(), frame.top - 14.0);
    if let Some((x, y, _)) = &chart.marked
        && panel.has((*x, *y))
    {
        drawing.target(panel.place(frame, (*x, *y)), Paint::Vermillion);
        let key = line.0 - font::width(&note, SMALL) - 12.0;
        drawing.target((key, line.1 - 4.0), Paint::Vermillion);
    }
    drawing.text(&note, line, (SMALL, frame.width), Anchor::End, Paint::Ink);
}

#[cfg(test)]
mod tests {
    use super::super::drawing::tests::{assert_tidy, texts};
    use super::*;

    fn chart(x_scale: XScale, points: &[(f64, f64)]) -> Chart {
        Chart {
            x_title: "train.learning_rate".to_owned(),
            y_title: "dev accuracy".to_owned(),
            x_scale,
            points: points.iter().map(|&(x, y)| (x, y, Some(0.01))).collect(),
            joined: false,
            marked: points.first().map(|&(x, y)| (x, y, "best".to_owned())),
        }
    }

    #[test]
    fn panels_of_every_kind_are_drawn_and_what_has_no_place_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let names = XScale::Names(vec!["max".to_owned(), "last".to_owned()]);
        let all = [
            chart(XScale::Linear, &[(0.1, 0.8), (0.5, 0.7), (0.3, f64::NAN)]),
            chart(XScale::Log, &[(1e-4, 0.6), (1e-1, 0.8), (0.0, 0.7)]),
            chart(names, &[(0.0, 0.6), (1.0, 0.8)]),
        ];
        let drawing = drawing(&all);
        assert_tidy(&drawing);
        let found = texts(&drawing);
        for text in ["train.learning_rate", "dev accuracy", "1e-3", "max", "last"] {
            assert!(found.contains(&text), "{text}");
        }
        let counted = found.iter().filter(|text| **text == "best (1 not drawn)");
        assert_eq!(counted.count(), 2);
        let path = folder.path().join("charts.svg");
        charts(&path, &all).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
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
    fn long_names_and_titles_are_cut() {
        let names = (0..9).map(|n| format!("a rather long name {n}")).collect();
        let points: Vec<_> = (0..9).map(|n| (f64::from(n), 0.1 * f64::from(n))).collect();
        let mut chart = chart(XScale::Names(names), &points);
        chart.y_title = "what is measured".repeat(9);
        chart.x_title = "what is varied".repeat(9);
        chart.marked = Some((0.0, 0.0, "the best of all".repeat(9)));
        assert_tidy(&drawing(&[chart.clone(), chart]));
    }
}
