//! The numbers of the page, for its script.

use serde_json::{Value, json};
use tch::{Kind, Tensor};

use super::page::TracePage;
use super::text::token;
use crate::checkpoint::bytes_of;
use crate::lstm::params::GATE_NAMES;
use crate::trace::{Direction, numbers};

/// Arrays of a unit, at the most: the cell state, eight sums, two gradients and a
/// projected hidden state.
const ARRAYS: usize = 12;
/// Bytes of a number as text.
const NUMBER: f64 = 16.0 / 3.0;

/// The units of each direction of the page, as many as there is room for in so many
/// bytes: those that were chosen, then the most decisive.
pub(super) fn units(page: &TracePage, steps: usize, bytes: usize) -> Vec<Vec<i64>> {
    let arrays = ARRAYS * steps.max(1) * page.directions.len().max(1);
    let room = (bytes as f64 / (NUMBER * arrays as f64)) as usize;
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

/// Everything that the script draws.
pub(super) fn value(page: &TracePage, steps: &[i64], units: &[Vec<i64>]) -> Value {
    let recording = page.recording;
    let tokens: Vec<String> = steps.iter().map(|&step| token(recording, step)).collect();
    let directions: Vec<Value> = (page.directions.iter().zip(units))
        .map(|(&at, units)| direction(&recording.directions[at], steps, units))
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
    json!({
        "steps": steps,
        "time": recording.time(),
        "tokens": tokens,
        "directions": directions,
        "first": first.map(|first| json!({
            "direction": place(first.direction),
            "unit": first.unit,
        })),
        "at": decisive_step(page, steps),
        "named": named,
    })
}

/// The place of the step that moves the probability the most; the last one where there
/// is none.
fn decisive_step(page: &TracePage, steps: &[i64]) -> usize {
    let last = steps.len().saturating_sub(1);
    let Some(words) = &page.recording.words else {
        return last;
    };
    let change = |step: &i64| words.path.change(*step, words.class);
    let moved = steps.iter().map(change).enumerate();
    let moved = moved.filter_map(|(n, by)| Some((n, by?.abs())));
    let most = moved.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
    most.map_or(last, |(n, _)| n)
}

fn direction(direction: &Direction, steps: &[i64], units: &[i64]) -> Value {
    let device = direction.trace.c.device();
    // [N, U], f32, whatever the dtype of the trace.
    let part = |tensor: &Tensor, steps: &[i64], from: i64| {
        let columns: Vec<i64> = units.iter().map(|unit| unit + from).collect();
        let rows = tensor.index_select(0, &Tensor::from_slice(steps).to_device(device));
        let part = rows.index_select(1, &Tensor::from_slice(&columns).to_device(device));
        Value::from(base64(&bytes_of(&part.to_kind(Kind::Float))))
    };
    let trace = &direction.trace;
    let size = direction.units();
    let projects = direction.outputs() != size;
    // A projection has fewer rows; behind them is no number.
    let whole = |h: &Tensor| {
        let options = (h.kind(), h.device());
        let filler = Tensor::full([h.size()[0], size - h.size()[1]], f64::NAN, options);
        Tensor::cat(&[h, &filler], 1)
    };
    let mut arrays = serde_json::Map::new();
    for (name, tensor) in [
        ("c", &trace.c),
        ("dc", &direction.gradient_c),
        ("dh", &whole(&direction.gradient_h)),
    ] {
        arrays.insert(name.to_owned(), part(tensor, steps, 0));
    }
    // Without a projection the script computes it, as it does the gates.
    if projects {
        arrays.insert("h".to_owned(), part(&whole(&trace.h), steps, 0));
    }
    for (gate, name) in (0..).zip(GATE_NAMES) {
        let from = gate * size;
        arrays.insert(format!("x{name}"), part(&direction.from_input, steps, from));
        arrays.insert(
            format!("h{name}"),
            part(&direction.from_hidden, steps, from),
        );
    }
    let of_end = numbers(&direction.gradient_c.get(direction.last()));
    let of_units =
        |all: &[f64]| -> Vec<f64> { units.iter().map(|&unit| all[unit as usize]).collect() };
    json!({
        "layer": direction.layer,
        "reverse": direction.reverse,
        "projects": projects,
        "units": units,
        "decisive": of_units(&direction.decisive),
        "end": of_units(&of_end),
        "arrays": arrays,
        "gap": gap(direction, steps).map(|(earlier, later)| json!({
            "before": part(&direction.before(), &[later], 0),
            "highway": part(&direction.highway, &[earlier], 0),
        })),
    })
}

/// Where steps are left out: the step that is read before them and the one behind them.
/// The script computes a step's cell state before it, and its highway, from the steps
/// beside it; these two have none.
fn gap(direction: &Direction, steps: &[i64]) -> Option<(i64, i64)> {
    let pair = steps.windows(2).find(|pair| pair[1] != pair[0] + 1)?;
    Some(match direction.reverse {
        true => (pair[1], pair[0]),
        false => (pair[0], pair[1]),
    })
}

/// Bytes as text: RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for part in bytes.chunks(3) {
        let whole = part
            .iter()
            .fold(0u32, |whole, byte| (whole << 8) | u32::from(*byte));
        let whole = whole << (8 * (3 - part.len()));
        for place in 0..4 {
            match place <= part.len() {
                true => text.push(DIGITS[(whole >> (18 - 6 * place)) as usize & 63].into()),
                false => text.push('='),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 4648, section 10.
    #[test]
    fn bytes_are_text() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[255, 239, 0]), "/+8A");
    }
}
