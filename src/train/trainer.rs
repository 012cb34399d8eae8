//! From batches to a step of the optimizer, and everything that a run must
//! remember between two steps.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use tch::{Device, Tensor};

use super::batches::batches;
use super::ema::{Ema, PutIn};
use super::groups::groups;
use super::loader::Loaded;
use super::loss::loss;
use super::optim::{Optimizer, restored};
use super::precision::{LossScale, Precision};
use super::schedule::Schedule;
use super::snapshot::Progress;
use super::{Config, Corpus, clip_norm, clip_value};
use crate::checkpoint::safetensors::Tensors;
use crate::error::{Error, Result};
use crate::lstm::Mode;
use crate::model::{Model, Pass};
use crate::random::Stream;
use crate::runtime::says_out_of_memory;

/// In front of the names of a snapshot's tensors.
const MODEL: &str = "model";
const OPTIMIZER: &str = "optimizer";
const EMA: &str = "ema";

/// A training between two steps.
#[derive(Debug)]
pub(super) struct Trainer<'a> {
    config: &'a Config,
    model: &'a Model,
    optimizer: Optimizer,
    schedule: Schedule,
    ema: Option<Ema>,
    scale: Option<LossScale>,
    /// Of the optimizer, since the start.
    steps: u64,
    /// Since the start: each has dropout masks of its own.
    batches: u64,
    /// Whether each step waits for its numbers.
    pub waits: bool,
}

/// What a step gave; its loss and norm may still be on their way from the device.
#[derive(Debug)]
pub(super) struct Step {
    /// Of the optimizer, counted from 1; of a skipped one that of the one before.
    pub number: u64,
    /// The mean loss over the texts, and the norm of all gradients together before
    /// clipping, `[2]`.
    numbers: Tensor,
    /// The learning rate.
    pub rate: f64,
    /// How many texts it saw.
    pub texts: usize,
    /// How many tokens they have.
    pub tokens: usize,
    /// Whether its gradients overflowed in f16, so that it changed nothing.
    pub skipped: bool,
}

impl Step {
    /// The loss and the norm: waits for the device.
    pub fn read(&self) -> (f64, f64) {
        let numbers = self.numbers.to_device(Device::Cpu);
        (numbers.double_value(&[0]), numbers.double_value(&[1]))
    }
}

impl<'a> Trainer<'a> {
    /// Before the first step.
    pub fn new(config: &'a Config, model: &'a Model, train: &Corpus) -> Result<Self> {
        model.expect_rows(train.texts.iter().map(Vec::as_slice))?;
        let settings = &config.train;
        let mut optimizer = Optimizer::new(&settings.optimizer(), groups(config, model))?;
        if (settings.fused_update).unwrap_or(model.device() != Device::Cpu) {
            optimizer.fuse();
        }
        let first = batches(config, &train.lengths(), 1);
        Ok(Trainer {
            config,
            model,
            schedule: Schedule::new(
                &config.schedule,
                settings.learning_rate(),
                settings.metric,
                first.len().div_ceil(settings.accumulate) as u64,
                settings.epochs,
            ),
            ema: (settings.ema).map(|decay| Ema::new(optimizer.parameters(), decay)),
            scale: (settings.precision == Precision::F16).then(LossScale::default),
            waits: model.device() == Device::Cpu || settings.precision == Precision::F16,
            optimizer,
            steps: 0,
            batches: 0,
        })
    }

    /// Forward and backward over each of the batches; then clip and update. The
    /// gradient is that of the mean loss over all their texts, as if they were one
    /// batch.
    ///
    /// The host waits for the device only on the CPU, and with f16, where the
    /// gradients decide whether there is a step: then NaN changes no parameter.
    pub fn step(&mut self, batches: &[Loaded]) -> Result<Step> {
        self.step_at(batches, self.schedule.rate(self.steps))
    }

    /// As [`step`](Self::step), with another learning rate than the schedule's.
    pub fn step_at(&mut self, batches: &[Loaded], rate: f64) -> Result<Step> {
        let texts: usize = batches
            .iter()
            .map(|loaded| loaded.batch.lengths.len())
            .sum();
        let lengths = batches.iter().flat_map(|loaded| &loaded.batch.lengths);
        let tokens = lengths.sum::<i64>() as usize;
        self.optimizer.zero_grad();
        let mut mean: Option<Tensor> = None;
        for loaded in batches {
            let share = loaded.batch.lengths.len() as f64 / texts as f64;
            let loss = self.backward(loaded, share)?;
            mean = Some(match mean {
                None => loss,
                Some(mean) => mean + loss,
            });
        }
        let settings = &self.config.train;
        let parameters = || self.optimizer.parameters().map(|(_, tensor)| tensor);
        if let Some(scale) = &self.scale {
            unscale(parameters(), scale.scale());
        }
        let norm = clip_norm(parameters(), settings.clip_norm);
        if let Some(limit) = settings.clip_value {
            clip_value(parameters(), limit);
        }
        // Together, so that the device is waited for once.
        let mean = mean.unwrap_or_else(|| Tensor::from(0f32));
        let norm = norm.unwrap_or_else(|| mean.zeros_like());
        let mut step = Step {
            number: self.steps,
            numbers: Tensor::stack(&[mean, norm], 0),
            rate,
            texts,
            tokens,
            skipped: false,
        };
        let mut finite = true;
        if self.waits {
            let (loss, norm) = step.read();
            finite = loss.is_finite() && norm.is_finite();
        }
        if let Some(scale) = &mut self.scale {
            scale.update(finite)?;
            step.skipped = !finite;
        }
        if !step.skipped {
            self.steps += 1;
            step.number = self.steps;
        }
        if finite {
            self.optimizer.step(step.rate)?;
            if let Some(ema) = &mut self.ema {
                ema.update();
            }
        }
        Ok(step)
    }

    /// The loss of a batch times its `share`, whose gradient is added to that of the
    /// parameters.
    ///
    /// Errors with the batch's shape if the memory does not suffice.
    fn backward(&mut self, loaded: &Loaded, share: f64) -> Result<Tensor> {
        let done = catch_unwind(AssertUnwindSafe(|| {
            let loss = self.loss(loaded)? * share;
            let scaled = match &self.scale {
                Some(scale) => &loss * scale.scale(),
                None => loss.shallow_clone(),
            };
            scaled.f_backward()?;
            Ok(loss.detach())
        }));
        let shape = loaded.batch.ids.size();
        match done {
            Ok(Err(Error::Torch(message))) if says_out_of_memory(&message) => {
                Err(out_of_memory(&shape))
            }
            Ok(done) => done,
            Err(panic) => match panic.downcast_ref::<String>() {
                Some(message) if says_out_of_memory(message) => Err(out_of_memory(&shape)),
                _ => resume_unwind(panic),
            },
        }
    }

    /// The mean loss of a batch, to be trained on.
    fn loss(&mut self, loaded: &Loaded) -> Result<Tensor> {
        self.batches += 1;
        let settings = &self.config.train;
        let dropout = Stream::new(self.config.seed, "dropout").at(self.batches);
        let pass = Pass {
            engine: settings.engine,
            mode: Mode::Train(dropout),
            kind: settings.precision.kind(),
            truncate: settings.truncate_steps,
            recompute: settings.recompute,
        };
        let logits = self.model.forward(&loaded.batch, pass)?;
        let smoothing = settings.label_smoothing;
        Ok(loss(self.model, &logits, &loaded.truth, smoothing))
    }

    /// The scale of the loss in f16.
    pub fn loss_scale(&self) -> Option<f64> {
        self.scale.map(|scale| scale.scale())
    }

    /// Steps since the start.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Every tensor that it must remember, under `model/`, `optimizer/` and `ema/`.
    /// The next step changes them: save them before it.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let model = self.model.parameters().into_iter();
        let model = model.map(|(name, tensor)| (name, tensor.shallow_clone()));
        let mut tensors = Vec::new();
        let mut add = |part: &str, name: String, tensor| {
            tensors.push((format!("{part}/{name}"), tensor));
        };
        model.for_each(|(name, tensor)| add(MODEL, name, tensor));
        let optimizer = self.optimizer.state().into_iter();
        optimizer.for_each(|(name, tensor)| add(OPTIMIZER, name, tensor));
        let ema = self.ema.iter().flat_map(Ema::state);
        ema.for_each(|(name, tensor)| add(EMA, name, tensor));
        tensors
    }

    /// Adds the counters and the schedule to what a run must remember.
    pub fn note(&self, progress: &mut Progress) {
        progress.steps = self.steps;
        progress.batches = self.batches;
        progress.plateau = self.schedule.state();
        progress.loss_scale = self.scale;
    }

    /// Goes on from what [`tensors`](Self::tensors) and [`note`](Self::note) gave.
    ///
    /// Errors if it is of another model, optimizer or schedule.
    pub fn restore(&mut self, progress: &Progress, tensors: &Tensors) -> Result<()> {
        let part = |part: &str| -> Tensors {
            let start = format!("{part}/");
            let named = tensors.iter().filter_map(|(name, tensor)| {
                Some((
                    name.strip_prefix(&start)?.to_owned(),
                    tensor.shallow_clone(),
                ))
            });
            named.collect()
        };
        let model = part(MODEL);
        for (name, parameter) in self.model.parameters() {
            let saved = restored(&model, &name, parameter)?;
            tch::no_grad(|| parameter.shallow_clone().f_copy_(&saved))?;
        }
        self.optimizer.load_state(&part(OPTIMIZER))?;
        if let Some(ema) = &mut self.ema {
            ema.load_state(&part(EMA))?;
        }
        self.schedule.load_state(progress.plateau)?;
        if self.scale.is_some() {
            self.scale = progress.loss_scale.or(self.scale);
        }
        (self.steps, self.batches) = (progress.steps, progress.batches);
        Ok(())
    }

    /// Puts the averaged weights, if there are any, into the model until the answer
    /// is dropped.
    pub fn averages(&mut self) -> Option<PutIn<'_>> {
        self.ema.as_mut().map(Ema::put_in)
    }

    /// The value of the metric on dev.
    pub fn measured(&mut self, dev: f64) {
        self.schedule.measured(dev);
    }
}

/// Divides the gradients by the scale of the loss.
fn unscale<'a>(parameters: impl Iterator<Item = &'a Tensor>, scale: f64) {
    let _no_grad = tch::no_grad_guard();
    for mut gradient in parameters.map(Tensor::grad).filter(Tensor::defined) {
        let _ = gradient.g_mul_scalar_(1.0 / scale);
    }
}

fn out_of_memory(shape: &[i64]) -> Error {
    let size = |n: usize| shape.get(n).copied().unwrap_or(0);
    Error::OutOfMemory(format!(
        "a batch of {} texts of up to {} tokens does not fit; set train.batch smaller, with \
         train.accumulate larger for the same step, or text.max_tokens, or train.precision = \
         \"bf16\"",
        size(0),
        size(1)
    ))
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::super::optim::OptimizerKind;
    use super::super::prepare;
    use super::super::tests::Toy;
    use super::*;

    fn load(corpus: &Corpus, batches: &[Vec<usize>]) -> Vec<Loaded> {
        let load = |rows: &Vec<usize>| Loaded::new(corpus, rows);
        batches.iter().map(load).collect()
    }

    /// The loss and all parameters after one step of SGD in f64, over the first
    /// texts in batches of these sizes.
    fn after_a_step(sizes: &[usize]) -> (f64, Tensor) {
        let mut toy = Toy::new();
        toy.config.head.dropout = 0.0;
        toy.config.train.optimizer = OptimizerKind::Sgd;
        toy.config.train.learning_rate = Some(0.5);
        let mut prepared = prepare(&toy.config).unwrap();
        prepared.model.to_kind(Kind::Double);
        let mut first = 0;
        let batches: Vec<Vec<usize>> = (sizes.iter())
            .map(|size| {
                first += size;
                (first - size..first).collect()
            })
            .collect();
        let mut trainer = Trainer::new(&toy.config, &prepared.model, &prepared.train).unwrap();
        let step = trainer.step(&load(&prepared.train, &batches)).unwrap();
        assert_eq!(step.texts, first);
        assert_eq!(trainer.steps(), 1);
        let parameters = prepared.model.parameters().into_iter();
        let flat: Vec<Tensor> = parameters.map(|(_, tensor)| tensor.reshape(-1)).collect();
        (step.read().0, Tensor::cat(&flat, 0).detach())
    }

    #[test]
    fn batches_of_one_step_are_as_one_batch() {
        let (loss, together) = after_a_step(&[24]);
        let (_, other) = after_a_step(&[8]);
        let far = |tensor: &Tensor| (tensor - &together).abs().max().double_value(&[]);
        assert!(far(&other) > 1e-3);
        for sizes in [&[8, 8, 8][..], &[12, 12], &[5, 16, 3]] {
            let (each_loss, each) = after_a_step(sizes);
            assert!((each_loss - loss).abs() < 1e-12, "{sizes:?}");
            assert!(far(&each) < 1e-12, "{sizes:?}: {}", far(&each));
        }
    }

    #[test]
    fn batches_of_one_step_have_other_dropout() {
        let mut toy = Toy::new();
        toy.config.head.dropout = 0.5;
        let prepared = prepare(&toy.config).unwrap();
        let mut trainer = Trainer::new(&toy.config, &prepared.model, &prepared.train).unwrap();
        let loaded = &load(&prepared.train, &[(0..8).collect()])[0];
        let mut loss = || trainer.loss(loaded).unwrap().double_value(&[]);
        assert_ne!(loss(), loss());
    }

    /// Some steps of a toy: the loss of each, whether it was skipped, and the trainer.
    fn run(toy: &Toy, steps: usize, then: impl FnOnce(&Trainer, &[(f64, bool)])) {
        let prepared = prepare(&toy.config).unwrap();
        let mut trainer = Trainer::new(&toy.config, &prepared.model, &prepared.train).unwrap();
        let losses: Vec<(f64, bool)> = (0..steps)
            .map(|n| {
                let rows = (8 * n..8 * n + 8).collect();
                let step = trainer.step(&load(&prepared.train, &[rows])).unwrap();
                (step.read().0, step.skipped)
            })
            .collect();
        then(&trainer, &losses);
    }

    #[test]
    fn low_precision_rounds_the_arithmetic_and_not_the_parameters() {
        let mut toy = Toy::new();
        toy.config.head.dropout = 0.0;
        let mut exact = Vec::new();
        run(&toy, 10, |_, losses| exact = losses.to_vec());
        for (precision, apart) in [(Precision::BF16, 2e-2), (Precision::F16, 3e-3)] {
            toy.config.train.precision = precision;
            run(&toy, 10, |trainer, losses| {
                for (n, ((ours, skipped), (exact, _))) in losses.iter().zip(&exact).enumerate() {
                    assert!(!skipped);
                    let error = (ours - exact).abs() / exact;
                    assert!(error < apart, "{precision:?} step {n}: {ours} {exact}");
                }
                assert_ne!(losses, exact);
                for (name, tensor) in trainer.model.parameters() {
                    assert_eq!(tensor.kind(), Kind::Float, "{name}");
                    assert_eq!(tensor.grad().kind(), Kind::Float, "{name}");
                }
            });
        }
    }

    #[test]
    fn a_step_whose_gradients_overflow_changes_nothing_but_the_scale() {
        let mut toy = Toy::new();
        toy.config.train.precision = Precision::F16;
        toy.config.train.ema = Some(0.9);
        let prepared = prepare(&toy.config).unwrap();
        let mut trainer = Trainer::new(&toy.config, &prepared.model, &prepared.train).unwrap();
        let loaded = load(&prepared.train, &[(0..8).collect()]);
        trainer.step(&loaded).unwrap();
        let all = |trainer: &Trainer| {
            let copies = trainer.tensors().into_iter();
            copies
                .map(|(name, tensor)| (name, tensor.copy()))
                .collect::<Vec<_>>()
        };
        let before = all(&trainer);
        // Of the loss in f16 nothing above 65504 is left.
        trainer.scale = serde_json::from_str(r#"{"scale": 1e9, "good_steps": 7}"#).unwrap();
        let mut skipped = 0;
        while trainer.step(&loaded).unwrap().skipped {
            skipped += 1;
            assert_eq!(trainer.steps(), 1);
            assert_eq!(trainer.loss_scale(), Some(1e9 / f64::from(1 << skipped)));
            for ((name, a), (_, b)) in before.iter().zip(all(&trainer)) {
                assert!(a.equal(&b), "{name}");
            }
        }
        assert!(skipped > 3, "{skipped}");
        assert_eq!(trainer.steps(), 2);
        let changed = before
            .iter()
            .zip(all(&trainer))
            .filter(|((_, a), (_, b))| !a.equal(b));
        assert!(changed.count() > 8);

        let mut at = Progress::default();
        trainer.note(&mut at);
        let tensors: Tensors = trainer.tensors().into_iter().collect();
        let mut resumed = Trainer::new(&toy.config, &prepared.model, &prepared.train).unwrap();
        resumed.restore(&at, &tensors).unwrap();
        assert_eq!(resumed.scale, trainer.scale);
    }

    #[test]
    fn what_libtorch_says_where_memory_ends_is_understood() {
        let shape = [1 << 20, 1 << 25];
        let error = Tensor::f_zeros(shape, (Kind::Double, Device::Cpu)).unwrap_err();
        assert!(says_out_of_memory(&error.to_string()), "{error}");
        assert!(says_out_of_memory(
            "CUDA out of memory. Tried to allocate 2 GiB"
        ));
        assert!(!says_out_of_memory(
            "mat1 and mat2 shapes cannot be multiplied"
        ));
        let told = out_of_memory(&[64, 1000]).to_string();
        assert!(told.contains("64 texts of up to 1000 tokens"), "{told}");
    }
}
