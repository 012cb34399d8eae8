//! What `cellway trace` shows on a terminal.

use std::fmt::Write;
use std::path::Path;

use tch::Tensor;

use super::picture::{Strip, TraceChart, draw};
use super::screen::{Screen, diverging, painted, sequential};
use crate::error::Result;
use crate::report::{Table, printable};
use crate::trace::{Direction, Recording, UnitIndex, numbers, shown};

/// The text and its prediction step by step, then gates and states of these units.
/// A sequence of more than `window` steps is shown by its first and last.
pub fn trace_text(
    recording: &Recording,
    places: &[UnitIndex],
    window: usize,
    screen: Screen,
) -> String {
    let steps = shown(recording.time(), window);
    let mut text = String::new();
    if let Some(words) = &recording.words {
        let all = words.labels.iter().zip(&words.probabilities);
        let all: Vec<String> = all
            .map(|(label, probability)| format!("{} {probability:.4}", printable(label)))
            .collect();
        let predicted = printable(&words.labels[words.predicted]);
        let _ = writeln!(text, "{predicted}: {}", all.join(", "));
    }
    let _ = writeln!(
        text,
        "y is {}: {:.6}",
        printable(&recording.target),
        recording.value
    );
    for note in notes(recording, steps.len()) {
        let _ = writeln!(text, "{note}");
    }
    let _ = writeln!(text);
    if screen.color && recording.words.is_some() {
        let _ = writeln!(text, "{}\n", sentence(recording, &steps));
    }
    let _ = writeln!(text, "{}", path(recording, &steps));
    for &place in places {
        let _ = write!(text, "\n{}", unit(recording, place, &steps, screen));
    }
    text
}

/// What should be known of the text, for people.
pub(super) fn notes(recording: &Recording, shown: usize) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(words) = &recording.words {
        if !words.known.contains(&true) {
            notes.push(
                "the vocabulary has none of these words: all are read as the unknown one"
                    .to_owned(),
            );
        } else if words.known.contains(&false) {
            let unknown = words.tokens.iter().zip(&words.known);
            let mut unknown: Vec<String> = unknown
                .filter(|(_, known)| !**known)
                .map(|(token, _)| printable(token))
                .collect();
            unknown.dedup();
            let more = unknown.len().saturating_sub(10);
            unknown.truncate(10);
            let more = if more > 0 {
                format!(", and {more} more")
            } else {
                String::new()
            };
            notes.push(format!(
                "not in the vocabulary, read as the unknown word: {}{more}",
                unknown.join(" ")
            ));
        }
        if words.cut > 0 {
            notes.push(format!(
                "{} tokens stand behind the most that the model reads, and were not read",
                words.cut
            ));
        }
    }
    if (shown as i64) < recording.time() {
        let last = shown / 2;
        notes.push(format!(
            "{} steps, all of them read; the first {} and the last {last} are shown (--window)",
            recording.time(),
            shown - last
        ));
    }
    notes
}

/// What a step reads, in words.
pub(super) fn token(recording: &Recording, step: i64) -> String {
    match &recording.words {
        Some(words) => printable(&words.tokens[step as usize]),
        None => format!("x{step}"),
    }
}

/// The tokens, each on the color of what it does to the probability.
fn sentence(recording: &Recording, steps: &[i64]) -> String {
    let moves = |step| {
        let words = recording.words.as_ref()?;
        words.path.change(step, words.class)
    };
    let most = largest(steps.iter().filter_map(|&step| moves(step)));
    let mut parts = Vec::new();
    for (n, &step) in steps.iter().enumerate() {
        if n > 0 && step != steps[n - 1] + 1 {
            parts.push("…".to_owned());
        }
        let token = token(recording, step);
        parts.push(match moves(step) {
            Some(by) => painted(&format!(" {token} "), diverging(by / most)),
            None => token,
        });
    }
    parts.join(" ")
}

/// A line for each step.
fn path(recording: &Recording, steps: &[i64]) -> Table {
    let words = recording.words.as_ref();
    let mut headers = vec!["step".to_owned(), "token".to_owned()];
    if let Some(words) = words {
        let label = printable(&words.labels[words.class]);
        headers.extend([format!("p({label})"), "change".to_owned()]);
    }
    headers.push("integrated gradient".to_owned());
    let mut table = Table::new("", headers);
    if let Some(words) = words {
        let start = format!("{:.4}", words.path.start[words.class]);
        table.row(["-".to_owned(), "(nothing yet)".to_owned(), start]);
    }
    let some = |number: Option<f64>, sign: bool| match (number, sign) {
        (Some(number), true) => format!("{number:+.4}"),
        (Some(number), false) => format!("{number:.4}"),
        (None, _) => "-".to_owned(),
    };
    for (n, &step) in steps.iter().enumerate() {
        if n > 0 && step != steps[n - 1] + 1 {
            table.row(["", "…"]);
        }
        let mut cells = vec![step.to_string(), token(recording, step)];
        if let Some(words) = words {
            cells.push(some(words.path.at(step, words.class), false));
            cells.push(some(words.path.change(step, words.class), true));
        }
        let integrated = recording.integrated.steps[step as usize];
        cells.push(some(Some(integrated), true));
        table.row(cells);
    }
    table
}

/// The rows of one unit, as many steps in a line as there is room for.
fn unit(recording: &Recording, place: UnitIndex, steps: &[i64], screen: Screen) -> String {
    let direction = &recording.directions[place.direction];
    let rows = rows(direction, place.unit, steps);
    const LABEL: usize = 15;
    let most_wide = screen.width.saturating_sub(LABEL).max(CELL + 1);
    let widths: Vec<usize> = steps
        .iter()
        .map(|&step| short(&token(recording, step)).chars().count().max(CELL) + 1)
        .collect();
    let mut text = format!("{}\n", heading(direction, place.unit));
    let mut from = 0;
    while from < steps.len() {
        let mut used = 0;
        let fits = widths[from..].iter().take_while(|&&width| {
            used += width;
            used <= most_wide
        });
        let to = from + fits.count().max(1);
        let _ = write!(text, "{:LABEL$}", "");
        for at in from..to {
            let token = short(&token(recording, steps[at]));
            let _ = write!(text, "{token:>width$}", width = widths[at]);
        }
        text.push('\n');
        for row in &rows {
            let most = if row.signed {
                largest(row.values.iter().copied())
            } else {
                1.0
            };
            let _ = write!(text, "{:LABEL$}", row.name);
            for (&value, &width) in row.values[from..to].iter().zip(&widths[from..to]) {
                let number = if row.signed {
                    format!("{value:+.2}")
                } else {
                    format!("{value:.2}")
                };
                let cell = format!("{number:>width$}");
                text.push_str(&match (screen.color, row.signed) {
                    (false, _) => cell,
                    (true, false) => painted(&cell, sequential(value)),
                    (true, true) => painted(&cell, diverging(value / most)),
                });
            }
            text.push('\n');
        }
        from = to;
        if from < steps.len() {
            text.push('\n');
        }
    }
    text
}

fn heading(direction: &Direction, unit: i64) -> String {
    format!(
        "layer {} {}, unit {unit}: decisive by {:.4}",
        direction.layer,
        direction.way(),
        direction.decisive[unit as usize]
    )
}

/// Gates and states of a unit at these steps.
fn rows(direction: &Direction, unit: i64, steps: &[i64]) -> Vec<Strip> {
    let trace = &direction.trace;
    let strip = |name: &str, signed, tensor: &Tensor| {
        let all = numbers(&tensor.select(1, unit));
        Strip {
            name: name.to_owned(),
            signed,
            values: steps.iter().map(|&step| all[step as usize]).collect(),
        }
    };
    let mut rows = vec![
        strip("forget gate f", false, &trace.f),
        strip("input gate i", false, &trace.i),
        strip("output gate o", false, &trace.o),
        strip("candidate g", true, &trace.g),
        strip("cell state C", true, &trace.c),
    ];
    // With a projection the elements of h are of no unit.
    if direction.outputs() == direction.units() {
        rows.push(strip("hidden state h", true, &trace.h));
    }
    rows.push(strip("open highway", false, &direction.highway));
    rows
}

/// The same as a picture.
///
/// # Errors
/// The window is too long for one, or the file cannot be written.
pub fn trace_picture(
    path: &Path,
    recording: &Recording,
    places: &[UnitIndex],
    window: usize,
) -> Result<()> {
    let steps = shown(recording.time(), window);
    let words = recording.words.as_ref();
    let title = match words {
        Some(words) => format!(
            "{} {:.4}",
            words.labels[words.predicted], words.probabilities[words.predicted]
        ),
        None => format!("y = {:.4}, {}", recording.value, recording.target),
    };
    let groups = places.iter().map(|place| {
        let direction = &recording.directions[place.direction];
        let rows = rows(direction, place.unit, &steps);
        (heading(direction, place.unit), rows)
    });
    let of_path = words.map(|words| {
        let at = |&step: &i64| words.path.at(step, words.class).unwrap_or(f64::NAN);
        let name = format!("p({})", words.labels[words.class]);
        let values = steps.iter().map(at).collect();
        (name, words.path.start[words.class], values)
    });
    let chart = TraceChart {
        title,
        tokens: steps.iter().map(|&step| token(recording, step)).collect(),
        path: of_path,
        groups: groups.collect(),
    };
    draw(path, &chart)
}

/// The least width of a number with its sign.
const CELL: usize = 5;

fn short(token: &str) -> String {
    const MOST: usize = 12;
    match token.chars().count() > MOST {
        true => token.chars().take(MOST - 1).chain(['…']).collect(),
        false => token.to_owned(),
    }
}

fn largest(numbers: impl Iterator<Item = f64>) -> f64 {
    numbers.fold(f64::MIN_POSITIVE, |most, number| most.max(number.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lstm::{Init, Lstm, LstmConfig};
    use crate::random::Stream;
    use crate::trace::{Path, Words, vectors};

    fn recording() -> Recording {
        let config = LstmConfig {
            batch_first: true,
            ..LstmConfig::new(2, 3)
        };
        let lstm = Lstm::new(config, Init::default(), Stream::new(1, "t")).unwrap();
        let x = Tensor::from_slice(&[0.5f32, -1.0, 2.0, 0.1, -0.7, 0.3]).view([3, 2]);
        let step = |p: f64| Some(vec![1.0 - p, p]);
        let words = Words {
            tokens: ["so", "good", "bad"].map(str::to_owned).to_vec(),
            ids: vec![2, 3, 4],
            known: vec![true; 3],
            cut: 0,
            labels: ["neg", "pos"].map(str::to_owned).to_vec(),
            class: 1,
            predicted: 0,
            probabilities: vec![0.6, 0.4],
            path: Path {
                start: vec![0.5, 0.5],
                steps: vec![step(0.5), step(0.9), step(0.4)],
            },
        };
        Recording {
            words: Some(words),
            ..vectors(&lstm, &x).unwrap()
        }
    }

    #[test]
    fn colors_say_how_the_prediction_moves_and_change_no_word() {
        let recording = recording();
        let places = recording.decisive(1);
        let text = |color| {
            let screen = Screen { width: 80, color };
            trace_text(&recording, &places, 9, screen)
        };
        let (plain, colored) = (text(false), text(true));
        assert!(!plain.contains('\x1b'));
        // Up is orange, down is blue, and what moves nothing is grey.
        let sentence = colored
            .lines()
            .find(|line| line.contains(" good "))
            .unwrap();
        let painted: Vec<&str> = sentence.split("\x1b[48;5;").skip(1).collect();
        for (part, (ground, token)) in
            painted
                .iter()
                .zip([("236", "so"), ("172", "good"), ("39", "bad")])
        {
            assert!(
                part.starts_with(&format!("{ground}m")) && part.contains(token),
                "{part}"
            );
        }
        // Without the codes and the sentence both say the same.
        let mut bare = String::new();
        for (n, part) in colored.split('\x1b').enumerate() {
            bare.push_str(if n == 0 {
                part
            } else {
                part.split_once('m').unwrap().1
            });
        }
        let others = |text: &str| -> Vec<String> {
            let lines = text
                .lines()
                .filter(|line| !line.is_empty() && !line.contains(" good  "));
            lines.map(str::to_owned).collect()
        };
        assert_eq!(others(&bare), others(&plain));
    }
}
