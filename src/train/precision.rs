//! The dtype of the arithmetic, and the loss scaling that f16 needs.

use serde::{Deserialize, Serialize};
use tch::Kind;

use crate::error::{Error, Result};

/// What the LSTM and the head compute in while they train. Parameters, optimizer,
/// loss and the evaluation on dev are f32 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 24 bits of significand.
    #[default]
    F32,
    /// 8 bits, with the range of f32.
    BF16,
    /// 11 bits, and nothing above 65504: with a [`LossScale`].
    F16,
}

impl Precision {
    /// In libtorch's words; none where nothing is rounded.
    pub fn kind(self) -> Option<Kind> {
        match self {
            Precision::F32 => None,
            Precision::BF16 => Some(Kind::BFloat16),
            Precision::F16 => Some(Kind::Half),
        }
    }
}

/// The loss is multiplied by a scale, so that small gradients do not vanish in
/// f16, and the gradients are divided by it. Where they overflow the step is
/// skipped and the scale falls; after many good steps it rises. The numbers are
/// those of `torch.amp.GradScaler` (Micikevicius et al., "Mixed precision
/// training", 2018).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossScale {
    scale: f64,
    /// Since the scale last changed.
    good_steps: u64,
}

impl Default for LossScale {
    fn default() -> Self {
        LossScale {
            scale: 65536.0,
            good_steps: 0,
        }
    }
}

impl LossScale {
    const FALL: f64 = 0.5;
    const RISE: f64 = 2.0;
    const RISE_AFTER: u64 = 2000;
    /// With a scale below this it is not f16 that overflows.
    const LEAST: f64 = 1.0 / 1024.0;

    /// The scale.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// After a step whose gradients were finite, or not.
    ///
    /// Errors if they overflow again and again whatever the scale is.
    pub fn update(&mut self, finite: bool) -> Result<()> {
        self.good_steps += 1;
        if !finite {
            self.scale *= Self::FALL;
            self.good_steps = 0;
        } else if self.good_steps == Self::RISE_AFTER {
            self.scale *= Self::RISE;
            self.good_steps = 0;
        }
        match self.scale < Self::LEAST {
            false => Ok(()),
            true => Err(Error::NonFinite(format!(
                "the gradients overflow with a loss scale of {}, too",
                self.scale / Self::FALL
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_falls_at_once_and_rises_after_two_thousand_good_steps() {
        let mut scale = LossScale::default();
        scale.update(false).unwrap();
        assert_eq!(scale.scale(), 32768.0);
        for _ in 0..1999 {
            scale.update(true).unwrap();
        }
        assert_eq!(scale.scale(), 32768.0);
        scale.update(true).unwrap();
        assert_eq!(scale.scale(), 65536.0);
        // Good steps are counted in a row.
        (0..1999).for_each(|_| scale.update(true).unwrap());
        scale.update(false).unwrap();
        (0..1999).for_each(|_| scale.update(true).unwrap());
        assert_eq!(scale.scale(), 32768.0);
    }

    #[test]
    fn what_overflows_with_any_scale_is_an_error() {
        let mut scale = LossScale::default();
        let falls = (0..100).position(|_| scale.update(false).is_err());
        assert_eq!(falls, Some(26)); // 2^16 to 2^-11
    }
}
