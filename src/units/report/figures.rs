//! The charts of a survey of units.

use super::page::name;
use super::text::{UnitsReport, life, percent, signed};
use crate::report::chart::{
    Axis, Drawing, Form, Frame, Guide, Hover, LineStyle, Paint, Panel, Series, Symbol,
};
use crate::report::page::Figure;
use crate::report::printable;
use crate::units::{Ranked, Saturation, Survey, Unit};

/// The width of a chart, and the height of its plot.
const WIDTH: f64 = 920.0;
const HEIGHT: f64 = 330.0;

/// Of layers and directions: told apart by the mark, too.
const LAYERS: [(Paint, Symbol); 7] = [
    (Paint::Blue, Symbol::Disc),
    (Paint::Vermillion, Symbol::Diamond),
    (Paint::Green, Symbol::Square),
    (Paint::Purple, Symbol::TriangleUp),
    (Paint::Orange, Symbol::Plus),
    (Paint::Sky, Symbol::Cross),
    (Paint::Grey, Symbol::TriangleDown),
];

/// A series for each layer and direction: each unit where `at` puts it, with the values
/// for the places of `template`.
fn units(
    survey: &Survey,
    template: &str,
    at: impl Fn(&Unit) -> Option<(f64, f64, String)>,
) -> Vec<Series> {
    let layers = survey.layers.iter().enumerate();
    let series = layers.map(|(nth, layer)| {
        let (paint, symbol) = LAYERS[nth % LAYERS.len()];
        let (mut points, mut says) = (Vec::new(), Vec::new());
        for unit in &layer.units {
            if let Some((x, y, values)) = at(unit) {
                points.push((x, y));
                says.push(format!("{}\t{values}", unit.unit));
            }
        }
        let name = name(layer);
        let lead = format!("{name}, unit ");
        let series = Series::new(name, paint, Form::Points(symbol), points);
        Series {
            lead,
            template: format!("{{}}\t{template}"),
            says,
            ..series
        }
    });
    series.collect()
}

/// A chart of one panel, with keys.
fn figure(name: String, panel: &Panel, height: f64, heads: &[(f64, String)]) -> Figure {
    let left = panel.left_margin() + 4.0;
    let frame = Frame {
        left,
        top: 32.0,
        width: WIDTH - left - 14.0,
        height,
    };
    let mut drawing = Drawing::new(WIDTH, frame.bottom() + 48.0);
    let head = |(x, text): &(f64, String)| (panel.place(frame, (*x, 0.0)).0, text.clone());
    drawing.heads = heads.iter().map(head).collect();
    panel.draw(&mut drawing, frame);
    Figure::new(name, drawing).with_keys(0, &panel.series)
}

/// Which gate of a unit.
type Pick = fn(&Unit) -> Saturation;

/// The gates, the forget gate first.
const GATES: [(&str, Pick); 3] = [
    ("forget", |unit| unit.forget),
    ("input", |unit| unit.input),
    ("output", |unit| unit.output),
];

/// The chart of each gate.
pub(super) fn saturation(survey: &Survey) -> Vec<Figure> {
    GATES
        .map(|(gate, share)| {
            let panel = gate_panel(survey, gate, share);
            figure(format!("{gate} gate"), &panel, HEIGHT, &[])
        })
        .into()
}

/// The panel of a gate: how often it is nearly shut, and nearly open.
pub(super) fn gate_panel(survey: &Survey, gate: &str, share: Pick) -> Panel {
    // One scale for both axes, so that the line stays where it is.
    let all = survey.layers.iter().flat_map(|layer| &layer.units);
    let most = all
        .map(share)
        .flat_map(|share| [share.left, share.right])
        .fold(0.0, f64::max);
    let most = [0.1, 0.25, 0.5]
        .into_iter()
        .find(|&end| most <= end)
        .unwrap_or(1.0);
    let axis = |title: String| {
        let mut axis = Axis::between(-0.03 * most, 1.03 * most).titled(title);
        for (at, text) in &mut axis.ticks {
            *text = format!("{} %", (*at * 1000.0).round() / 10.0);
        }
        axis.unit = "%";
        axis
    };
    let mut panel = Panel::new(
        axis(format!("steps with the {gate} gate below 0.1")),
        axis(format!("steps with the {gate} gate above 0.9")),
    );
    // At the most, all steps are one or the other.
    let (low, high) = (panel.x.low.max(0.0), panel.x.high.min(1.0));
    if 1.0 - high <= high {
        let low = low.max(1.0 - high);
        panel
            .guides
            .push(Guide::Between((low, 1.0 - low), (high, 1.0 - high)));
    }
    let template = format!("{gate} gate below 0.1: {{}}\tabove 0.9: {{}}\thalf-life {{}} tokens");
    panel.series = units(survey, &template, |unit| {
        let Saturation { left, right } = share(unit);
        let values = format!("{}\t{}\t{}", percent(left), percent(right), life(unit));
        Some((left, right, values))
    });
    panel
}

/// Correlation against half-life. Of projected layers that of the cell, which has one.
pub(super) fn memory(survey: &Survey) -> Figure {
    figure("all units".to_owned(), &memory_panel(survey), HEIGHT, &[])
}

/// The panel of correlations against half-lives; infinite ones stand to the right of all
/// others.
pub(super) fn memory_panel(survey: &Survey) -> Panel {
    let all = || survey.layers.iter().flat_map(|layer| &layer.units);
    let finite = all().filter_map(|unit| unit.half_life);
    let longest = finite.clone().fold(1.0, f64::max);
    let edge = 10f64.powf(longest.log10().ceil() + 0.5);
    let endless = all().any(|unit| unit.half_life.is_none());
    let series = units(survey, "half-life {} tokens\tcorrelation {}", |unit| {
        let correlation = unit.correlation.of(survey.activation);
        let correlation = correlation.or(unit.correlation.cell)?;
        let values = format!("{}\t{}", life(unit), signed(Some(correlation)));
        Some((unit.half_life.unwrap_or(edge), correlation, values))
    });
    let mut lives = Axis::log(finite.chain(endless.then_some(edge)));
    if endless {
        let last = longest.log10();
        lives.ticks.retain(|(at, _)| *at <= last + 0.1);
        lives.ticks.push((edge.log10(), "infinite".to_owned()));
    }
    let points = series.iter().flat_map(|series| &series.points);
    let correlations = Axis::of(points.map(|point| point.1));
    let mut panel = Panel::new(
        lives.titled("half-life in tokens"),
        correlations.titled("correlation with the label"),
    );
    if panel.y.low < 0.0 && panel.y.high > 0.0 {
        panel.guides.push(Guide::Level(0.0, String::new()));
    }
    panel.series = series;
    panel
}

/// A histogram of each ranked unit.
pub(super) fn histograms(report: &UnitsReport) -> Vec<Figure> {
    let ranked = report.survey.sentiment_units.iter();
    ranked.map(|unit| histogram(unit, report)).collect()
}

fn histogram(ranked: &Ranked, report: &UnitsReport) -> Figure {
    let panel = histogram_panel(ranked, report);
    let edges = ranked.histogram.edges();
    let bins = edges.windows(2).map(|pair| {
        let middle = (pair[0] + pair[1]) / 2.0;
        (middle, format!("{:+.3} to {:+.3}", pair[0], pair[1]))
    });
    let name = format!(
        "layer {}, {}, unit {}: {}",
        ranked.layer,
        ranked.direction,
        ranked.unit,
        signed(Some(ranked.correlation))
    );
    figure(name, &panel, 240.0, &bins.collect::<Vec<_>>())
}

/// The panel of a histogram: the share of each label's texts in each bin.
pub(super) fn histogram_panel(ranked: &Ranked, report: &UnitsReport) -> Panel {
    let counts = report.survey.class_counts.as_deref().unwrap_or_default();
    let edges = ranked.histogram.edges();
    let middles: Vec<f64> = edges
        .windows(2)
        .map(|pair| (pair[0] + pair[1]) / 2.0)
        .collect();
    let mut all = Vec::new();
    for (class, (label, &texts)) in report.labels.iter().zip(counts).enumerate() {
        let (paint, dash) = class_line(class, report.labels.len());
        let share = |count: u64| match texts {
            0 => 0.0,
            texts => count as f64 / texts as f64,
        };
        let counts = &ranked.histogram.counts[class];
        let says = counts.iter().map(|&count| {
            let percent = percent(share(count));
            format!("{count} of {texts} texts, {percent}")
        });
        let points = middles.iter().zip(counts);
        let points = points.map(|(&x, &count)| (x, share(count)));
        let form = Form::Steps {
            filled: report.labels.len() == 2,
        };
        let label = printable(label);
        let series = Series::new(label.as_str(), paint, form, points.collect());
        all.push(Series {
            dash,
            lead: format!("{label}: "),
            says: says.collect(),
            ..series
        });
    }
    let most = all.iter().flat_map(|series| &series.points);
    let most = most.map(|point| point.1).fold(0.0, f64::max).max(1e-3);
    let mut shares = Axis::between(0.0, 1.06 * most).titled("share of the label’s texts");
    for (at, text) in &mut shares.ticks {
        *text = format!("{} %", (*at * 1000.0).round() / 10.0);
    }
    shares.unit = "%";
    let first = edges.first().copied().unwrap_or(-1.0);
    let last = edges.last().copied().unwrap_or(1.0);
    let width = edges
        .windows(2)
        .next()
        .map_or(0.0, |pair| pair[1] - pair[0]);
    let title = format!("{} (bins of {width})", report.survey.activation);
    let mut panel = Panel::new(Axis::between(first, last).titled(title), shares);
    panel.hover = Hover::Column;
    panel.series = all;
    panel
}

/// Of few classes, from the first to the last by the diverging colors; told apart by the
/// dash, too.
fn class_line(class: usize, classes: usize) -> (Paint, LineStyle) {
    use Paint::{Blue, Green, Grey, Orange, Purple, Sky, Vermillion};
    let paints: &[Paint] = match classes {
        3 => &[Blue, Grey, Vermillion],
        5 => &[Blue, Sky, Grey, Orange, Vermillion],
        _ => &[Blue, Vermillion, Green, Purple, Orange, Sky, Grey],
    };
    let dash = match class % 5 {
        0 => LineStyle::Solid,
        1 => LineStyle::Dashed,
        2 => LineStyle::Dotted,
        3 => LineStyle::DashDot,
        _ => LineStyle::LongDash,
    };
    (paints[class % paints.len()], dash)
}
