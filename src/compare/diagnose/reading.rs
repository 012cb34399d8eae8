//! Mistakes with what is read and put out: time, direction, state.

use tch::{Kind, Tensor};

use super::case::{Case, Fit, build, outputs, replaced, run, shared};
use super::cause::Cause;
use super::padding;
use crate::checkpoint::safetensors::Tensors;
use crate::error::Result;
use crate::lstm::{LstmConfig, State};

/// Tries every mistake.
pub(super) fn try_all(case: &Case, fits: &mut Vec<Fit>) -> Result<()> {
    let ours = case.ours()?;
    batch_first(case, &ours, fits)?;
    initial_state(case, fits)?;
    if case.evidence.lstm.config().bidirectional {
        halves(case, &ours, fits)?;
        turned(case, &ours, fits)?;
    }
    padding::try_all(case, &ours, fits)
}

fn batch_first(case: &Case, ours: &Tensors, fits: &mut Vec<Fit>) -> Result<()> {
    let evidence = case.evidence;
    let (batch, time) = (case.batch, case.time);
    let what = |how: &str| {
        format!(
            "{how}: one side has batch_first=True where the tensors are [T, B, I], or False where they are [B, T, I]; set it as the tensors are"
        )
    };
    let mut keep = |how: &str, outputs: &Tensors| {
        case.keep(fits, Cause::BatchFirst, what(how), outputs, false);
    };
    let turned = evidence.input.transpose(0, 1).contiguous();
    // The same memory under the other name of its axes.
    let renamed = evidence
        .input
        .contiguous()
        .reshape([time, batch, -1])
        .transpose(0, 1)
        .contiguous();
    // A state or lengths of B texts fit T texts only where B = T.
    let state = match evidence.state {
        Some(_) if batch != time => None,
        state => state,
    };
    let lengths = (batch == time).then_some(evidence.lengths).flatten();
    let every = if lengths.is_some() {
        vec![lengths, None]
    } else {
        vec![None]
    };
    let flip = |y: &Tensor| y.transpose(0, 1).contiguous();
    if batch == time {
        let y = replaced(ours, "y", flip(&ours["y"]));
        keep("the reference's y has batch and time exchanged", &y);
    }
    for lengths in every {
        let read = run(evidence.lstm, &turned, lengths, state)?;
        let how = "the reference reads along the batch, as if it were time";
        let back = flip(&read["y"]);
        keep(how, &replaced(&read, "y", back));
        if batch == time {
            keep(how, &read);
        }
    }
    if batch != time {
        let read = run(evidence.lstm, &renamed, evidence.lengths, evidence.state)?;
        let how = "the reference takes the memory of [B, T, I] for [T, B, I]";
        keep(how, &read);
        let back = flip(&read["y"]).reshape(read["y"].size());
        keep(how, &replaced(&read, "y", back));
    }
    Ok(())
}

fn initial_state(case: &Case, fits: &mut Vec<Fit>) -> Result<()> {
    let evidence = case.evidence;
    let Some(state) = evidence.state else {
        return Ok(());
    };
    let zeros = evidence.lstm.zero_state(case.batch, evidence.input);
    let swapped = (state.h.size() == state.c.size()).then(|| State {
        h: state.c.shallow_clone(),
        c: state.h.shallow_clone(),
    });
    let half = |h: bool| State {
        h: if h { &state.h } else { &zeros.h }.shallow_clone(),
        c: if h { &zeros.c } else { &state.c }.shallow_clone(),
    };
    let cases = [
        (
            Some(half(true)),
            "the reference starts from our h0, but from zeros for c0",
        ),
        (
            Some(half(false)),
            "the reference starts from our c0, but from zeros for h0",
        ),
        (
            Some(zeros.shallow_clone()),
            "the reference starts from zeros, not from our h0 and c0",
        ),
        (swapped, "the reference has our h0 and c0 exchanged"),
    ];
    for (other, what) in cases {
        let Some(other) = other else { continue };
        let read = run(
            evidence.lstm,
            evidence.input,
            evidence.lengths,
            Some(&other),
        )?;
        let what = format!("{what}; give both sides the same state");
        case.keep(fits, Cause::InitialState, what, &read, false);
    }
    Ok(())
}

/// Forward and backward put together in the other order.
fn halves(case: &Case, ours: &Tensors, fits: &mut Vec<Fit>) -> Result<()> {
    let config = case.evidence.lstm.config();
    let p = config.output_size();
    let roll = |y: &Tensor| y.roll(p, -1);
    // Columns of the upper layers, for what is put together below them.
    let inner: Tensors = case
        .parameters
        .iter()
        .map(|(name, tensor)| {
            let upper = name.starts_with("weight_ih") && !name.starts_with("weight_ih_l0");
            let tensor = if upper {
                roll(tensor)
            } else {
                tensor.shallow_clone()
            };
            (name.clone(), tensor)
        })
        .collect();
    let evidence = case.evidence;
    let read = run(
        &case.with(&inner)?,
        evidence.input,
        evidence.lengths,
        evidence.state,
    )?;
    let rows = config.num_layers * 2;
    let backward_first: Vec<i64> = (0..rows).map(|row| row ^ 1).collect();
    // All layers forward, then all layers backward; and what undoes it.
    let by_direction: Vec<i64> = (0..rows)
        .map(|row| (row % config.num_layers) * 2 + row / config.num_layers)
        .collect();
    let by_layer: Vec<i64> = (0..rows)
        .map(|row| (row % 2) * config.num_layers + row / 2)
        .collect();
    let order = |outputs: &Tensors, rows: &[i64]| {
        let rows = Tensor::from_slice(rows).to_device(evidence.input.device());
        let mut other = shared(outputs);
        for name in ["h_n", "c_n"] {
            other.insert(name.to_owned(), outputs[name].index_select(0, &rows));
        }
        other
    };
    let whole = |outputs: &Tensors| {
        let other = replaced(outputs, "y", roll(&outputs["y"]));
        replaced(&other, "pooled", roll(&outputs["pooled"]))
    };
    let mut keep = |what: &str, outputs: &Tensors| {
        let what = format!("{what}; forward comes first, then backward, in each layer");
        case.keep(fits, Cause::DirectionsSwapped, what, outputs, false);
    };
    keep(
        "the halves of the reference's y are backward, forward",
        &replaced(ours, "y", roll(&ours["y"])),
    );
    keep(
        "the halves of what the reference's head reads are backward, forward",
        &replaced(ours, "pooled", roll(&ours["pooled"])),
    );
    keep(
        "the halves of the reference's outputs are backward, forward",
        &whole(ours),
    );
    let both = order(&whole(ours), &backward_first);
    keep(
        "the halves of the reference's y, and the rows of its states, are backward, forward",
        &both,
    );
    keep(
        "the rows of the reference's h_n and c_n are backward, forward",
        &order(ours, &backward_first),
    );
    if config.num_layers > 1 {
        let what = "the rows of h_n and c_n stand by direction on one side, by layer on the other";
        keep(what, &order(ours, &by_direction));
        keep(what, &order(ours, &by_layer));
        let what = "the reference puts backward before forward between its layers";
        keep(what, &read);
        keep(what, &whole(&read));
        keep(what, &order(&whole(&read), &backward_first));
    }
    Ok(())
}

/// Backward outputs that stand in the order in which they were computed, or a
/// backward direction that reads forward.
fn turned(case: &Case, ours: &Tensors, fits: &mut Vec<Fit>) -> Result<()> {
    let evidence = case.evidence;
    let config = evidence.lstm.config();
    let p = config.output_size();
    let steps = Tensor::arange(case.time, (Kind::Int64, evidence.input.device()));
    let ends = Tensor::from_slice(&case.lengths)
        .to_device(evidence.input.device())
        .unsqueeze(-1);
    let within = {
        let back = &ends - 1 - &steps;
        back.where_self(&back.ge(0), &steps.unsqueeze(0).expand_as(&back))
    };
    let whole = (case.time - 1 - &steps).unsqueeze(0).expand_as(&within);
    let mut keep = |what: &str, outputs: &Tensors| {
        case.keep(fits, Cause::BackwardNotTurned, what, outputs, false);
    };
    for (order, how) in [(&within, ""), (&whole, ", over the padding, too")] {
        let turn = |y: &Tensor| {
            let index = order
                .unsqueeze(-1)
                .expand([case.batch, case.time, p], false);
            let back = y.narrow(-1, p, p).gather(1, &index, false);
            Tensor::cat(&[y.narrow(-1, 0, p), back], -1)
        };
        let what = format!(
            "the reference's backward outputs stand in the order in which they are computed, last step first{how}; turn them back in time"
        );
        keep(&what, &replaced(ours, "y", turn(&ours["y"])));
        if config.num_layers > 1 {
            let read = layerwise(case, |layer, x, state| {
                let (y, h, c) = one_layer(case, layer, x, state)?;
                Ok((turn(&y), h, c))
            })?;
            keep(&format!("{what}, in each layer"), &read);
        }
    }
    // Neither inputs nor outputs turned: two forward directions.
    let read = layerwise(case, |layer, x, state| {
        let mut parts = Vec::new();
        for direction in 0..2 {
            let suffix = if direction == 1 { "_reverse" } else { "" };
            let parameters = of_layer(case, layer, suffix, "");
            let config = LstmConfig {
                bidirectional: false,
                ..layer_config(config, layer)
            };
            let state = state.map(|state| rows(state, direction, 1));
            let read = run(
                &build(config, &parameters)?,
                x,
                evidence.lengths,
                state.as_ref(),
            )?;
            parts.push(read);
        }
        let join = |name: &str, axis: i64| Tensor::cat(&[&parts[0][name], &parts[1][name]], axis);
        Ok((join("y", -1), join("h_n", 0), join("c_n", 0)))
    })?;
    keep(
        "the backward direction of the reference reads forward in time; turn its inputs, and its outputs back",
        &read,
    );
    Ok(())
}

fn layer_config(config: &LstmConfig, layer: i64) -> LstmConfig {
    LstmConfig {
        input_size: config.layer_input_size(layer),
        num_layers: 1,
        ..config.clone()
    }
}

/// The parameters of one layer whose names end so, as layer 0 with another
/// ending.
fn of_layer(case: &Case, layer: i64, from: &str, to: &str) -> Tensors {
    let (from, to) = (format!("_l{layer}{from}"), format!("_l0{to}"));
    let of = case.parameters.iter().filter_map(|(name, tensor)| {
        let role = name.strip_suffix(&from)?;
        Some((format!("{role}{to}"), tensor.shallow_clone()))
    });
    of.collect()
}

fn rows(state: &State, first: i64, count: i64) -> State {
    State {
        h: state.h.narrow(0, first, count),
        c: state.c.narrow(0, first, count),
    }
}

/// `y`, `h_n` and `c_n` of one layer, as it should be.
fn one_layer(
    case: &Case,
    layer: i64,
    x: &Tensor,
    state: Option<&State>,
) -> Result<(Tensor, Tensor, Tensor)> {
    let evidence = case.evidence;
    let mut parameters = of_layer(case, layer, "", "");
    parameters.append(&mut of_layer(case, layer, "_reverse", "_reverse"));
    let lstm = build(layer_config(evidence.lstm.config(), layer), &parameters)?;
    let mut read = run(&lstm, x, evidence.lengths, state)?;
    let mut take = |name: &str| read.remove(name).unwrap_or_default();
    Ok((take("y"), take("h_n"), take("c_n")))
}

/// All layers, each by the given function.
fn layerwise(
    case: &Case,
    each: impl Fn(i64, &Tensor, Option<&State>) -> Result<(Tensor, Tensor, Tensor)>,
) -> Result<Tensors> {
    let config = case.evidence.lstm.config();
    let directions = config.directions();
    let mut x = case.evidence.input.shallow_clone();
    let (mut all_h, mut all_c) = (Vec::new(), Vec::new());
    for layer in 0..config.num_layers {
        let state = case.evidence.state;
        let state = state.map(|state| rows(state, layer * directions, directions));
        let (y, h, c) = each(layer, &x, state.as_ref())?;
        x = y;
        all_h.push(h);
        all_c.push(c);
    }
    Ok(outputs(
        x,
        Tensor::cat(&all_h, 0),
        Tensor::cat(&all_c, 0),
        directions,
    ))
}
