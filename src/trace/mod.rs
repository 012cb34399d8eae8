//! One sequence through an LSTM, seen from inside: every gate and state of every
//! step by the plain engine, what the result owes to each of them, and how open the
//! highway of the cell state is.
//!
//! Everything is about one number `y`: the logit of a class, or for an LSTM alone
//! the sum of the top layer's last hidden states. Shape letters as in
//! [`lstm`](crate::lstm); there is no batch here.

mod arrays;
mod direction;
mod integrated;
#[cfg(feature = "cli")]
pub mod report;
#[cfg(test)]
mod tests;
mod words;

use tch::{Device, Kind, Tensor};

pub use self::direction::Direction;
pub use self::integrated::Integrated;
pub use self::words::{Path, Words};
use crate::compare::{Bound, Quantity, Sums, Tolerance, measure};
use crate::error::{Error, Result};
use crate::lstm::{Call, Engine, Lstm, Output};
use crate::model::{Model, Pass};

/// The most numbers that the gates and states of all steps may be: some 4 GB with
/// what the gradients need.
const MOST_NUMBERS: i64 = 1 << 26;

/// What was recorded of one sequence of `T` steps.
#[derive(Debug)]
pub struct Recording {
    /// Of a text; `None` for vectors that were given as they are.
    pub words: Option<Words>,
    /// What `y` is, in words.
    pub target: String,
    /// `y`.
    pub value: f64,
    /// What the LSTM reads `[T, I]`: for a text the vectors of its tokens.
    pub input: Tensor,
    /// The gradient of `y` with respect to it `[T, I]`.
    pub gradient_input: Tensor,
    /// `layer * D + direction`.
    pub directions: Vec<Direction>,
    /// What each step's input adds to `y`.
    pub integrated: Integrated,
    /// How far the plain engine, whose gates, states and gradients these are, is from
    /// the fused one.
    pub check: Check,
}

/// The largest difference of two engines.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Check {
    /// Of outputs, final states and `y`; over the number itself where that is above 1.
    pub largest: f64,
    /// What it may be.
    pub tolerance: f64,
}

/// A unit of a layer in a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitIndex {
    /// Its index among [`Recording::directions`].
    pub direction: usize,
    /// Its number in the cell state.
    pub unit: i64,
}

/// Records what a classifier does with a text. `class` is the one whose logit is
/// looked at, by default the predicted one; of a text of more than `window` tokens
/// the [`Path`] is known for [the first and last](shown).
///
/// Errors if the text has no token, or the engines disagree.
pub fn text(model: &Model, text: &str, class: Option<usize>, window: usize) -> Result<Recording> {
    let words = Words::read(model, text, class, window)?;
    let batch = model.batch([words.ids.as_slice()])?;
    let vectors = tch::no_grad(|| model.embed(&batch, crate::lstm::Mode::Eval))?;
    let class = words.class as i64;
    let lengths = |output: &Output| vec![output.output.size()[1]; output.output.size()[0] as usize];
    let y = |output: Output| {
        let lengths = lengths(&output);
        let logits = model.classify(output, &lengths, Pass::default()).logits;
        match (logits.size()[1], class) {
            (1, 0) => -logits.squeeze_dim(1),
            (1, _) => logits.squeeze_dim(1),
            _ => logits.select(1, class),
        }
    };
    let label = &words.labels[words.class];
    let target = match (words.labels.len(), model.config().logits()) {
        (2, 1) if class == 0 => format!("the logit of {label:?}, which is minus the model's"),
        _ => format!("the logit of {label:?}"),
    };
    let mut recording = record(model.lstm(), &vectors.squeeze_dim(0), target, &y)?;
    recording.words = Some(words);
    Ok(recording)
}

/// Records what an LSTM, batch first, does with `x` `[T, I]`; it starts with zeros.
///
/// Errors if `x` does not fit, or the engines disagree.
pub fn vectors(lstm: &Lstm, x: &Tensor) -> Result<Recording> {
    let top = lstm.config().directions();
    let y = |output: Output| {
        let h = &output.state.h;
        let sums = h.narrow(0, h.size()[0] - top, top);
        sums.sum_dim_intlist([0, 2].as_slice(), false, h.kind())
    };
    let target = "the sum of the top layer's last hidden states".to_owned();
    record(lstm, x, target, &y)
}

/// The sum that is looked at of each sequence `[B]`.
type Target<'a> = &'a dyn Fn(Output) -> Tensor;

fn record(lstm: &Lstm, x: &Tensor, target: String, y: Target) -> Result<Recording> {
    let config = lstm.config();
    let time = match x.size()[..] {
        [time, _] if time > 0 => time,
        _ => {
            let message = format!(
                "must be [T, I] with a step or more, but its shape is {:?}",
                x.size()
            );
            return Err(Error::tensor("x", message));
        }
    };
    let of_a_step = 6 * config.num_layers * config.directions() * config.hidden_size;
    if time.saturating_mul(of_a_step) > MOST_NUMBERS {
        let message = format!(
            "has {time} steps, which make more than {MOST_NUMBERS} gates and states; cut it"
        );
        return Err(Error::tensor("x", message));
    }
    let input = x.detach().unsqueeze(0).set_requires_grad(true);
    let (output, steps) = lstm.steps(&input, &Call::default())?;
    let check = check(lstm, &input, &output, y)?;
    let value = y(output);
    let states = steps.iter().flatten().flat_map(|step| [&step.c, &step.h]);
    let nodes: Vec<&Tensor> = std::iter::once(&input).chain(states).collect();
    let mut gradients = Tensor::f_run_backward(&[&value], &nodes, false, false)?;
    let of_states = gradients.split_off(1);
    let gradient_input = gradients.remove(0).squeeze_dim(0);
    let directions = direction::all(lstm, &input, &steps, &of_states);
    drop(steps);
    Ok(Recording {
        words: None,
        target,
        value: value.double_value(&[0]),
        integrated: integrated::gradients(lstm, &input, y)?,
        input: input.detach().squeeze_dim(0),
        gradient_input,
        directions,
        check,
    })
}

/// Holds the plain engine's results against the fused one's.
fn check(lstm: &Lstm, input: &Tensor, plain: &Output, y: Target) -> Result<Check> {
    let _no_grad = tch::no_grad_guard();
    let call = Call {
        engine: Engine::Fused,
        ..Call::default()
    };
    let fused = lstm.forward(input, &call)?;
    let kind = input.kind();
    let cuda = matches!(input.device(), Device::Cuda(_));
    let tolerance = Tolerance::of([kind; 2], cuda, Sums::of(lstm)).get(Quantity::Value);
    let copy = |output: &Output| Output {
        output: output.output.detach(),
        state: output.state.detach(),
    };
    let pairs = [
        (plain.output.detach(), fused.output.shallow_clone()),
        (plain.state.h.detach(), fused.state.h.shallow_clone()),
        (plain.state.c.detach(), fused.state.c.shallow_clone()),
        (y(copy(plain)), y(copy(&fused))),
    ];
    let mut largest: f64 = 0.0;
    for (ours, theirs) in &pairs {
        let found = measure(ours, theirs, Bound::Element(tolerance), kind, None)?;
        largest = largest.max(found.share * tolerance);
    }
    if largest <= tolerance {
        return Ok(Check { largest, tolerance });
    }
    let message = format!(
        "the plain and the fused engine differ by {largest:.1e}, more than {tolerance:.1e}; \
         its numbers are too large or not finite"
    );
    Err(Error::NonFinite(message))
}

impl Recording {
    /// `T`.
    pub fn time(&self) -> i64 {
        self.input.size()[0]
    }

    /// Whether the hidden state is a projection.
    pub fn projects(&self) -> bool {
        self.directions
            .iter()
            .any(|one| one.outputs() != one.units())
    }

    /// The most decisive units of all layers and directions, the first the most.
    pub fn decisive(&self, count: usize) -> Vec<UnitIndex> {
        let mut places: Vec<(f64, UnitIndex)> = Vec::new();
        for (direction, one) in self.directions.iter().enumerate() {
            let units = (0..).zip(&one.decisive);
            places.extend(units.map(|(unit, &by)| (by, UnitIndex { direction, unit })));
        }
        places.sort_by(|a, b| b.0.total_cmp(&a.0));
        places
            .into_iter()
            .take(count)
            .map(|(_, place)| place)
            .collect()
    }
}

/// The norm of each row of `[T, N]`.
pub fn norms(rows: &Tensor) -> Vec<f64> {
    let rows = rows.detach().to_kind(Kind::Double);
    numbers(&rows.square().sum_dim_intlist(1, false, Kind::Double).sqrt())
}

/// A tensor's numbers, row by row.
pub fn numbers(tensor: &Tensor) -> Vec<f64> {
    let tensor = tensor.detach().to_device(Device::Cpu).to_kind(Kind::Double);
    let count = tensor.numel();
    let mut numbers = vec![0.0; count];
    tensor.contiguous().copy_data(&mut numbers, count);
    numbers
}

/// The steps of a sequence that fit into a window: all, or the first and the last.
pub fn shown(time: i64, window: usize) -> Vec<i64> {
    let window = i64::try_from(window.max(1)).unwrap_or(i64::MAX);
    if time <= window {
        return (0..time).collect();
    }
    let last = window / 2;
    (0..window - last).chain(time - last..time).collect()
}
