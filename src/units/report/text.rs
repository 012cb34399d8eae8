//! A survey of units as text: layers, the units that go most with the label, and the
//! sentences that were found.

use std::path::Path;

use crate::lstm::LstmConfig;
use crate::model::Pooling;
use crate::report::{Table, printable};
use crate::units::{Activation, Layer, Query, Sentences, Survey, Unit};

/// A survey and what it was of.
#[derive(Clone, Debug)]
pub struct UnitsReport<'a> {
    /// The model directory.
    pub model: &'a Path,
    /// The texts.
    pub data: &'a Path,
    /// Of cellway, with that of libtorch.
    pub version: &'a str,
    /// In which the model computed.
    pub dtype: &'a str,
    /// Where.
    pub device: String,
    /// Of the LSTM.
    pub lstm: &'a LstmConfig,
    /// How the model makes one vector of a text.
    pub pooling: Pooling,
    /// The names of the classes.
    pub labels: &'a [String],
    /// What was found.
    pub survey: &'a Survey,
    /// What was looked for, with the span and its context in words.
    pub query: Option<(&'a Query, Asked<'a>)>,
    /// The sentences that match.
    pub found: &'a [Sentences],
}

/// A span in words.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// The span.
    pub span: Option<&'a str>,
    /// The text in which it was read.
    pub context: Option<&'a str>,
}

/// The tables of a survey.
pub fn units_text(report: &UnitsReport) -> String {
    let survey = report.survey;
    let mut parts = vec![format!("{}\n", headline(report))];
    parts.push(format!("{}\n", layers(survey)));
    match survey.class_counts {
        Some(_) => parts.push(format!("{}\n", sentiment_units(report))),
        None => {
            parts.push(format!("{}\n", longest_memories(survey)));
            parts.push("the texts have no labels: correlations are left out\n".to_owned());
        }
    }
    if let Some((query, asked)) = report.query {
        let title = query_title(query, survey.activation, asked);
        for list in report.found {
            parts.push(format!("{}\n", sentences(list, &title)));
        }
    }
    let text = parts.join("\n");
    text.trim_end().to_owned()
}

fn headline(report: &UnitsReport) -> String {
    let survey = report.survey;
    let mut text = format!(
        "{} on {}: {} texts, {} tokens; plain engine, {} on {}",
        printable(&report.model.display().to_string()),
        printable(&report.data.display().to_string()),
        survey.texts,
        survey.tokens,
        report.dtype,
        report.device
    );
    if survey.texts_without_token > 0 {
        text += &format!(
            "; without a token, left out: {}",
            survey.texts_without_token
        );
    }
    text
}

fn layers(survey: &Survey) -> Table {
    let headers = [
        "layer",
        "direction",
        "units",
        "i < 0.1",
        "i > 0.9",
        "f < 0.1",
        "f > 0.9",
        "o < 0.1",
        "o > 0.9",
        "half-life: 25 %",
        "median",
        "75 %",
    ];
    let title = "gates: mean share of time steps; half-life in tokens over the units";
    let mut table = Table::new(title, headers);
    for layer in &survey.layers {
        let mean = |share: fn(&Unit) -> f64| {
            let units = layer.units.iter();
            percent(units.map(share).sum::<f64>() / layer.units.len() as f64)
        };
        let [low, median, high] = quartiles(layer).map(tokens);
        table.row([
            layer.layer.to_string(),
            layer.direction.to_string(),
            layer.units.len().to_string(),
            mean(|unit| unit.input.left),
            mean(|unit| unit.input.right),
            mean(|unit| unit.forget.left),
            mean(|unit| unit.forget.right),
            mean(|unit| unit.output.left),
            mean(|unit| unit.output.right),
            low,
            median,
            high,
        ]);
    }
    table
}

/// The quartiles of the half-lives, each the half-life of a unit; none is infinite.
pub(super) fn quartiles(layer: &Layer) -> [Option<f64>; 3] {
    let mut all: Vec<f64> = layer
        .units
        .iter()
        .map(|unit| unit.half_life.unwrap_or(f64::INFINITY))
        .collect();
    all.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| {
        let rank = (all.len() * quarter).div_ceil(4);
        all.get(rank.saturating_sub(1))
            .copied()
            .filter(|life| life.is_finite())
    })
}

fn sentiment_units(report: &UnitsReport) -> String {
    let survey = report.survey;
    let title = format!(
        "sentiment units: correlation of the {} with the label ({})",
        survey.activation,
        numbered(report.labels)
    );
    let mut headers = vec!["layer", "direction", "unit", "correlation"];
    headers.extend([
        "final h",
        "final c",
        "mean h",
        "max h",
        "f < 0.1",
        "f > 0.9",
        "half-life",
    ]);
    let mut table = Table::new(title, headers);
    for ranked in &survey.sentiment_units {
        let layer = survey
            .layers
            .iter()
            .find(|layer| (layer.layer, layer.direction) == (ranked.layer, ranked.direction));
        let mut row = vec![
            ranked.layer.to_string(),
            ranked.direction.to_string(),
            ranked.unit.to_string(),
            signed(Some(ranked.correlation)),
        ];
        // A projected hidden state has no gates of its own.
        let unit = layer.and_then(|layer| layer.units.get(ranked.unit));
        let is_cell = layer.is_some_and(|layer| layer.projected.is_empty())
            || survey.activation == Activation::Cell;
        let projected = layer.and_then(|layer| layer.projected.get(ranked.unit));
        let correlation = match (is_cell, projected) {
            (false, Some(projected)) => projected.correlation,
            _ => unit.map(|unit| unit.correlation).unwrap_or_default(),
        };
        for one in [
            correlation.hidden,
            correlation.cell,
            correlation.mean,
            correlation.max,
        ] {
            row.push(signed(one));
        }
        match unit.filter(|_| is_cell) {
            Some(unit) => row.extend([
                percent(unit.forget.left),
                percent(unit.forget.right),
                life(unit),
            ]),
            None => row.extend(["-"; 3].map(str::to_owned)),
        }
        table.row(row);
    }
    match survey.sentiment_units.is_empty() {
        true => format!("{table}\n(none: the activation or the label never changes)"),
        false => table.to_string(),
    }
}

fn longest_memories(survey: &Survey) -> Table {
    const SHOWN: usize = 10;
    let headers = [
        "layer",
        "direction",
        "unit",
        "f < 0.1",
        "f > 0.9",
        "half-life",
    ];
    let mut table = Table::new("longest memories", headers);
    let mut all: Vec<(&Layer, &Unit)> = survey
        .layers
        .iter()
        .flat_map(|layer| layer.units.iter().map(move |unit| (layer, unit)))
        .collect();
    all.sort_by(|(_, a), (_, b)| b.mean_log_forget.total_cmp(&a.mean_log_forget));
    for (layer, unit) in all.into_iter().take(SHOWN) {
        table.row([
            layer.layer.to_string(),
            layer.direction.to_string(),
            unit.unit.to_string(),
            percent(unit.forget.left),
            percent(unit.forget.right),
            life(unit),
        ]);
    }
    table
}

fn sentences(list: &Sentences, title: &str) -> Table {
    let mut table = Table::new(
        format!("{}: {title}", list.name),
        ["score", "label", "text"],
    );
    for sentence in &list.sentences {
        let mut text = String::new();
        let mut written = 0;
        let mut open = false;
        for word in &sentence.words {
            // Brackets stand around a run, not around each word.
            let end = word.place.start.max(written);
            if open && !word.matches {
                text.push(']');
                open = false;
            }
            text += sentence.text.get(written..end).unwrap_or_default();
            if word.matches && !open {
                text.push('[');
                open = true;
            }
            written = word.place.end.max(end);
            text += sentence.text.get(end..written).unwrap_or_default();
        }
        if open {
            text.push(']');
        }
        text += sentence.text.get(written..).unwrap_or_default();
        let label = sentence.label.clone().unwrap_or_else(|| "-".to_owned());
        table.row([signed(Some(sentence.score)), label, text]);
    }
    table
}

/// What was looked for.
pub(super) fn query_title(query: &Query, activation: Activation, asked: Asked) -> String {
    let state = if activation == Activation::Cell {
        "cell state"
    } else {
        "hidden state"
    };
    match query {
        Query::Unit {
            layer,
            direction,
            unit,
        } => format!("{state} of unit {unit}, layer {layer}, {direction}"),
        Query::Span {
            layer, directions, ..
        } => {
            let span = asked.span.unwrap_or_default();
            let place = match asked.context {
                Some(context) => format!("in “{context}”"),
                None => "on its own".to_owned(),
            };
            let names: Vec<String> = directions.iter().map(ToString::to_string).collect();
            let directions = names.join(" and ");
            format!("mean {state} of “{span}” {place}, layer {layer}, {directions}")
        }
    }
}

/// `negative 0, positive 1`.
pub(super) fn numbered(labels: &[String]) -> String {
    let labels = labels.iter().enumerate();
    let labels: Vec<String> = labels
        .map(|(class, label)| format!("{label} {class}"))
        .collect();
    labels.join(", ")
}

/// A share as people read it.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A half-life as people read it.
pub(super) fn tokens(half_life: Option<f64>) -> String {
    match half_life {
        None => "infinite".to_owned(),
        Some(tokens @ ..10.0) => format!("{tokens:.2}"),
        Some(tokens @ ..1e4) => format!("{tokens:.1}"),
        Some(tokens) => format!("{tokens:.1e}"),
    }
}

/// A correlation or activation, with its sign.
pub(super) fn signed(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) => format!("{value:+.3}"),
    }
}

/// The half-life of a unit, marked where it is an upper bound.
pub(super) fn life(unit: &Unit) -> String {
    let bound = if unit.floored > 0.0 { "≤ " } else { "" };
    format!("{bound}{}", tokens(unit.half_life))
}
