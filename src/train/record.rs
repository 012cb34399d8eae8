//! What a training tells: its folder, whoever watches, and its caller.

use serde::Serialize;

use crate::metrics::Metrics;

/// What one epoch gave: a line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
