//! The plots of a comparison: how much of the tolerance each stage uses, and
//! each time step.

use plotly::common::{
    Anchor, AxisSide, DashType, Font, HoverInfo, Line, Marker, MarkerSymbol, Mode, Orientation,
    TickMode,
};
use plotly::configuration::{DisplayModeBar, ModeBarButtonName};
use plotly::layout::{
    Axis, AxisType, DragMode, HoverMode, Legend, Margin, Shape, ShapeLayer, ShapeLine, ShapeType,
};
use plotly::{Configuration, Layout, Plot, Scatter};

use super::comparison::{Judgement, number, short};
use super::{Figure, escape};
use crate::compare::{Comparison, StageResult};
use crate::report::comparison::{QUANTITIES, percent};

// Of M. Okabe and K. Ito, "Color universal design" (2008); the grey is not, and
// stands clear of light and dark.
pub(super) const ORANGE: &str = "#e69f00";
pub(super) const SKY: &str = "#56b4e9";
pub(super) const GREEN: &str = "#009e73";
pub(super) const BLUE: &str = "#0072b2";
pub(super) const VERMILLION: &str = "#d55e00";
pub(super) const PURPLE: &str = "#cc79a7";
pub(super) const GREY: &str = "#808080";

/// Decades beyond these are drawn at these.
const DECADES: i32 = 30;
/// As many steps as there is room for numbers at all.
const WHOLE: usize = 12;
/// Names longer than this are cut; pointing at them shows them whole.
const NAME: usize = 32;
/// More steps than this are lines without marks.
const MARKED: usize = 60;

/// How a judgement is drawn: the same in the plot and in its key.
pub(super) fn colour(judgement: Judgement) -> &'static str {
    match judgement {
        Judgement::Identical => GREEN,
        Judgement::Within => BLUE,
        Judgement::Outside => VERMILLION,
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
            let place = share.clamp(10f64.powi(self.low), 10f64.powi(self.high));
            // Four digits are more than can be seen.
            format!("{place:.3e}").parse().unwrap_or(place)
        } else {
            10f64.powi(self.high + 1)
        }
    }

    fn axis(&self) -> Axis {
        let every = ((self.high - self.low) / 8 + 1).max(1);
        let decades = (self.low..=self.high).filter(|decade| decade % every == 0);
        let mut ticks: Vec<(i32, String)> = decades
            .map(|decade| {
                let text = match decade {
                    -3..=3 => 10f64.powi(decade).to_string(),
                    _ => format!("1e{decade}"),
                };
                (decade, text)
            })
            .collect();
        if self.identical {
            ticks.push((self.low - 1, "identical".to_owned()));
        }
        if self.endless {
            ticks.push((self.high + 1, "no number".to_owned()));
        }
        let bottom = f64::from(self.low) - if self.identical { 1.4 } else { 0.3 };
        let top = f64::from(self.high) + if self.endless { 1.4 } else { 0.3 };
        let (decades, texts): (Vec<i32>, Vec<String>) = ticks.into_iter().unzip();
        Axis::new()
            .type_(AxisType::Log)
            .range(vec![Some(bottom), Some(top)])
            .tick_mode(TickMode::Array)
            .tick_values(
                decades
                    .into_iter()
                    .map(|decade| 10f64.powi(decade))
                    .collect(),
            )
            .tick_text(texts)
            .auto_margin(true)
    }
}

/// Every stage, from top to bottom in the order of computation.
pub(super) fn by_stage(comparison: &Comparison) -> Figure {
    let shares = Shares::of(comparison.stages.iter().map(|stage| stage.difference.share));
    let (mut rows, mut names) = (Vec::new(), Vec::new());
    let mut row = 0.0;
    for (title, quantity) in QUANTITIES {
        let stages = comparison.stages.iter();
        let of: Vec<&StageResult> = stages.filter(|stage| stage.quantity == quantity).collect();
        if of.is_empty() {
            continue;
        }
        names.push((row, format!("<b>{title}</b>")));
        row += 1.0;
        for stage in of {
            names.push((row, escape(&ending(&stage.name))));
            rows.push((row, stage));
            row += 1.0;
        }
    }
    let mut plot = Plot::new();
    for (judgement, symbol) in [
        (Judgement::Identical, MarkerSymbol::DiamondOpen),
        (Judgement::Within, MarkerSymbol::Circle),
        (Judgement::Outside, MarkerSymbol::X),
    ] {
        let of = rows
            .iter()
            .filter(|(_, stage)| Judgement::of(stage) == judgement);
        let (mut x, mut y, mut text) = (Vec::new(), Vec::new(), Vec::new());
        for (row, stage) in of {
            x.push(shares.place(match judgement {
                Judgement::Identical => 0.0,
                _ => stage.difference.share,
            }));
            y.push(*row);
            text.push(stage_in_words(stage));
        }
        let marker = Marker::new()
            .symbol(symbol)
            .size(9)
            .color(colour(judgement))
            .line(Line::new().width(if judgement == Judgement::Identical {
                2.0
            } else {
                0.0
            }));
        let trace = Scatter::new(x, y)
            .name(judgement.word())
            .mode(Mode::Markers)
            .marker(marker)
            .text_array(text)
            .hover_info(HoverInfo::Text);
        plot.add_trace(trace);
    }
    let (places, names): (Vec<f64>, Vec<String>) = names.into_iter().unzip();
    let stages = Axis::new()
        .range(vec![Some(row - 0.4), Some(-0.6)])
        .tick_mode(TickMode::Array)
        .tick_values(places)
        .tick_text(names)
        .tick_font(Font::new().size(11))
        .auto_margin(true)
        .fixed_range(true);
    let layout = Layout::new()
        .x_axis(shares.axis().side(AxisSide::Top).fixed_range(true))
        .y_axis(stages)
        .shapes(vec![limit(true)])
        .show_legend(false)
        .hover_mode(HoverMode::YUnified)
        // Half a row.
        .hover_distance(9)
        .drag_mode(DragMode::False)
        .height(70 + 20 * row as usize)
        .margin(Margin::new().left(10).right(15).top(50).bottom(10));
    plot.set_layout(layout);
    plot.set_configuration(configuration());
    Figure {
        name: "all stages".to_owned(),
        plot,
    }
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
    let mut text = format!("<b>{}</b><br>", escape(&stage.name));
    if difference.identical {
        text.push_str("identical, to the bit");
        return text;
    }
    text.push_str(&format!(
        "{} of the tolerance {}<br>absolute {}, relative {}, {} ulps",
        percent(difference.share),
        short(stage.tolerance),
        number(difference.absolute),
        number(difference.relative),
        number(difference.ulps),
    ));
    if !stage.at.is_empty() {
        text.push_str(&format!("<br>at {}", escape(&stage.at)));
    }
    if difference.outside > 0 {
        text.push_str(&format!(
            "<br>{} of {} outside",
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
        figures.push(steps(
            &format!("layer {number}{direction}"),
            &stages,
            reverse,
        ));
    }
    let rest: Vec<&StageResult> = timed()
        .filter(|stage| layer(stage).is_none() && (layers.is_empty() || stage.name != "lstm/y"))
        .collect();
    if !rest.is_empty() {
        if rest.iter().any(|stage| Some(stage.name.as_str()) == first) {
            chosen = figures.len();
        }
        let name = if layers.is_empty() { "output" } else { "input" };
        figures.push(steps(name, &rest, false));
    }
    (figures, chosen)
}

fn steps(name: &str, stages: &[&StageResult], reverse: bool) -> Figure {
    let all = || stages.iter().flat_map(|stage| &stage.difference.over_time);
    let shares = Shares::of(all().copied());
    let mut plot = Plot::new();
    let mut longest = 0;
    for (index, stage) in stages.iter().enumerate() {
        let over_time = &stage.difference.over_time;
        longest = longest.max(over_time.len());
        let (name, colour, dash, symbol) = line(&stage.name, index);
        let text = over_time
            .iter()
            .map(|share| format!("{name}: {}", percent(*share)));
        let mode = match over_time.len() > MARKED {
            true => Mode::Lines,
            false => Mode::LinesMarkers,
        };
        let trace = Scatter::new(
            (0..over_time.len()).collect(),
            over_time.iter().map(|share| shares.place(*share)).collect(),
        )
        .text_array(text.collect())
        .name(&name)
        .mode(mode)
        .line(Line::new().color(colour).dash(dash).width(1.5))
        .marker(Marker::new().symbol(symbol).size(6).color(colour))
        .hover_template("%{text}<extra></extra>");
        plot.add_trace(trace);
    }
    let title = match reverse {
        true => "time step (computed from right to left)",
        false => "time step",
    };
    let mut time = Axis::new()
        .title(title)
        .range(vec![Some(-0.4), Some(longest as f64 - 0.6)])
        .auto_margin(true);
    if longest <= WHOLE {
        // By itself an axis this short has halves of steps.
        time = time.tick0(0.0).dtick(1.0);
    }
    let legend = Legend::new()
        .orientation(Orientation::Horizontal)
        .x(0.0)
        .y(1.02)
        .y_anchor(Anchor::Bottom);
    let layout = Layout::new()
        .x_axis(time)
        .y_axis(
            shares
                .axis()
                .title("share of the tolerance")
                .fixed_range(true),
        )
        .shapes(vec![limit(false)])
        .legend(legend)
        .show_legend(true)
        .hover_mode(HoverMode::XUnified)
        .drag_mode(DragMode::Zoom)
        .height(440)
        .margin(Margin::new().left(10).right(15).top(30).bottom(10));
    plot.set_layout(layout);
    plot.set_configuration(configuration());
    Figure {
        name: name.to_owned(),
        plot,
    }
}

/// Name, colour, dash and mark of a line.
fn line(stage: &str, index: usize) -> (String, &'static str, DashType, MarkerSymbol) {
    let part = match stage.starts_with("lstm/") {
        true => stage.rsplit('/').next().unwrap_or(stage),
        false => stage,
    };
    let (name, colour, dash, symbol) = match part {
        "i" => ("input i", ORANGE, DashType::Solid, MarkerSymbol::Circle),
        "f" => ("forget f", BLUE, DashType::Solid, MarkerSymbol::Square),
        "g" => ("candidate g", GREEN, DashType::Solid, MarkerSymbol::Diamond),
        "o" => ("output o", PURPLE, DashType::Solid, MarkerSymbol::Cross),
        "c" => (
            "cell c",
            VERMILLION,
            DashType::Dash,
            MarkerSymbol::CircleOpen,
        ),
        "h" => ("hidden h", SKY, DashType::Dash, MarkerSymbol::SquareOpen),
        "y" => ("y", GREY, DashType::Dot, MarkerSymbol::DiamondOpen),
        other => {
            let colours = [BLUE, VERMILLION, GREEN, PURPLE];
            let colour = colours[index % colours.len()];
            return (escape(other), colour, DashType::Solid, MarkerSymbol::Circle);
        }
    };
    (name.to_owned(), colour, dash, symbol)
}

/// The line at 1.
fn limit(upright: bool) -> Shape {
    let line = Shape::new()
        .shape_type(ShapeType::Line)
        .layer(ShapeLayer::Above)
        .line(ShapeLine::new().width(1.5).dash(DashType::Dash));
    match upright {
        true => line.y_ref("paper").y0(0).y1(1).x0(1).x1(1),
        false => line.x_ref("paper").x0(0).x1(1).y0(1).y1(1),
    }
}

/// Buttons to zoom, to go back and to keep a picture; no word to anybody else.
pub(super) fn configuration() -> Configuration {
    use ModeBarButtonName::{
        AutoScale2d, HoverClosestCartesian, HoverCompareCartesian, Lasso2d, Select2d,
        SendDataToCloud, ToggleSpikelines, ZoomIn2d, ZoomOut2d,
    };
    Configuration::new()
        // The page draws anew: a plot that is only resized loses its legend.
        .responsive(false)
        .display_logo(false)
        .display_mode_bar(DisplayModeBar::Hover)
        .mode_bar_buttons_to_remove(vec![
            AutoScale2d,
            HoverClosestCartesian,
            HoverCompareCartesian,
            Lasso2d,
            Select2d,
            SendDataToCloud,
            ToggleSpikelines,
            ZoomIn2d,
            ZoomOut2d,
        ])
}
