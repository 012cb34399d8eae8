//! How far two results of the same arithmetic may lie apart: the numbers of the
//! table that [`compare`](super) shows, with its reasons.

use serde::Serialize;
use tch::{Device, Kind};

use crate::lstm::Lstm;

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
    /// gates that are such sums.
    pub fn of(kinds: [Kind; 2], cuda: bool, sums: Sums) -> Tolerance {
        let one = |kind| {
            let (value, gradient, step) = match kind {
                Kind::Double => (1e-12, 1e-10, 1e-10),
                Kind::Half => (4e-3, 2e-2, 2e-2),
                Kind::BFloat16 => (3e-2, 1e-1, 1e-1),
                _ if cuda => (1e-4, 1e-3, 1e-3),
                _ => (2e-6, 1e-5, 1e-5),
            };
            // The narrow types are added up in f32, and lose more at each step.
            let sums = match kind {
                Kind::Half | Kind::BFloat16 => Sums::default(),
                _ => sums,
            };
            Tolerance {
                value: value * sums.length * sums.size,
                gradient: gradient * sums.length,
                step: step * sums.length,
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

/// What makes the rounding of an LSTM's gates more than that of the proof suite:
/// the rounding of a sum grows with the root of the number of its terms (Higham
/// and Mary, "A new approach to probabilistic rounding error analysis", 2019) and
/// with their size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sums {
    /// √(products of a gate / 192), 1 or more.
    pub length: f64,
    /// The largest root of the sum of squares of a gate's weights, 1 or more: the
    /// size of the sum's terms together for an input of size 1.
    pub size: f64,
}

impl Default for Sums {
    fn default() -> Self {
        Sums {
            length: 1.0,
            size: 1.0,
        }
    }
}

impl Sums {
    /// The most of all layers.
    pub fn of(lstm: &Lstm) -> Sums {
        let mut most = Sums::default();
        let parameters = lstm.parameters();
        let squares = |name: &str| {
            let found = parameters.iter().find(|(known, _)| known == name);
            found.map(|(_, tensor)| {
                let tensor = tensor.detach().to_kind(Kind::Double);
                (
                    tensor.size()[1],
                    tensor.square().sum_dim_intlist(1, false, Kind::Double),
                )
            })
        };
        for (name, _) in &parameters {
            let Some(suffix) = name.strip_prefix("weight_ih") else {
                continue;
            };
            let (of_input, of_hidden) = (squares(name), squares(&format!("weight_hh{suffix}")));
            if let (Some((i, input)), Some((h, hidden))) = (of_input, of_hidden) {
                let size = (input + hidden).max().double_value(&[]).sqrt();
                most.length = most.length.max(((i + h) as f64 / PRODUCTS).sqrt());
                most.size = most.size.max(size);
            }
        }
        most
    }
}

/// The longest sum for which the tolerances are stated: the largest of
/// `tests/lstm_parity.rs`, where 64 units read two directions of 64.
const PRODUCTS: f64 = 192.0;

/// The share of the largest of all gradients below which no gradient is held to
/// less.
pub(super) const SMALL_GRADIENT: f64 = 1e-2;

/// Whether a device is a CUDA device.
pub(super) fn is_cuda(device: Device) -> bool {
    matches!(device, Device::Cuda(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lstm::{Init, LstmConfig};
    use crate::random::Stream;

    #[test]
    fn the_coarser_dtype_counts() {
        let of = |a, b, cuda| Tolerance::of([a, b], cuda, Sums::default()).value;
        assert_eq!(of(Kind::Double, Kind::Double, false), 1e-12);
        assert_eq!(of(Kind::Double, Kind::Float, false), 2e-6);
        assert_eq!(of(Kind::Float, Kind::Float, true), 1e-4);
        assert_eq!(of(Kind::BFloat16, Kind::Half, true), 3e-2);
    }

    #[test]
    fn longer_and_larger_sums_may_round_more() {
        let config = LstmConfig::new(300, 468);
        let lstm = Lstm::new(config, Init::default(), Stream::new(1, "sums")).unwrap();
        let small = Sums::of(&lstm);
        assert_eq!(small.length, 2.0);
        // Uniform in ±1/√468: 768 squares of 1/(3 · 468) on average.
        assert_eq!(small.size, 1.0);
        let larger = super::super::subject::copy(&lstm, 1, |tensor| tensor * 10.0).unwrap();
        let large = Sums::of(&larger);
        assert!((7.0..9.0).contains(&large.size), "{large:?}");
        let of = |sums| Tolerance::of([Kind::Float; 2], false, sums);
        assert_eq!(of(large).value, of(small).value * large.size);
        assert_eq!(of(large).gradient, 2e-5);
        assert_eq!(Tolerance::of([Kind::Half; 2], false, large).value, 4e-3);
    }
}
