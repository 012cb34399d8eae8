//! Training: the loop on one screen, its parts in rooms of their own.

mod batches;
mod clip;
mod config;
mod corpus;
mod ema;
mod evaluate;
mod groups;
mod loader;
mod loss;
pub mod optim;
mod precision;
mod prepare;
mod rates;
mod record;
mod run;
mod run_folder;
pub mod schedule;
mod snapshot;
#[cfg(test)]
mod tests;
mod trainer;

use self::batches::{batches, next_measuring};
pub use self::clip::{clip_norm, clip_value};
pub use self::config::{
    Config, DataConfig, EmbeddingConfig, HeadConfig, LstmSection, MaxTime, ScheduleConfig,
    ScheduleKind, Span, TextConfig, TrainConfig,
};
pub use self::corpus::Corpus;
pub use self::ema::{Ema, PutIn};
pub use self::evaluate::evaluate;
pub use self::precision::{LossScale, Precision};
pub use self::prepare::{Prepared, prepare};
pub use self::rates::{RatePoint, RateRange, Rates, find_rate};
pub use self::record::{EpochRecord, Observer, StepRecord, Summary};
use self::run::Run;
pub use self::run_folder::{Earlier, RunFolder};
use crate::data::padding_share;
use crate::error::Result;
use crate::model::Model;

/// Trains `model` on `train`, keeps the best epoch on `dev` in `folder`: its
/// averaged weights if `train.ema` asks for them. In `model` are the weights of
/// the last step.
///
/// Where the folder has a snapshot, the run goes on from it, to the bits that it
/// would have had undisturbed (with as many threads, on the same kind of device).
///
/// Errors if the loss or a gradient becomes NaN or infinite, naming the step, or a
/// batch does not fit into memory; the best model so far stays in the folder.
pub fn fit(
    config: &Config,
    model: &Model,
    train: &Corpus,
    dev: &Corpus,
    folder: &RunFolder,
    observer: &mut dyn Observer,
) -> Result<Summary> {
    let (run, epochs) = Run::start(config, model, train, dev, folder, observer)?;
    go(config, train, run, epochs)
}

/// On with a run that has these epochs behind it.
fn go(
    config: &Config,
    train: &Corpus,
    mut run: Run,
    mut epochs: Vec<EpochRecord>,
) -> Result<Summary> {
    let lengths = train.lengths();
    while !run.is_over() {
        let batches = batches(config, &lengths, run.at.epoch);
        let steps: Vec<&[Vec<usize>]> = batches.chunks(config.train.accumulate).collect();
        let until = next_measuring(&config.train, run.at.steps_with_measure(), steps.len());
        let part = &steps[run.at.epoch_steps..until];
        let speed = run.train(train, part)?;
        if run.is_interrupted() {
            return Ok(run.summary(epochs));
        }
        let padding = padding_share(&lengths, &batches);
        epochs.push(run.measure(speed, steps.len(), padding)?);
    }
    Ok(run.summary(epochs))
}
