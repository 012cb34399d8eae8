//! The order in which a file keeps the four gates.

use std::str::FromStr;

use tch::Tensor;

use crate::error::{Error, Result};
use crate::lstm::params;

/// The order of the gates' blocks: a permutation of `ifgo`. The candidate may be
/// called `c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateOrder([u8; 4]);

impl GateOrder {
    /// PyTorch's, cuDNN's and Keras's.
    pub const TORCH: GateOrder = GateOrder(*b"ifgo");

    /// The blocks of `tensor` along `dim`, put into PyTorch's order.
    pub(super) fn to_torch(self, tensor: &Tensor, dim: i64) -> Tensor {
        if self == GateOrder::TORCH {
            return tensor.shallow_clone();
        }
        let blocks = tensor.chunk(params::GATES, dim);
        let in_order: Vec<&Tensor> = GateOrder::TORCH
            .0
            .iter()
            .filter_map(|gate| self.0.iter().position(|other| other == gate))
            .map(|place| &blocks[place])
            .collect();
        Tensor::cat(&in_order, dim)
    }
}

impl FromStr for GateOrder {
    type Err = Error;

    /// `ifgo` or `torch`, `keras`; `iofc` or `onnx`; `igfo` or `haste`; any other
    /// permutation.
    fn from_str(text: &str) -> Result<Self> {
        let letters = match text.to_ascii_lowercase().as_str() {
            "torch" | "pytorch" | "cudnn" | "keras" => "ifgo".to_owned(),
            "onnx" => "iofg".to_owned(),
            "haste" | "tensorflow" => "igfo".to_owned(),
            other => other.replace('c', "g"),
        };
        let mut sorted = letters.clone().into_bytes();
        sorted.sort_unstable();
        match (sorted.as_slice(), <[u8; 4]>::try_from(letters.as_bytes())) {
            (b"fgio", Ok(order)) => Ok(GateOrder(order)),
            _ => {
                let message = format!(
                    "must be a permutation of ifgo (c for g is fine), or torch, keras, onnx, haste; it is {text:?}"
                );
                Err(Error::config("gate_order", message))
            }
        }
    }
}
