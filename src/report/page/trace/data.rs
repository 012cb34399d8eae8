//! The numbers of the page, for its script.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tch::{Kind, Tensor};

use super::TracePage;
use crate::checkpoint::bytes_of;
use crate::error::{Error, Result};
use crate::lstm::params::GATE_NAMES;
use crate::report::trace::token;
use crate::trace::{Direction, norms, numbers};

/// The most numbers in the arrays of a page: 8 MB of text.
const MOST_NUMBERS: usize = 1_500_000;
/// Arrays of a unit: six of the cell and the state before, eight sums, two gradients
/// and the highway.
const ARRAYS: usize = 18;

/// The units of each direction of the page, as many as there is room for: those that
/// were chosen, then the most decisive.
pub(super) fn units(page: &TracePage, steps: usize) -> Vec<Vec<i64>> {
    let room = MOST_NUMBERS / (ARRAYS * steps.max(1) * page.directions.len().max(1));
    let of = |&at: &usize| {
        let direction = &page.recording.directions[at];
        let mut units: Vec<i64> = (0..direction.units()).collect();
        let chosen = |unit: i64| {
            let mut places = page.places.iter();
            places.any(|place| place.direction == at && place.unit == unit)
        };
        let decisive = |unit: &i64| direction.decisive[*unit as usize];
        units.sort_by(|a, b| {
            (chosen(*b).cmp(&chosen(*a))).then(decisive(b).total_cmp(&decisive(a)))
        });
        units.truncate(room.max(1));
        units.sort_unstable();
        units
    };
    page.directions.iter().map(of).collect()
}

/// Everything that the script draws, as it may stand in a script element.
///
/// # Errors
/// The numbers cannot be said as JSON, which none of ours does.
pub(super) fn json(page: &TracePage, steps: &[i64], units: &[Vec<i64>]) -> Result<String> {
    let recording = page.recording;
    let pick = |all: &[f64]| -> Vec<f64> { steps.iter().map(|&step| all[step as usize]).collect() };
    let tokens: Vec<String> = steps.iter().map(|&step| token(recording, step)).collect();
    let path = recording.words.as_ref().map(|words| {
        let at = |&step: &i64| words.path.at(step, words.class);
        json!({
            "label": words.labels[words.class],
            "start": words.path.start[words.class],
            "values": steps.iter().map(at).collect::<Vec<_>>(),
        })
    });
    let directions: Vec<Value> = (page.directions.iter().zip(units))
        .map(|(&at, units)| direction(&recording.directions[at], steps, units, pick))
        .collect();
    let first = page.places.first();
    let place = |at: usize| {
        page.directions
            .iter()
            .position(|&direction| direction == at)
    };
    let named: Vec<i64> = match (page.named, first) {
        (true, Some(first)) => {
            let same = page
                .places
                .iter()
                .filter(|place| place.direction == first.direction);
            same.map(|place| place.unit).collect()
        }
        _ => Vec::new(),
    };
    let all = json!({
        "steps": steps,
        "time": recording.time(),
        "tokens": tokens,
        "path": path,
        "integrated": pick(&recording.integrated.steps),
        "norms": pick(&norms(&recording.gradient_input)),
        "directions": directions,
        "first": first.map(|first| json!({
            "direction": place(first.direction),
            "unit": first.unit,
        })),
        "named": named,
    });
    let text = serde_json::to_string(&all).map_err(std::io::Error::from);
    let text = text.map_err(Error::io(Path::new("trace")))?;
    // Within a script element, `<` is all that HTML would read.
    Ok(text.replace('<', "\\u003c"))
}

fn direction(
    direction: &Direction,
    steps: &[i64],
    units: &[i64],
    pick: impl Fn(&[f64]) -> Vec<f64>,
) -> Value {
    let rows = Tensor::from_slice(steps).to_device(direction.trace.c.device());
    let columns = |from: i64| {
        let columns: Vec<i64> = units.iter().map(|unit| unit + from).collect();
        Tensor::from_slice(&columns).to_device(rows.device())
    };
    // [N, U], f32, whatever the dtype of the trace.
    let part = |tensor: &Tensor, from: i64| {
        let part = tensor.index_select(0, &rows).to_kind(Kind::Float);
        Value::from(STANDARD.encode(bytes_of(&part.index_select(1, &columns(from)))))
    };
    let trace = &direction.trace;
    let size = direction.units();
    // A projection has fewer rows; behind them is no number.
    let whole = |h: &Tensor| {
        let options = (h.kind(), h.device());
        let filler = Tensor::full([h.size()[0], size - h.size()[1]], f64::NAN, options);
        Tensor::cat(&[h, &filler], 1)
    };
    let mut arrays = serde_json::Map::new();
    for (name, tensor) in [
        ("i", &trace.i),
        ("f", &trace.f),
        ("g", &trace.g),
        ("o", &trace.o),
        ("c", &trace.c),
        ("h", &whole(&trace.h)),
        ("before", &direction.before()),
        ("dc", &direction.gradient_c),
        ("dh", &whole(&direction.gradient_h)),
        ("highway", &direction.highway),
    ] {
        arrays.insert(name.to_owned(), part(tensor, 0));
    }
    for (gate, name) in (0..).zip(GATE_NAMES) {
        arrays.insert(format!("x{name}"), part(&direction.from_input, gate * size));
        arrays.insert(
            format!("h{name}"),
            part(&direction.from_hidden, gate * size),
        );
    }
    let of_end = numbers(&direction.gradient_c.get(direction.last()));
    let of_units =
        |all: &[f64]| -> Vec<f64> { units.iter().map(|&unit| all[unit as usize]).collect() };
    json!({
        "layer": direction.layer,
        "reverse": direction.reverse,
        "projects": direction.outputs() != size,
        "units": units,
        "decisive": of_units(&direction.decisive),
        "end": of_units(&of_end),
        "norms": {
            "c": pick(&norms(&direction.gradient_c)),
            "h": pick(&norms(&direction.gradient_h)),
        },
        "arrays": arrays,
    })
}
