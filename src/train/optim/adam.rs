//! Adam (Kingma and Ba, "Adam: a method for stochastic optimization", 2015), in
//! the form of `torch.optim.Adam`.

use tch::Tensor;

use super::{Formula, Step, with_decay};
use crate::shim::Fused;

/// ```text
/// g = g + decay · θ
/// m = β1 m + (1 - β1) g        v = β2 v + (1 - β2) g²
/// θ = θ - rate / (1 - β1^t) · m / (√v / √(1 - β2^t) + ε)
/// ```
#[derive(Debug)]
pub(super) struct Adam {
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
}

impl Formula for Adam {
    fn memory(&self) -> &'static [&'static str] {
        &["exp_avg", "exp_avg_sq"]
    }

    fn fused(&self) -> Option<Fused> {
        Some(Fused::Adam(self.beta1, self.beta2, self.epsilon))
    }

    fn update(&self, parameter: &mut Tensor, gradient: Tensor, memory: &mut [Tensor], now: Step) {
        let [first, second] = memory else { return };
        let gradient = with_decay(gradient, parameter, now.weight_decay);
        let step = i32::try_from(now.number).unwrap_or(i32::MAX);
        let correction1 = 1.0 - self.beta1.powi(step);
        let correction2 = 1.0 - self.beta2.powi(step);

        let _ = first.lerp_(&gradient, 1.0 - self.beta1);
        let _ = second.g_mul_scalar_(self.beta2);
        let _ = second.addcmul_(&gradient, &(&gradient * (1.0 - self.beta2)));

        let mut denominator = second.sqrt();
        let _ = denominator.g_div_scalar_(correction2.sqrt());
        let _ = denominator.g_add_scalar_(self.epsilon);
        let step = &*first * (-now.rate / correction1);
        let _ = parameter.addcdiv_(&step, &denominator);
    }
}
