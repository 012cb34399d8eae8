//! Stochastic gradient descent, in the form of `torch.optim.SGD`.

use tch::Tensor;

use super::{Group, Optimizer, gradient};

/// ```text
/// v = momentum · v + g         (the first step: v = g)
/// θ = θ - rate · v
/// ```
#[derive(Debug)]
pub struct Sgd {
    groups: Vec<Group>,
    /// Of each parameter of each group, from its first step on.
    velocities: Vec<Vec<Option<Tensor>>>,
    momentum: f64,
}

impl Sgd {
    /// With this momentum; 0 for none.
    pub fn new(groups: Vec<Group>, momentum: f64) -> Self {
        let velocities = groups
            .iter()
            .map(|group| group.parameters.iter().map(|_| None).collect())
            .collect();
        Sgd {
            groups,
            velocities,
            momentum,
        }
    }
}

impl Optimizer for Sgd {
    fn step(&mut self, rate: f64) {
        let _no_grad = tch::no_grad_guard();
        for (group, velocities) in self.groups.iter().zip(&mut self.velocities) {
            let rate = rate * group.rate_factor;
            for ((_, parameter), velocity) in group.parameters.iter().zip(velocities) {
                let Some(gradient) = gradient(parameter, group.weight_decay) else {
                    continue;
                };
                let direction = if self.momentum == 0.0 {
                    gradient
                } else {
                    let moved = match velocity.take() {
                        None => gradient.copy(),
                        Some(old) => old * self.momentum + gradient,
                    };
                    velocity.insert(moved).shallow_clone()
                };
                let _ = parameter.shallow_clone().g_sub_(&(direction * rate));
            }
        }
    }

    fn groups(&self) -> &[Group] {
        &self.groups
    }
}
