//! Training: the loop on one screen, its parts in rooms of their own.

mod clip;
mod config;
mod corpus;
mod ema;
mod evaluate;
mod groups;
mod loss;
pub mod optim;
mod prepare;
mod record;
mod run_folder;
pub mod schedule;
#[cfg(test)]
mod tests;
mod trainer;

use std::time::Instant;

pub use self::clip::{clip_norm, clip_value};
pub use self::config::{
    Config, DataConfig, EmbeddingConfig, HeadConfig, LstmSection, ScheduleConfig, ScheduleKind,
    Span, TextConfig, TrainConfig,
};
pub use self::corpus::Corpus;
pub use self::ema::{Ema, PutIn};
pub use self::evaluate::evaluate;
pub use self::prepare::{Prepared, prepare};
pub use self::record::{EpochRecord, Observer, StepRecord, Summary};
pub use self::run_folder::RunFolder;
use self::trainer::Trainer;
use crate::data::{epoch_batches, padding_share};
use crate::error::{Error, Result};
use crate::model::Model;

/// Trains `model` on `train`, keeps the best epoch on `dev` in `folder`: its
/// averaged weights if `train.ema` asks for them. In `model` are the weights of
/// the last step.
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
    let mut trainer = Trainer::new(config, model, train)?;
    let mut epochs: Vec<EpochRecord> = Vec::new();
    let (mut best_epoch, mut best, mut rate) = (0, f64::NAN, 0.0);
    for epoch in 1..=config.train.epochs {
        let batches = epoch_batches(&lengths, config.train.batch, config.seed, epoch);
        let of_steps = batches.chunks(config.train.accumulate);
        let steps = of_steps.len();
        let started = Instant::now();
        let (mut loss_sum, mut norm_sum, mut seen) = (0.0, 0.0, 0);
        observer.epoch_starts(epoch, lengths.len() as u64);
        for batches in of_steps {
            let step = trainer.step(batches)?;
            if let Some(what) = step.trouble() {
                return Err(diverged(trainer.steps(), epoch, &what, best_epoch, folder));
            }
            rate = step.rate;
            loss_sum += step.loss * step.texts as f64;
            norm_sum += step.norm;
            seen += step.texts;
            observer.stepped(&StepRecord {
                step: trainer.steps(),
                texts: step.texts as u64,
                loss: step.loss,
                mean_loss: loss_sum / seen as f64,
                gradient_norm: step.norm,
                learning_rate: step.rate,
            });
        }
        let seconds = started.elapsed().as_secs_f64();
        let step = trainer.steps();
        let averages = trainer.averages();
        // The last step may have broken what no later step would tell.
        let dev = match evaluate(model, dev, config.train.engine) {
            Err(Error::NonFinite(what)) => {
                return Err(diverged(step, epoch, &what, best_epoch, folder));
            }
            measured => measured?,
        };
        let value = dev.value(metric.name()).unwrap_or(f64::NAN);
        let is_best = best_epoch == 0 || metric.better(value, best);
        if is_best {
            (best_epoch, best) = (epoch, value);
            folder.save_model(model)?;
        }
        drop(averages);
        trainer.epoch_ends(value);
        let record = EpochRecord {
            epoch,
            steps: step,
            train_loss: loss_sum / seen as f64,
            gradient_norm: norm_sum / steps as f64,
            learning_rate: rate,
            texts_per_second: seen as f64 / seconds,
            padding: padding_share(&lengths, &batches),
            dev,
            best: is_best,
        };
        folder.log(&record)?;
        observer.epoch_ends(&record);
        epochs.push(record);
        let patience = config.train.patience;
        if patience.is_some_and(|patience| epoch - best_epoch >= patience) {
            break;
        }
    }
    Ok(Summary {
        stopped_early: (epochs.len() as u64) < config.train.epochs,
        epochs,
        best_epoch,
    })
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
