//! The section `[schedule]`: every key with its default, torch's.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How the learning rate goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// It stays.
    #[default]
    Constant,
    /// Down in a line.
    Linear,
    /// Down in half a cosine (Loshchilov and Hutter, "SGDR: stochastic gradient
    /// descent with warm restarts", 2017, without the restarts).
    Cosine,
    /// Down by a factor every so often.
    Step,
    /// Down by a factor when dev gets no better.
    Plateau,
    /// Up and down again (Smith and Topin, "Super-convergence", 2019).
    OneCycle,
}

impl ScheduleKind {
    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            ScheduleKind::Constant => "constant",
            ScheduleKind::Linear => "linear",
            ScheduleKind::Cosine => "cosine",
            ScheduleKind::Step => "step",
            ScheduleKind::Plateau => "plateau",
            ScheduleKind::OneCycle => "one_cycle",
        }
    }
}

/// A part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Span {
    /// So many steps of the optimizer.
    Steps(u64),
    /// So many passes over the training texts, in parts too: `{ epochs = 0.5 }`.
    Epochs(f64),
}

impl Span {
    /// In steps, one or more.
    pub fn steps(self, epoch_steps: u64) -> u64 {
        let steps = match self {
            Span::Steps(steps) => steps,
            Span::Epochs(epochs) => (epochs * epoch_steps as f64).round() as u64,
        };
        steps.max(1)
    }

    fn is_positive(self) -> bool {
        match self {
            Span::Steps(steps) => steps > 0,
            Span::Epochs(epochs) => epochs.is_finite() && epochs > 0.0,
        }
    }
}

/// The learning rate over a run. Spans are `{ steps = 500 }` or
/// `{ epochs = 2 }`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleConfig {
    /// `constant`, `linear`, `cosine`, `step`, `plateau` or `one_cycle`.
    pub kind: ScheduleKind,
    /// Before anything else the rate rises in a line for so long; without it not.
    pub warmup: Option<Span>,
    /// Where the warm-up starts, as a share of the rate; without it a third
    /// (`start_factor` of `LinearLR`).
    pub warmup_factor: Option<f64>,
    /// linear, cosine, one_cycle: until the rate is at its end; without it the
    /// whole run behind the warm-up (`total_iters`, `T_max`, `total_steps`).
    pub length: Option<Span>,
    /// linear, cosine: the end, as a share of the rate; without it 0
    /// (`end_factor`, `eta_min` over the rate).
    pub end_factor: Option<f64>,
    /// step: how often; without it every epoch (`step_size`).
    pub every: Option<Span>,
    /// step, plateau: the rate is multiplied by this; without it 0.1 (`gamma`,
    /// `factor`).
    pub factor: Option<f64>,
    /// plateau: so many epochs may be no better; without it 10.
    pub patience: Option<u64>,
    /// plateau: better is what is so much better than the best, relatively;
    /// without it 0.0001.
    pub threshold: Option<f64>,
    /// plateau: for so many epochs after a fall no epoch counts as bad; without it
    /// 0.
    pub cooldown: Option<u64>,
    /// plateau: never lower; without it 0 (`min_lr`).
    pub min_rate: Option<f64>,
    /// one_cycle: the share of the length that goes up; without it 0.3
    /// (`pct_start`).
    pub up_share: Option<f64>,
    /// one_cycle: the rate over that of the start; without it 25. The momentum
    /// does not cycle.
    pub div_factor: Option<f64>,
    /// one_cycle: the rate of the start over that of the end; without it 10000.
    pub final_div_factor: Option<f64>,
}

impl ScheduleConfig {
    /// Errors if a key is out of its range, or is of another kind.
    pub(super) fn validate(&self) -> Result<()> {
        use ScheduleKind::{Constant, Cosine, Linear, OneCycle, Plateau, Step};
        let refuse = |key: &str, message: &str| {
            let key = format!("schedule.{key}");
            Err(Error::config(key, message))
        };
        let but_one_cycle: &[ScheduleKind] = &[Constant, Linear, Cosine, Step, Plateau];
        for (key, said, kinds) in [
            (
                "length",
                self.length.is_some(),
                &[Linear, Cosine, OneCycle][..],
            ),
            ("end_factor", self.end_factor.is_some(), &[Linear, Cosine]),
            ("every", self.every.is_some(), &[Step]),
            ("factor", self.factor.is_some(), &[Step, Plateau]),
            ("patience", self.patience.is_some(), &[Plateau]),
            ("threshold", self.threshold.is_some(), &[Plateau]),
            ("cooldown", self.cooldown.is_some(), &[Plateau]),
            ("min_rate", self.min_rate.is_some(), &[Plateau]),
            ("up_share", self.up_share.is_some(), &[OneCycle]),
            ("div_factor", self.div_factor.is_some(), &[OneCycle]),
            (
                "final_div_factor",
                self.final_div_factor.is_some(),
                &[OneCycle],
            ),
            // It has its own.
            ("warmup", self.warmup.is_some(), but_one_cycle),
        ] {
            if said && !kinds.contains(&self.kind) {
                let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
                let message = format!("is for {}, not {}", names.join(", "), self.kind.name());
                return refuse(key, &message);
            }
        }
        for (key, span) in [
            ("warmup", self.warmup),
            ("length", self.length),
            ("every", self.every),
        ] {
            if !span.is_none_or(Span::is_positive) {
                return refuse(key, "must be above 0");
            }
        }
        if self.warmup_factor.is_some() && self.warmup.is_none() {
            return refuse("warmup_factor", "needs schedule.warmup");
        }
        type Holds = fn(f64) -> bool;
        let above_0_to_1: Holds = |x| x > 0.0 && x <= 1.0;
        let from_0_to_1: Holds = |x| (0.0..=1.0).contains(&x);
        let below_1: Holds = |x| x > 0.0 && x < 1.0;
        let not_negative: Holds = |x| x.is_finite() && x >= 0.0;
        let from_1: Holds = |x| x.is_finite() && x >= 1.0;
        for (key, value, holds, takes) in [
            (
                "warmup_factor",
                self.warmup_factor,
                above_0_to_1,
                "must be in (0, 1]",
            ),
            (
                "end_factor",
                self.end_factor,
                from_0_to_1,
                "must be in [0, 1]",
            ),
            ("factor", self.factor, below_1, "must be in (0, 1)"),
            (
                "threshold",
                self.threshold,
                not_negative,
                "must be 0 or more",
            ),
            ("min_rate", self.min_rate, not_negative, "must be 0 or more"),
            ("up_share", self.up_share, from_0_to_1, "must be in [0, 1]"),
            ("div_factor", self.div_factor, from_1, "must be 1 or more"),
            (
                "final_div_factor",
                self.final_div_factor,
                from_1,
                "must be 1 or more",
            ),
        ] {
            if !value.is_none_or(holds) {
                return refuse(key, takes);
            }
        }
        Ok(())
    }
}
