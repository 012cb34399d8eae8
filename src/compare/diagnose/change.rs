//! One mistake with parameters, and what such mistakes are made of.

use tch::Tensor;

use super::cause::{Cause, Scope};
use crate::checkpoint::safetensors::Tensors;

/// From our parameters to changed ones.
type Make = Box<dyn Fn(&Tensors) -> Option<Tensors>>;

/// A mistake with weights.
pub(super) struct Change {
    pub(super) cause: Cause,
    /// As a sentence without its end.
    pub(super) what: String,
    /// `None` where it changes nothing, or has no place.
    pub(super) make: Make,
}

/// The same change of every parameter that it has a place in.
pub(super) fn each(
    parameters: &Tensors,
    change: impl Fn(&str, &Tensor) -> Option<Tensor>,
) -> Option<Tensors> {
    let mut changed = false;
    let made = parameters.iter().map(|(name, tensor)| {
        let tensor = match change(name, tensor) {
            Some(other) => {
                changed |= !same(&other, tensor);
                other.contiguous()
            }
            None => tensor.shallow_clone(),
        };
        (name.clone(), tensor)
    });
    let made = made.collect();
    changed.then_some(made)
}

/// Whether two tensors have the same shape and numbers.
pub(super) fn same(a: &Tensor, b: &Tensor) -> bool {
    a.size() == b.size() && a.f_equal(b).unwrap_or(false)
}

/// Whether a parameter is one of those; projections have no gates.
pub(super) fn within(scope: Scope, name: &str) -> bool {
    let (ih, hh) = (name.starts_with("weight_ih"), name.starts_with("weight_hh"));
    let bias = name.starts_with("bias");
    match scope {
        Scope::All => ih || hh || bias,
        Scope::Weights => ih || hh,
        Scope::Biases => bias,
        Scope::Input => ih,
        Scope::Hidden => hh,
    }
}

/// `weight_ih`, 0 and `_reverse` of `weight_ih_l0_reverse`.
pub(super) fn split(name: &str) -> Option<(&str, usize, &str)> {
    let (role, rest) = name.rsplit_once("_l")?;
    let (layer, direction) = match rest.strip_suffix("_reverse") {
        Some(layer) => (layer, "_reverse"),
        None => (rest, ""),
    };
    Some((role, layer.parse().ok()?, direction))
}
