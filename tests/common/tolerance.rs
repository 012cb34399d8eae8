//! Bounds for results that are compared with torch: those of `cellway compare`, whose
//! reasons are in `docs/compare.md`. No test states one of its own, since a bound that
//! fits one processor's libraries may be too small for another's.

use cellway::compare::{Bound, Quantity, Sums, Tolerance, measure};
use cellway::lstm::Lstm;
use tch::{Kind, Tensor};

/// The bound for values and gradients of networks as small as new ones, on the CPU.
pub fn tolerance(kind: Kind) -> Tolerance {
    Tolerance::of([kind; 2], false, Sums::default())
}

/// The bound for gates and states of this LSTM, on the CPU.
pub fn value_tolerance(lstm: &Lstm) -> f64 {
    let (_, weight) = lstm.parameters()[0];
    let tolerance = Tolerance::of([weight.kind(); 2], false, Sums::of(lstm));
    tolerance.get(Quantity::Value)
}

/// The share of its tolerance that a tensor of this LSTM uses; infinite for NaN.
pub fn share_of_tolerance(lstm: &Lstm, ours: &Tensor, torchs: &Tensor) -> f64 {
    assert_eq!(ours.size(), torchs.size());
    let bound = Bound::Element(value_tolerance(lstm));
    let difference = measure(ours, torchs, bound, ours.kind(), None);
    difference.expect("tensors of one shape").share
}
