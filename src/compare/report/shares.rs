//! The charts of a comparison: how much of the tolerance each stage uses, and each time
//! step.

use super::page::Judgement;
use super::text::{QUANTITIES, number, short, tolerance_share};
use crate::compare::{Comparison, StageResult};
use crate::report::chart::{
    Axis, Drawing, Form, Frame, Guide, Hover, LineStyle, Paint, Panel, Series, Spacing, Symbol,
    decade,
};
use crate::report::page::Figure;
use crate::report::printable;

/// Decades beyond these are drawn at these.
const DECADES: i32 = 30;
/// Names longer than this are cut; pointing at them shows them whole.
const NAME: usize = 32;
/// More steps than this are lines without marks.
const MARKED: usize = 60;
/// The most points over time of a page. Of more, each stands for the largest share of
/// several steps, so that the page stays small.
const POINTS: usize = 9000;
/// The width of a chart, and the height of a row of one and of the lines of the other.
const WIDTH: f64 = 920.0;
const ROW: f64 = 19.0;
const LINES: f64 = 260.0;

/// How a judgement is drawn, wherever it is.
fn look(judgement: Judgement) -> (Paint, Symbol) {
    match judgement {
        Judgement::Identical => (Paint::Green, Symbol::OpenDiamond),
        Judgement::Within => (Paint::Blue, Symbol::Disc),
        Judgement::Outside => (Paint::Vermillion, Symbol::Cross),
    }
}

/// The axis of shares: decades, below them a place for what is identical, and
/// above them one for what is no number.
struct Shares {
    low: i32,
    high: i32,
    identical: bool,
    endless: bool,
}

impl Shares {
    fn of(shares: impl Iterator<Item = f64>) -> Shares {
        let mut of = Shares {
            low: -1,
            high: 1,
            identical: false,
            endless: false,
        };
        for share in shares {
            if share == 0.0 {
                of.identical = true;
            } else if share.is_finite() {
                let decade = share.abs().log10();
                of.low = of.low.min(decade.floor() as i32).max(-DECADES);
                of.high = of.high.max(decade.ceil() as i32).min(DECADES);
            } else {
                of.endless = true;
            }
        }
        of
    }

    /// Where a share is drawn.
    fn place(&self, share: f64) -> f64 {
        if share == 0.0 {
            10f64.powi(self.low - 1)
        } else if share.is_finite() {
            share.clamp(10f64.powi(self.low), 10f64.powi(self.high))
        } else {
            10f64.powi(self.high + 1)
        }
    }

    fn axis(&self) -> Axis {
        let every = ((self.high - self.low) / 8 + 1).max(1);
        let wide = self.low < -3 || self.high > 3;
        let decades = (self.low..=self.high).filter(|power| power % every == 0);
        let mut ticks: Vec<(f64, String)> = decades
            .map(|power| (f64::from(power), decade(1, power, wide)))
            .collect();
        if self.identical {
            ticks.insert(0, (f64::from(self.low - 1), "identical".to_owned()));
        }
        if self.endless {
            ticks.push((f64::from(self.high + 1), "no number".to_owned()));
        }
        let bottom = f64::from(self.low) - if self.identical { 1.4 } else { 0.3 };
        let top = f64::from(self.high) + if self.endless { 1.4 } else { 0.3 };
        Axis::with_ticks(Spacing::Log, bottom, top, ticks)
    }
}

/// The panel of every stage, from top to bottom in the order of computation.
pub(super) fn stages_panel(comparison: &Comparison) -> Panel {
    let shares = Shares::of(comparison.stages.iter().map(|stage| stage.difference.share));
    let (mut rows, mut names) = (Vec::new(), Vec::new());
    let mut row = 0.0;
    for (title, quantity) in QUANTITIES {
        let stages = comparison.stages.iter();
        let of: Vec<&StageResult> = stages.filter(|stage| stage.quantity == quantity).collect();
        if of.is_empty() {
            continue;
        }
        names.push((row, title.to_uppercase()));
        row += 1.0;
        for stage in of {
            names.push((row, printable(&ending(&stage.name))));
            rows.push((row, stage));
            row += 1.0;
        }
    }
    // From top to bottom.
    let stages = Axis::with_ticks(Spacing::Category, row - 0.4, -0.6, names);
    let mut panel = Panel::new(shares.axis(), stages);
    panel.labels_above = true;
    panel.hover = Hover::Row;
    panel.guides.push(Guide::Upright(1.0, LineStyle::Dashed));
    for judgement in [Judgement::Identical, Judgement::Within, Judgement::Outside] {
        let of = rows.iter();
        let of = of.filter(|(_, stage)| Judgement::of(stage) == judgement);
        let (mut points, mut says) = (Vec::new(), Vec::new());
        for (row, stage) in of {
            let share = match judgement {
                Judgement::Identical => 0.0,
                _ => stage.difference.share,
            };
            points.push((shares.place(share), *row));
            says.push(stage_in_words(stage));
        }
        let (paint, symbol) = look(judgement);
        let series = Series::new(judgement.word(), paint, Form::Points(symbol), points);
        panel.series.push(Series { says, ..series });
    }
    panel
}

/// Every stage.
pub(super) fn by_stage(comparison: &Comparison) -> Figure {
    let panel = stages_panel(comparison);
    let left = panel.left_margin() + 4.0;
    let frame = Frame {
        left,
        top: 26.0,
        width: WIDTH - left - 24.0,
        height: ROW * (panel.y.low - panel.y.high),
    };
    let mut drawing = Drawing::new(WIDTH, frame.bottom() + 8.0);
    panel.draw(&mut drawing, frame);
    Figure::new("all stages", drawing).with_keys(0, &panel.series)
}

/// A name, or its end, where layers and gates are told apart.
pub(super) fn ending(name: &str) -> String {
    match name.chars().count() {
        0..=NAME => name.to_owned(),
        count => {
            let end = name.chars().skip(count - NAME + 1);
            std::iter::once('…').chain(end).collect()
        }
    }
}

/// What pointing at a stage shows.
fn stage_in_words(stage: &StageResult) -> String {
    let difference = &stage.difference;
    let mut text = format!("{}\t", printable(&stage.name));
    if difference.identical {
        text.push_str("identical, to the bit");
        return text;
    }
    text.push_str(&format!(
        "{} of the tolerance {}\tabsolute {}, relative {}, {} ulps",
        tolerance_share(difference.share),
        short(stage.tolerance),
        number(difference.absolute),
        number(difference.relative),
        number(difference.ulps),
    ));
    if !stage.at.is_empty() {
        text.push_str(&format!("\tat {}", printable(&stage.at)));
    }
    if difference.outside > 0 {
        text.push_str(&format!(
            "\t{} of {} outside",
            difference.outside, difference.count
        ));
    }
    text
}

/// Over the time steps, a figure for each layer and direction, and one for what
/// goes into the first; beside them, which to show first.
pub(super) fn over_time(comparison: &Comparison, first: Option<&str>) -> (Vec<Figure>, usize) {
    let timed = || {
        let stages = comparison.stages.iter();
        stages.filter(|stage| !stage.difference.over_time.is_empty())
    };
    // `lstm/l0_reverse`; the output goes with the layers that it is of.
    let layer = |stage: &StageResult| {
        let (layer, _) = stage.name.rsplit_once('/')?;
        layer.starts_with("lstm/l").then(|| layer.to_owned())
    };
    let mut layers: Vec<String> = timed().filter_map(layer).collect();
    layers.dedup();
    let top = layers.last().map(|last| last.trim_end_matches("_reverse"));
    let points: usize = timed().map(|stage| stage.difference.over_time.len()).sum();
    let every = points.div_ceil(POINTS).max(1);
    let (mut figures, mut chosen) = (Vec::new(), 0);
    for name in &layers {
        let of = |stage: &&StageResult| {
            let output = stage.name == "lstm/y" && Some(name.trim_end_matches("_reverse")) == top;
            layer(stage).as_ref() == Some(name) || output
        };
        let stages: Vec<&StageResult> = timed().filter(of).collect();
        let reverse = name.ends_with("_reverse");
        let number = name
            .trim_start_matches("lstm/l")
            .trim_end_matches("_reverse");
        let direction = if reverse { ", backwards" } else { "" };
        if stages
            .iter()
            .any(|stage| Some(stage.name.as_str()) == first)
        {
            chosen = figures.len();
        }
        let title = format!("layer {number}{direction}");
        figures.push(steps(&title, &stages, reverse, every));
    }
    let rest: Vec<&StageResult> = timed()
        .filter(|stage| layer(stage).is_none() && (layers.is_empty() || stage.name != "lstm/y"))
        .collect();
    if !rest.is_empty() {
        if rest.iter().any(|stage| Some(stage.name.as_str()) == first) {
            chosen = figures.len();
        }
        let name = if layers.is_empty() { "output" } else { "input" };
        figures.push(steps(name, &rest, false, every));
    }
    (figures, chosen)
}

/// The largest of some shares; what is no number is larger than any.
fn largest(shares: &[f64]) -> f64 {
    let larger = |most: f64, share: &f64| match most.is_finite() && *share <= most {
        true => most,
        false if most.is_finite() => *share,
        false => most,
    };
    shares.iter().fold(0.0, larger)
}

/// The panel of these stages over the time steps, with a point for every so many of them.
pub(super) fn steps_panel(stages: &[&StageResult], reverse: bool, every: usize) -> Panel {
    let all = || stages.iter().flat_map(|stage| &stage.difference.over_time);
    let shares = Shares::of(all().copied());
    let steps = stages.iter().map(|stage| stage.difference.over_time.len());
    let last = steps.max().unwrap_or(1).saturating_sub(1);
    let title = match reverse {
        true => "time step (computed from right to left)",
        false => "time step",
    };
    let time = Axis::whole(0, last as u64).titled(title);
    let y = shares.axis().titled("share of the tolerance");
    let mut panel = Panel::new(time, y);
    panel.hover = Hover::Column;
    panel.guides.push(Guide::Level(1.0, "tolerance".to_owned()));
    for (index, stage) in stages.iter().enumerate() {
        let over_time = &stage.difference.over_time;
        let (name, paint, dash, symbol) = line(&stage.name, index);
        let form = Form::Line {
            width: 1.6,
            marks: (over_time.len() <= MARKED).then_some((symbol, 0, 1)),
        };
        let most: Vec<f64> = over_time.chunks(every).map(largest).collect();
        let points = most.iter().enumerate();
        let points = points.map(|(n, share)| ((n * every) as f64, shares.place(*share)));
        let series = Series::new(name.as_str(), paint, form, points.collect());
        panel.series.push(Series {
            dash,
            lead: format!("{name}: "),
            says: most.iter().map(|share| tolerance_share(*share)).collect(),
            ..series
        });
    }
    panel
}

fn steps(name: &str, stages: &[&StageResult], reverse: bool, every: usize) -> Figure {
    let panel = steps_panel(stages, reverse, every);
    let left = panel.left_margin() + 4.0;
    let frame = Frame {
        left,
        top: 30.0,
        width: WIDTH - left - 12.0,
        height: LINES,
    };
    let mut drawing = Drawing::new(WIDTH, frame.bottom() + 50.0);
    let points = panel.series.iter().map(|series| series.points.len());
    drawing.heads = (0..points.max().unwrap_or(0))
        .map(|n| n * every)
        .map(|step| {
            let x = panel.place(frame, (step as f64, 1.0)).0;
            let head = match every {
                1 => format!("step {step}"),
                _ => format!("steps {step} to {}", step + every - 1),
            };
            (x, head)
        })
        .collect();
    panel.draw(&mut drawing, frame);
    Figure::new(name, drawing).with_keys(0, &panel.series)
}

/// Name, color, dash and mark of a line.
fn line(stage: &str, index: usize) -> (String, Paint, LineStyle, Symbol) {
    let part = match stage.starts_with("lstm/") {
        true => stage.rsplit('/').next().unwrap_or(stage),
        false => stage,
    };
    let (name, paint, dash, symbol) = match part {
        "i" => ("input i", Paint::Orange, LineStyle::Solid, Symbol::Disc),
        "f" => ("forget f", Paint::Blue, LineStyle::Solid, Symbol::Square),
        "g" => (
            "candidate g",
            Paint::Green,
            LineStyle::Solid,
            Symbol::Diamond,
        ),
        "o" => ("output o", Paint::Purple, LineStyle::Solid, Symbol::Plus),
        "c" => ("cell c", Paint::Vermillion, LineStyle::Dashed, Symbol::Ring),
        "h" => (
            "hidden h",
            Paint::Sky,
            LineStyle::Dashed,
            Symbol::OpenSquare,
        ),
        "y" => ("y", Paint::Grey, LineStyle::Dotted, Symbol::OpenDiamond),
        other => {
            const PAINTS: [Paint; 4] =
                [Paint::Blue, Paint::Vermillion, Paint::Green, Paint::Purple];
            let paint = PAINTS[index % PAINTS.len()];
            return (printable(other), paint, LineStyle::Solid, Symbol::Disc);
        }
    };
    (name.to_owned(), paint, dash, symbol)
}
