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
mod snapshot;
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
pub use self::run_folder::{Earlier, RunFolder};
use self::snapshot::Progress;
use self::trainer::Trainer;
use crate::data::{epoch_batches, padding_share};
use crate::error::{Error, Result};
use crate::model::Model;

/// Trains `model` on `train`, keeps the best epoch on `dev` in `folder`: its
/// averaged weights if `train.ema` asks for them. In `model` are the weights of
/// the last step.
///
/// Where the folder has a snapshot, the run goes on from it, to the bits that it
/// would have had undisturbed (with as many threads, on the same kind of device).
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
    let texts = format!("{} {}", train.digest(), dev.digest());
    let (mut at, mut epochs) = go_on(&mut trainer, folder, texts, observer)?;
    let patience = config.train.patience;
    let out_of_patience =
        |at: &Progress| patience.is_some_and(|patience| at.epoch > patience + at.best_epoch);
    while at.epoch <= config.train.epochs && !out_of_patience(&at) {
        let epoch = at.epoch;
        let batches = epoch_batches(&lengths, config.train.batch, config.seed, epoch);
        let of_steps = batches.chunks(config.train.accumulate);
        let steps = of_steps.len();
        let (started, seen_before) = (Instant::now(), at.seen);
        observer.epoch_starts(epoch, (lengths.len() - at.seen) as u64);
        for batches in of_steps.skip(at.epoch_steps) {
            let step = trainer.step(batches)?;
            if let Some(what) = step.trouble() {
                return Err(diverged(
                    trainer.steps(),
                    epoch,
                    &what,
                    at.best_epoch,
                    folder,
                ));
            }
            step.count(&mut at);
            observer.stepped(&StepRecord {
                step: trainer.steps(),
                texts: step.texts as u64,
                loss: step.loss,
                mean_loss: at.loss_sum / at.seen as f64,
                gradient_norm: step.norm,
                learning_rate: step.rate,
            });
            let stop = observer.wants_to_stop();
            let every = config.train.snapshot_steps;
            if stop || every.is_some_and(|every| trainer.steps().is_multiple_of(every)) {
                folder.save_snapshot(&mut at, &trainer)?;
            }
            if stop {
                return Ok(Summary {
                    stopped_early: false,
                    epochs,
                    best_epoch: at.best_epoch,
                    interrupted: Some(trainer.steps()),
                });
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        let step = trainer.steps();
        let averages = trainer.averages();
        // The last step may have broken what no later step would tell.
        let dev = match evaluate(model, dev, config.train.engine) {
            Err(Error::NonFinite(what)) => {
                return Err(diverged(step, epoch, &what, at.best_epoch, folder));
            }
            measured => measured?,
        };
        let value = dev.value(metric.name()).unwrap_or(f64::NAN);
        let is_best = at.best.is_none_or(|best| metric.better(value, best));
        if is_best {
            (at.best_epoch, at.best) = (epoch, Some(value));
            folder.save_model(model)?;
        }
        drop(averages);
        trainer.epoch_ends(value);
        let record = EpochRecord {
            epoch,
            steps: step,
            train_loss: at.loss_sum / at.seen as f64,
            gradient_norm: at.norm_sum / steps as f64,
            learning_rate: at.rate,
            texts_per_second: (at.seen - seen_before) as f64 / seconds,
            padding: padding_share(&lengths, &batches),
            dev,
            best: is_best,
        };
        folder.log(&record)?;
        observer.epoch_ends(&record);
        epochs.push(record);
        at.next_epoch();
        folder.save_snapshot(&mut at, &trainer)?;
    }
    Ok(Summary {
        stopped_early: (epochs.len() as u64) < config.train.epochs,
        epochs,
        best_epoch: at.best_epoch,
        interrupted: None,
    })
}

/// The start of a run, or where its folder's last snapshot was made.
fn go_on(
    trainer: &mut Trainer,
    folder: &RunFolder,
    texts: String,
    observer: &mut dyn Observer,
) -> Result<(Progress, Vec<EpochRecord>)> {
    let tell = |error| observer.warned(&format!("{error}; the snapshot before it is taken"));
    let found = folder.snapshots().latest(tell)?;
    let Some((progress, tensors)) = found else {
        folder.cut_log(0)?;
        let start = Progress {
            texts,
            ..Progress::default()
        };
        return Ok((start, Vec::new()));
    };
    if progress.texts != texts {
        let message = "its texts, or their ids, are no longer those that the run was stopped with; \
                       put them back, or start anew with another --out";
        return Err(Error::config("data", message));
    }
    trainer.restore(&progress, &tensors)?;
    let epochs = folder.cut_log(progress.metrics_bytes)?;
    Ok((progress, epochs))
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
