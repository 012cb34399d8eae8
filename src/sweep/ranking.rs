//! Which candidate is best on dev.

use serde::{Deserialize, Serialize};

use crate::metrics::Metric;

/// What one run of a candidate gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Of the run.
    pub seed: u64,
    /// Its folder's name.
    pub run: String,
    /// How it ended.
    #[serde(flatten)]
    pub result: TrialResult,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialResult {
    /// The metric on dev at the best epoch, that epoch, and the metric on test if
    /// there is one.
    Trained {
        /// On dev; this chooses.
        dev: f64,
        /// When it was.
        epochs: f64,
        /// On test; this chooses nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        test: Option<f64>,
    },
    /// It diverged: how.
    Failed(String),
}

/// A candidate with all its runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ranked {
    /// Its number.
    pub candidate: usize,
    /// The mean over its runs, on dev; none if one failed.
    pub mean: Option<f64>,
    /// The sample standard deviation, of two runs or more.
    pub deviation: Option<f64>,
    /// Of the best epochs.
    pub epochs: Option<f64>,
    /// Each run.
    pub trials: Vec<Trial>,
}

impl Ranked {
    fn new(candidate: usize, trials: Vec<Trial>) -> Self {
        let of = |pick: fn(&TrialResult) -> Option<f64>| {
            let values: Option<Vec<f64>> = trials.iter().map(|t| pick(&t.result)).collect();
            values.filter(|values| !values.is_empty())
        };
        let dev = of(TrialResult::dev);
        let epochs = of(|result| match result {
            TrialResult::Trained { epochs, .. } => Some(*epochs),
            TrialResult::Failed(_) => None,
        });
        Ranked {
            candidate,
            mean: dev.as_deref().map(mean),
            deviation: dev.as_deref().and_then(deviation),
            epochs: epochs.as_deref().map(mean),
            trials,
        }
    }

    /// The metric on test, of each run.
    pub fn tests(&self) -> Vec<f64> {
        let test = |trial: &Trial| match trial.result {
            TrialResult::Trained { test, .. } => test,
            TrialResult::Failed(_) => None,
        };
        self.trials.iter().filter_map(test).collect()
    }
}

impl TrialResult {
    fn dev(&self) -> Option<f64> {
        match self {
            TrialResult::Trained { dev, .. } => Some(*dev),
            TrialResult::Failed(_) => None,
        }
    }
}

/// The best first, by the mean on dev; of equals the one that comes first in the
/// plan. Those with a failed run are last.
pub fn rank(metric: Metric, candidates: Vec<(usize, Vec<Trial>)>) -> Vec<Ranked> {
    let mut ranked: Vec<Ranked> = candidates
        .into_iter()
        .map(|(number, trials)| Ranked::new(number, trials))
        .collect();
    let value = |ranked: &Ranked| ranked.mean.unwrap_or(f64::NAN);
    ranked.sort_by(|a, b| {
        let (a_value, b_value) = (value(a), value(b));
        let better = |x, y| metric.better(x, y);
        match (better(a_value, b_value), better(b_value, a_value)) {
            (true, _) => std::cmp::Ordering::Less,
            (_, true) => std::cmp::Ordering::Greater,
            _ => a.candidate.cmp(&b.candidate),
        }
    });
    ranked
}

/// The mean.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The sample standard deviation; of one value there is none.
pub fn deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt())
}
