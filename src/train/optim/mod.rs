//! Optimizers with state of our own; the numbers are those of `torch.optim`.

mod adam;
mod sgd;
#[cfg(test)]
mod tests;

use tch::Tensor;

pub use self::adam::Adam;
pub use self::sgd::Sgd;

/// Parameters that are trained alike.
#[derive(Debug)]
pub struct Group {
    /// The parameters, with their names; each a leaf that has a gradient.
    pub parameters: Vec<(String, Tensor)>,
    /// Their learning rate over that of the run.
    pub rate_factor: f64,
    /// Added to each gradient: this times the parameter (L2, as `weight_decay`
    /// of torch's Adam and SGD).
    pub weight_decay: f64,
}

/// Changes parameters by their gradients.
pub trait Optimizer: std::fmt::Debug {
    /// One step with this learning rate. Parameters without a gradient stay.
    fn step(&mut self, rate: f64);

    /// What is trained.
    fn groups(&self) -> &[Group];

    /// Forgets all gradients.
    fn zero_grad(&mut self) {
        for (_, parameter) in self.groups().iter().flat_map(|group| &group.parameters) {
            parameter.shallow_clone().zero_grad();
        }
    }
}

/// The gradient with weight decay added, or `None` where there is none.
fn gradient(parameter: &Tensor, weight_decay: f64) -> Option<Tensor> {
    let gradient = parameter.grad();
    if !gradient.defined() {
        return None;
    }
    Some(match weight_decay {
        0.0 => gradient,
        decay => gradient + parameter.detach() * decay,
    })
}
