//! Finds recurrent modules by the names and shapes of their tensors.
//!
//! Shape letters: `I` input, `H` hidden, `P` output (the projection's size, else
//! `H`), `G` blocks of rows: 4 for an LSTM, 3 for a GRU, 1 for a plain RNN.

use std::collections::{HashMap, HashSet};

use super::recurrent::{Recurrent, RecurrentKind};
use crate::checkpoint::{Checkpoint, TensorInfo, some_of};
use crate::error::{Error, Result};
use crate::lstm::params;

/// Every recurrent module, in the order of the file.
pub(super) fn find(checkpoint: &Checkpoint) -> Vec<Recurrent> {
    // Group the tensors by what stands in front of their last name.
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut groups: Vec<(&str, Vec<(&str, &TensorInfo)>)> = Vec::new();
    for tensor in checkpoint.tensors() {
        let (module, last) = split(&tensor.name);
        let place = *places.entry(module).or_insert_with(|| {
            groups.push((module, Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push((last, tensor));
    }
    let mut infos = HashMap::new();
    for info in checkpoint.modules() {
        infos.entry(info.name.as_str()).or_insert(info);
    }
    let mut found = Vec::new();
    for (module, tensors) in groups {
        let group = &Group::new(tensors);
        let mut named = torch_module(module, group);
        if let Some(named) = &mut named {
            let flag = infos.get(module).and_then(|info| {
                info.attributes
                    .iter()
                    .find(|(name, _)| name == "batch_first")
            });
            named.batch_first = flag.map(|(_, value)| value == "True");
        }
        found.extend(named);
        found.extend(kernel_modules(module, group));
        found.extend(onnx_module(module, group));
    }
    found.extend(unnamed_kernels(checkpoint.tensors()));
    found
}

/// A name's path and its last part, behind `.` or (Keras) `/`.
fn split(name: &str) -> (&str, &str) {
    match name.rfind(['.', '/']) {
        Some(at) => (&name[..at], &name[at + 1..]),
        None => ("", name),
    }
}

/// The tensors of a module by the last parts of their names.
struct Group<'a> {
    in_order: Vec<(&'a str, &'a TensorInfo)>,
    /// The first of each name.
    by_name: HashMap<&'a str, &'a TensorInfo>,
}

impl<'a> Group<'a> {
    fn new(in_order: Vec<(&'a str, &'a TensorInfo)>) -> Self {
        // From behind, so that the first of a name stays.
        let by_name = in_order.iter().rev().copied().collect();
        Group { in_order, by_name }
    }

    fn get(&self, name: &str) -> Option<&'a TensorInfo> {
        self.by_name.get(name).copied()
    }
}

/// PyTorch's names: `weight_ih_l0`, or without a layer for a cell.
fn torch_module(module: &str, group: &Group) -> Option<Recurrent> {
    let layered = group.get("weight_hh_l0").is_some() || group.get("weight_ih_l0").is_some();
    let suffix = |layer: i64, reverse: bool| match layered {
        true => params::name("", layer, reverse),
        false => String::new(),
    };
    let get = |role: &str, layer, reverse| group.get(&format!("{role}{}", suffix(layer, reverse)));
    let w_ih = get("weight_ih", 0, false);
    let w_hh = get("weight_hh", 0, false);
    let (w_ih, w_hh) = match (w_ih, w_hh) {
        (None, None) => return None,
        (Some(w_ih), Some(w_hh)) => (w_ih, w_hh),
        // Weight drop and weight norm keep a matrix under another name.
        (Some(half), None) | (None, Some(half)) => {
            return Some(incomplete(module, layered, group, half));
        }
    };
    let (&[rows, input_size], &[hh_rows, output]) = (&w_ih.shape[..], &w_hh.shape[..]) else {
        return None;
    };
    let projection = get("weight_hr", 0, false).and_then(|hr| match hr.shape[..] {
        [size, hidden] => Some((size, hidden)),
        _ => None,
    });
    let hidden_size = projection.map_or(output, |(_, hidden)| hidden);
    let blocks = match hidden_size {
        0 => 0,
        hidden if rows % hidden == 0 => rows / hidden,
        _ => 0,
    };
    let kind = match (blocks, layered) {
        (4, true) => RecurrentKind::Lstm,
        (4, false) => RecurrentKind::LstmCell,
        (3, true) => RecurrentKind::Gru,
        (3, false) => RecurrentKind::GruCell,
        (1, true) => RecurrentKind::Rnn,
        (1, false) => RecurrentKind::RnnCell,
        _ => return None,
    };
    let mut num_layers = 1;
    while layered && get("weight_ih", num_layers, false).is_some() {
        num_layers += 1;
    }
    let mut found = Recurrent {
        name: module.to_owned(),
        kind,
        input_size,
        hidden_size,
        num_layers,
        bidirectional: layered && get("weight_ih", 0, true).is_some(),
        proj_size: projection.map_or(0, |(size, _)| size),
        bias: get("bias_ih", 0, false).is_some() || get("bias_hh", 0, false).is_some(),
        batch_first: None,
        dtype: w_ih.dtype.to_string(),
        tensors: Vec::new(),
        problem: None,
    };
    // Everything that such a module has, in its shape, and nothing more.
    let directions = if found.bidirectional { 2 } else { 1 };
    let mut expected = Vec::new();
    for layer in 0..num_layers {
        for reverse in [false, true].into_iter().take(directions as usize) {
            let reads = if layer == 0 {
                input_size
            } else {
                directions * output
            };
            let mut one = |role: &str, shape: &[i64]| {
                expected.push((format!("{role}{}", suffix(layer, reverse)), shape.to_vec()));
            };
            one("weight_ih", &[rows, reads]);
            one("weight_hh", &[hh_rows, output]);
            if found.bias {
                one("bias_ih", &[rows]);
                one("bias_hh", &[rows]);
            }
            if found.proj_size > 0 {
                one("weight_hr", &[found.proj_size, hidden_size]);
            }
        }
    }
    let mut problems = Vec::new();
    for (name, shape) in &expected {
        let problem = match group.get(name) {
            None => Some(format!("has no {name}")),
            Some(there) if there.shape != *shape => Some(format!(
                "{name} has shape {:?} instead of {shape:?}",
                there.shape
            )),
            Some(there) if there.dtype != w_ih.dtype => Some(format!(
                "{name} is {}, but weight_ih {}",
                there.dtype, w_ih.dtype
            )),
            Some(there) => {
                found.tensors.push(there.name.clone());
                None
            }
        };
        problems.extend(problem);
    }
    let expected: HashSet<&str> = expected.iter().map(|(name, _)| name.as_str()).collect();
    let strangers = group.in_order.iter().filter(|(last, _)| {
        let mine = ["weight_ih", "weight_hh", "weight_hr", "bias_ih", "bias_hh"];
        mine.iter().any(|role| last.starts_with(role)) && !expected.contains(last)
    });
    problems.extend(strangers.map(|(last, _)| format!("has {last}, which such a module has not")));
    // All of them, unless the file is made of nothing else.
    let shown: Vec<&str> = problems.iter().map(String::as_str).collect();
    found.problem = (!shown.is_empty()).then(|| some_of(&shown));
    Some(found)
}

fn incomplete(module: &str, layered: bool, group: &Group, half: &TensorInfo) -> Recurrent {
    let names: Vec<&str> = group.in_order.iter().map(|(last, _)| *last).collect();
    Recurrent {
        name: module.to_owned(),
        kind: if layered {
            RecurrentKind::Lstm
        } else {
            RecurrentKind::LstmCell
        },
        input_size: 0,
        hidden_size: 0,
        num_layers: 0,
        bidirectional: false,
        proj_size: 0,
        bias: false,
        batch_first: None,
        dtype: half.dtype.to_string(),
        tensors: group
            .in_order
            .iter()
            .map(|(_, tensor)| tensor.name.clone())
            .collect(),
        problem: Some(format!(
            "has {}, but not both weight_ih and weight_hh; if a weight is split by weight norm or weight drop, remove that before it is saved",
            some_of(&names)
        )),
    }
}

/// `[I, 4H]`, `[H, 4H]` and `[4H]` (none without bias) as an LSTM.
fn kernel_lstm(
    name: &str,
    kind: RecurrentKind,
    kernel: &TensorInfo,
    recurrent: &TensorInfo,
    bias: Option<&TensorInfo>,
) -> Option<Recurrent> {
    let (&[input_size, columns], &[hidden_size, same]) = (&kernel.shape[..], &recurrent.shape[..])
    else {
        return None;
    };
    let fits = hidden_size > 0
        && columns == same
        && columns / hidden_size == 4
        && columns % hidden_size == 0;
    if !fits || bias.is_some_and(|bias| bias.shape != [columns]) {
        return None;
    }
    let tensors = [Some(kernel), Some(recurrent), bias].into_iter().flatten();
    Some(Recurrent {
        name: name.to_owned(),
        kind,
        input_size,
        hidden_size,
        num_layers: 1,
        bidirectional: false,
        proj_size: 0,
        bias: bias.is_some(),
        batch_first: None,
        dtype: kernel.dtype.to_string(),
        tensors: tensors.map(|tensor| tensor.name.clone()).collect(),
        problem: None,
    })
}

/// Keras's and Haste's names, with or without `:0`.
fn kernel_modules(module: &str, group: &Group) -> Option<Recurrent> {
    let get = |name: &str| group.get(name).or_else(|| group.get(&format!("{name}:0")));
    kernel_lstm(
        module,
        RecurrentKind::Kernel,
        get("kernel")?,
        get("recurrent_kernel")?,
        get("bias"),
    )
}

/// `numpy.savez(F, *model.get_weights())` leaves no names: three arrays behind
/// one another that have the shapes.
fn unnamed_kernels(tensors: &[TensorInfo]) -> Vec<Recurrent> {
    let number = |tensor: &TensorInfo| tensor.name.strip_prefix("arr_")?.parse::<u64>().ok();
    let mut arrays: Vec<(u64, &TensorInfo)> = tensors
        .iter()
        .filter_map(|tensor| Some((number(tensor)?, tensor)))
        .collect();
    arrays.sort_by_key(|(number, _)| *number);
    let three = arrays.windows(3).filter_map(|three| {
        let [(_, kernel), (_, recurrent), (_, bias)] = three else {
            return None;
        };
        kernel_lstm(
            &kernel.name,
            RecurrentKind::Kernel,
            kernel,
            recurrent,
            Some(bias),
        )
    });
    three.collect()
}

fn onnx_module(module: &str, group: &Group) -> Option<Recurrent> {
    let (w, r, b) = (group.get("W")?, group.get("R")?, group.get("B"));
    let (&[directions, rows, input_size], &[same, hh_rows, hidden_size]) =
        (&w.shape[..], &r.shape[..])
    else {
        return None;
    };
    let fits = hidden_size > 0
        && rows == hh_rows
        && rows / hidden_size == 4
        && rows % hidden_size == 0
        && directions == same
        && (1..=2).contains(&directions);
    if !fits || b.is_some_and(|b| b.shape != [directions, 2 * rows]) {
        return None;
    }
    let tensors = [Some(w), Some(r), b].into_iter().flatten();
    Some(Recurrent {
        name: module.to_owned(),
        kind: RecurrentKind::Onnx,
        input_size,
        hidden_size,
        num_layers: 1,
        bidirectional: directions == 2,
        proj_size: 0,
        bias: b.is_some(),
        batch_first: None,
        dtype: w.dtype.to_string(),
        tensors: tensors.map(|tensor| tensor.name.clone()).collect(),
        problem: None,
    })
}

/// The module of this name, or the only one whose path ends in it.
pub(crate) fn lookup<'a>(
    checkpoint: &Checkpoint,
    all: &'a [Recurrent],
    name: &str,
) -> Result<&'a Recurrent> {
    if let Some(exact) = all.iter().find(|one| one.name == name) {
        return Ok(exact);
    }
    let ending: Vec<&Recurrent> = all
        .iter()
        .filter(|one| {
            one.name
                .strip_suffix(name)
                .is_some_and(|rest| rest.ends_with(['.', '/']))
        })
        .collect();
    match ending[..] {
        [one] => Ok(one),
        [] => {
            let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
            let message = format!(
                "has no recurrent module {name:?}; it has {}",
                some_of(&names)
            );
            Err(Error::file(checkpoint.path(), message))
        }
        _ => {
            let names: Vec<&str> = ending.iter().map(|one| one.name.as_str()).collect();
            let message = format!(
                "has several modules {name:?}: {}; give the whole path",
                some_of(&names)
            );
            Err(Error::file(checkpoint.path(), message))
        }
    }
}
