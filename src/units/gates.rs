//! How often gates are saturated, and how long a cell remembers.

use serde::Serialize;
use tch::{Kind, Tensor};

use super::read::numbers;
use crate::error::Result;
use crate::lstm::Trace;

/// A gate below this is left-saturated (Karpathy, Johnson and Fei-Fei 2015).
pub const LEFT: f64 = 0.1;
/// A gate above this is right-saturated.
pub const RIGHT: f64 = 0.9;

/// Shares of the time steps at which a gate is nearly shut and nearly open.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Saturation {
    /// Below [`LEFT`].
    pub left: f64,
    /// Above [`RIGHT`].
    pub right: f64,
}

/// Counts of one layer and direction; each vector has a number for each unit.
#[derive(Debug)]
pub(super) struct Gates {
    /// Of the input, forget and output gate: left, then right.
    counts: [[Vec<u64>; 2]; 3],
    log_forget: Vec<f64>,
    floored: Vec<u64>,
    steps: u64,
}

/// What the gates of one unit did.
pub(super) struct OfUnit {
    pub input: Saturation,
    pub forget: Saturation,
    pub output: Saturation,
    pub mean_log_forget: f64,
    pub floored: f64,
}

impl Gates {
    pub fn new(units: usize) -> Gates {
        let zeros = || [vec![0; units], vec![0; units]];
        Gates {
            counts: [zeros(), zeros(), zeros()],
            log_forget: vec![0.0; units],
            floored: vec![0; units],
            steps: 0,
        }
    }

    /// A batch's trace `[B, T, H]`; `padding` `[B, T, 1]` is true behind the ends,
    /// where the trace is zero, as a shut gate would be.
    pub fn add(&mut self, trace: &Trace, padding: &Tensor) -> Result<()> {
        let real = padding.logical_not();
        let over_steps = |x: &Tensor| -> Result<Vec<f64>> {
            numbers(&x.sum_dim_intlist(&[0i64, 1][..], false, Kind::Double))
        };
        let count = |which: &Tensor, into: &mut [u64]| -> Result<()> {
            let counts = over_steps(&which.logical_and(&real))?;
            into.iter_mut()
                .zip(counts)
                .for_each(|(n, more)| *n += more as u64);
            Ok(())
        };
        // In f64, so that 0.9 is the same bound for every dtype.
        for (gate, [left, right]) in [&trace.i, &trace.f, &trace.o]
            .into_iter()
            .zip(&mut self.counts)
        {
            let gate = gate.to_kind(Kind::Double);
            count(&gate.lt(LEFT), left)?;
            count(&gate.gt(RIGHT), right)?;
        }
        let floor = smallest_normal(trace.f.kind());
        let forget = trace.f.to_kind(Kind::Double);
        count(&forget.lt(floor), &mut self.floored)?;
        let log = forget.clamp_min(floor).log().masked_fill(padding, 0.0);
        let sums = over_steps(&log)?;
        self.log_forget
            .iter_mut()
            .zip(sums)
            .for_each(|(sum, more)| *sum += more);
        self.steps += over_steps(&real)?.iter().sum::<f64>() as u64;
        Ok(())
    }

    pub fn of_unit(&self, unit: usize) -> OfUnit {
        let steps = self.steps as f64;
        let share = |[left, right]: &[Vec<u64>; 2]| Saturation {
            left: left[unit] as f64 / steps,
            right: right[unit] as f64 / steps,
        };
        let [input, forget, output] = &self.counts;
        OfUnit {
            input: share(input),
            forget: share(forget),
            output: share(output),
            mean_log_forget: self.log_forget[unit] / steps,
            floored: self.floored[unit] as f64 / steps,
        }
    }
}

/// `ln(1/2) / mean(ln f)`: after so many tokens half of what the cell held is left.
/// `None` is infinite: every `f` was 1 in the dtype of the model.
pub fn half_life(mean_log_forget: f64) -> Option<f64> {
    let tokens = -std::f64::consts::LN_2 / mean_log_forget;
    (mean_log_forget < 0.0 && tokens.is_finite()).then_some(tokens)
}

/// The smallest normal number of a dtype. A sigmoid is never 0, but what of it a dtype
/// can hold is; below this its logarithm is not known well, or infinite.
fn smallest_normal(kind: Kind) -> f64 {
    match kind {
        Kind::Double => f64::MIN_POSITIVE,
        Kind::Half => 2f64.powi(-14),
        _ => f64::from(f32::MIN_POSITIVE), // bf16 has the exponents of f32
    }
}
