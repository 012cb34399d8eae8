//! From batches to a step of the optimizer, and everything that a run must
//! remember between two steps.

use tch::{Device, Tensor};

use super::ema::{Ema, PutIn};
use super::groups::groups;
use super::loss::loss;
use super::optim::{Optimizer, restored};
use super::schedule::Schedule;
use super::snapshot::Progress;
use super::{Config, Corpus, clip_norm, clip_value};
use crate::checkpoint::safetensors::Tensors;
use crate::data::epoch_batches;
use crate::error::Result;
use crate::lstm::Mode;
use crate::model::Model;
use crate::random::Stream;

/// In front of the names of a snapshot's tensors.
const MODEL: &str = "model";
const OPTIMIZER: &str = "optimizer";
const EMA: &str = "ema";

/// A training between two steps.
#[derive(Debug)]
pub(super) struct Trainer<'a> {
    config: &'a Config,
    model: &'a Model,
    train: &'a Corpus,
    optimizer: Optimizer,
    schedule: Schedule,
    ema: Option<Ema>,
    /// Of the optimizer, since the start.
    steps: u64,
    /// Since the start: each has dropout masks of its own.
    batches: u64,
}

/// What a step gave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// The mean over the texts.
    pub loss: f64,
    /// Of all gradients together, before clipping.
    pub norm: f64,
    /// The learning rate.
    pub rate: f64,
    /// How many texts it saw.
    pub texts: usize,
}

impl Step {
    /// Counts it as one more of the epoch.
    pub fn count(&self, progress: &mut Progress) {
        progress.epoch_steps += 1;
        progress.loss_sum += self.loss * self.texts as f64;
        progress.norm_sum += self.norm;
        progress.seen += self.texts;
        progress.rate = self.rate;
    }

    /// What was NaN or infinite: then the parameters are as before.
    pub fn trouble(&self) -> Option<String> {
        let Step { loss, norm, .. } = self;
        (!(loss.is_finite() && norm.is_finite()))
            .then(|| format!("the loss is {loss} and the norm of the gradients {norm}"))
    }
}

impl<'a> Trainer<'a> {
    /// Before the first step.
    pub fn new(config: &'a Config, model: &'a Model, train: &'a Corpus) -> Result<Self> {
        let settings = &config.train;
        let optimizer = Optimizer::new(&settings.optimizer(), groups(config, model))?;
        let first = epoch_batches(&train.lengths(), settings.batch, config.seed, 1);
        Ok(Trainer {
            config,
            model,
            train,
            schedule: Schedule::new(
                &config.schedule,
                settings.learning_rate(),
                settings.metric,
                first.len().div_ceil(settings.accumulate) as u64,
                settings.epochs,
            ),
            ema: (settings.ema).map(|decay| Ema::new(optimizer.parameters(), decay)),
            optimizer,
            steps: 0,
            batches: 0,
        })
    }

    /// Forward and backward over each of the batches, rows of the corpus; then
    /// clip and update. The gradient is that of the mean loss over all their texts,
    /// as if they were one batch.
    pub fn step(&mut self, batches: &[Vec<usize>]) -> Result<Step> {
        let texts: usize = batches.iter().map(Vec::len).sum();
        let mut mean: Option<Tensor> = None;
        self.optimizer.zero_grad();
        for rows in batches {
            let share = self.loss(rows)? * (rows.len() as f64 / texts as f64);
            share.backward();
            let share = share.detach();
            mean = Some(match mean {
                None => share,
                Some(mean) => mean + share,
            });
        }
        let settings = &self.config.train;
        let parameters = || self.optimizer.parameters().map(|(_, tensor)| tensor);
        let norm = clip_norm(parameters(), settings.clip_norm);
        if let Some(limit) = settings.clip_value {
            clip_value(parameters(), limit);
        }
        // Together, so that the device is waited for once.
        let mean = mean.unwrap_or_else(|| Tensor::from(0f32));
        let norm = norm.unwrap_or_else(|| mean.zeros_like());
        let both = Tensor::stack(&[mean, norm], 0).to_device(Device::Cpu);
        let step = Step {
            loss: both.double_value(&[0]),
            norm: both.double_value(&[1]),
            rate: self.schedule.rate(self.steps),
            texts,
        };
        self.steps += 1;
        if step.trouble().is_none() {
            self.optimizer.step(step.rate);
            if let Some(ema) = &mut self.ema {
                ema.update();
            }
        }
        Ok(step)
    }

    /// The mean loss of a batch, to be trained on.
    fn loss(&mut self, rows: &[usize]) -> Result<Tensor> {
        let Trainer { model, train, .. } = *self;
        self.batches += 1;
        let dropout = Stream::new(self.config.seed, "dropout").at(self.batches);
        let batch = model.batch(rows.iter().map(|&row| train.texts[row].as_slice()))?;
        let classes = rows.iter().map(|&row| i64::from(train.classes[row]));
        let truth = Tensor::from_slice(&classes.collect::<Vec<_>>()).to_device(model.device());

        let settings = &self.config.train;
        let logits = model.forward(&batch, settings.engine, Mode::Train(dropout))?;
        Ok(loss(model, &logits, &truth, settings.label_smoothing))
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
        (self.steps, self.batches) = (progress.steps, progress.batches);
        Ok(())
    }

    /// Puts the averaged weights, if there are any, into the model until the answer
    /// is dropped.
    pub fn averages(&mut self) -> Option<PutIn<'_>> {
        self.ema.as_mut().map(Ema::put_in)
    }

    /// An epoch is over; its value of the metric on dev.
    pub fn epoch_ends(&mut self, dev: f64) {
        self.schedule.epoch_ends(dev);
    }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::super::optim::OptimizerKind;
    use super::super::prepare;
    use super::super::tests::Toy;
    use super::*;

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
        let step = trainer.step(&batches).unwrap();
        assert_eq!(step.texts, first);
        assert_eq!(trainer.steps(), 1);
        let parameters = prepared.model.parameters().into_iter();
        let flat: Vec<Tensor> = parameters.map(|(_, tensor)| tensor.reshape(-1)).collect();
        (step.loss, Tensor::cat(&flat, 0).detach())
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
        let rows: Vec<usize> = (0..8).collect();
        let mut loss = || trainer.loss(&rows).unwrap().double_value(&[]);
        assert_ne!(loss(), loss());
    }
}
