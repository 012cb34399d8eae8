//! The page of `cellway compare`: ours against reference torch.

use std::path::Path;

use serde_json::Value;

use super::shares;
use super::text::{QUANTITIES, number, short, some, tolerance_share};
use crate::compare::{Comparison, Origin, StageResult, Verdict};
use crate::error::Result;
use crate::lstm::Engine;
use crate::report::page::{definitions, escape, figures, write};

/// A comparison and what it was of.
#[derive(Clone, Debug)]
pub struct ComparisonPage<'a> {
    /// The checkpoint.
    pub checkpoint: &'a Path,
    /// Who computed on our side.
    pub engine: Engine,
    /// With how many threads.
    pub threads: usize,
    /// Of cellway, with that of libtorch.
    pub version: &'a str,
    /// The file of the reference, where one was given.
    pub reference: Option<&'a Path>,
    /// Who made it; `None` for bare tensors.
    pub origin: Option<&'a Origin>,
    /// What was found.
    pub comparison: &'a Comparison,
}

/// What became of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Identical,
    Within,
    Outside,
}

impl Judgement {
    pub fn of(stage: &StageResult) -> Judgement {
        if stage.is_outside() {
            Judgement::Outside
        } else if stage.difference.identical {
            Judgement::Identical
        } else {
            Judgement::Within
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Judgement::Identical => "identical",
            Judgement::Within => "within",
            Judgement::Outside => "outside",
        }
    }
}

/// Writes a comparison as one page that needs nothing but a browser.
///
/// # Errors
/// The file cannot be written.
pub fn comparison_page(path: &Path, page: &ComparisonPage) -> Result<()> {
    let checkpoint = page.checkpoint.display();
    let mut body = format!(
        "<h1>{} against torch</h1>\n",
        escape(&checkpoint.to_string())
    );
    body.push_str(&verdict(page));
    body.push_str(&configuration(page));
    body.push_str(&pictures(page.comparison));
    body.push_str(&table(page.comparison));
    let title = format!("{checkpoint} against torch");
    write(path, &title, &body, "", "")
}

/// The verdict in one sentence and a color, with what goes with it.
fn verdict(page: &ComparisonPage) -> String {
    let found = page.comparison;
    let count = found.stages.len();
    let (judgement, word, sentence) = match &found.verdict {
        Verdict::Identical => (
            Judgement::Identical,
            "Identical",
            format!("all {count} stages have the same numbers as torch, to the bit."),
        ),
        Verdict::Within { share, stage } => {
            let used = found.stages.iter().find(|result| result.name == *stage);
            let at = used.map_or("", |result| result.at.as_str());
            let at = match at.is_empty() {
                true => String::new(),
                false => format!(" at {at}"),
            };
            let share = tolerance_share(*share);
            (
                Judgement::Within,
                "Within tolerance",
                format!("at most {share} of it is used, in {stage}{at}."),
            )
        }
        Verdict::Outside { first, outside, .. } => {
            let leave = match outside {
                1 => "1 stage leaves".to_owned(),
                n => format!("{n} stages leave"),
            };
            (
                Judgement::Outside,
                "Outside",
                format!("{leave} the tolerance, of {count}; first {first}."),
            )
        }
    };
    let mut html = format!(
        "<section class=\"verdict {}\" aria-label=\"verdict\">\n\
         <p class=\"sentence\"><strong>{word}:</strong> {}</p>\n",
        judgement.word(),
        escape(&sentence)
    );
    let mut line = |title: &str, text: &str| {
        html.push_str(&format!("<p>{title}: {}</p>\n", escape(text)));
    };
    if let Some(diagnosis) = &found.diagnosis {
        line("Cause", &diagnosis.message);
    }
    if let Some(texts) = found.labels_differ {
        line("Texts with another label", &texts.to_string());
    }
    if !found.other_weights.is_empty() {
        line(
            "The reference ran other weights",
            &some(&found.other_weights),
        );
    }
    if !found.not_shown.is_empty() {
        line("Not shown by this engine", &found.not_shown.join(", "));
    }
    html.push_str("</section>\n");
    html
}

fn configuration(page: &ComparisonPage) -> String {
    let found = page.comparison;
    let engine = match page.engine {
        Engine::Auto => "auto",
        Engine::Plain => "plain",
        Engine::Fused => "fused",
        Engine::Native => "native",
    };
    let ours = [
        ("checkpoint", page.checkpoint.display().to_string()),
        ("engine", engine.to_owned()),
        ("dtype", found.dtype.to_owned()),
        ("device", found.device.clone()),
        ("threads", page.threads.to_string()),
        ("cellway", page.version.to_owned()),
    ];
    let mut theirs = Vec::new();
    if let Some(file) = page.reference {
        theirs.push(("file", file.display().to_string()));
    }
    match page.origin {
        None => theirs.push((
            "origin",
            "bare tensors, which do not tell what computed them".to_owned(),
        )),
        Some(origin) => theirs.extend(origin_rows(origin)),
    }
    let tolerance = &found.tolerance;
    format!(
        "<h2>What was compared</h2>\n<div class=\"cards\">\n{}{}</div>\n\
         <h3>Tolerances</h3>\n\
         <p>A value may be {} off, times the size of torch’s where that is above 1; \
         a gradient {} times the largest number of its tensor, or a hundredth of the \
         largest of all gradients where that is more; a loss or a parameter after \
         optimizer steps {}, as a value. The share of the tolerance is the difference \
         divided by what it may be: above 1, or 100 %, it is outside.</p>\n",
        definitions("Ours", &ours),
        definitions("Reference", &theirs),
        short(tolerance.value),
        short(tolerance.gradient),
        short(tolerance.step),
    )
}

fn origin_rows(origin: &Origin) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("torch", origin.torch.clone()),
        ("python", origin.python.clone()),
        ("device", origin.device.clone()),
        ("dtype", origin.dtype.clone()),
        ("inputs", origin.inputs.clone()),
        ("seed", origin.seed.clone()),
        ("flags", pairs(&origin.flags)),
        ("kind", origin.kind.clone()),
    ];
    if !origin.lstm.is_empty() {
        rows.push(("lstm", origin.lstm.clone()));
    }
    rows.push(("sizes", pairs(&origin.config)));
    if let Some(steps) = &origin.steps {
        rows.push((
            "steps",
            format!(
                "{} of {}, learning rate {}, momentum {}, weight decay {}",
                steps.steps,
                steps.optimizer.name(),
                steps.learning_rate,
                steps.momentum,
                steps.weight_decay
            ),
        ));
    }
    rows
}

/// The numbers and words of a JSON object: `hidden_size 4, bias true`.
fn pairs(json: &Value) -> String {
    let entries = json.as_object().into_iter().flatten();
    let pairs = entries.filter_map(|(key, value)| match value {
        Value::Null => Some(format!("{key} none")),
        Value::String(text) => Some(format!("{key} {text}")),
        Value::Bool(_) | Value::Number(_) => Some(format!("{key} {value}")),
        Value::Array(_) | Value::Object(_) => None,
    });
    pairs.collect::<Vec<_>>().join(", ")
}

fn pictures(found: &Comparison) -> String {
    let mut html = String::new();
    if !found.stages.is_empty() {
        html.push_str("<h2>By stage</h2>\n");
        html.push_str(&figures(
            &[shares::by_stage(found)],
            0,
            "The largest share of the tolerance that each stage uses",
            "The largest share of the tolerance that each stage uses, in the order of \
             computation; the dashed line is the tolerance. A name above hides its stages.",
        ));
    }
    let first = match &found.verdict {
        Verdict::Outside { stage, .. } | Verdict::Within { stage, .. } => Some(stage.as_str()),
        Verdict::Identical => None,
    };
    let (over_time, chosen) = shares::over_time(found, first);
    if !over_time.is_empty() {
        html.push_str("<h2>Over time</h2>\n");
        html.push_str(&figures(
            &over_time,
            chosen,
            "The largest share of the tolerance at each time step",
            "The largest share of the tolerance at each time step, over all texts and units; \
             the dashed line is the tolerance. A name above hides its line, a double click \
             shows it alone. Drag to zoom, double-click to go back.",
        ));
    }
    html
}

fn table(found: &Comparison) -> String {
    let mut html = String::from(
        "<h2>All stages</h2>\n\
         <p>Ours and torch’s are the numbers where the most of the tolerance is used, \
         and so is the place; ulps are units in the last place of torch’s number there.</p>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"all stages\">\n\
         <table>\n<thead><tr><th scope=\"col\">stage</th><th scope=\"col\">verdict</th>\
         <th scope=\"col\" class=\"number\">of tolerance</th><th scope=\"col\">at</th>",
    );
    for title in ["absolute", "relative", "ulps", "outside", "ours", "torch’s"] {
        html.push_str(&format!("<th scope=\"col\" class=\"number\">{title}</th>"));
    }
    html.push_str("<th scope=\"col\">shape</th></tr></thead>\n");
    for (title, quantity) in QUANTITIES {
        let of: Vec<&StageResult> = found
            .stages
            .iter()
            .filter(|stage| stage.quantity == quantity)
            .collect();
        if of.is_empty() {
            continue;
        }
        html.push_str(&format!(
            "<tbody>\n<tr><th scope=\"rowgroup\" colspan=\"11\">{title}</th></tr>\n"
        ));
        for stage in of {
            html.push_str(&row(stage, found.dtype));
        }
        html.push_str("</tbody>\n");
    }
    html.push_str("</table>\n</div>\n");
    html
}

fn row(stage: &StageResult, dtype: &str) -> String {
    let difference = &stage.difference;
    let judgement = Judgement::of(stage);
    let (class, word) = match judgement {
        Judgement::Outside => (" class=\"out\"", "▲ outside"),
        other => ("", other.word()),
    };
    let mut html = format!(
        "<tr{class}><th scope=\"row\" class=\"name\">{}</th><td class=\"word\">{word}</td>",
        escape(&stage.name)
    );
    // Digits that tell two numbers of the dtype apart.
    let digits = match dtype {
        "f64" => 16,
        "f32" => 8,
        _ => 4,
    };
    let exact = |value: f64| match value.is_finite() {
        true => format!("{value:.digits$e}"),
        false => number(value),
    };
    // Nowhere is the most used where nothing is.
    let of = |cell: String| match judgement {
        Judgement::Identical => String::new(),
        _ => cell,
    };
    let share = of(tolerance_share(difference.share));
    let at = of(escape(&stage.at));
    html.push_str(&format!("<td class=\"number\">{share}</td><td>{at}</td>"));
    for cell in [
        number(difference.absolute),
        number(difference.relative),
        number(difference.ulps),
        format!("{} of {}", difference.outside, difference.count),
        exact(difference.ours),
        exact(difference.theirs),
    ] {
        html.push_str(&format!("<td class=\"number\">{}</td>", of(cell)));
    }
    html.push_str(&format!("<td>{:?}</td></tr>\n", stage.shape));
    html
}
