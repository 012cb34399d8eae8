//! How far back the answer reaches: gradients of its loss with respect to every state,
//! and what the forget gates let pass.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::network::{Network, States};
use super::tasks::{Batch, Task};
use crate::error::Result;

/// So many points of a profile are kept at most.
const POINTS: i64 = 128;

/// Over the distance from the end of a sequence, in steps: 0 is the last step.
///
/// All of it is computed in f64, from the same parameters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Which distances are kept: the first, the last and so many between that they make
    /// at most 128.
    pub distance: Vec<i64>,
    /// The norm of the gradient of the answer's loss with respect to `h_t`: the total
    /// derivative, through all later steps; the mean over the sequences.
    pub h: Vec<f64>,
    /// The same with respect to `C_t`; of an RNN nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub c: Vec<f64>,
    /// The product of the forget gates of the steps behind `t`, up to the last: what of
    /// `C_t` the gates alone let arrive. The mean over units and sequences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forget_mean: Vec<f64>,
    /// The same of the unit that keeps most; the mean over the sequences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forget_most: Vec<f64>,
}

/// One of the lists of a [`Memory`].
pub type Profile = fn(&Memory) -> &[f64];

impl Memory {
    /// What `network`, in f64, does with `batch`, in f64.
    pub(super) fn of(network: &Network, task: Task, batch: &Batch) -> Result<Memory> {
        let states = network.states(&batch.input)?;
        let steps = states.h.len() as i64;
        let answer = steps - task.answer_steps();
        let outputs: Vec<Tensor> = (states.h[answer as usize..].iter())
            .map(|h| network.head(h))
            .collect();
        // The sum, so that what arrives at a sequence's states is its own gradient.
        let losses = task.answer_losses(&Tensor::stack(&outputs, 0), &batch.target);
        let loss = losses.sum(Kind::Double);

        let all: Vec<&Tensor> = states.h.iter().chain(&states.c).collect();
        let gradients = Tensor::run_backward(&[loss], &all, false, false);
        let norms: Vec<f64> = gradients.iter().map(mean_norm).collect();
        let (h, c) = norms.split_at(steps as usize);
        let (mean, most) = passed(&states);

        let distance = distances(steps);
        let kept = |of_steps: &[f64]| -> Vec<f64> {
            if of_steps.is_empty() {
                return Vec::new();
            }
            (distance.iter())
                .map(|distance| rounded(of_steps[(steps - 1 - distance) as usize]))
                .collect()
        };
        Ok(Memory {
            h: kept(h),
            c: kept(c),
            forget_mean: kept(&mean),
            forget_most: kept(&most),
            distance,
        })
    }
}

/// The mean over the sequences of the norm of `[B, H]`.
fn mean_norm(gradient: &Tensor) -> f64 {
    let norms = gradient.norm_scalaropt_dim(2, 1i64, false);
    norms.mean(Kind::Double).double_value(&[])
}

/// For each step `t` the product of the forget gates behind it: the mean over units and
/// sequences, and that of the unit for which it is largest.
fn passed(states: &States) -> (Vec<f64>, Vec<f64>) {
    let _no_grad = tch::no_grad_guard();
    let Some(last) = states.f.last() else {
        return (Vec::new(), Vec::new());
    };
    let mut product = last.ones_like();
    let (mut mean, mut most) = (Vec::new(), Vec::new());
    for f in states.f.iter().rev() {
        let units = product.mean_dim(0i64, false, Kind::Double); // [H]
        mean.push(units.mean(Kind::Double).double_value(&[]));
        most.push(units.max().double_value(&[]));
        product *= f;
    }
    mean.reverse();
    most.reverse();
    (mean, most)
}

/// From 0 to `steps - 1`, evenly, at most [`POINTS`].
fn distances(steps: i64) -> Vec<i64> {
    let last = steps - 1;
    let between = POINTS.min(steps) - 1;
    match between {
        ..=0 => vec![0],
        _ => (0..=between)
            .map(|n| (n * last + between / 2) / between)
            .collect(),
    }
}

/// With six digits: more would only make files larger.
pub(super) fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}
