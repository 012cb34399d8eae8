//! The plain engine: [`cell::step`](super::cell::step) over time, directions
//! and layers, in training with dropout inside of the step, and nothing else. Slow and clear: what the other engines are
//! checked against, and what shows every gate and state of every step.
//!
//! Each step is a matrix product of its own, so that a text's result does not
//! depend, bit for bit, on how long its neighbours in the batch are.

use tch::Tensor;

use super::cell::{self, Step};
use super::params::CellParams;
use super::regularization::StepDropout;
use super::{Call, Lstm, Ragged, State};
use crate::runtime;

/// What the plain engine computes; time first.
pub(crate) struct Run {
    /// `[T, B, D*P]`, zero in the padding.
    pub output: Tensor,
    /// `[L*D, B, P]` and `[L*D, B, H]`.
    pub state: State,
    /// For each layer and direction (`layer * D + direction`) the step of each
    /// point in time `t = 0..T`. In the padding: what the cell would do there.
    pub steps: Vec<Vec<Step>>,
}

/// `input` `[T, B, I]`, with zeros in the padding.
pub(crate) fn run(
    lstm: &Lstm,
    input: &Tensor,
    ragged: Option<&Ragged>,
    start: &State,
    call: &Call,
) -> Run {
    let (mut steps, mut last_h, mut last_c) = (Vec::new(), Vec::new(), Vec::new());
    let mut output = input.shallow_clone();
    for (layer, directions) in lstm.layers.iter().enumerate() {
        let layer = layer as i64;
        if layer > 0 {
            output = lstm.dropped(call.mode, layer, &output);
        }
        let mut outputs = Vec::new();
        for (direction, params) in directions.iter().enumerate() {
            let at = layer * lstm.config.directions() + direction as i64;
            // Copies, since a product's last bits depend on how its operands
            // are aligned: the state of a later step is always a fresh tensor.
            let (h, c) = (start.h.get(at).copy(), start.c.get(at).copy());
            let rates = &lstm.config.regularization;
            let dropout = StepDropout::new(rates, call.mode, format!("lstm cell {at}"), &h);
            let way = Way {
                reverse: direction == 1,
                truncate: call.truncate,
            };
            let run = run_direction(params, &output, ragged, h, c, &dropout, way);
            outputs.push(Tensor::stack(&run.hidden, 0));
            last_h.push(run.h);
            last_c.push(run.c);
            steps.push(run.steps);
        }
        output = Tensor::cat(&outputs, -1);
        if let Some(ragged) = ragged {
            output = output.masked_fill(&ragged.padding, 0.0);
        }
    }
    let state = State {
        h: Tensor::stack(&last_h, 0),
        c: Tensor::stack(&last_c, 0),
    };
    Run {
        output,
        state,
        steps,
    }
}

struct DirectionRun {
    steps: Vec<Step>,
    hidden: Vec<Tensor>,
    h: Tensor,
    c: Tensor,
}

/// How a direction goes through time.
#[derive(Clone, Copy)]
struct Way {
    reverse: bool,
    /// Blocks between which no gradient flows.
    truncate: Option<i64>,
}

/// One layer in one direction: `input` `[T, B, I]`, from `h` `[B, P]` and `c`
/// `[B, H]`. Where a text has no step at `t` its state stays as it is: behind
/// its end when reading forwards, before its end when reading backwards.
fn run_direction(
    params: &CellParams,
    input: &Tensor,
    ragged: Option<&Ragged>,
    mut h: Tensor,
    mut c: Tensor,
    dropout: &StepDropout,
    way: Way,
) -> DirectionRun {
    let Way { reverse, truncate } = way;
    let time = input.size()[0];
    // All at once: the gradient of each `get` by itself would be as long as the whole.
    let inputs = input.unbind(0);
    let mut steps = Vec::new();
    for n in 0..time {
        let t = if reverse { time - 1 - n } else { n };
        if let Some(begins) = truncate.and_then(|block| begins(block, n, t, reverse, ragged)) {
            let begins = runtime::upload(&begins, input.device());
            let cut = |x: Tensor| x.detach().where_self(&begins, &x);
            (h, c) = (cut(h), cut(c));
        }
        let mut gates = cell::gates(&inputs[t as usize], &dropout.read(&h), params);
        gates.g = dropout.candidate(t, gates.g);
        let mut step = cell::update(gates, &c, params);
        step.c = dropout.cell(t, &c, step.c);
        step.h = dropout.hidden(t, &h, step.h);
        (h, c) = match ragged {
            None => (step.h.shallow_clone(), step.c.shallow_clone()),
            Some(ragged) => {
                let padding = ragged.padding.get(t); // [B, 1]
                (
                    h.where_self(&padding, &step.h),
                    c.where_self(&padding, &step.c),
                )
            }
        };
        steps.push(step);
    }
    if reverse {
        steps.reverse();
    }
    let hidden = steps.iter().map(|step| step.h.shallow_clone()).collect();
    DirectionRun {
        steps,
        hidden,
        h,
        c,
    }
}

/// Which texts begin a block of so many steps, not their first, with the `n`-th step
/// of a direction, at the point `t` in time: `[B, 1]`, or one for all; none if surely no
/// text does.
fn begins(block: i64, n: i64, t: i64, reverse: bool, ragged: Option<&Ragged>) -> Option<Tensor> {
    match ragged {
        // Backwards each text has its own first step.
        Some(ragged) if reverse => {
            let step = (&ragged.ends - 1 - t).unsqueeze(-1);
            Some(step.gt(0).logical_and(&step.remainder(block).eq(0)))
        }
        _ if n == 0 || n % block != 0 => None,
        Some(ragged) => Some(ragged.padding.get(t).logical_not()),
        None => Some(Tensor::from(true)),
    }
}

/// Every gate and state of every step of one layer and direction. Batch first
/// (time first if the LSTM is), zero in the padding.
#[derive(Debug)]
pub struct Trace {
    /// Input gate `[B, T, H]`.
    pub i: Tensor,
    /// Forget gate `[B, T, H]`.
    pub f: Tensor,
    /// Candidate C̃ `[B, T, H]`.
    pub g: Tensor,
    /// Output gate `[B, T, H]`.
    pub o: Tensor,
    /// Cell state after the step `[B, T, H]`.
    pub c: Tensor,
    /// Hidden state after the step `[B, T, P]`.
    pub h: Tensor,
}

impl Trace {
    pub(crate) fn of(steps: &[Step], ragged: Option<&Ragged>, batch_first: bool) -> Trace {
        let stack = |pick: fn(&Step) -> &Tensor| {
            let steps: Vec<&Tensor> = steps.iter().map(pick).collect();
            let stacked = Tensor::stack(&steps, 0);
            let stacked = match ragged {
                Some(ragged) => stacked.masked_fill(&ragged.padding, 0.0),
                None => stacked,
            };
            if batch_first {
                stacked.transpose(0, 1)
            } else {
                stacked
            }
        };
        Trace {
            i: stack(|step| &step.i),
            f: stack(|step| &step.f),
            g: stack(|step| &step.g),
            o: stack(|step| &step.o),
            c: stack(|step| &step.c),
            h: stack(|step| &step.h),
        }
    }
}
