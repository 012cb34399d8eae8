//! How far back a gradient reaches: its norm with respect to every state, and what the
//! forget gates let pass.

use cellway::error::Result;
use serde::Serialize;
use tch::{Kind, Tensor};

use crate::models::Model;
use crate::tasks::{Batch, Task};

/// The most distances that are kept.
const POINTS: i64 = 128;

/// Lists over the distance from the end of a sequence, in time steps, where 0 is the last
/// one. Everything is computed in f64 from the f32 parameters; `c` and the products of
/// forget gates are empty for an RNN.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GradientProfile {
    /// The distances: the first, the last and at most 126 between, ascending.
    pub distance: Vec<i64>,
    /// The norm of the gradient of the answer's loss with respect to `h_t`: the total
    /// derivative, through all later time steps; the mean over the sequences.
    pub h: Vec<f64>,
    /// The same with respect to `C_t`.
    pub c: Vec<f64>,
    /// The product of the forget gates of the time steps after `t`: the share of `C_t` that
    /// the gates alone let arrive. The mean over units and sequences.
    pub forget_mean: Vec<f64>,
    /// The same for the unit that keeps most; the mean over the sequences.
    pub forget_max: Vec<f64>,
}

impl GradientProfile {
    /// Measures `model` on `batch`.
    pub fn of(model: &Model, task: Task, batch: &Batch) -> Result<GradientProfile> {
        let (model, batch) = (model.to_double(), batch.to_double());
        let states = model.states(&batch.input)?;
        let steps = states.h.len();
        let answer = &states.h[steps - task.answer_steps() as usize..];
        let outputs: Vec<Tensor> = answer.iter().map(|h| model.head(h)).collect();
        // A mean over the answer, and a sum over the sequences, so that each sequence's
        // states get that sequence's own gradient.
        let losses = task.losses(&Tensor::stack(&outputs, 0), &batch.target);
        let loss = losses.sum(Kind::Double) / task.answer_steps();
        let all: Vec<&Tensor> = states.h.iter().chain(&states.c).collect();
        let gradients = Tensor::run_backward(&[loss], &all, false, false);
        let norms: Vec<f64> = gradients.iter().map(mean_norm).collect();
        let (h, c) = norms.split_at(steps);
        let (mean, max) = forget_products(&states.f);

        let (end, between) = (steps as i64 - 1, (POINTS.min(steps as i64) - 1).max(1));
        let distance: Vec<i64> = (0..=between.min(end))
            .map(|n| (n * end + between / 2) / between)
            .collect();
        let kept = |of_steps: &[f64]| -> Vec<f64> {
            (distance.iter())
                .filter_map(|&distance| of_steps.get(steps - 1 - distance as usize))
                .map(|&value| rounded(value))
                .collect()
        };
        Ok(GradientProfile {
            h: kept(h),
            c: kept(c),
            forget_mean: kept(&mean),
            forget_max: kept(&max),
            distance,
        })
    }

    /// The powers of ten in one of the lists of this profile from where the answer begins
    /// to the first time step: -3 where a thousandth arrives.
    pub fn decades(&self, task: Task, values: &[f64]) -> Option<f64> {
        let begins = task.answer_steps() - 1;
        let near = self.distance.iter().position(|&d| d >= begins)?;
        Some((values.last()? / values.get(near)?).log10())
    }
}

/// The mean over the sequences of the norm of a gradient `[B, H]`.
fn mean_norm(gradient: &Tensor) -> f64 {
    let norms = gradient.norm_scalaropt_dim(2, 1i64, false);
    norms.mean(Kind::Double).double_value(&[])
}

/// For each time step the product of the forget gates `[B, H]` after it: the mean over
/// units and sequences, and the largest unit's mean over the sequences.
fn forget_products(gates: &[Tensor]) -> (Vec<f64>, Vec<f64>) {
    let _no_grad = tch::no_grad_guard();
    let mut product = gates.last().map(Tensor::ones_like).unwrap_or_default();
    let later = gates.iter().rev().map(|f| {
        let units = product.mean_dim(0i64, false, Kind::Double); // [H]
        product *= f;
        let mean = units.mean(Kind::Double).double_value(&[]);
        (mean, units.max().double_value(&[]))
    });
    let mut products: Vec<(f64, f64)> = later.collect();
    products.reverse();
    products.into_iter().unzip()
}

/// Six significant digits: more would only make files larger.
pub fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}
