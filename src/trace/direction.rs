//! One layer in one direction, step by step.

use tch::{Kind, Tensor};

use super::numbers;
use crate::lstm::cell::Step;
use crate::lstm::{CellParams, Lstm, Trace};

/// What one layer computes in one direction. Rows are points in time: the backward
/// direction reads them from the last to the first.
#[derive(Debug)]
pub struct Direction {
    /// From 0.
    pub layer: i64,
    /// Whether it reads backwards.
    pub reverse: bool,
    /// Gates and states `[T, H]`, the hidden state `[T, P]`.
    pub trace: Trace,
    /// The part of the gates' sums that comes from the input, `W_ih x + b_ih`
    /// `[T, 4H]`, in the order of [`GATE_NAMES`](crate::lstm::params::GATE_NAMES).
    pub from_input: Tensor,
    /// The part that comes from the hidden state, `W_hh h + b_hh` `[T, 4H]`.
    pub from_hidden: Tensor,
    /// `∂y/∂C_t`, through everything that follows `[T, H]`.
    pub gradient_c: Tensor,
    /// `∂y/∂h_t` `[T, P]`.
    pub gradient_h: Tensor,
    /// The open highway: the product of the forget gates of all steps that are read
    /// after a step `[T, H]`. Times the gradient of the last cell state it is what the
    /// gradient of this one would be if the cell state were read nowhere else.
    pub highway: Tensor,
    /// For each unit `Σ_t |∂y/∂C_t ⊙ i_t ⊙ C̃_t|`: to first order, how far `y` would
    /// move without what each step writes.
    pub decisive: Vec<f64>,
}

impl Direction {
    /// `H`.
    pub fn units(&self) -> i64 {
        self.trace.c.size()[1]
    }

    /// `P`.
    pub fn outputs(&self) -> i64 {
        self.trace.h.size()[1]
    }

    /// `forward` or `backward`.
    pub fn way(&self) -> &'static str {
        if self.reverse { "backward" } else { "forward" }
    }

    /// The step that is read last.
    pub fn last(&self) -> i64 {
        if self.reverse {
            0
        } else {
            self.trace.c.size()[0] - 1
        }
    }

    /// The cell state that each step finds `[T, H]`; zeros at the start.
    pub fn before(&self) -> Tensor {
        earlier(&self.trace.c, self.reverse)
    }
}

/// Every layer and direction. `gradients` are those of `c` and `h` of each step of
/// each direction, in this order.
pub(super) fn all(
    lstm: &Lstm,
    input: &Tensor,
    steps: &[Vec<Step>],
    gradients: &[Tensor],
) -> Vec<Direction> {
    let _no_grad = tch::no_grad_guard();
    let (directions, time) = (lstm.config().directions() as usize, steps[0].len());
    let mut all = Vec::new();
    let mut read: Vec<Tensor> = (0..time as i64).map(|t| input.select(1, t)).collect();
    for (layer, cells) in lstm.cells().iter().enumerate() {
        let mut above: Vec<Vec<&Tensor>> = vec![Vec::new(); time];
        for (way, params) in cells.iter().enumerate() {
            let at = layer * directions + way;
            let own = &gradients[at * 2 * time..(at + 1) * 2 * time];
            for (hidden, step) in above.iter_mut().zip(&steps[at]) {
                hidden.push(&step.h);
            }
            let place = (layer as i64, way == 1);
            all.push(one(place, params, &read, &steps[at], own));
        }
        read = above.iter().map(|hidden| Tensor::cat(hidden, -1)).collect();
    }
    all
}

/// One direction: `read[t]` is `[1, I]`.
fn one(
    (layer, reverse): (i64, bool),
    params: &CellParams,
    read: &[Tensor],
    steps: &[Step],
    gradients: &[Tensor],
) -> Direction {
    let batch = Trace::of(steps, None, true);
    let row = |tensor: Tensor| tensor.detach().squeeze_dim(0);
    let trace = Trace {
        i: row(batch.i),
        f: row(batch.f),
        g: row(batch.g),
        o: row(batch.o),
        c: row(batch.c),
        h: row(batch.h),
    };
    // Row by row as the cell does it, since the last bits depend on that.
    let from = |rows: &[Tensor], weight: &Tensor, bias: &Option<Tensor>| {
        let sums = rows.iter().map(|row| row.linear(weight, bias.as_ref()));
        Tensor::cat(&sums.collect::<Vec<_>>(), 0)
    };
    let time = steps.len() as i64;
    let hidden = earlier(&trace.h, reverse);
    let hidden: Vec<Tensor> = (0..time).map(|t| hidden.narrow(0, t, 1).copy()).collect();
    let every_other = |first: usize| {
        let picked: Vec<&Tensor> = gradients.iter().skip(first).step_by(2).collect();
        Tensor::cat(&picked, 0)
    };
    let (gradient_c, gradient_h) = (every_other(0), every_other(1));
    let written = (&gradient_c * &trace.i * &trace.g)
        .to_kind(Kind::Double)
        .abs();
    Direction {
        layer,
        reverse,
        from_input: from(read, &params.w_ih, &params.b_ih),
        from_hidden: from(&hidden, &params.w_hh, &params.b_hh),
        highway: highway(&trace.f, reverse),
        decisive: numbers(&written.sum_dim_intlist(0, false, Kind::Double)),
        trace,
        gradient_c,
        gradient_h,
    }
}

/// For each step the row of the step that is read before it; zeros before the first.
fn earlier(rows: &Tensor, reverse: bool) -> Tensor {
    let time = rows.size()[0];
    let zeros = rows.narrow(0, 0, 1).zeros_like();
    match reverse {
        false => Tensor::cat(&[&zeros, &rows.narrow(0, 0, time - 1)], 0),
        true => Tensor::cat(&[&rows.narrow(0, 1, time - 1), &zeros], 0),
    }
}

/// The product of the rows that are read after each, 1 for the last: `f` `[T, H]`.
fn highway(f: &Tensor, reverse: bool) -> Tensor {
    // Those that are read after a step stand before it in the order of reading turned
    // around.
    let turned = if reverse {
        f.shallow_clone()
    } else {
        f.flip([0])
    };
    let time = f.size()[0];
    let ones = turned.narrow(0, 0, 1).ones_like();
    let later = Tensor::cat(&[&ones, &turned.narrow(0, 0, time - 1)], 0);
    let product = later.cumprod(0, f.kind());
    if reverse { product } else { product.flip([0]) }
}
