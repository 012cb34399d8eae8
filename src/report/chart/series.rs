//! The shapes of a series.

use super::drawing::{Frame, LineStyle, Shape, Symbol};
use super::paint::Paint;
use super::panel::{Form, Panel, Series};

/// The size of marks on a line, and of those that stand alone.
const ON_LINE: f64 = 6.5;
const ALONE: f64 = 7.5;

/// What a series is drawn as, in the frame of its panel.
pub(super) fn shapes(panel: &Panel, frame: Frame, series: &Series) -> Vec<Shape> {
    match series.form {
        Form::Line { width, marks } => line(panel, frame, series, width, marks),
        Form::Points(symbol) => points(panel, frame, series, symbol),
        Form::Bars => bars(panel, frame, series),
        Form::Steps { filled } => steps(panel, frame, series, filled),
    }
}

fn line(
    panel: &Panel,
    frame: Frame,
    series: &Series,
    width: f64,
    marks: Option<(Symbol, usize, usize)>,
) -> Vec<Shape> {
    let mut shapes = Vec::new();
    let mut marked = Vec::new();
    for run in series.points.split(|&at| !panel.has(at)) {
        let run: Vec<_> = run.iter().map(|&at| panel.place(frame, at)).collect();
        if let Some((_, first, every)) = marks {
            marked.extend(run.iter().skip(first).step_by(every.max(1)));
        } else if run.len() == 1 {
            marked.push(run[0]);
        }
        if run.len() > 1 {
            shapes.push(Shape::Line {
                points: run,
                width,
                paint: series.paint,
                dash: series.dash,
            });
        }
    }
    let symbol = marks.map_or(Symbol::Disc, |(symbol, ..)| symbol);
    shapes.extend(symbols(marked, symbol, ON_LINE, series.paint));
    shapes
}

/// Marks; open ones on paper, so that a line does not cross them.
fn symbols(points: Vec<(f64, f64)>, symbol: Symbol, size: f64, paint: Paint) -> Vec<Shape> {
    if points.is_empty() {
        return Vec::new();
    }
    let (size, ground) = match symbol {
        Symbol::Square | Symbol::OpenSquare => (0.85 * size, Some(Symbol::Square)),
        Symbol::Diamond => (1.25 * size, None),
        Symbol::OpenDiamond => (1.25 * size, Some(Symbol::Diamond)),
        Symbol::Ring => (size, Some(Symbol::Disc)),
        _ => (size, None),
    };
    let mut shapes = Vec::new();
    let open = matches!(
        symbol,
        Symbol::Ring | Symbol::OpenSquare | Symbol::OpenDiamond
    );
    if let Some(symbol) = ground.filter(|_| open) {
        shapes.push(Shape::Marks {
            points: points.clone(),
            symbol,
            size,
            paint: Paint::Paper,
        });
    }
    shapes.push(Shape::Marks {
        points,
        symbol,
        size,
        paint,
    });
    shapes
}

fn points(panel: &Panel, frame: Frame, series: &Series, symbol: Symbol) -> Vec<Shape> {
    let mut shapes = Vec::new();
    let mut marked = Vec::new();
    for (n, &at) in series.points.iter().enumerate() {
        if !panel.has(at) {
            continue;
        }
        if let Some(Some(error)) = series.errors.get(n) {
            let ends = [at.1 - error, at.1 + error].map(|y| panel.place(frame, (at.0, y)));
            shapes.push(Shape::line(ends.to_vec(), 1.2, series.paint));
        }
        marked.push(panel.place(frame, at));
    }
    shapes.extend(symbols(marked, symbol, ALONE, series.paint));
    shapes
}

/// How wide a bar is, over the distance of two.
const BAR: f64 = 0.7;

fn bars(panel: &Panel, frame: Frame, series: &Series) -> Vec<Shape> {
    let half = BAR * frame.width / (panel.x.high - panel.x.low) / 2.0;
    let base = panel.place(frame, (0.0, 0.0)).1;
    let zero = vec![(frame.left, base), (frame.right(), base)];
    let mut shapes = vec![Shape::line(zero, 1.0, Paint::Soft)];
    for (paint, above) in [(Paint::Vermillion, true), (Paint::Blue, false)] {
        let of = series.points.iter().filter(|at| panel.has(**at));
        let polygons: Vec<_> = of
            .filter(|at| (at.1 >= 0.0) == above)
            .map(|&at| {
                let (x, y) = panel.place(frame, at);
                vec![
                    (x - half, base),
                    (x - half, y),
                    (x + half, y),
                    (x + half, base),
                ]
            })
            .collect();
        if !polygons.is_empty() {
            shapes.push(Shape::Area {
                polygons,
                paint,
                opacity: 1.0,
            });
        }
    }
    shapes
}

fn steps(panel: &Panel, frame: Frame, series: &Series, filled: bool) -> Vec<Shape> {
    // The points are the middles of bins of one width.
    let half = match series.points[..] {
        [first, second, ..] => (second.0 - first.0) / 2.0,
        _ => 0.5,
    };
    let mut outline = Vec::new();
    for &(x, y) in series.points.iter().filter(|at| panel.has(**at)) {
        outline.push(panel.place(frame, (x - half, y)));
        outline.push(panel.place(frame, (x + half, y)));
    }
    let (Some(first), Some(last)) = (outline.first().copied(), outline.last().copied()) else {
        return Vec::new();
    };
    let base = panel.place(frame, (series.points[0].0, 0.0)).1;
    let mut shapes = Vec::new();
    if filled {
        let ends = [(last.0, base), (first.0, base)];
        shapes.push(Shape::Area {
            polygons: vec![outline.iter().copied().chain(ends).collect()],
            paint: series.paint,
            opacity: 0.18,
        });
    }
    shapes.push(Shape::Line {
        points: outline,
        width: 1.8,
        paint: series.paint,
        dash: series.dash,
    });
    shapes
}

/// The key of a series: a short line with its mark, in the middle of `at`.
pub(super) fn key(series: &Series, at: (f64, f64), width: f64) -> Vec<Shape> {
    let ends = vec![(at.0 - width / 2.0, at.1), (at.0 + width / 2.0, at.1)];
    let line = |width, dash| Shape::Line {
        points: ends.clone(),
        width,
        paint: series.paint,
        dash,
    };
    match series.form {
        Form::Line { width, marks } => {
            let mut shapes = vec![line(width, series.dash)];
            if let Some((symbol, ..)) = marks {
                shapes.extend(symbols(vec![at], symbol, ON_LINE, series.paint));
            }
            shapes
        }
        Form::Points(symbol) => symbols(vec![at], symbol, ALONE, series.paint),
        Form::Bars => vec![line(8.0, LineStyle::Solid)],
        Form::Steps { .. } => vec![line(1.8, series.dash)],
    }
}
