//! Adam (Kingma and Ba, "Adam: a method for stochastic optimization", 2015), in
//! the form of `torch.optim.Adam`.

use tch::Tensor;

use super::{Group, Optimizer, gradient};

/// ```text
/// m = β1 m + (1 - β1) g        v = β2 v + (1 - β2) g²
/// θ = θ - rate / (1 - β1^t) · m / (√v / √(1 - β2^t) + ε)
/// ```
#[derive(Debug)]
pub struct Adam {
    groups: Vec<Group>,
    /// Of each parameter of each group.
    moments: Vec<Vec<Moments>>,
    beta1: f64,
    beta2: f64,
    epsilon: f64,
}

#[derive(Debug)]
struct Moments {
    steps: i32,
    first: Tensor,
    second: Tensor,
}

impl Adam {
    /// With torch's defaults: β1 0.9, β2 0.999, ε 1e-8.
    pub fn new(groups: Vec<Group>) -> Self {
        let zeros = |(_, parameter): &(String, Tensor)| Moments {
            steps: 0,
            first: parameter.detach().zeros_like(),
            second: parameter.detach().zeros_like(),
        };
        let moments = groups
            .iter()
            .map(|group| group.parameters.iter().map(zeros).collect())
            .collect();
        Adam {
            groups,
            moments,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
        }
    }
}

impl Optimizer for Adam {
    fn step(&mut self, rate: f64) {
        let _no_grad = tch::no_grad_guard();
        for (group, moments) in self.groups.iter().zip(&mut self.moments) {
            let rate = rate * group.rate_factor;
            for ((_, parameter), state) in group.parameters.iter().zip(moments) {
                let Some(gradient) = gradient(parameter, group.weight_decay) else {
                    continue;
                };
                state.steps += 1;
                let correction1 = 1.0 - self.beta1.powi(state.steps);
                let correction2 = 1.0 - self.beta2.powi(state.steps);

                let _ = state.first.lerp_(&gradient, 1.0 - self.beta1);
                let _ = state.second.g_mul_scalar_(self.beta2);
                let _ = state
                    .second
                    .addcmul_(&gradient, &(&gradient * (1.0 - self.beta2)));

                let mut denominator = state.second.sqrt();
                let _ = denominator.g_div_scalar_(correction2.sqrt());
                let _ = denominator.g_add_scalar_(self.epsilon);
                let step = &state.first * (-rate / correction1);
                let _ = parameter.shallow_clone().addcdiv_(&step, &denominator);
            }
        }
    }

    fn groups(&self) -> &[Group] {
        &self.groups
    }
}
