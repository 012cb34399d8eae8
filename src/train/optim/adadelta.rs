//! Adadelta (Zeiler, "ADADELTA: an adaptive learning rate method", 2012), in the
//! form of `torch.optim.Adadelta`.

use tch::Tensor;

use super::{Formula, Step, with_decay};

/// ```text
/// g = g + decay · θ
/// s = ρ s + (1 - ρ) g²
/// d = √(u + ε) / √(s + ε) · g
/// u = ρ u + (1 - ρ) d²
/// θ = θ - rate · d
/// ```
#[derive(Debug)]
pub(super) struct Adadelta {
    pub rho: f64,
    pub epsilon: f64,
}

impl Formula for Adadelta {
    fn memory(&self) -> &'static [&'static str] {
        &["square_avg", "acc_delta"]
    }

    fn update(&self, parameter: &mut Tensor, gradient: Tensor, memory: &mut [Tensor], now: Step) {
        let [squares, deltas] = memory else { return };
        let gradient = with_decay(gradient, parameter, now.weight_decay);
        let root = |of: &Tensor| (of + self.epsilon).sqrt_();

        let _ = squares.g_mul_scalar_(self.rho);
        let _ = squares.addcmul_(&gradient, &(&gradient * (1.0 - self.rho)));
        let mut delta = root(deltas);
        let _ = delta.g_div_(&root(squares));
        let _ = delta.g_mul_(&gradient);
        let _ = deltas.g_mul_scalar_(self.rho);
        let _ = deltas.addcmul_(&delta, &(&delta * (1.0 - self.rho)));
        let _ = parameter.g_sub_(&(delta * now.rate));
    }
}
