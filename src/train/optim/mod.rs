//! Optimizers with state of our own; the numbers are those of `torch.optim`.
//!
//! One file for each formula. What they share is here: groups of parameters,
//! and a state that can be read and put back, so that a run goes on to the bit
//! where it was stopped.

mod adadelta;
mod adagrad;
mod adam;
mod adamw;
mod settings;
mod sgd;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Debug;

use tch::Tensor;

pub use self::settings::{OptimizerKind, OptimizerSettings};
pub(crate) use self::state::restored;
use crate::checkpoint::safetensors::Tensors;
use crate::error::{Error, Result};
use crate::shim::{self, Fused, Updated};

/// Parameters that are trained alike.
#[derive(Debug)]
pub struct Group {
    /// The parameters, with their names; each a leaf that has a gradient.
    pub parameters: Vec<(String, Tensor)>,
    /// Their learning rate over that of the run.
    pub rate_factor: f64,
    /// `weight_decay` of torch: L2, added to each gradient as this times the
    /// parameter; of AdamW decoupled from the gradient.
    pub weight_decay: f64,
}

/// The formula of an optimizer, for one parameter. It never waits for the
/// device.
trait Formula: Debug {
    /// What it remembers of a parameter, in torch's words: tensors of the
    /// parameter's shape and dtype, zeros at the start.
    fn memory(&self) -> &'static [&'static str];

    /// The same as one operation of libtorch for all parameters, if it has one.
    fn fused(&self) -> Option<Fused> {
        None
    }

    /// Changes the parameter and what is remembered of it.
    fn update(&self, parameter: &mut Tensor, gradient: Tensor, memory: &mut [Tensor], now: Step);
}

/// The step that a formula takes.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// Counted from 1, for each parameter of its own.
    number: i64,
    rate: f64,
    weight_decay: f64,
}

/// Changes parameters by their gradients.
#[derive(Debug)]
pub struct Optimizer {
    formula: Box<dyn Formula>,
    /// What takes its place.
    fused: Option<Fused>,
    groups: Vec<Group>,
    /// Of each parameter of each group.
    states: Vec<Vec<State>>,
}

/// What is remembered of a parameter.
#[derive(Debug)]
struct State {
    /// How many steps had a gradient for it.
    steps: i64,
    memory: Vec<Tensor>,
}

impl Optimizer {
    /// Before its first step.
    ///
    /// Errors if a setting is out of its range, or is of another optimizer.
    pub fn new(settings: &OptimizerSettings, groups: Vec<Group>) -> Result<Self> {
        let formula = settings.formula()?;
        let start = |(_, parameter): &(String, Tensor)| State {
            steps: 0,
            memory: (formula.memory().iter())
                .map(|_| parameter.detach().zeros_like())
                .collect(),
        };
        let states = groups
            .iter()
            .map(|group| group.parameters.iter().map(start).collect())
            .collect();
        Ok(Optimizer {
            formula,
            fused: None,
            groups,
            states,
        })
    }

    /// From here on by libtorch's fused operation, where it has one: fewer passes over
    /// memory, and on CUDA one launch for all. The numbers are the same but for
    /// rounding.
    pub fn fuse(&mut self) {
        self.fused = self.formula.fused();
    }

    /// One step with this learning rate. Parameters without a gradient stay.
    ///
    /// Errors only if libtorch refuses the fused operation.
    pub fn step(&mut self, rate: f64) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        match self.fused {
            Some(fused) => self.step_fused(fused, rate),
            None => {
                self.step_each(rate);
                Ok(())
            }
        }
    }

    /// Parameters of one group whose steps are counted alike go together.
    fn step_fused(&mut self, fused: Fused, rate: f64) -> Result<()> {
        for (group, states) in self.groups.iter().zip(&mut self.states) {
            let mut together: BTreeMap<i64, Vec<Updated>> = BTreeMap::new();
            for ((_, parameter), state) in group.parameters.iter().zip(states) {
                let gradient = parameter.grad();
                if gradient.defined() {
                    state.steps += 1;
                    together.entry(state.steps).or_default().push(Updated {
                        parameter,
                        gradient,
                        memory: &state.memory,
                    });
                }
            }
            let rate = rate * group.rate_factor;
            for (step, all) in together {
                shim::fused_step(fused, &all, step, rate, group.weight_decay)?;
            }
        }
        Ok(())
    }

    fn step_each(&mut self, rate: f64) {
        for (group, states) in self.groups.iter().zip(&mut self.states) {
            for ((_, parameter), state) in group.parameters.iter().zip(states) {
                let gradient = parameter.grad();
                if !gradient.defined() {
                    continue;
                }
                state.steps += 1;
                let now = Step {
                    number: state.steps,
                    rate: rate * group.rate_factor,
                    weight_decay: group.weight_decay,
                };
                let mut parameter = parameter.shallow_clone();
                (self.formula).update(&mut parameter, gradient, &mut state.memory, now);
            }
        }
    }

    /// What is trained.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Every parameter of every group.
    pub fn parameters(&self) -> impl Iterator<Item = &(String, Tensor)> {
        self.groups.iter().flat_map(|group| &group.parameters)
    }

    /// Forgets all gradients.
    pub fn zero_grad(&mut self) {
        for (_, parameter) in self.parameters() {
            parameter.shallow_clone().zero_grad();
        }
    }

    /// Everything that it remembers, in torch's words: `PARAMETER.step` (i64, of
    /// every optimizer), and `PARAMETER.exp_avg`, `.exp_avg_sq` of Adam and
    /// AdamW, `.momentum_buffer` of SGD with momentum, `.sum` of AdaGrad,
    /// `.square_avg`, `.acc_delta` of Adadelta. The next step changes these
    /// tensors: save or copy them before it.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let mut all = Vec::new();
        for ((parameter, _), state) in self.parameters().zip(self.states.iter().flatten()) {
            all.push((format!("{parameter}.step"), Tensor::from(state.steps)));
            for (name, tensor) in self.formula.memory().iter().zip(&state.memory) {
                all.push((format!("{parameter}.{name}"), tensor.shallow_clone()));
            }
        }
        all
    }

    /// Takes over a state: the next step is the one that would have come there.
    ///
    /// Errors, and changes nothing, if a tensor is missing, has another shape or
    /// dtype, or belongs to another optimizer or other parameters.
    pub fn load_state(&mut self, saved: &Tensors) -> Result<()> {
        let now: Tensors = self.state().into_iter().collect();
        if let Some(name) = saved.keys().find(|name| !now.contains_key(*name)) {
            let message = "is nothing that this optimizer remembers; the state is of another \
                           optimizer or model";
            return Err(Error::tensor(name, message));
        }
        let mut loaded = Vec::new();
        for (name, parameter) in self.parameters() {
            let name = |part: &str| format!("{name}.{part}");
            let steps = restored(saved, &name("step"), &Tensor::from(0i64))?.int64_value(&[]);
            if steps < 0 {
                let message = format!("is {steps}, but counts steps");
                return Err(Error::tensor(name("step"), message));
            }
            let memory = (self.formula.memory().iter())
                .map(|part| restored(saved, &name(part), parameter))
                .collect::<Result<_>>()?;
            loaded.push(State { steps, memory });
        }
        let mut loaded = loaded.into_iter();
        for states in &mut self.states {
            *states = loaded.by_ref().take(states.len()).collect();
        }
        Ok(())
    }
}

/// The gradient with L2 weight decay in it.
fn with_decay(gradient: Tensor, parameter: &Tensor, weight_decay: f64) -> Tensor {
    match weight_decay {
        0.0 => gradient,
        decay => gradient + parameter * decay,
    }
}
