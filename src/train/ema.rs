//! Averaged weights: an exponential moving average of every trained parameter, as
//! `torch.optim.swa_utils.AveragedModel` with `get_ema_multi_avg_fn`.

use tch::Tensor;

use super::optim::restored;
use crate::checkpoint::safetensors::Tensors;
use crate::error::{Error, Result};

/// What counts the steps in a saved state.
const STEPS: &str = "ema.step";

/// ```text
/// a = θ                        after the first step
/// a = decay · a + (1 - decay) · θ
/// ```
#[derive(Debug)]
pub struct Ema {
    decay: f64,
    steps: i64,
    parameters: Vec<(String, Tensor)>,
    averages: Vec<Tensor>,
}

impl Ema {
    /// Of these parameters, before the first step.
    pub fn new<'a>(parameters: impl Iterator<Item = &'a (String, Tensor)>, decay: f64) -> Self {
        let parameters: Vec<(String, Tensor)> = parameters
            .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))
            .collect();
        let copy = |(_, tensor): &(String, Tensor)| tensor.detach().copy();
        Ema {
            decay,
            steps: 0,
            averages: parameters.iter().map(copy).collect(),
            parameters,
        }
    }

    /// The optimizer made a step.
    pub fn update(&mut self) {
        let _no_grad = tch::no_grad_guard();
        self.steps += 1;
        for ((_, parameter), average) in self.parameters.iter().zip(&mut self.averages) {
            match self.steps {
                1 => average.copy_(parameter),
                _ => drop(average.lerp_(parameter, 1.0 - self.decay)),
            }
        }
    }

    /// Puts the averages into the parameters, until the answer is dropped.
    pub fn put_in(&mut self) -> PutIn<'_> {
        self.exchange();
        PutIn(self)
    }

    fn exchange(&mut self) {
        let _no_grad = tch::no_grad_guard();
        for ((_, parameter), average) in self.parameters.iter().zip(&mut self.averages) {
            let raw = parameter.copy();
            parameter.shallow_clone().copy_(average);
            *average = raw;
        }
    }

    /// What a run must keep to go on: `PARAMETER.ema`, and how many steps there
    /// were. The next step changes these tensors: save or copy them before it.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let named = self.parameters.iter().zip(&self.averages);
        let mut state: Vec<(String, Tensor)> = named
            .map(|((name, _), average)| (format!("{name}.ema"), average.shallow_clone()))
            .collect();
        state.push((STEPS.to_owned(), Tensor::from(self.steps)));
        state
    }

    /// Takes over a state.
    ///
    /// Errors, and changes nothing, if a tensor is missing or has another shape or
    /// dtype.
    pub fn load_state(&mut self, saved: &Tensors) -> Result<()> {
        let steps = restored(saved, STEPS, &Tensor::from(0i64))?.int64_value(&[]);
        if steps < 0 {
            return Err(Error::tensor(
                STEPS,
                format!("is {steps}, but counts steps"),
            ));
        }
        let averages = (self.parameters.iter())
            .map(|(name, tensor)| restored(saved, &format!("{name}.ema"), tensor))
            .collect::<Result<_>>()?;
        (self.steps, self.averages) = (steps, averages);
        Ok(())
    }
}

/// The parameters are averages for as long as this lives.
#[derive(Debug)]
pub struct PutIn<'a>(&'a mut Ema);

impl Drop for PutIn<'_> {
    fn drop(&mut self) {
        self.0.exchange();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECAY: f64 = 0.9;

    fn parameter() -> (String, Tensor) {
        let values = Tensor::from_slice(&[1.0, -2.0]);
        ("x".to_owned(), values.set_requires_grad(true))
    }

    /// A step of some optimizer.
    fn step(parameter: &Tensor, n: u32) {
        let _ = tch::no_grad(|| {
            parameter
                .shallow_clone()
                .g_mul_scalar_(1.0 + 1.0 / f64::from(n))
        });
    }

    fn numbers(tensor: &Tensor) -> Vec<f64> {
        Vec::try_from(tensor.detach()).unwrap()
    }

    #[test]
    fn it_is_the_formula_and_leaves_the_weights_as_they_are() {
        let parameter = parameter();
        let mut ema = Ema::new([&parameter].into_iter(), DECAY);
        let mut expected = Vec::new();
        for n in 1..=20 {
            step(&parameter.1, n);
            ema.update();
            let now = numbers(&parameter.1);
            expected = match n {
                1 => now,
                _ => (expected.iter().zip(now))
                    .map(|(average, now)| DECAY * average + (1.0 - DECAY) * now)
                    .collect(),
            };
        }
        let raw = numbers(&parameter.1);
        let put_in = ema.put_in();
        for (ours, expected) in numbers(&parameter.1).iter().zip(&expected) {
            assert!((ours - expected).abs() < 1e-12, "{ours} {expected}");
        }
        assert!(parameter.1.requires_grad());
        drop(put_in);
        assert_eq!(numbers(&parameter.1), raw);
        assert!((raw[0] - expected[0]).abs() > 0.1);
    }

    #[test]
    fn a_restored_state_goes_on_to_the_bit() {
        let run = |parameter: &Tensor, ema: &mut Ema, from, to| {
            for n in from..=to {
                step(parameter, n);
                ema.update();
            }
        };
        let (first, second) = (parameter(), parameter());
        let mut undisturbed = Ema::new([&first].into_iter(), DECAY);
        run(&first.1, &mut undisturbed, 1, 20);

        let mut stopped = Ema::new([&second].into_iter(), DECAY);
        run(&second.1, &mut stopped, 1, 10);
        let mut saved: Tensors = stopped.state().into_iter().collect();
        let mut resumed = Ema::new([&second].into_iter(), DECAY);
        resumed.load_state(&saved).unwrap();
        run(&second.1, &mut resumed, 11, 20);
        assert!(resumed.averages[0].equal(&undisturbed.averages[0]));

        saved.remove("x.ema");
        let error = resumed.load_state(&saved).unwrap_err().to_string();
        assert!(error.starts_with("x.ema: is missing"), "{error}");
    }
}
