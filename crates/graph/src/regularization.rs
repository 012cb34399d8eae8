//! Dropout inside of an LSTM, as it is configured.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Dropout inside of an LSTM beyond that of `torch.nn.LSTM`, in training only. Every form is
/// off, or 0, unless it is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Regularization {
    /// Whether dropout between layers has one mask for all steps of a sequence (Gal and
    /// Ghahramani, "A theoretically grounded application of dropout in recurrent
    /// neural networks", 2016), and not one for each step.
    pub variational: bool,
    /// The probability of dropout on the hidden state that a step reads, with one mask for
    /// all steps of a sequence (Gal and Ghahramani 2016).
    pub recurrent_dropout: f64,
    /// The probability of dropout on the candidate, with a new mask for each step: the cell
    /// state forgets nothing by it (Semeniuta et al., "Recurrent dropout without memory
    /// loss", 2016).
    pub candidate_dropout: f64,
    /// The probability of dropout on the elements of the recurrent matrices (Merity et al.,
    /// "Regularizing and optimizing LSTM language models", 2018).
    pub weight_drop: f64,
    /// The share of the cell state that stays as it is at each step (Krueger et al.,
    /// "Zoneout", 2017); none does in evaluation.
    pub zoneout_cell: f64,
    /// The share of the hidden state that stays as it is at each step, as `zoneout_cell`.
    pub zoneout_hidden: f64,
}

impl Regularization {
    /// The key of the first setting that acts inside of a time step, if there is one. An
    /// implementation that runs whole sequences at once, such as libtorch's, cannot reach
    /// there.
    pub fn inside_step(&self) -> Option<&'static str> {
        self.probabilities()
            .into_iter()
            .find(|&(key, probability)| key != "weight_drop" && probability > 0.0)
            .map(|(key, _)| key)
    }

    /// Each probability with its key.
    fn probabilities(&self) -> [(&'static str, f64); 5] {
        [
            ("recurrent_dropout", self.recurrent_dropout),
            ("candidate_dropout", self.candidate_dropout),
            ("weight_drop", self.weight_drop),
            ("zoneout_cell", self.zoneout_cell),
            ("zoneout_hidden", self.zoneout_hidden),
        ]
    }

    /// Checks that every probability is in `[0, 1)`.
    ///
    /// # Errors
    /// The key of the first one that is not, as `regularization.KEY`.
    pub fn validate(&self) -> Result<()> {
        for (key, probability) in self.probabilities() {
            if !(0.0..1.0).contains(&probability) {
                return Err(Error::config(
                    format!("regularization.{key}"),
                    format!("must be in [0, 1), not {probability}"),
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lstm::LstmConfig;

    #[test]
    fn what_is_no_probability_is_refused_by_name() {
        for (key, form) in [
            (
                "regularization.recurrent_dropout",
                Regularization {
                    recurrent_dropout: 1.0,
                    ..Regularization::default()
                },
            ),
            (
                "regularization.zoneout_hidden",
                Regularization {
                    zoneout_hidden: -0.1,
                    ..Regularization::default()
                },
            ),
            (
                "regularization.weight_drop",
                Regularization {
                    weight_drop: f64::NAN,
                    ..Regularization::default()
                },
            ),
        ] {
            let error = LstmConfig {
                regularization: form,
                ..LstmConfig::new(3, 4)
            }
            .validate()
            .unwrap_err()
            .to_string();
            assert!(error.starts_with(key), "{error}");
        }
    }
}
