//! The plots of a survey of units.

use plotly::common::{
    Anchor, DashType, Fill, HoverInfo, Line, LineShape, Marker, MarkerSymbol, Mode, Orientation,
};
use plotly::layout::{
    Axis, AxisType, DragMode, HoverMode, Legend, Margin, Shape, ShapeLayer, ShapeLine, ShapeType,
};
use plotly::{Layout, Plot, Scatter};

use super::super::shares::{BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, configuration};
use super::super::{Figure, escape};
use super::name;
use crate::report::units::{UnitsReport, life, percent, signed};
use crate::units::{Layer, Ranked, Saturation, Survey, Unit};

/// Of layers and directions: told apart by the mark, too.
const LAYERS: [(&str, MarkerSymbol); 7] = [
    (BLUE, MarkerSymbol::Circle),
    (VERMILLION, MarkerSymbol::Diamond),
    (GREEN, MarkerSymbol::Square),
    (PURPLE, MarkerSymbol::TriangleUp),
    (ORANGE, MarkerSymbol::Cross),
    (SKY, MarkerSymbol::X),
    (GREY, MarkerSymbol::TriangleDown),
];

/// A trace for each layer and direction: each unit where `at` puts it, with words.
fn units(survey: &Survey, at: impl Fn(&Layer, &Unit) -> Option<(f64, f64, String)>) -> Plot {
    let mut plot = Plot::new();
    for (nth, layer) in survey.layers.iter().enumerate() {
        let (colour, symbol) = LAYERS[nth % LAYERS.len()].clone();
        let (mut x, mut y, mut text) = (Vec::new(), Vec::new(), Vec::new());
        for unit in &layer.units {
            if let Some((left, up, words)) = at(layer, unit) {
                x.push(digits(left));
                y.push(digits(up));
                text.push(format!(
                    "<b>{}, unit {}</b><br>{words}",
                    name(layer),
                    unit.unit
                ));
            }
        }
        let marker = Marker::new()
            .symbol(symbol)
            .size(8)
            .color(colour)
            .opacity(0.9);
        let trace = Scatter::new(x, y)
            .name(name(layer))
            .mode(Mode::Markers)
            .marker(marker)
            .text_array(text)
            .hover_info(HoverInfo::Text);
        plot.add_trace(trace);
    }
    plot.set_configuration(configuration());
    plot
}

/// More digits than can be seen only make the page larger.
fn digits(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

fn layout() -> Layout {
    let legend = Legend::new()
        .orientation(Orientation::Horizontal)
        .x(0.0)
        .y(1.02)
        .y_anchor(Anchor::Bottom);
    Layout::new()
        .legend(legend)
        .show_legend(true)
        .drag_mode(DragMode::Zoom)
        .height(460)
        .margin(Margin::new().left(10).right(15).top(30).bottom(10))
}

/// Which gate of a unit.
type Pick = fn(&Unit) -> Saturation;

/// The scatter of each gate, the forget gate first.
pub(super) fn saturation(survey: &Survey) -> Vec<Figure> {
    let gates: [(&str, Pick); 3] = [
        ("forget", |unit| unit.forget),
        ("input", |unit| unit.input),
        ("output", |unit| unit.output),
    ];
    gates
        .map(|(gate, share)| saturation_of(survey, gate, share))
        .into()
}

fn saturation_of(survey: &Survey, gate: &str, share: Pick) -> Figure {
    let mut plot = units(survey, |_, unit| {
        let Saturation { left, right } = share(unit);
        let words = format!(
            "{gate} gate below 0.1: {}<br>above 0.9: {}<br>half-life {} tokens",
            percent(left),
            percent(right),
            life(unit)
        );
        Some((left, right, words))
    });
    // One scale for both axes, so that the line stays where it is.
    let all = survey
        .layers
        .iter()
        .flat_map(|layer| &layer.units)
        .map(share);
    let most = all
        .flat_map(|share| [share.left, share.right])
        .fold(0.0, f64::max);
    let most = [0.1, 0.25, 0.5]
        .into_iter()
        .find(|&end| most <= end)
        .unwrap_or(1.0);
    let axis = |title: String| {
        Axis::new()
            .title(title)
            .range(vec![Some(-0.03 * most), Some(1.03 * most)])
            .tick_format(".0%")
            .auto_margin(true)
    };
    // At the most, all steps are one or the other.
    let limit = Shape::new()
        .shape_type(ShapeType::Line)
        .layer(ShapeLayer::Below)
        .line(ShapeLine::new().width(1.0).dash(DashType::Dash))
        .x0(0)
        .y0(1)
        .x1(1)
        .y1(0);
    plot.set_layout(
        layout()
            .x_axis(axis(format!("steps with the {gate} gate below 0.1")))
            .y_axis(axis(format!("steps with the {gate} gate above 0.9")))
            .shapes(vec![limit])
            .hover_mode(HoverMode::Closest),
    );
    Figure {
        name: format!("{gate} gate"),
        plot,
    }
}

/// Correlation against half-life. Of projected layers that of the cell, which has one.
pub(super) fn memory(survey: &Survey) -> Figure {
    let finite = survey.layers.iter().flat_map(|layer| &layer.units);
    let longest = finite.filter_map(|unit| unit.half_life).fold(1.0, f64::max);
    let edge = 10f64.powf(longest.log10().ceil() + 0.5);
    let mut plot = units(survey, |_, unit| {
        let correlation = unit.correlation.of(survey.activation);
        let correlation = correlation.or(unit.correlation.cell)?;
        let words = format!(
            "half-life {} tokens<br>correlation {}",
            life(unit),
            signed(Some(correlation))
        );
        Some((unit.half_life.unwrap_or(edge), correlation, words))
    });
    let lives = Axis::new()
        .title("half-life in tokens")
        .type_(AxisType::Log)
        .auto_margin(true);
    let correlations = Axis::new()
        .title("correlation with the label")
        .auto_margin(true);
    plot.set_layout(
        layout()
            .x_axis(lives)
            .y_axis(correlations)
            .hover_mode(HoverMode::Closest),
    );
    Figure {
        name: "all units".to_owned(),
        plot,
    }
}

/// A histogram of each ranked unit.
pub(super) fn histograms(report: &UnitsReport) -> Vec<Figure> {
    let counts = report.survey.class_counts.as_deref().unwrap_or_default();
    let ranked = report.survey.sentiment_units.iter();
    ranked.map(|unit| histogram(unit, report, counts)).collect()
}

fn histogram(ranked: &Ranked, report: &UnitsReport, class_counts: &[usize]) -> Figure {
    let edges = ranked.histogram.edges();
    let middles: Vec<f64> = edges
        .windows(2)
        .map(|pair| (pair[0] + pair[1]) / 2.0)
        .collect();
    let mut plot = Plot::new();
    let of_classes = report.labels.iter().zip(class_counts);
    for (class, (label, &texts)) in of_classes.enumerate() {
        let (colour, dash) = class_line(class, report.labels.len());
        let label = escape(label);
        let share = |count: u64| match texts {
            0 => 0.0,
            texts => count as f64 / texts as f64,
        };
        let counts = &ranked.histogram.counts[class];
        let text = counts.iter().map(|&count| {
            format!(
                "{label}: {count} of {texts} texts, {}",
                percent(share(count))
            )
        });
        let text = text.collect();
        let shares = counts.iter().map(|&count| digits(share(count))).collect();
        let line = Line::new()
            .color(colour)
            .width(2.0)
            .shape(LineShape::Hvh)
            .dash(dash);
        let mut trace = Scatter::new(middles.clone(), shares)
            .name(&label)
            .mode(Mode::Lines)
            .line(line)
            .text_array(text)
            .hover_template("%{text}<extra></extra>");
        if report.labels.len() == 2 {
            trace = trace.fill(Fill::ToZeroY);
        }
        plot.add_trace(trace);
    }
    let activation = Axis::new()
        .title(format!(
            "{} (bins of {})",
            report.survey.activation,
            edges[1] - edges[0]
        ))
        .hover_format(".3f")
        .auto_margin(true);
    let shares = Axis::new()
        .title("share of the label’s texts")
        .tick_format(".0%")
        .range_mode(plotly::layout::RangeMode::ToZero)
        .auto_margin(true)
        .fixed_range(true);
    plot.set_layout(
        layout()
            .x_axis(activation)
            .y_axis(shares)
            .hover_mode(HoverMode::XUnified)
            .height(380),
    );
    plot.set_configuration(configuration());
    Figure {
        name: format!(
            "layer {}, {}, unit {}: {}",
            ranked.layer,
            ranked.direction,
            ranked.unit,
            signed(Some(ranked.correlation))
        ),
        plot,
    }
}

/// Of few classes, from bad to good; told apart by the dash, too.
fn class_line(class: usize, classes: usize) -> (&'static str, DashType) {
    let colours: &[&str] = match classes {
        2 => &[VERMILLION, BLUE],
        3 => &[VERMILLION, GREY, BLUE],
        5 => &[VERMILLION, ORANGE, GREY, SKY, BLUE],
        _ => &[BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, GREY],
    };
    let dash = match class % 5 {
        0 => DashType::Solid,
        1 => DashType::Dash,
        2 => DashType::Dot,
        3 => DashType::DashDot,
        _ => DashType::LongDash,
    };
    (colours[class % colours.len()], dash)
}
