//! What keeps an LSTM from learning by heart, in training only: dropout in its
//! forms. The masks are hashes of (seed, step, place, position), so that they are
//! the same on every device and after a resume, and no generator has a state.

use tch::{Kind, Tensor};

use super::{Engine, Lstm, Regularization};
use crate::error::{Error, Result};
use crate::random::Stream;
use crate::runtime;

/// Evaluation or training, said per call.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Mode {
    /// No dropout of any form.
    #[default]
    Eval,
    /// Dropout, its masks hashed from this stream: give each step its own.
    Train(Stream),
}

impl Mode {
    /// `x` with dropout in training: each element zero with `probability`, else
    /// divided by `1 - probability`. The mask is a pure function of the stream
    /// and `place`, the same on every device.
    pub fn dropout(&self, place: &str, probability: f64, x: &Tensor) -> Tensor {
        self.shared_dropout(place, probability, x, &x.size())
    }

    /// As [`dropout`](Self::dropout), with a mask of this shape, which is broadcast:
    /// where it has size 1 all elements share their fate.
    pub fn shared_dropout(
        &self,
        place: &str,
        probability: f64,
        x: &Tensor,
        shape: &[i64],
    ) -> Tensor {
        match self.kept(place, probability, shape, x) {
            Some(mask) => x * mask * (1.0 / (1.0 - probability)),
            None => x.shallow_clone(),
        }
    }

    /// A mask of this shape, like `x` in dtype and device: 0 with `probability`,
    /// else 1. None if nothing is to be dropped.
    pub(crate) fn kept(
        &self,
        place: &str,
        probability: f64,
        shape: &[i64],
        x: &Tensor,
    ) -> Option<Tensor> {
        let Mode::Train(stream) = self else {
            return None;
        };
        if probability <= 0.0 {
            return None;
        }
        let stream = Stream::new(stream.seed(), place);
        let mask: Vec<f32> = (0..shape.iter().product::<i64>() as u64)
            .map(|k| f32::from(u8::from(!stream.happens(probability, k))))
            .collect();
        let mask = Tensor::from_slice(&mask).view(shape);
        Some(runtime::upload(&mask, x.device()).to_kind(x.kind()))
    }

    /// For the step with this number: masks of its own.
    fn at(self, number: i64) -> Mode {
        match self {
            Mode::Eval => Mode::Eval,
            Mode::Train(stream) => Mode::Train(stream.at(number as u64)),
        }
    }
}

/// Checks that an engine can train with these settings.
///
/// # Errors
/// The key of a setting that acts inside of a time step, where the fused engine does not
/// reach.
pub(crate) fn expect_reach(regularization: &Regularization, engine: Engine) -> Result<()> {
    match regularization.inside_step() {
        Some(key) if engine == Engine::Fused => {
            let message = "happens inside of a step, where libtorch's LSTM does not reach; \
                           train with engine native or plain, or set it to 0";
            Err(Error::config(format!("regularization.{key}"), message))
        }
        _ => Ok(()),
    }
}

/// Dropout and zoneout inside of the steps of one layer and direction.
pub(super) struct StepDropout<'a> {
    mode: Mode,
    rates: &'a Regularization,
    /// Of the layer and direction.
    place: String,
    /// On the hidden state, `[B, P]`.
    recurrent: Option<Tensor>,
    /// The first hidden state, for its shape.
    h: Tensor,
}

/// The masks of one layer and direction, none where nothing is dropped.
pub(super) struct DropoutMasks {
    /// Factors for the hidden state that is read, `[B, P]`.
    pub recurrent: Option<Tensor>,
    /// Factors for the candidate, `[T, B, H]`.
    pub candidate: Option<Tensor>,
    /// 1 where the new cell state is taken, 0 where the old one stays, `[T, B, H]`.
    pub cell: Option<Tensor>,
    /// The same of the hidden state, `[T, B, P]`.
    pub hidden: Option<Tensor>,
}

impl<'a> StepDropout<'a> {
    /// From `h` `[B, P]` on.
    pub fn new(rates: &'a Regularization, mode: Mode, place: String, h: &Tensor) -> Self {
        let probability = rates.recurrent_dropout;
        let mask = mode.kept(&format!("{place} recurrent"), probability, &h.size(), h);
        StepDropout {
            mode,
            rates,
            place,
            recurrent: mask.map(|mask| mask * (1.0 / (1.0 - probability))),
            h: h.shallow_clone(),
        }
    }

    /// The hidden state as the gates read it.
    pub fn read(&self, h: &Tensor) -> Tensor {
        match &self.recurrent {
            Some(mask) => h * mask,
            None => h.shallow_clone(),
        }
    }

    /// The candidate of step `t`.
    pub fn candidate(&self, t: i64, g: Tensor) -> Tensor {
        let place = format!("{} candidate", self.place);
        let mode = self.mode.at(t);
        mode.dropout(&place, self.rates.candidate_dropout, &g)
    }

    /// All masks at once, for an engine that computes whole sequences; `c` is `[B, H]`.
    pub fn masks(&self, time: i64, c: &Tensor) -> DropoutMasks {
        let stacked = |what: &str, share: f64, like: &Tensor| {
            let place = format!("{} {what}", self.place);
            let of_step = |t| self.mode.at(t).kept(&place, share, &like.size(), like);
            let masks: Option<Vec<Tensor>> = (0..time).map(of_step).collect();
            masks.map(|masks| Tensor::stack(&masks, 0))
        };
        let share = self.rates.candidate_dropout;
        let factor = 1.0 / (1.0 - share);
        DropoutMasks {
            recurrent: self.recurrent.as_ref().map(Tensor::shallow_clone),
            candidate: stacked("candidate", share, c).map(|mask| mask * factor),
            cell: stacked("zoneout cell", self.rates.zoneout_cell, c),
            hidden: stacked("zoneout hidden", self.rates.zoneout_hidden, &self.h),
        }
    }

    /// What becomes of the cell state at step `t`.
    pub fn cell(&self, t: i64, before: &Tensor, after: Tensor) -> Tensor {
        self.zoneout("cell", self.rates.zoneout_cell, t, before, after)
    }

    /// What becomes of the hidden state at step `t`.
    pub fn hidden(&self, t: i64, before: &Tensor, after: Tensor) -> Tensor {
        self.zoneout("hidden", self.rates.zoneout_hidden, t, before, after)
    }

    fn zoneout(&self, what: &str, share: f64, t: i64, before: &Tensor, after: Tensor) -> Tensor {
        let place = format!("{} zoneout {what}", self.place);
        match (self.mode.at(t)).kept(&place, share, &after.size(), &after) {
            Some(mask) => after.where_self(&mask.to_kind(Kind::Bool), before),
            None => after,
        }
    }
}

impl Lstm {
    /// Dropout on what the layer with this number (from 1 on) reads, `[T, B, F]`.
    pub(super) fn dropped(&self, mode: Mode, layer: i64, x: &Tensor) -> Tensor {
        let mut shape = x.size();
        if self.config.regularization.variational {
            shape[0] = 1;
        }
        let place = format!("lstm layer {layer}");
        mode.shared_dropout(&place, self.config.dropout, x, &shape)
    }

    /// With elements of the recurrent matrices dropped; gradients flow to the
    /// whole matrices. None if there is nothing to drop.
    pub(super) fn weights_dropped(&self, mode: Mode) -> Option<Lstm> {
        let probability = self.config.regularization.weight_drop;
        if mode == Mode::Eval || probability == 0.0 {
            return None;
        }
        let mut lstm = self.shallow_clone();
        for (n, params) in lstm.layers.iter_mut().flatten().enumerate() {
            params.w_hh = mode.dropout(&format!("lstm weight {n}"), probability, &params.w_hh);
        }
        Some(lstm)
    }
}
