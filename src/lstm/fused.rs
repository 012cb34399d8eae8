//! The fused engine: the same parameters through libtorch's own LSTM, which is
//! oneDNN on the CPU (f32) and cuDNN on CUDA.
//!
//! Texts of unequal length run in one of two forms, tested equal on the CPU
//! (`docs/gpu.md` has the packed one on CUDA, against torch):
//!
//! - **padded** (CPU): libtorch reads on over the padding, so the state has to
//!   be kept there. An extra input column, 1 in the padding and 0 elsewhere,
//!   drives the forget gate to exactly 1 and the input gate to exactly 0: `c`
//!   passes unchanged, to the bit, and so does its gradient. The last `h` is
//!   picked from the output at each text's end. A backward direction reads each
//!   text reversed within its own length.
//! - **packed** (CUDA): `pack_padded_sequence`, for which cuDNN has kernels. On
//!   the CPU it goes without oneDNN, and its backward is quadratic in `T`.

use tch::{Device, Kind, Tensor};

use super::params::{CellParams, FORGET_GATE, GATES, INPUT_GATE};
use super::{Lstm, Ragged, State};
use crate::runtime;

/// What drives a gate to saturation, whatever else is added to it: the sigmoid
/// of it is 1, that of its negative 0.
fn saturating(kind: Kind) -> f64 {
    match kind {
        Kind::Half => 30_000.0, // the largest number of f16 is 65504
        _ => 1e30,
    }
}

/// Applied to the input of the layer with this number (from 1 on).
pub(crate) type Dropout<'a> = &'a dyn Fn(i64, &Tensor) -> Tensor;

/// `input` `[T, B, I]`, with zeros in the padding; gives `[T, B, D*P]`, zero in
/// the padding, and the final state.
pub(crate) fn run(
    lstm: &Lstm,
    input: &Tensor,
    ragged: Option<&Ragged>,
    start: &State,
    dropout: Option<Dropout>,
) -> (Tensor, State) {
    match ragged {
        None => layers(
            lstm,
            input.shallow_clone(),
            start,
            dropout,
            |x, start, params, call| {
                let (output, h, c) = x.lstm(
                    &[&start.h, &start.c],
                    params,
                    lstm.config.bias,
                    call,
                    0.0,
                    true,
                    lstm.config.bidirectional,
                    false,
                );
                (output, State { h, c })
            },
        ),
        Some(ragged) if input.device() == Device::Cpu => {
            padded(lstm, input, ragged, start, dropout, None)
        }
        Some(ragged) => packed(lstm, input, ragged, start, dropout),
    }
}

/// Calls `run(input, start, parameters, layer count)` once for all layers, or
/// with dropout between them once for each: the masks are ours.
///
/// `train` is always true in the calls: with a dropout of 0 it changes no
/// number, and cuDNN has a backward only then.
fn layers(
    lstm: &Lstm,
    mut x: Tensor,
    start: &State,
    dropout: Option<Dropout>,
    run: impl Fn(&Tensor, &State, &[&Tensor], i64) -> (Tensor, State),
) -> (Tensor, State) {
    let Some(dropout) = dropout else {
        let params: Vec<&Tensor> = lstm
            .layers
            .iter()
            .flatten()
            .flat_map(CellParams::tensors)
            .collect();
        return run(&x, start, &params, lstm.config.num_layers);
    };
    let directions = lstm.config.directions();
    let mut ends = Vec::new();
    for (layer, cells) in lstm.layers.iter().enumerate() {
        let layer = layer as i64;
        if layer > 0 {
            x = dropout(layer, &x);
        }
        let rows = |all: &Tensor| all.narrow(0, layer * directions, directions);
        let start = State {
            h: rows(&start.h),
            c: rows(&start.c),
        };
        let params: Vec<&Tensor> = cells.iter().flat_map(CellParams::tensors).collect();
        let (output, end) = run(&x, &start, &params, 1);
        x = output;
        ends.push(end);
    }
    (x, State::cat(&ends))
}

/// Packed, for all layers at once, or with dropout one after another.
pub(super) fn packed(
    lstm: &Lstm,
    input: &Tensor,
    ragged: &Ragged,
    start: &State,
    dropout: Option<Dropout>,
) -> (Tensor, State) {
    let call = |x: &Tensor, start: &State, params: &[&Tensor], count| {
        pack_and_run(lstm, x, ragged, start, params, count)
    };
    layers(lstm, input.shallow_clone(), start, dropout, call)
}

/// Sorts by length, the longest first, leaves out the padding, reads, and puts
/// all back: `x` `[T, B, F]` gives `[T, B, D*P]`.
fn pack_and_run(
    lstm: &Lstm,
    x: &Tensor,
    ragged: &Ragged,
    start: &State,
    params: &[&Tensor],
    layers: i64,
) -> (Tensor, State) {
    let lengths = &ragged.lengths;
    let mut order: Vec<i64> = (0..lengths.len() as i64).collect();
    order.sort_by_key(|&text| -lengths[text as usize]);
    let mut back = vec![0i64; order.len()];
    for (place, &text) in order.iter().enumerate() {
        back[text as usize] = place as i64;
    }
    // libtorch refuses length 0: those texts read one step, undone below.
    let sorted: Vec<i64> = order
        .iter()
        .map(|&text| lengths[text as usize].max(1))
        .collect();
    let order = runtime::upload(&Tensor::from_slice(&order), x.device());
    let back = runtime::upload(&Tensor::from_slice(&back), x.device());

    let (data, batch_sizes) = x
        .index_select(1, &order)
        .internal_pack_padded_sequence(&Tensor::from_slice(&sorted), false);
    let (data, h, c) = Tensor::lstm_data(
        &data,
        &batch_sizes,
        &[
            start.h.index_select(1, &order),
            start.c.index_select(1, &order),
        ],
        &params
            .iter()
            .map(|param| param.shallow_clone())
            .collect::<Vec<_>>(),
        lstm.config.bias,
        layers,
        0.0,
        true,
        lstm.config.bidirectional,
    );
    let time = x.size()[0];
    let (output, _) = Tensor::internal_pad_packed_sequence(&data, &batch_sizes, false, 0.0, time);
    let output = output.index_select(1, &back);

    let empty = ragged.ends.eq(0).view([1, -1, 1]);
    let state = State {
        h: start.h.where_self(&empty, &h.index_select(1, &back)),
        c: start.c.where_self(&empty, &c.index_select(1, &back)),
    };
    (output.masked_fill(&ragged.padding, 0.0), state)
}

/// In blocks of so many steps, between which no gradient flows: padded, on every
/// device.
pub(crate) fn truncated(
    lstm: &Lstm,
    input: &Tensor,
    ragged: Option<&Ragged>,
    start: &State,
    dropout: Option<Dropout>,
    steps: i64,
) -> (Tensor, State) {
    let (time, batch) = (input.size()[0], input.size()[1]);
    let full = || Ragged::new(&vec![time; batch as usize], time, input.device());
    match ragged {
        Some(ragged) => padded(lstm, input, ragged, start, dropout, Some(steps)),
        None => padded(lstm, input, &full(), start, dropout, Some(steps)),
    }
}

/// Padded: each layer and direction is a call of its own, see above; or one for
/// each block of so many steps.
fn padded(
    lstm: &Lstm,
    input: &Tensor,
    ragged: &Ragged,
    start: &State,
    dropout: Option<Dropout>,
    truncate: Option<i64>,
) -> (Tensor, State) {
    let (time, batch) = (input.size()[0], input.size()[1]);
    let lengths = &ragged.ends;
    let reversed = lstm.config.bidirectional.then(|| reversal(lengths, time));
    let last = (lengths - 1).clamp_min(0).view([1, -1, 1]);
    let empty = lengths.eq(0).unsqueeze(-1); // [B, 1]
    let column = ragged.padding.to_kind(input.kind()); // [T, B, 1]

    let mut x = input.shallow_clone();
    let mut ends = Vec::new();
    for (layer, cells) in lstm.layers.iter().enumerate() {
        let layer = layer as i64;
        if let Some(dropout) = dropout.filter(|_| layer > 0) {
            x = dropout(layer, &x);
        }
        let mut outputs = Vec::new();
        for (direction, params) in cells.iter().enumerate() {
            let row = layer * lstm.config.directions() + direction as i64;
            let (h, c) = (start.h.get(row), start.c.get(row));
            let reversed = reversed.as_ref().filter(|_| direction == 1);
            let read = match reversed {
                Some(order) => pick(&x, order),
                None => x.shallow_clone(),
            };
            let mut tensors = params.tensors();
            let w_ih = with_column(params, lstm.config.hidden_size);
            tensors[0] = &w_ih;
            let read = Tensor::cat(&[&read, &column], -1);
            let call = |x: &Tensor, h: &Tensor, c: &Tensor| {
                let bias = lstm.config.bias;
                x.lstm(&[h, c], &tensors, bias, 1, 0.0, true, false, false)
            };
            let (h_start, c_start) = (h.unsqueeze(0), c.unsqueeze(0));
            let (output, c_end) = match truncate {
                None => {
                    let (output, _, c_end) = call(&read, &h_start, &c_start);
                    (output, c_end)
                }
                Some(steps) => {
                    let (mut parts, mut c_end) = (Vec::new(), c_start.shallow_clone());
                    let mut state = (h_start, c_start);
                    for (n, block) in (0..).zip(read.split(steps, 0)) {
                        let (part, h, c) = call(&block, &state.0, &state.1);
                        parts.push(part);
                        state = (h.detach(), c.detach());
                        // Of texts that ended before, what they ended with stays.
                        c_end = c.where_self(&last.ge(n * steps), &c_end);
                    }
                    (Tensor::cat(&parts, 0), c_end)
                }
            };
            let width = output.size()[2];
            let h_end = output
                .gather(0, &last.expand([1, batch, width], false), false)
                .squeeze_dim(0);
            ends.push(State {
                h: h.where_self(&empty, &h_end).unsqueeze(0),
                c: c.where_self(&empty, &c_end.squeeze_dim(0)).unsqueeze(0),
            });
            let output = output.masked_fill(&ragged.padding, 0.0);
            outputs.push(match reversed {
                Some(order) => pick(&output, order),
                None => output,
            });
        }
        x = Tensor::cat(&outputs, -1);
    }
    (x, State::cat(&ends))
}

/// `W_ih` `[4H, I + 1]`: the last column holds the state where it meets a 1.
fn with_column(params: &CellParams, hidden: i64) -> Tensor {
    let kind = params.w_ih.kind();
    let column = Tensor::zeros([GATES * hidden, 1], (kind, params.w_ih.device()));
    let _ = column
        .narrow(0, INPUT_GATE * hidden, hidden)
        .fill_(-saturating(kind));
    let _ = column
        .narrow(0, FORGET_GATE * hidden, hidden)
        .fill_(saturating(kind));
    Tensor::cat(&[&params.w_ih, &column], 1)
}

/// For each text the steps `[T, B]` in reversed order within its length; the
/// padding stays where it is. Its own inverse.
fn reversal(lengths: &Tensor, time: i64) -> Tensor {
    let steps = Tensor::arange(time, (Kind::Int64, lengths.device())).unsqueeze(1);
    let lengths = lengths.unsqueeze(0);
    let mirrored = &lengths - 1 - &steps;
    steps.where_self(&mirrored.lt(0), &mirrored)
}

/// `x` `[T, B, F]` with the step `order[t, b]` of text `b` at `t`.
fn pick(x: &Tensor, order: &Tensor) -> Tensor {
    x.gather(0, &order.unsqueeze(-1).expand_as(x), false)
}
