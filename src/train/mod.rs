//! Training: the loop on one screen, its parts in rooms of their own.

mod clip;
mod config;
mod corpus;
mod groups;
pub mod optim;
mod prepare;
mod run_folder;
pub mod schedule;
#[cfg(test)]
mod tests;

use std::time::Instant;

use serde::Serialize;
use tch::{Device, Tensor};

pub use self::clip::clip_norm;
pub use self::config::{
    Config, DataConfig, EmbeddingConfig, HeadConfig, LstmSection, ScheduleConfig, ScheduleKind,
    Span, TextConfig, TrainConfig,
};
pub use self::corpus::Corpus;
use self::groups::groups;
use self::optim::Optimizer;
pub use self::prepare::{Prepared, prepare};
pub use self::run_folder::RunFolder;
use self::schedule::Schedule;
use crate::data::{epoch_batches, padding_share};
use crate::error::{Error, Result};
use crate::lstm::{Engine, Mode};
use crate::metrics::Metrics;
use crate::model::{Model, Predictor};
use crate::random::Stream;

/// What one epoch gave: a line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EpochRecord {
    /// Counted from 1.
    pub epoch: u64,
    /// Optimizer steps since the start.
    pub steps: u64,
    /// The mean loss of the training texts, as they were seen.
    pub train_loss: f64,
    /// The mean norm of the gradients before clipping.
    pub gradient_norm: f64,
    /// Of the epoch's last step.
    pub learning_rate: f64,
    /// Training texts per second.
    pub texts_per_second: f64,
    /// The share of padding in the training batches.
    pub padding: f64,
    /// On the dev texts, with the mean loss.
    pub dev: Metrics,
    /// Whether it is the best so far.
    pub best: bool,
}

/// Who watches the training: a progress bar, a test.
pub trait Observer {
    /// An epoch of so many texts begins.
    fn epoch_starts(&mut self, epoch: u64, texts: u64);
    /// A step over so many texts is done; the mean loss of the epoch so far.
    fn stepped(&mut self, texts: u64, mean_loss: f64);
    /// The epoch is done and measured.
    fn epoch_ends(&mut self, record: &EpochRecord);
}

/// Nobody watches.
impl Observer for () {
    fn epoch_starts(&mut self, _: u64, _: u64) {}
    fn stepped(&mut self, _: u64, _: f64) {}
    fn epoch_ends(&mut self, _: &EpochRecord) {}
}

/// How a training ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Every epoch.
    pub epochs: Vec<EpochRecord>,
    /// The number of the best epoch: its weights are in the run folder.
    pub best_epoch: u64,
    /// Whether patience ran out before the last epoch.
    pub stopped_early: bool,
}

/// Trains `model` on `train`, keeps the best epoch on `dev` in `folder`.
///
/// Errors if the loss or a gradient becomes NaN or infinite, naming the step;
/// the best model so far stays in the folder.
pub fn fit(
    config: &Config,
    model: &Model,
    train: &Corpus,
    dev: &Corpus,
    folder: &RunFolder,
    observer: &mut dyn Observer,
) -> Result<Summary> {
    let metric = config.train.metric;
    let lengths = train.lengths();
    let mut optimizer = Optimizer::new(&config.train.optimizer(), groups(config, model))?;
    let mut schedule = schedule(config, &lengths);
    let mut epochs: Vec<EpochRecord> = Vec::new();
    let (mut best_epoch, mut best, mut step, mut rate) = (0, f64::NAN, 0, 0.0);
    for epoch in 1..=config.train.epochs {
        let batches = epoch_batches(&lengths, config.train.batch, config.seed, epoch);
        let started = Instant::now();
        let (mut loss_sum, mut norm_sum, mut seen) = (0.0, 0.0, 0);
        observer.epoch_starts(epoch, lengths.len() as u64);
        for rows in &batches {
            rate = schedule.rate(step);
            step += 1;
            let stream = Stream::new(config.seed, "dropout").at(step);
            let (loss, norm) =
                train_step(config, model, &mut optimizer, train, rows, stream, rate)?;
            if !(loss.is_finite() && norm.is_finite()) {
                let what = format!("the loss is {loss} and the norm of the gradients {norm}");
                return Err(diverged(step, epoch, &what, best_epoch, folder));
            }
            loss_sum += loss * rows.len() as f64;
            norm_sum += norm;
            seen += rows.len();
            observer.stepped(rows.len() as u64, loss_sum / seen as f64);
        }
        let seconds = started.elapsed().as_secs_f64();
        // The last step may have broken what no later step would tell.
        let dev = match evaluate(model, dev, config.train.engine) {
            Err(Error::NonFinite(what)) => {
                return Err(diverged(step, epoch, &what, best_epoch, folder));
            }
            measured => measured?,
        };
        let value = dev.value(metric.name()).unwrap_or(f64::NAN);
        schedule.epoch_ends(value);
        let is_best = best_epoch == 0 || metric.better(value, best);
        if is_best {
            (best_epoch, best) = (epoch, value);
            folder.save_model(model)?;
        }
        let record = EpochRecord {
            epoch,
            steps: step,
            train_loss: loss_sum / seen as f64,
            gradient_norm: norm_sum / batches.len() as f64,
            learning_rate: rate,
            texts_per_second: seen as f64 / seconds,
            padding: padding_share(&lengths, &batches),
            dev,
            best: is_best,
        };
        folder.log(&record)?;
        observer.epoch_ends(&record);
        epochs.push(record);
        if config
            .train
            .patience
            .is_some_and(|patience| epoch - best_epoch >= patience)
        {
            break;
        }
    }
    Ok(Summary {
        stopped_early: (epochs.len() as u64) < config.train.epochs,
        epochs,
        best_epoch,
    })
}

/// The schedule of a run over texts of these lengths.
fn schedule(config: &Config, lengths: &[usize]) -> Schedule {
    let first = epoch_batches(lengths, config.train.batch, config.seed, 1);
    let (rate, metric) = (config.train.learning_rate(), config.train.metric);
    Schedule::new(
        &config.schedule,
        rate,
        metric,
        first.len() as u64,
        config.train.epochs,
    )
}

/// Forward, backward, clip, update. Gives the loss and the gradients' norm.
fn train_step(
    config: &Config,
    model: &Model,
    optimizer: &mut Optimizer,
    train: &Corpus,
    rows: &[usize],
    dropout: Stream,
    rate: f64,
) -> Result<(f64, f64)> {
    let batch = model.batch(rows.iter().map(|&row| train.texts[row].as_slice()))?;
    let truth: Vec<i64> = rows
        .iter()
        .map(|&row| i64::from(train.classes[row]))
        .collect();
    let truth = Tensor::from_slice(&truth).to_device(model.device());

    let logits = model.forward(&batch, config.train.engine, Mode::Train(dropout))?;
    let loss = model.loss(&logits, &truth);
    optimizer.zero_grad();
    loss.backward();
    let parameters = optimizer.parameters().map(|(_, tensor)| tensor);
    let norm = clip_norm(parameters, config.train.clip_norm);
    // Together, so that the device is waited for once.
    let norm = norm.unwrap_or_else(|| loss.zeros_like());
    let both = Tensor::stack(&[loss.detach(), norm], 0).to_device(Device::Cpu);
    let (loss, norm) = (both.double_value(&[0]), both.double_value(&[1]));
    if loss.is_finite() && norm.is_finite() {
        optimizer.step(rate);
    }
    Ok((loss, norm))
}

/// The model on all texts of `corpus`, with the mean loss.
pub fn evaluate(model: &Model, corpus: &Corpus, engine: Engine) -> Result<Metrics> {
    let predictor = Predictor {
        engine,
        ..Predictor::new(model)
    };
    let logits = predictor.logits(&corpus.texts)?;
    let truth: Vec<i64> = corpus
        .classes
        .iter()
        .map(|&class| i64::from(class))
        .collect();
    let loss = model
        .loss(&logits, &Tensor::from_slice(&truth))
        .double_value(&[]);
    let predicted: Vec<u32> = predictor
        .predictions(&logits)?
        .into_iter()
        .map(|prediction| prediction.class)
        .collect();
    Ok(Metrics::new(&corpus.labels, &corpus.classes, &predicted)?.with_loss(loss))
}

fn diverged(step: u64, epoch: u64, what: &str, best_epoch: u64, folder: &RunFolder) -> Error {
    let kept = match best_epoch {
        0 => "no epoch was finished, so there is no model".to_owned(),
        best => format!(
            "the model of epoch {best} is in {}",
            folder.model().display()
        ),
    };
    Error::NonFinite(format!(
        "step {step} (epoch {epoch}): {what}; stopped, {kept}. \
         Try a smaller train.learning_rate or train.clip_norm"
    ))
}
