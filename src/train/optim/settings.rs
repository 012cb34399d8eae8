//! Which optimizer, and its numbers; what is not said is as in `torch.optim`.

use serde::{Deserialize, Serialize};

use super::Formula;
use super::adadelta::Adadelta;
use super::adagrad::AdaGrad;
use super::adam::Adam;
use super::adamw::AdamW;
use super::sgd::Sgd;
use crate::error::{Error, Result};

/// Which optimizer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Kingma and Ba 2015.
    #[default]
    Adam,
    /// Adam with decoupled weight decay: Loshchilov and Hutter 2019.
    AdamW,
    /// Stochastic gradient descent, with momentum if asked for.
    Sgd,
    /// Duchi, Hazan and Singer 2011.
    AdaGrad,
    /// Zeiler 2012.
    Adadelta,
}

impl OptimizerKind {
    /// All of them.
    pub const ALL: [OptimizerKind; 5] = [
        OptimizerKind::Adam,
        OptimizerKind::AdamW,
        OptimizerKind::Sgd,
        OptimizerKind::AdaGrad,
        OptimizerKind::Adadelta,
    ];

    /// The name in configurations and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            OptimizerKind::Adam => "adam",
            OptimizerKind::AdamW => "adamw",
            OptimizerKind::Sgd => "sgd",
            OptimizerKind::AdaGrad => "adagrad",
            OptimizerKind::Adadelta => "adadelta",
        }
    }

    /// `lr` of torch where nobody says another.
    pub fn learning_rate(self) -> f64 {
        match self {
            OptimizerKind::Adam | OptimizerKind::AdamW | OptimizerKind::Sgd => 1e-3,
            OptimizerKind::AdaGrad => 1e-2,
            OptimizerKind::Adadelta => 1.0,
        }
    }

    /// `weight_decay` of torch where nobody says another.
    pub fn weight_decay(self) -> f64 {
        match self {
            OptimizerKind::AdamW => 1e-2,
            _ => 0.0,
        }
    }
}

/// An optimizer with its numbers, in torch's words. Learning rate and weight
/// decay are said elsewhere: with each step, and with each group.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OptimizerSettings {
    /// Which.
    pub kind: OptimizerKind,
    /// Of SGD; 0 for none.
    pub momentum: f64,
    /// Of SGD: whether the momentum looks ahead.
    pub nesterov: bool,
    /// Of Adam and AdamW; 0.9 and 0.999 if not said.
    pub betas: Option<[f64; 2]>,
    /// ε of all but SGD; if not said 1e-8 of Adam and AdamW, 1e-10 of AdaGrad,
    /// 1e-6 of Adadelta.
    pub epsilon: Option<f64>,
    /// Of Adadelta; 0.9 if not said.
    pub rho: Option<f64>,
}

impl OptimizerSettings {
    /// Errors if a setting is out of its range, or is of another optimizer.
    pub fn validate(&self) -> Result<()> {
        use OptimizerKind::{AdaGrad, Adadelta, Adam, AdamW, Sgd};
        let all_but_sgd = [Adam, AdamW, AdaGrad, Adadelta];
        let in_range = |x: f64| (0.0..1.0).contains(&x);
        let of: [(&str, bool, &[OptimizerKind]); 5] = [
            ("momentum", self.momentum != 0.0, &[Sgd]),
            ("nesterov", self.nesterov, &[Sgd]),
            ("betas", self.betas.is_some(), &[Adam, AdamW]),
            ("epsilon", self.epsilon.is_some(), &all_but_sgd),
            ("rho", self.rho.is_some(), &[Adadelta]),
        ];
        for (key, said, kinds) in of {
            if said && !kinds.contains(&self.kind) {
                let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
                let message = format!("is for {}, not {}", names.join(", "), self.kind.name());
                return Err(Error::config(key, message));
            }
        }
        if !in_range(self.momentum) {
            return Err(Error::config("momentum", "must be in [0, 1)"));
        }
        if self.nesterov && self.momentum == 0.0 {
            return Err(Error::config("nesterov", "needs a momentum above 0"));
        }
        if !self
            .betas
            .is_none_or(|betas| betas.into_iter().all(in_range))
        {
            return Err(Error::config("betas", "must both be in [0, 1)"));
        }
        if !(self.epsilon).is_none_or(|epsilon| epsilon.is_finite() && epsilon > 0.0) {
            return Err(Error::config("epsilon", "must be above 0"));
        }
        if !self.rho.is_none_or(in_range) {
            return Err(Error::config("rho", "must be in [0, 1)"));
        }
        Ok(())
    }

    pub(super) fn formula(&self) -> Result<Box<dyn Formula>> {
        self.validate()?;
        let epsilon = |default: f64| self.epsilon.unwrap_or(default);
        let [beta1, beta2] = self.betas.unwrap_or([0.9, 0.999]);
        let adam = Adam {
            beta1,
            beta2,
            epsilon: epsilon(1e-8),
        };
        Ok(match self.kind {
            OptimizerKind::Adam => Box::new(adam),
            OptimizerKind::AdamW => Box::new(AdamW(adam)),
            OptimizerKind::Sgd => Box::new(Sgd {
                momentum: self.momentum,
                nesterov: self.nesterov,
            }),
            OptimizerKind::AdaGrad => Box::new(AdaGrad {
                epsilon: epsilon(1e-10),
            }),
            OptimizerKind::Adadelta => Box::new(Adadelta {
                rho: self.rho.unwrap_or(0.9),
                epsilon: epsilon(1e-6),
            }),
        })
    }
}
