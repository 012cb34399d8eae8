//! The section `[train]`: the loop.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Span, check, positive};
use crate::data::Limit;
use crate::error::{Error, Result};
use crate::lstm::Engine;
use crate::metrics::Metric;
use crate::train::Precision;
use crate::train::optim::{OptimizerKind, OptimizerSettings};

/// The loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the training texts at the most.
    pub epochs: u64,
    /// Size of a batch: `{ sentences = 32 }` or `{ tokens = 2048 }`, padding
    /// counted.
    pub batch: Limit,
    /// `adam`, `adamw`, `sgd`, `adagrad` or `adadelta`, each as in
    /// `torch.optim`.
    pub optimizer: OptimizerKind,
    /// The rate of all parameters but the embedding's; without it torch's for the
    /// optimizer: 0.001, of AdaGrad 0.01, of Adadelta 1.
    pub learning_rate: Option<f64>,
    /// SGD's momentum.
    pub momentum: f64,
    /// Whether SGD's momentum looks ahead.
    pub nesterov: bool,
    /// β1 and β2 of Adam and AdamW; without them 0.9 and 0.999.
    pub betas: Option<[f64; 2]>,
    /// ε of all optimizers but SGD; without it torch's.
    pub epsilon: Option<f64>,
    /// ρ of Adadelta; without it 0.9.
    pub rho: Option<f64>,
    /// Whether the optimizer's step is one operation of libtorch for all parameters,
    /// where it has one (all but Adadelta): the same numbers but for rounding. Without
    /// it on CUDA only.
    pub fused_update: Option<bool>,
    /// Added to each gradient: this times the parameter; of AdamW decoupled from
    /// the gradient. Without it torch's: 0.01 of AdamW, else 0.
    pub weight_decay: Option<f64>,
    /// Whether biases decay, too, as in PyTorch where nobody sorts them out.
    pub decay_biases: bool,
    /// The largest norm of all gradients together; longer ones are scaled down.
    /// `inf` for no limit.
    #[serde(with = "limit")]
    pub clip_norm: Option<f64>,
    /// The largest number in a gradient, after `clip_norm`; larger ones are cut.
    /// Without it no limit.
    pub clip_value: Option<f64>,
    /// Batches for one step of the optimizer: the gradient is that of one batch
    /// with all their texts, in the memory of one of them.
    pub accumulate: usize,
    /// How much of each label goes to all classes alike, of the loss that is
    /// trained on; dev is measured without. 0 for none.
    pub label_smoothing: f64,
    /// Averages the weights: after each step this much of the average stays, such
    /// as 0.999. The averages are what is measured on dev and kept. Without it the
    /// weights themselves.
    pub ema: Option<f64>,
    /// `f32`, `bf16` or `f16`: what the LSTM and the head compute in while they train.
    pub precision: Precision,
    /// Truncated backpropagation: gradients flow back through blocks of so many tokens
    /// and no further. Without it through whole texts.
    pub truncate_steps: Option<i64>,
    /// Keeps the states of each step for the way back and computes the gates once more,
    /// with the native engine: less memory for more time, and the same bits.
    pub recompute: bool,
    /// Of each epoch only so many batches, others in each.
    pub limit_train_batches: Option<usize>,
    /// Only so many batches, the same in each epoch, which are dev, too: to see whether
    /// they can be learnt by heart.
    pub overfit_batches: Option<usize>,
    /// No step begins after so long, such as "1h 30m"; what was found by then is kept.
    pub max_time: Option<MaxTime>,
    /// What chooses the best epoch on dev.
    pub metric: Metric,
    /// When dev is measured within an epoch: `{ epochs = 0.25 }` or `{ steps = 500 }`;
    /// at its end always.
    pub validate: Span,
    /// Stop when dev was measured so often without being better; without it never.
    pub patience: Option<u64>,
    /// A snapshot to go on from after every so many steps, beside those that are made
    /// when dev is measured.
    pub snapshot_steps: Option<u64>,
    /// The snapshot at the end of every so many epochs stays; without it only the last
    /// two of all do.
    pub keep_epochs: Option<u64>,
    /// Who computes.
    pub engine: Engine,
}

impl Default for TrainConfig {
    fn default() -> Self {
        TrainConfig {
            epochs: 10,
            batch: Limit::Sentences(32),
            optimizer: OptimizerKind::Adam,
            learning_rate: None,
            momentum: 0.0,
            nesterov: false,
            betas: None,
            epsilon: None,
            rho: None,
            fused_update: None,
            weight_decay: None,
            decay_biases: true,
            clip_norm: Some(1.0),
            clip_value: None,
            accumulate: 1,
            label_smoothing: 0.0,
            ema: None,
            precision: Precision::F32,
            truncate_steps: None,
            recompute: false,
            limit_train_batches: None,
            overfit_batches: None,
            max_time: None,
            metric: Metric::Accuracy,
            validate: Span::Epochs(1.0),
            patience: None,
            snapshot_steps: None,
            keep_epochs: None,
            engine: Engine::Auto,
        }
    }
}

impl TrainConfig {
    /// The optimizer with its numbers.
    pub fn optimizer(&self) -> OptimizerSettings {
        OptimizerSettings {
            kind: self.optimizer,
            momentum: self.momentum,
            nesterov: self.nesterov,
            betas: self.betas,
            epsilon: self.epsilon,
            rho: self.rho,
        }
    }

    /// The learning rate, the optimizer's own where none is said.
    pub fn learning_rate(&self) -> f64 {
        self.learning_rate
            .unwrap_or_else(|| self.optimizer.learning_rate())
    }

    /// The weight decay, the optimizer's own where none is said.
    pub fn weight_decay(&self) -> f64 {
        self.weight_decay
            .unwrap_or_else(|| self.optimizer.weight_decay())
    }

    pub(super) fn validate(&self) -> Result<()> {
        let batch = match self.batch {
            Limit::Sentences(size) | Limit::Tokens(size) => size,
        };
        let not_negative = |x: f64| x.is_finite() && x >= 0.0;
        check(batch > 0, "train.batch", "must be 1 or more")?;
        check(self.epochs > 0, "train.epochs", "must be 1 or more")?;
        check(
            positive(self.learning_rate()),
            "train.learning_rate",
            "must be above 0",
        )?;
        self.optimizer().validate().map_err(|error| match error {
            Error::Config { key, message } => Error::config(format!("train.{key}"), message),
            other => other,
        })?;
        check(
            not_negative(self.weight_decay()),
            "train.weight_decay",
            "must be 0 or more",
        )?;
        check(
            self.clip_norm.is_none_or(positive),
            "train.clip_norm",
            "must be above 0; inf for no limit",
        )?;
        check(
            self.clip_value.is_none_or(positive),
            "train.clip_value",
            "must be above 0; leave it out for no limit",
        )?;
        check(self.accumulate > 0, "train.accumulate", "must be 1 or more")?;
        check(
            (0.0..1.0).contains(&self.label_smoothing),
            "train.label_smoothing",
            "must be in [0, 1)",
        )?;
        check(
            self.ema.is_none_or(|decay| decay > 0.0 && decay < 1.0),
            "train.ema",
            "must be in (0, 1); leave it out for the weights themselves",
        )?;
        check(
            match self.validate {
                Span::Steps(steps) => steps > 0,
                Span::Epochs(share) => share > 0.0 && share <= 1.0,
            },
            "train.validate",
            "takes { epochs = X } above 0 and up to 1, or { steps = N } of 1 or more",
        )?;
        check(
            self.truncate_steps.is_none_or(|steps| steps > 0),
            "train.truncate_steps",
            "must be 1 or more",
        )?;
        for (key, zero) in [
            ("train.patience", self.patience == Some(0)),
            ("train.snapshot_steps", self.snapshot_steps == Some(0)),
            ("train.keep_epochs", self.keep_epochs == Some(0)),
            (
                "train.limit_train_batches",
                self.limit_train_batches == Some(0),
            ),
            ("train.overfit_batches", self.overfit_batches == Some(0)),
        ] {
            check(!zero, key, "must be 1 or more")?;
        }
        Ok(())
    }
}

/// A time of the clock, in configurations as "90s" or "1h 30m".
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MaxTime(Duration);

impl MaxTime {
    /// In seconds.
    pub fn seconds(&self) -> f64 {
        self.0.as_secs_f64()
    }
}

impl TryFrom<String> for MaxTime {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        match humantime::parse_duration(&text) {
            Ok(time) if !time.is_zero() => Ok(MaxTime(time)),
            _ => Err(format!(
                "takes a time such as \"90s\" or \"1h 30m\", not {text:?}"
            )),
        }
    }
}

impl From<MaxTime> for String {
    fn from(time: MaxTime) -> Self {
        humantime::format_duration(time.0).to_string()
    }
}

/// TOML cannot say that there is none: that is `inf`.
mod limit {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(limit: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(limit.unwrap_or(f64::INFINITY))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
        let limit = f64::deserialize(from)?;
        Ok((limit != f64::INFINITY).then_some(limit))
    }
}
