//! What a training tells: its folder, whoever watches, and its caller.

use serde::{Deserialize, Deserializer, Serialize};

use crate::metrics::Metrics;

/// What an epoch gave, or the part of one behind which dev was measured: a line of
/// `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Counted from 1.
    pub epoch: u64,
    /// Epochs since the start, the part of this one counted: 1.25.
    pub epochs: f64,
    /// Optimizer steps since the start.
    pub steps: u64,
    /// The mean loss of the training texts as they were seen, with dropout and
    /// smoothed labels. NaN (in JSON null) if f16 skipped every step.
    #[serde(deserialize_with = "number_or_nan")]
    pub train_loss: f64,
    /// The mean norm of the gradients before clipping.
    #[serde(deserialize_with = "number_or_nan")]
    pub gradient_norm: f64,
    /// Of the last step.
    pub learning_rate: f64,
    /// Training texts per second.
    pub texts_per_second: f64,
    /// Their tokens per second, padding not counted.
    pub tokens_per_second: f64,
    /// The share of padding in the training batches.
    pub padding: f64,
    /// The most bytes that tensors on a CUDA device had together since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory: Option<u64>,
    /// The scale of the loss in f16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<f64>,
    /// Steps that f16 skipped.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped_steps: u64,
    /// On the dev texts, with the mean loss; of the averaged weights if there are
    /// any.
    pub dev: Metrics,
    /// Whether it is the best so far.
    pub best: bool,
}

/// JSON has no NaN: it is null there.
fn number_or_nan<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(from)?.unwrap_or(f64::NAN))
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What one step gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepRecord {
    /// Of the optimizer, counted from 1 since the start.
    pub step: u64,
    /// How many texts it saw.
    pub texts: u64,
    /// How many tokens they have.
    pub tokens: u64,
    /// Their mean loss.
    pub loss: f64,
    /// The mean loss since dev was last measured.
    pub mean_loss: f64,
    /// The norm of the gradients before clipping.
    pub gradient_norm: f64,
    /// The learning rate.
    pub learning_rate: f64,
    /// Whether its gradients overflowed in f16, so that it changed nothing.
    pub skipped: bool,
}

/// Who watches the training: a progress bar, a log, a test.
pub trait Observer {
    /// An epoch, or the part of one until dev is measured, of so many texts begins.
    fn epoch_starts(&mut self, epoch: u64, texts: u64);
    /// A step is done.
    fn stepped(&mut self, record: &StepRecord);
    /// It is done, and dev is measured.
    fn epoch_ends(&mut self, record: &EpochRecord);
    /// Asked after each step: whether the run should end here, with a snapshot from
    /// which it can go on.
    fn wants_to_stop(&self) -> bool {
        false
    }
    /// Something to know that stops nothing.
    fn warned(&mut self, _: &str) {}
}

/// Nobody watches.
impl Observer for () {
    fn epoch_starts(&mut self, _: u64, _: u64) {}
    fn stepped(&mut self, _: &StepRecord) {}
    fn epoch_ends(&mut self, _: &EpochRecord) {}
}

/// Both watch.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn epoch_starts(&mut self, epoch: u64, texts: u64) {
        self.0.epoch_starts(epoch, texts);
        self.1.epoch_starts(epoch, texts);
    }

    fn stepped(&mut self, record: &StepRecord) {
        self.0.stepped(record);
        self.1.stepped(record);
    }

    fn epoch_ends(&mut self, record: &EpochRecord) {
        self.0.epoch_ends(record);
        self.1.epoch_ends(record);
    }

    fn wants_to_stop(&self) -> bool {
        self.0.wants_to_stop() || self.1.wants_to_stop()
    }

    fn warned(&mut self, message: &str) {
        self.0.warned(message);
        self.1.warned(message);
    }
}

/// How a training ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Every time that dev was measured: once an epoch, unless `train.validate` says
    /// otherwise.
    pub epochs: Vec<EpochRecord>,
    /// The number of the best epoch: its weights are in the run folder.
    pub best_epoch: u64,
    /// Whether patience or time ran out before the last epoch.
    pub stopped_early: bool,
    /// The step after which the observer wanted to stop: the run can go on.
    pub interrupted: Option<u64>,
}
