//! Integrated gradients (Sundararajan, Taly and Yan, "Axiomatic attribution for deep
//! networks", 2017): what each step's input adds to `y` on the straight way from
//! zero vectors to the input. By the fused engine, since it takes many passes.

use tch::{Kind, Tensor};

use super::{Target, numbers};
use crate::error::Result;
use crate::lstm::{Call, Engine, Lstm, Mode};

/// The fewest and the most points on the way.
const POINTS: [usize; 2] = [32, 1024];
/// The share of the change of `y` that the sum may miss before points are doubled.
const ENOUGH: f64 = 0.01;
/// Steps of all points that are computed at once.
const STEPS_AT_ONCE: usize = 16384;

const CALL: Call = Call {
    lengths: None,
    state: None,
    engine: Engine::Fused,
    mode: Mode::Eval,
    truncate: None,
    recompute: false,
};

/// What each step's input adds to `y`.
#[derive(Clone, Debug, PartialEq)]
pub struct Integrated {
    /// `Σ_j (x_tj - 0) ∫ ∂y/∂x_tj` for each step.
    pub steps: Vec<f64>,
    /// `y` where all inputs are zero.
    pub baseline: f64,
    /// Points of the midpoint rule, doubled from 32 until the error is below 1 % of
    /// the change of `y`, or they are 1024.
    pub points: usize,
    /// The completeness error: how much the sum of the steps misses the change of `y`.
    pub error: f64,
}

/// Of `input` `[1, T, I]`.
pub(super) fn gradients(lstm: &Lstm, input: &Tensor, y: Target) -> Result<Integrated> {
    let input = input.detach();
    let at = |x: &Tensor| -> Result<f64> {
        let _no_grad = tch::no_grad_guard();
        Ok(y(lstm.forward(x, &CALL)?).double_value(&[0]))
    };
    let baseline = at(&input.zeros_like())?;
    let change = at(&input)? - baseline;
    let mut points = POINTS[0];
    loop {
        let steps = numbers(&sum(lstm, &input, y, points)?);
        let error = (steps.iter().sum::<f64>() - change).abs();
        if error <= ENOUGH * change.abs() || points >= POINTS[1] || !error.is_finite() {
            return Ok(Integrated {
                steps,
                baseline,
                points,
                error,
            });
        }
        points *= 2;
    }
}

/// The sum over the inputs of each step `[T]` f64, by so many points.
fn sum(lstm: &Lstm, input: &Tensor, y: Target, points: usize) -> Result<Tensor> {
    let time = input.size()[1] as usize;
    let at_once = (STEPS_AT_ONCE / time).max(1);
    let shares: Vec<f64> = (0..points)
        .map(|n| (n as f64 + 0.5) / points as f64)
        .collect();
    let mut total = Tensor::zeros(&input.size()[1..], (Kind::Double, input.device()));
    for shares in shares.chunks(at_once) {
        let shares = Tensor::from_slice(shares)
            .to_device(input.device())
            .to_kind(input.kind());
        let x = (input * shares.view([-1, 1, 1])).set_requires_grad(true);
        let y = y(lstm.forward(&x, &CALL)?).sum(input.kind());
        let gradients = Tensor::f_run_backward(&[&y], &[&x], false, false)?;
        total += gradients[0]
            .to_kind(Kind::Double)
            .sum_dim_intlist(0, false, Kind::Double);
    }
    let steps = total * input.squeeze_dim(0) / points as f64;
    Ok(steps.sum_dim_intlist(1, false, Kind::Double))
}
