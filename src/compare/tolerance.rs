//! How far two results of the same arithmetic may lie apart: the numbers of the
//! table that [`compare`](super) shows, with its reasons.

use serde::Serialize;
use tch::{Device, Kind};

/// What a tensor is, as far as tolerance goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Quantity {
    /// Computed forwards.
    Value,
    /// Computed backwards.
    Gradient,
    /// A loss or a parameter after optimizer steps.
    Step,
}

/// A tolerance for each quantity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tolerance {
    /// Of gates, states, logits, losses.
    pub value: f64,
    /// Of gradients.
    pub gradient: f64,
    /// Of losses and parameters after optimizer steps.
    pub step: f64,
}

impl Tolerance {
    /// For results in these dtypes (the coarser counts) on the CPU or CUDA, of
    /// gates that are sums of up to so many products.
    pub fn of(kinds: [Kind; 2], cuda: bool, products: i64) -> Tolerance {
        // The rounding of a sum grows with the root of its length (Higham and
        // Mary, "A new approach to probabilistic rounding error analysis", 2019).
        // The narrow types are added up in f32, and lose more at each step.
        let length = (products as f64 / PRODUCTS as f64).sqrt().max(1.0);
        let one = |kind| {
            let (value, gradient, step, length) = match kind {
                Kind::Double => (1e-12, 1e-10, 1e-10, length),
                Kind::Half => (4e-3, 2e-2, 2e-2, 1.0),
                Kind::BFloat16 => (3e-2, 1e-1, 1e-1, 1.0),
                _ if cuda => (1e-4, 1e-3, 1e-3, length),
                _ => (2e-6, 1e-5, 1e-5, length),
            };
            Tolerance {
                value: value * length,
                gradient: gradient * length,
                step: step * length,
            }
        };
        let [a, b] = kinds.map(one);
        if a.value > b.value { a } else { b }
    }

    /// That of a quantity.
    pub fn get(&self, quantity: Quantity) -> f64 {
        match quantity {
            Quantity::Value => self.value,
            Quantity::Gradient => self.gradient,
            Quantity::Step => self.step,
        }
    }
}

/// The longest sum for which the tolerances are stated: the largest of
/// `tests/lstm_parity.rs`, where 64 units read two directions of 64.
const PRODUCTS: i64 = 192;

/// The share of the largest of all gradients below which no gradient is held to
/// less.
pub(super) const SMALL_GRADIENT: f64 = 1e-2;

/// Whether a device is a CUDA device.
pub(super) fn is_cuda(device: Device) -> bool {
    matches!(device, Device::Cuda(_))
}
