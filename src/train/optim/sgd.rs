//! Stochastic gradient descent (Robbins and Monro, "A stochastic approximation
//! method", 1951) with momentum (Polyak, "Some methods of speeding up the
//! convergence of iteration methods", 1964) and Nesterov's look ahead (Sutskever
//! et al., "On the importance of initialization and momentum in deep learning",
//! 2013), in the form of `torch.optim.SGD` without dampening.

use tch::Tensor;

use super::{Formula, Step, with_decay};
use crate::shim::Fused;

/// ```text
/// g = g + decay · θ
/// v = momentum · v + g                          (v = 0 before the first step)
/// θ = θ - rate · v                              Nesterov: θ - rate · (g + momentum · v)
/// ```
#[derive(Debug)]
pub(super) struct Sgd {
    pub momentum: f64,
    pub nesterov: bool,
}

impl Formula for Sgd {
    fn memory(&self) -> &'static [&'static str] {
        match self.momentum {
            0.0 => &[],
            _ => &["momentum_buffer"],
        }
    }

    fn fused(&self) -> Option<Fused> {
        Some(Fused::Sgd(self.momentum, self.nesterov))
    }

    fn update(&self, parameter: &mut Tensor, gradient: Tensor, memory: &mut [Tensor], now: Step) {
        let gradient = with_decay(gradient, parameter, now.weight_decay);
        let direction = match memory {
            [velocity] => {
                let _ = velocity.g_mul_scalar_(self.momentum);
                let _ = velocity.g_add_(&gradient);
                match self.nesterov {
                    true => gradient + &*velocity * self.momentum,
                    false => velocity.shallow_clone(),
                }
            }
            _ => gradient,
        };
        let _ = parameter.g_sub_(&(direction * now.rate));
    }
}
