//! A rate that falls when dev gets no better, as `ReduceLROnPlateau`.

use serde::{Deserialize, Serialize};

use crate::metrics::Metric;
use crate::train::config::ScheduleConfig;

/// Smaller changes of the rate are not made; `eps` of torch.
const LEAST_CHANGE: f64 = 1e-8;

/// A rate that falls when dev gets no better.
#[derive(Clone, Debug)]
pub struct Plateau {
    metric: Metric,
    factor: f64,
    patience: u64,
    threshold: f64,
    cooldown: u64,
    min_rate: f64,
    state: PlateauState,
}

/// Where it stands after the epochs so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlateauState {
    /// The rate now.
    pub rate: f64,
    /// The best dev value so far; none before the first epoch.
    pub best: Option<f64>,
    /// Epochs since that without a better one.
    pub bad_epochs: u64,
    /// Epochs for which bad ones are not counted yet.
    pub cooldown: u64,
}

impl Plateau {
    /// Before the first epoch, at this rate.
    pub fn new(config: &ScheduleConfig, rate: f64, metric: Metric) -> Self {
        Plateau {
            metric,
            factor: config.factor.unwrap_or(0.1),
            patience: config.patience.unwrap_or(10),
            threshold: config.threshold.unwrap_or(1e-4),
            cooldown: config.cooldown.unwrap_or(0),
            min_rate: config.min_rate.unwrap_or(0.0),
            state: PlateauState {
                rate,
                best: None,
                bad_epochs: 0,
                cooldown: 0,
            },
        }
    }

    /// The rate now.
    pub fn rate(&self) -> f64 {
        self.state.rate
    }

    /// The dev value of one more epoch.
    pub fn observe(&mut self, dev: f64) {
        let better = self.better(dev);
        let state = &mut self.state;
        if better {
            state.best = Some(dev);
            state.bad_epochs = 0;
        } else {
            state.bad_epochs += 1;
        }
        if state.cooldown > 0 {
            state.cooldown -= 1;
            state.bad_epochs = 0;
        }
        if state.bad_epochs > self.patience {
            let lower = (state.rate * self.factor).max(self.min_rate);
            if state.rate - lower > LEAST_CHANGE {
                state.rate = lower;
            }
            state.cooldown = self.cooldown;
            state.bad_epochs = 0;
        }
    }

    /// By more than the threshold, relative to the best.
    fn better(&self, dev: f64) -> bool {
        match (self.metric, self.state.best) {
            (_, None) => dev.is_finite(),
            (Metric::Loss, Some(best)) => dev < best * (1.0 - self.threshold),
            (Metric::Accuracy | Metric::MacroF1, Some(best)) => dev > best * (1.0 + self.threshold),
        }
    }

    /// Where it stands.
    pub fn state(&self) -> PlateauState {
        self.state
    }

    /// Goes on from there.
    pub fn load_state(&mut self, state: PlateauState) {
        self.state = state;
    }
}
