//! The chart of a page over the steps: the probability, how `y` divides among the tokens,
//! and how strongly it depends on what each step reads and remembers.

use crate::report::chart::{
    Axis, Drawing, Form, Frame, Guide, Hover, LineStyle, Paint, Panel, Series, Spacing, Symbol,
};
use crate::report::page::Figure;
use crate::trace::{Direction, Recording, norms};

use super::text::token;

const WIDTH: f64 = 920.0;
/// More steps than this are lines without marks.
const MARKED: usize = 60;
/// The room of the name of a step below the axis.
const NAME: f64 = 15.0;

/// The chart of a direction, for the steps that are shown.
pub(super) fn over_time(recording: &Recording, direction: &Direction, steps: &[i64]) -> Figure {
    let panels = panels(recording, direction, steps);
    let margins = panels.iter().map(Panel::left_margin);
    let left = margins.fold(0.0, f64::max) + 4.0;
    let mut drawing = Drawing::new(WIDTH, 0.0);
    let mut top = 30.0;
    for (panel, height) in panels.iter().zip(heights(panels.len())) {
        let frame = Frame {
            left,
            top,
            width: WIDTH - left - 12.0,
            height: *height,
        };
        panel.draw(&mut drawing, frame);
        top = frame.bottom() + 40.0;
        let heads = steps.iter().enumerate();
        drawing.heads = heads
            .map(|(n, &step)| {
                let x = panel.place(frame, (n as f64, 0.0)).0;
                (x, format!("{step} {}", token(recording, step)))
            })
            .collect();
        drawing.height = frame.bottom() + panel.labels_height(frame.width).1 + 6.0;
    }
    let name = format!("layer {} {}", direction.layer, direction.way());
    let last = panels.len() - 1;
    Figure::new(name, drawing).with_keys(last, &panels[last].series)
}

fn heights(panels: usize) -> &'static [f64] {
    match panels {
        3 => &[110.0, 100.0, 130.0],
        _ => &[110.0, 140.0],
    }
}

/// The panels from top to bottom; an LSTM alone has no probability.
pub(super) fn panels(recording: &Recording, direction: &Direction, steps: &[i64]) -> Vec<Panel> {
    let values = |all: &[f64]| -> Vec<f64> {
        let of = |step: &i64| all.get(*step as usize).copied().unwrap_or(f64::NAN);
        steps.iter().map(of).collect()
    };
    let mut panels = Vec::new();
    if let Some(words) = &recording.words {
        let of = |&step: &i64| words.path.at(step, words.class).unwrap_or(f64::NAN);
        let of: Vec<f64> = steps.iter().map(of).collect();
        let ticks = [0.0, 0.5, 1.0].map(|value: f64| (value, value.to_string()));
        let y = Axis::with_ticks(Spacing::Linear, -0.03, 1.03, ticks.to_vec());
        let mut panel = Panel::new(names(recording, steps, false), y.titled("probability"));
        let start = words.path.start[words.class];
        panel
            .guides
            .push(Guide::Level(start, "of no token".to_owned()));
        let series = line(
            "probability",
            Paint::Ink,
            LineStyle::Solid,
            Symbol::Disc,
            &of,
            4,
        );
        panel.series.push(series);
        panels.push(panel);
    }
    let integrated = values(&recording.integrated.steps);
    let y = Axis::of(integrated.iter().copied().chain([0.0]));
    let mut panel = Panel::new(
        names(recording, steps, false),
        y.titled("integrated gradient"),
    );
    let says = integrated.iter().map(|share| format!("{share:+.4}"));
    let points = (0..).map(f64::from).zip(integrated.iter().copied());
    let series = Series::new("", Paint::Ink, Form::Bars, points.collect());
    panel.series.push(Series {
        lead: "integrated gradient ".to_owned(),
        says: says.collect(),
        ..series
    });
    panels.push(panel);

    let lines = [
        (
            "∂y/∂C",
            norms(&direction.gradient_c),
            Paint::Vermillion,
            LineStyle::Solid,
            Symbol::Disc,
        ),
        (
            "∂y/∂h",
            norms(&direction.gradient_h),
            Paint::Sky,
            LineStyle::Dashed,
            Symbol::Square,
        ),
        (
            "∂y/∂x",
            norms(&recording.gradient_input),
            Paint::Grey,
            LineStyle::Dotted,
            Symbol::Diamond,
        ),
    ];
    let lines = lines.map(|(name, all, paint, dash, symbol)| {
        let name = format!("norm of {name}");
        line(&name, paint, dash, symbol, &values(&all), 5)
    });
    let all = lines.iter().flat_map(|line| &line.points);
    let most = all.map(|point| point.1).filter(|value| value.is_finite());
    let most = most.fold(0.0, f64::max).max(1e-12);
    let y = Axis::between(0.0, 1.06 * most).titled("norms of gradients");
    let mut panel = Panel::new(names(recording, steps, true), y);
    panel.series = lines.into();
    panels.push(panel);
    for panel in &mut panels {
        panel.hover = Hover::Column;
        // Where steps are left out.
        let gap = steps.windows(2).position(|pair| pair[1] != pair[0] + 1);
        let gap = gap.map(|n| Guide::Upright(n as f64 + 0.5, LineStyle::Dotted));
        panel.guides.extend(gap);
    }
    panels
}

/// The axis of steps, with tokens where there is room for them.
fn names(recording: &Recording, steps: &[i64], shown: bool) -> Axis {
    let every = (NAME * steps.len() as f64 / (WIDTH - 70.0)).ceil().max(1.0) as usize;
    let ticks = steps.iter().enumerate().step_by(every);
    let ticks = ticks.map(|(n, &step)| match shown {
        true => (n as f64, token(recording, step)),
        false => (n as f64, String::new()),
    });
    let high = steps.len() as f64 - 0.5;
    Axis::with_ticks(Spacing::Category, -0.5, high, ticks.collect())
}

fn line(
    name: &str,
    paint: Paint,
    dash: LineStyle,
    symbol: Symbol,
    values: &[f64],
    digits: usize,
) -> Series {
    let form = Form::Line {
        width: 1.6,
        marks: (values.len() <= MARKED).then_some((symbol, 0, 1)),
    };
    let points = (0..).map(f64::from).zip(values.iter().copied()).collect();
    Series {
        dash,
        lead: format!("{name} "),
        says: values
            .iter()
            .map(|value| format!("{value:.digits$}"))
            .collect(),
        ..Series::new(name, paint, form, points)
    }
}
