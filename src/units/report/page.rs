//! The page of `cellway units`: what single units do over a data set.

use std::borrow::Cow;
use std::path::Path;

use super::text::{UnitsReport, life, numbered, percent, query_title, signed};
use super::{figures, words};
use crate::error::Result;
use crate::model::Pooling;
use crate::report::page::{self, definitions, escape};
use crate::units::{Activation, Correlations, Layer, Projected, RUN, Saturation, Survey, Unit};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The most units in the charts and the table of a page, which stays below 500 kB with them.
const MOST_UNITS: usize = 800;

/// Writes a survey as one page that needs nothing but a browser.
///
/// # Errors
/// The file cannot be written.
pub fn units_page(path: &Path, report: &UnitsReport) -> Result<()> {
    let title = format!("Units of {}", report.model.display());
    let mut body = format!("<h1>{}</h1>\n", escape(&title));
    body.push_str(&what_was_read(report));
    let (shown, note) = shown(report.survey);
    body.push_str(&note);
    body.push_str(&saturation(&shown));
    body.push_str(&sentiment(report, &shown));
    body.push_str(&found(report));
    body.push_str(&table_of_units(&shown, note.is_empty()));
    page::write(path, &title, &body, STYLE, SCRIPT)
}

fn what_was_read(report: &UnitsReport) -> String {
    let survey = report.survey;
    let mut texts = vec![
        ("file", report.data.display().to_string()),
        ("texts", survey.texts.to_string()),
        ("tokens", survey.tokens.to_string()),
    ];
    if survey.texts_without_token > 0 {
        let left_out = survey.texts_without_token.to_string();
        texts.push(("without a token, left out", left_out));
    }
    texts.push(match &survey.class_counts {
        None => ("labels", "none: correlations are left out".to_owned()),
        Some(counts) => {
            let counts = report.labels.iter().zip(counts);
            let counts: Vec<String> = counts.map(|(label, n)| format!("{label} {n}")).collect();
            ("labels", counts.join(", "))
        }
    });
    let lstm = report.lstm;
    let mut sizes = format!("{} layers of {} units", lstm.num_layers, lstm.hidden_size);
    if lstm.num_layers == 1 {
        sizes = format!("1 layer of {} units", lstm.hidden_size);
    }
    if lstm.bidirectional {
        sizes.push_str(" in both directions");
    }
    if lstm.proj_size > 0 {
        sizes.push_str(&format!(", projected to {}", lstm.proj_size));
    }
    let pooling = match report.pooling {
        Pooling::Last => "last: the final hidden states of the top layer",
        Pooling::Mean => "mean: the mean hidden states of the top layer",
        Pooling::Max => "max: the largest hidden states of the top layer",
        Pooling::All => "all: final, mean and largest hidden states of the top layer",
    };
    let model = [
        ("directory", report.model.display().to_string()),
        ("LSTM", sizes),
        ("pooling", pooling.to_owned()),
        (
            "computed",
            format!("plain engine, {} on {}", report.dtype, report.device),
        ),
        ("cellway", report.version.to_owned()),
    ];
    format!(
        "<h2>What was read</h2>\n<div class=\"cards\">\n{}{}</div>\n",
        definitions("Texts", &texts),
        definitions("Model", &model)
    )
}

/// The survey with no more units than a page has room for, and a note if some are left out.
fn shown(survey: &Survey) -> (Cow<'_, Survey>, String) {
    let score = |correlation: &Correlations, gates: &[Saturation]| match survey.class_counts {
        Some(_) => {
            let Correlations {
                hidden,
                cell,
                mean,
                max,
            } = *correlation;
            let all = [hidden, cell, mean, max].into_iter().flatten();
            all.map(f64::abs).fold(0.0, f64::max)
        }
        None => gates
            .iter()
            .map(|gate| gate.left.max(gate.right))
            .fold(0.0, f64::max),
    };
    let of_unit = |unit: &Unit| score(&unit.correlation, &[unit.input, unit.forget, unit.output]);
    let of_projected = |unit: &Projected| score(&unit.correlation, &[]);
    let mut scores: Vec<f64> = Vec::new();
    for layer in &survey.layers {
        scores.extend(layer.units.iter().map(of_unit));
        scores.extend(layer.projected.iter().map(of_projected));
    }
    let all = scores.len();
    if all <= MOST_UNITS {
        return (Cow::Borrowed(survey), String::new());
    }
    scores.sort_by(|a, b| b.total_cmp(a));
    let least = scores[MOST_UNITS - 1];
    // Of equal ones the first.
    let mut equal = scores[..MOST_UNITS]
        .iter()
        .filter(|&&score| score == least)
        .count();
    let mut keep = |score: f64| {
        let room = score == least && equal > 0;
        equal -= usize::from(room);
        score > least || room
    };
    let mut shown = survey.clone();
    for layer in &mut shown.layers {
        layer.units.retain(|unit| keep(of_unit(unit)));
        layer.projected.retain(|unit| keep(of_projected(unit)));
    }
    let which = match survey.class_counts {
        Some(_) => "whose activations correlate most with the label",
        None => "with the most saturated gates",
    };
    let note = format!(
        "<p class=\"note\">So that the page stays small, its charts and its table have the \
         {MOST_UNITS} of {all} units {which}; the JSON report has all.</p>\n"
    );
    (Cow::Owned(shown), note)
}

fn saturation(survey: &Survey) -> String {
    let mut html = String::from("<h2>Gates</h2>\n");
    html.push_str(&page::figures(
        &figures::saturation(survey),
        0,
        "The share of time steps at which each unit’s gate is above 0.9, against that below 0.1",
        "Each mark is a unit: the share of time steps at which its gate is nearly shut, below \
         0.1, and nearly open, above 0.9 (Karpathy, Johnson and Fei-Fei 2015). The two add up \
         to at most 1, the dashed line where the axes reach it. A forget gate at the top left \
         remembers; one at the bottom right forgets at once. A name above hides its marks. Drag \
         to zoom, double-click to go back.",
    ));
    html.push_str(
        "<h3>Half-life</h3>\n\
         <p>ln(1/2) / mean(ln f), in tokens: with nothing written, a cell’s content falls by a \
         factor f at each step, and their geometric mean halves it after so many. A gate that \
         rounds to 0, or lies below the smallest normal number of the dtype, counts as that \
         number, so that the half-life is then an upper bound (marked ≤). Where every gate \
         rounds to 1, it is infinite: longer than the dtype can tell.</p>\n",
    );
    html
}

/// What the correlations are of.
fn meaning(report: &UnitsReport) -> String {
    let of = match report.survey.activation {
        Activation::Hidden => {
            "The final hidden state is that after the last token, and for the backward \
             direction, which ends there, after the first"
        }
        Activation::Cell => {
            "The final cell state is that after the last token, and for the backward \
             direction, which ends there, after the first"
        }
        Activation::Mean => "The mean is over all tokens of the text",
        Activation::Max => "The largest is over all tokens of the text",
    };
    let kind = match report.labels.len() {
        2 => "point-biserial, which is Pearson’s with the label as 0 and 1".to_owned(),
        _ => format!(
            "Pearson’s with the number of the label ({}), which means something only if the \
             labels are in an order",
            numbered(report.labels)
        ),
    };
    format!("{of}. The correlation is {kind}.")
}

fn sentiment(report: &UnitsReport, shown: &Survey) -> String {
    let survey = report.survey;
    let mut html = String::from("<h2>Sentiment units</h2>\n");
    if survey.class_counts.is_none() {
        html.push_str("<p>The texts have no labels, so there is no correlation to show.</p>\n");
        return html;
    }
    let activation = survey.activation;
    html.push_str(&format!(
        "<p>The units whose {activation} goes most with the label. {}</p>\n",
        escape(&meaning(report))
    ));
    if survey.sentiment_units.is_empty() {
        html.push_str("<p>None: the activation, or the label, never changes.</p>\n");
        return html;
    }
    html.push_str(&page::figures(
        &figures::histograms(report),
        0,
        &format!("Histogram of the {activation} by label"),
        "The share of each label’s texts in each of 32 bins over the smallest range ± a power \
         of two that holds all values; counted in one pass.",
    ));
    html.push_str("<h3>Memory and label</h3>\n");
    html.push_str(&page::figures(
        &[figures::memory(shown)],
        0,
        "Correlation with the label against half-life, of each unit",
        "Each mark is a unit: the correlation of its activation with the label against its \
         half-life in tokens. Infinite half-lives stand at the right edge.",
    ));
    html
}

fn found(report: &UnitsReport) -> String {
    let Some((query, asked)) = report.query else {
        return String::new();
    };
    let title = query_title(query, report.survey.activation, asked);
    let mut html = format!("<h2>Sentences: {}</h2>\n", escape(&title));
    html.push_str(&words::explanation(query, RUN));
    for list in report.found {
        html.push_str(&words::list(list, query, report.found));
    }
    html
}

fn table_of_units(survey: &Survey, all: bool) -> String {
    let title = if all { "All units" } else { "Units" };
    // Cells and rows end where the next begins: HTML needs no tag there.
    let mut html = format!(
        "<h2>{title}</h2>\n\
         <p>Shares of time steps, half-lives in tokens, correlations with the label.</p>\n\
         <div class=\"scroll tall\" tabindex=\"0\" role=\"region\" aria-label=\"units\">\n\
         <table class=\"numbers\">\n<thead><tr><th scope=\"col\">unit</th>",
    );
    for title in [
        "i &lt; 0.1",
        "i &gt; 0.9",
        "f &lt; 0.1",
        "f &gt; 0.9",
        "o &lt; 0.1",
        "o &gt; 0.9",
        "half-life",
        "final h",
        "final c",
        "mean h",
        "max h",
    ] {
        html.push_str(&format!("<th scope=\"col\">{title}</th>"));
    }
    html.push_str("</tr></thead>\n");
    for layer in &survey.layers {
        html.push_str(&format!(
            "<tbody>\n<tr><th scope=\"rowgroup\" colspan=\"12\">{}</th></tr>\n",
            name(layer)
        ));
        for unit in &layer.units {
            let (i, f, o) = (unit.input, unit.forget, unit.output);
            let mut cells = [i.left, i.right, f.left, f.right, o.left, o.right]
                .map(percent)
                .to_vec();
            cells.push(life(unit));
            html.push_str(&row(&unit.unit.to_string(), &cells, &unit.correlation));
        }
        for unit in &layer.projected {
            let none = vec![String::new(); 7];
            let title = format!("projected {}", unit.unit);
            html.push_str(&row(&title, &none, &unit.correlation));
        }
    }
    html.push_str("</table>\n</div>\n");
    html
}

fn row(title: &str, cells: &[String], correlation: &Correlations) -> String {
    let mut html = format!("<tr><th scope=\"row\">{title}");
    let of = [
        correlation.hidden,
        correlation.cell,
        correlation.mean,
        correlation.max,
    ];
    for cell in cells.iter().cloned().chain(of.map(signed)) {
        html.push_str("<td>");
        html.push_str(&cell);
    }
    html.push('\n');
    html
}

/// `layer 0, forward`.
pub(super) fn name(layer: &Layer) -> String {
    format!("layer {}, {}", layer.layer, layer.direction)
}
