//! The page of `cellway trace`: one text through an LSTM, step by step.

use std::path::Path;

use super::chart::over_time;
use super::data;
use super::text::{notes, token};
use crate::error::Result;
use crate::report::page::{self, definitions, escape};
use crate::trace::{Recording, UnitIndex, norms, shown};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = concat!(include_str!("data.js"), include_str!("page.js"));
const BODY: &str = include_str!("page.html");

/// The most bytes of a page, where one unit has room at all.
const MOST_BYTES: usize = 480_000;
/// Of what every page has: the frame and the script of figures.
const FRAME_BYTES: usize = 40_000;

/// A recording and what it was of.
#[derive(Clone, Debug)]
pub struct TracePage<'a> {
    /// The checkpoint.
    pub checkpoint: &'a Path,
    /// The LSTM in it, if it was read alone.
    pub lstm: Option<&'a str>,
    /// Of cellway, with that of libtorch.
    pub version: &'a str,
    /// In which dtype.
    pub dtype: &'a str,
    /// Where.
    pub device: String,
    /// What was recorded.
    pub recording: &'a Recording,
    /// What is looked at first; the first of it is worked out.
    pub places: &'a [UnitIndex],
    /// Whether the caller named these units: then no others are shown at first.
    pub named: bool,
    /// Which of [`Recording::directions`] the page has.
    pub directions: &'a [usize],
    /// How many steps of a longer text.
    pub window: usize,
}

/// Writes a recording as one page that needs nothing but a browser.
///
/// # Errors
/// The file cannot be written.
pub fn trace_page(path: &Path, page: &TracePage) -> Result<()> {
    let title = match page.lstm {
        None => format!("How {} reads a text", page.checkpoint.display()),
        Some(name) => format!("How {name} of {} reads", page.checkpoint.display()),
    };
    let recording = page.recording;
    let steps = shown(recording.time(), page.window);
    let mut head = format!("<h1>{}</h1>\n", escape(&title));
    head.push_str(&summary(recording));
    head.push_str(&sentence(recording, &steps));
    let shown = page.directions.iter();
    let shown: Vec<_> = shown
        .map(|&at| over_time(recording, &recording.directions[at], &steps))
        .collect();
    let first = page.places.first();
    let first =
        first.and_then(|first| page.directions.iter().position(|&at| at == first.direction));
    let charts = page::figures(
        &shown,
        first.unwrap_or(0),
        "Probability, integrated gradients and norms of gradients over the steps; the table at \
         the end has the numbers",
        "",
    );
    let mut tail = table(recording, &steps);
    tail.push_str(&facts(page));
    let rest = FRAME_BYTES + head.len() + BODY.len() + charts.len() + tail.len();
    let rest = rest + STYLE.len() + SCRIPT.len() + 16 * steps.len();
    let units = data::units(page, steps.len(), MOST_BYTES.saturating_sub(rest));
    let body = head + &maps(page, &units, &charts) + &tail;
    let numbers = page::data("trace", &data::value(page, &steps, &units))?;
    page::write(path, &title, &(body + &numbers), STYLE, SCRIPT)
}

/// The charts, and what they show.
fn maps(page: &TracePage, units: &[Vec<i64>], charts: &str) -> String {
    let how = match &page.recording.words {
        Some(words) => format!(
            "The probability of {} after each token: what the model says of the text up to there, read as a text of its own.",
            escape(&format!("{:?}", words.labels[words.class]))
        ),
        None => "The numbers of each step.".to_owned(),
    };
    let kept = &page.recording.directions[page.directions[0]];
    let few = match units
        .iter()
        .any(|units| (units.len() as i64) < kept.units())
    {
        true => format!(
            "<p class=\"note\">So that the page stays small it has the {} most decisive of {} units in each layer and direction; a page of fewer steps, layers or directions has more.</p>",
            units.iter().map(Vec::len).min().unwrap_or(0),
            kept.units()
        ),
        false => String::new(),
    };
    let projection = match page.recording.projects() {
        true => {
            "<p class=\"note\">This LSTM projects its hidden state: a row of h and of its gradient is an element of the projection, which is of no one unit.</p>"
        }
        false => "",
    };
    let target = escape(&page.recording.target);
    let parts = [
        ("how", how.as_str()),
        ("target", target.as_str()),
        ("over-time", charts),
        ("few", few.as_str()),
        ("projection", projection),
    ];
    // In one pass, so that no text from a file is taken for a place.
    let mut html = String::new();
    let mut rest = BODY;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        let part = parts.iter().find(|(place, _)| *place == name);
        html.push_str(before);
        html.push_str(part.map_or("", |(_, text)| text));
        rest = after;
    }
    html + rest
}

fn summary(recording: &Recording) -> String {
    let mut html = String::from("<section class=\"verdict\" aria-label=\"summary\">\n");
    if let Some(words) = &recording.words {
        html.push_str(&format!(
            "<p class=\"sentence\"><strong>{}</strong> {:.4}</p>\n",
            escape(&words.labels[words.predicted]),
            words.probabilities[words.predicted]
        ));
    }
    let integrated = &recording.integrated;
    let check = recording.check;
    html.push_str(&format!(
        "<p>Gradients are of y, {}: y = {:.6}.</p>\n\
         <p>Integrated gradients go from zero vectors (y = {:.6}) to the text in {} points; their sum misses the change of y by {:.1e} (completeness error).</p>\n\
         <p>The numbers are those of the plain engine, at most {:.1e} from the fused one (tolerance {:.1e}).</p>\n</section>\n",
        escape(&recording.target),
        recording.value,
        integrated.baseline,
        integrated.points,
        integrated.error,
        check.largest,
        check.tolerance
    ));
    html
}

/// The tokens as buttons that choose a step.
fn sentence(recording: &Recording, steps: &[i64]) -> String {
    let moves = |step: i64| match &recording.words {
        Some(words) => words.path.change(step, words.class),
        None => recording.integrated.steps.get(step as usize).copied(),
    };
    let most = (0..recording.time())
        .filter_map(moves)
        .fold(f64::MIN_POSITIVE, |most, by| by.abs().max(most));
    let what = match recording.words {
        Some(_) => "change of the probability",
        None => "integrated gradient",
    };
    let mut html = String::from("<section>\n<h2>The text</h2>\n<p class=\"tokens\">");
    for (n, &step) in steps.iter().enumerate() {
        if n > 0 && step != steps[n - 1] + 1 {
            let left_out = step - steps[n - 1] - 1;
            html.push_str(&format!("<span class=\"gap\">… {left_out} steps …</span> "));
        }
        let by = moves(step);
        let (way, share) = match by {
            Some(by) if by < 0.0 => ("down", -by / most),
            Some(by) => ("up", by / most),
            None => ("up", 0.0),
        };
        let unknown = match &recording.words {
            Some(words) if !words.known[step as usize] => " unknown",
            _ => "",
        };
        let said = by.map_or("not known".to_owned(), |by| format!("{by:+.4}"));
        html.push_str(&format!(
            "<button type=\"button\" class=\"token {way}{unknown}\" data-at=\"{n}\" aria-pressed=\"false\" \
             style=\"--share:{:.1}%\" title=\"step {step}, {what}: {said}{}\">{}</button> ",
            share * 70.0,
            if unknown.is_empty() { "" } else { ", not in the vocabulary" },
            escape(&token(recording, step))
        ));
    }
    html.push_str(&format!(
        "</p>\n<p class=\"legend\"><span class=\"scale tokens-scale\" aria-hidden=\"true\"></span> {what}: -{most:.3} to +{most:.3}</p>\n"
    ));
    for note in notes(recording, steps.len()) {
        html.push_str(&format!("<p class=\"note\">{}.</p>\n", escape(&note)));
    }
    html.push_str("</section>\n");
    html
}

/// The numbers of the steps, for those who have no script or no eyes for plots.
fn table(recording: &Recording, steps: &[i64]) -> String {
    let mut html = String::from(
        "<section><h2>The steps as a table</h2>\n<details><summary>Show it</summary>\n<div class=\"scroll\" tabindex=\"0\"><table class=\"steps\">\n<thead><tr><th scope=\"col\">step</th><th scope=\"col\">token</th>",
    );
    let words = recording.words.as_ref();
    let mut columns = Vec::new();
    if words.is_some() {
        columns.extend(["probability", "change"]);
    }
    columns.extend(["integrated gradient", "norm of ∂y/∂x"]);
    for column in columns {
        html.push_str(&format!("<th scope=\"col\">{column}</th>"));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    let of_input = norms(&recording.gradient_input);
    for &step in steps {
        let at = step as usize;
        html.push_str(&format!(
            "<tr><td>{step}</td><th scope=\"row\">{}</th>",
            escape(&token(recording, step))
        ));
        let mut cell = |number: Option<f64>| {
            let text = number.map_or("-".to_owned(), |number| format!("{number:.6}"));
            html.push_str(&format!("<td>{text}</td>"));
        };
        if let Some(words) = words {
            cell(words.path.at(step, words.class));
            cell(words.path.change(step, words.class));
        }
        cell(recording.integrated.steps.get(at).copied());
        cell(of_input.get(at).copied());
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table></div></details></section>\n");
    html
}

fn facts(page: &TracePage) -> String {
    let first = &page.recording.directions[0];
    let last = &page.recording.directions[page.recording.directions.len() - 1];
    let mut rows = vec![
        ("checkpoint", page.checkpoint.display().to_string()),
        ("layers", (last.layer + 1).to_string()),
        (
            "directions",
            if last.reverse { "2" } else { "1" }.to_owned(),
        ),
        ("units", first.units().to_string()),
        ("dtype", page.dtype.to_owned()),
        ("device", page.device.clone()),
        ("cellway", page.version.to_owned()),
    ];
    if page.recording.projects() {
        rows.insert(4, ("projection", first.outputs().to_string()));
    }
    definitions("Configuration", &rows)
}
