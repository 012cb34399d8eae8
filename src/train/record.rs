//! What a training tells: its folder, whoever watches, and its caller.

use serde::{Deserialize, Serialize};

use crate::metrics::Metrics;

/// What one epoch gave: a line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Counted from 1.
    pub epoch: u64,
    /// Optimizer steps since the start.
    pub steps: u64,
    /// The mean loss of the training texts as they were seen, with dropout and
    /// smoothed labels.
    pub train_loss: f64,
    /// The mean norm of the gradients before clipping.
    pub gradient_norm: f64,
    /// Of the epoch's last step.
    pub learning_rate: f64,
    /// Training texts per second.
    pub texts_per_second: f64,
    /// The share of padding in the training batches.
    pub padding: f64,
    /// On the dev texts, with the mean loss; of the averaged weights if there are
    /// any.
    pub dev: Metrics,
    /// Whether it is the best so far.
    pub best: bool,
}

/// What one step gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepRecord {
    /// Counted from 1, since the start.
    pub step: u64,
    /// How many texts it saw.
    pub texts: u64,
    /// Their mean loss.
    pub loss: f64,
    /// The mean loss of the epoch so far.
    pub mean_loss: f64,
    /// The norm of the gradients before clipping.
    pub gradient_norm: f64,
    /// The learning rate.
    pub learning_rate: f64,
}

/// Who watches the training: a progress bar, a log, a test.
pub trait Observer {
    /// An epoch of so many texts begins.
    fn epoch_starts(&mut self, epoch: u64, texts: u64);
    /// A step is done.
    fn stepped(&mut self, record: &StepRecord);
    /// The epoch is done and measured.
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
    /// Every epoch.
    pub epochs: Vec<EpochRecord>,
    /// The number of the best epoch: its weights are in the run folder.
    pub best_epoch: u64,
    /// Whether patience ran out before the last epoch.
    pub stopped_early: bool,
    /// The step after which the observer wanted to stop: the run can go on.
    pub interrupted: Option<u64>,
}
