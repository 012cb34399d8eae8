//! The learning rate over the steps of a run: the numbers of
//! `torch.optim.lr_scheduler`, each a pure function of the step. Only the plateau
//! looks back, on the dev values of the epochs behind it.

mod plateau;
#[cfg(test)]
mod tests;

use std::f64::consts::PI;

pub use self::plateau::{Plateau, PlateauState};
use super::config::{ScheduleConfig, ScheduleKind, Span};
use crate::error::{Error, Result};
use crate::metrics::Metric;

/// The schedule of one run.
///
/// `t` is the step without the warm-up's, counted from 0, and `L` the length:
///
/// | kind | rate over the configured one | torch |
/// |---|---|---|
/// | constant | 1 | |
/// | linear | 1 + (end - 1) · min(t, L) / L | `LinearLR(start_factor=1)` |
/// | cosine | end + (1 - end) · (1 + cos(π t / L)) / 2 | `CosineAnnealingLR` |
/// | step | factor^⌊t / every⌋ | `StepLR` |
/// | plateau | lower after `patience` epochs without a better one | `ReduceLROnPlateau` |
/// | one_cycle | from 1 / div up to 1 and down to 1 / div / final_div | `OneCycleLR` |
///
/// A warm-up multiplies by `LinearLR` up to 1, before the rest begins.
#[derive(Clone, Debug)]
pub struct Schedule {
    rate: f64,
    warmup: u64,
    warmup_factor: f64,
    shape: Shape,
}

#[derive(Clone, Debug)]
enum Shape {
    Constant,
    Linear {
        length: u64,
        end: f64,
    },
    Cosine {
        length: u64,
        end: f64,
    },
    Step {
        every: u64,
        factor: f64,
    },
    Plateau(Plateau),
    OneCycle {
        length: u64,
        up_share: f64,
        div: f64,
        final_div: f64,
    },
}

impl Schedule {
    /// The schedule of a run with this learning rate, so many `epochs` and so
    /// many steps in each. Where epochs differ a little in that, as of batches by
    /// tokens, it is meant roughly. The `metric` is the plateau's.
    pub fn new(
        config: &ScheduleConfig,
        rate: f64,
        metric: Metric,
        epoch_steps: u64,
        epochs: u64,
    ) -> Self {
        let steps = |span: Span| span.steps(epoch_steps);
        let warmup = config.warmup.map_or(0, steps);
        let rest = (epoch_steps.saturating_mul(epochs)).saturating_sub(warmup);
        let length = config.length.map_or(rest.max(1), steps);
        let end = config.end_factor.unwrap_or(0.0);
        Schedule {
            rate,
            warmup,
            warmup_factor: config.warmup_factor.unwrap_or(1.0 / 3.0),
            shape: match config.kind {
                ScheduleKind::Constant => Shape::Constant,
                ScheduleKind::Linear => Shape::Linear { length, end },
                ScheduleKind::Cosine => Shape::Cosine { length, end },
                ScheduleKind::Step => Shape::Step {
                    every: steps(config.every.unwrap_or(Span::Epochs(1.0))),
                    factor: config.factor.unwrap_or(0.1),
                },
                ScheduleKind::Plateau => Shape::Plateau(Plateau::new(config, rate, metric)),
                ScheduleKind::OneCycle => Shape::OneCycle {
                    length,
                    up_share: config.up_share.unwrap_or(0.3),
                    div: config.div_factor.unwrap_or(25.0),
                    final_div: config.final_div_factor.unwrap_or(1e4),
                },
            },
        }
    }

    /// The learning rate of a step, counted from 0.
    pub fn rate(&self, step: u64) -> f64 {
        let rate = match &self.shape {
            Shape::Plateau(plateau) => plateau.rate(),
            _ => self.rate,
        };
        if step < self.warmup {
            let share = step as f64 / self.warmup as f64;
            return rate * (self.warmup_factor + (1.0 - self.warmup_factor) * share);
        }
        rate * self.shape.factor(step - self.warmup)
    }

    /// The value of the metric on dev, at the end of an epoch or within it.
    pub fn measured(&mut self, dev: f64) {
        if let Shape::Plateau(plateau) = &mut self.shape {
            plateau.observe(dev);
        }
    }

    /// What a run must keep to go on: of a plateau where it stands, of the others
    /// nothing.
    pub fn state(&self) -> Option<PlateauState> {
        match &self.shape {
            Shape::Plateau(plateau) => Some(plateau.state()),
            _ => None,
        }
    }

    /// Takes over what [`state`](Self::state) gave.
    ///
    /// Errors if one of the two is a plateau and the other is none.
    pub fn load_state(&mut self, state: Option<PlateauState>) -> Result<()> {
        match (&mut self.shape, state) {
            (Shape::Plateau(plateau), Some(state)) => plateau.load_state(state),
            (Shape::Plateau(_), None) => {
                let message = "is plateau, but the saved state is of another schedule";
                return Err(Error::config("schedule.kind", message));
            }
            (_, Some(_)) => {
                let message = "is no plateau, but the saved state is of one";
                return Err(Error::config("schedule.kind", message));
            }
            (_, None) => {}
        }
        Ok(())
    }
}

impl Shape {
    fn factor(&self, step: u64) -> f64 {
        let t = step as f64;
        match *self {
            Shape::Constant | Shape::Plateau(_) => 1.0,
            Shape::Linear { length, end } => {
                1.0 + (end - 1.0) * step.min(length) as f64 / length as f64
            }
            Shape::Cosine { length, end } => cosine(1.0, end, t / length as f64),
            Shape::Step { every, factor } => factor.powf((step / every) as f64),
            Shape::OneCycle {
                length,
                up_share,
                div,
                final_div,
            } => {
                let (start, end) = (1.0 / div, 1.0 / div / final_div);
                let top = up_share * length as f64 - 1.0;
                let last = length as f64 - 1.0;
                if t <= top && top > 0.0 {
                    return cosine(start, 1.0, t / top);
                }
                match last > top {
                    true => cosine(1.0, end, ((t - top) / (last - top)).min(1.0)),
                    false => end,
                }
            }
        }
    }
}

/// Half a cosine from one value to another, over a share of the way.
fn cosine(from: f64, to: f64, share: f64) -> f64 {
    to + (from - to) * (1.0 + (PI * share).cos()) / 2.0
}
