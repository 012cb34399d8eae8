//! AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019),
//! in the form of `torch.optim.AdamW`.

use tch::Tensor;

use super::adam::Adam;
use super::{Formula, Step};
use crate::shim::Fused;

/// ```text
/// θ = θ - rate · decay · θ
/// ```
///
/// and then Adam's step without decay: the decay does not pass through the
/// moments, so that all weights shrink alike.
#[derive(Debug)]
pub(super) struct AdamW(pub Adam);

impl Formula for AdamW {
    fn memory(&self) -> &'static [&'static str] {
        self.0.memory()
    }

    fn fused(&self) -> Option<Fused> {
        Some(Fused::AdamW(self.0.beta1, self.0.beta2, self.0.epsilon))
    }

    fn update(&self, parameter: &mut Tensor, gradient: Tensor, memory: &mut [Tensor], now: Step) {
        if now.weight_decay != 0.0 {
            let _ = parameter.g_mul_scalar_(1.0 - now.rate * now.weight_decay);
        }
        let without = Step {
            weight_decay: 0.0,
            ..now
        };
        self.0.update(parameter, gradient, memory, without);
    }
}
