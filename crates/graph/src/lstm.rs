//! The architecture of an LSTM, and the limits of its sizes.

use crate::error::{Error, Result};
use crate::regularization::Regularization;

/// The number of gates: input, forget, candidate and output.
pub const GATES: i64 = 4;

/// The largest size of anything: far above what is useful, and small enough for
/// products of sizes to fit into 64 bits.
pub const SIZE_LIMIT: i64 = 1 << 20;
/// The largest number of layers.
const LAYER_LIMIT: i64 = 1 << 10;
/// The largest number of elements of all parameters together: 8 GiB in f32.
pub const PARAMETER_LIMIT: i64 = 1 << 31;

/// The architecture of an LSTM, with the meanings and defaults of `torch.nn.LSTM`; only
/// `batch_first` is true by default here.
#[derive(Clone, Debug, PartialEq)]
pub struct LstmConfig {
    /// `I`: the size of the input at each step.
    pub input_size: i64,
    /// `H`: the size of the cell state.
    pub hidden_size: i64,
    /// `L`: the number of layers stacked on each other.
    pub num_layers: i64,
    /// Whether the gates have biases.
    pub bias: bool,
    /// Whether the input is `[B, T, I]` and the output `[B, T, D*P]`; else they are `[T, B, I]` and
    /// `[T, B, D*P]`. The states are `[L*D, B, ...]` either way.
    pub batch_first: bool,
    /// The probability of dropout on the output of each layer but the last, in training.
    pub dropout: f64,
    /// Whether each layer also reads backward.
    pub bidirectional: bool,
    /// The size of the projection of the hidden state; 0 for none.
    pub proj_size: i64,
    /// Dropout beyond that of `torch.nn.LSTM`, in training.
    pub regularization: Regularization,
}

impl LstmConfig {
    /// Creates an architecture with one layer, one direction, biases, batch first, no
    /// dropout and no projection.
    pub fn new(input_size: i64, hidden_size: i64) -> Self {
        LstmConfig {
            input_size,
            hidden_size,
            num_layers: 1,
            bias: true,
            batch_first: true,
            dropout: 0.0,
            bidirectional: false,
            proj_size: 0,
            regularization: Regularization::default(),
        }
    }

    /// `D`: the number of directions.
    pub fn directions(&self) -> i64 {
        if self.bidirectional { 2 } else { 1 }
    }

    /// `P`: the size of what one direction puts out at each step.
    pub fn output_size(&self) -> i64 {
        match self.proj_size {
            0 => self.hidden_size,
            size => size,
        }
    }

    /// The size of what a layer reads at each step: `I`, or `D*P` above layer 0.
    pub fn layer_input_size(&self, layer: i64) -> i64 {
        match layer {
            0 => self.input_size,
            _ => self.directions() * self.output_size(),
        }
    }

    /// Checks that such an LSTM can be built.
    ///
    /// # Errors
    /// The key of the first setting that is impossible.
    pub fn validate(&self) -> Result<()> {
        let sizes = [
            ("input_size", self.input_size),
            ("hidden_size", self.hidden_size),
            ("num_layers", self.num_layers),
        ];
        for (key, size) in sizes {
            let limit = if key == "num_layers" {
                LAYER_LIMIT
            } else {
                SIZE_LIMIT
            };
            if !(1..=limit).contains(&size) {
                let message = format!("must be 1 to {limit}, not {size}");
                return Err(Error::config(key, message));
            }
        }
        if self.proj_size < 0 || self.proj_size >= self.hidden_size {
            return Err(Error::config(
                "proj_size",
                format!(
                    "must be 0 (no projection) or less than hidden_size {}, not {}",
                    self.hidden_size, self.proj_size
                ),
            ));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::config(
                "dropout",
                format!("must be in [0, 1), not {}", self.dropout),
            ));
        }
        self.regularization.validate()?;
        if self.parameter_count() > PARAMETER_LIMIT {
            let message = format!(
                "{} with num_layers {} makes more than {PARAMETER_LIMIT} parameters; take less",
                self.hidden_size, self.num_layers
            );
            return Err(Error::config("hidden_size", message));
        }
        Ok(())
    }

    /// How many elements all parameters have together.
    fn parameter_count(&self) -> i64 {
        let gates = GATES * self.hidden_size;
        let cell = |layer| {
            let read = self.layer_input_size(layer) + self.output_size() + 2;
            gates * read + self.proj_size * self.hidden_size
        };
        let above = (self.num_layers - 1).saturating_mul(cell(1));
        above
            .saturating_add(cell(0))
            .saturating_mul(self.directions())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_sizes_are_refused_before_anything_is_made() {
        let config = LstmConfig {
            num_layers: 1 << 10,
            ..LstmConfig::new(1 << 20, 1 << 20)
        };
        let error = config.validate().unwrap_err().to_string();
        assert!(
            error.contains("hidden_size: 1048576 with num_layers 1024 makes more"),
            "{error}"
        );
        assert!(LstmConfig::new(i64::MAX, 4).validate().is_err());
    }
}
