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
    /// For results in these dtypes on these devices: that of the coarser.
    pub fn of(kinds: [Kind; 2], cuda: bool) -> Tolerance {
        let one = |kind| {
            let (value, gradient, step) = match kind {
                Kind::Double => (1e-12, 1e-10, 1e-10),
                Kind::Half => (4e-3, 2e-2, 2e-2),
                Kind::BFloat16 => (3e-2, 1e-1, 1e-1),
                _ if cuda => (1e-4, 1e-3, 1e-3),
                _ => (2e-6, 1e-5, 1e-5),
            };
            Tolerance {
                value,
                gradient,
                step,
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

/// The share of the largest of all gradients below which no gradient is held to
/// less.
pub(super) const SMALL_GRADIENT: f64 = 1e-2;

/// Whether a device is a CUDA device.
pub(super) fn is_cuda(device: Device) -> bool {
    matches!(device, Device::Cuda(_))
}
