//! AdaGrad (Duchi, Hazan and Singer, "Adaptive subgradient methods for online
//! learning and stochastic optimization", 2011), in the form of
//! `torch.optim.Adagrad` with a sum that starts at 0 and a rate that does not
//! decay by itself.

use tch::Tensor;

use super::{Formula, Step, with_decay};
use crate::shim::Fused;

/// ```text
/// g = g + decay · θ
/// s = s + g²
/// θ = θ - rate · g / (√s + ε)
/// ```
#[derive(Debug)]
pub(super) struct AdaGrad {
    pub epsilon: f64,
}

impl Formula for AdaGrad {
    fn memory(&self) -> &'static [&'static str] {
        &["sum"]
    }

    fn fused(&self) -> Option<Fused> {
        Some(Fused::AdaGrad(self.epsilon))
    }

    fn update(&self, parameter: &mut Tensor, gradient: Tensor, memory: &mut [Tensor], now: Step) {
        let [sum] = memory else { return };
        let gradient = with_decay(gradient, parameter, now.weight_decay);
        let _ = sum.addcmul_(&gradient, &gradient);
        let mut denominator = sum.sqrt();
        let _ = denominator.g_add_scalar_(self.epsilon);
        let _ = parameter.addcdiv_(&(gradient * -now.rate), &denominator);
    }
}
