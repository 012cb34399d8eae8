//! Recurrent modules of a checkpoint, and LSTMs made of them.
//!
//! Shape letters: `I` input, `H` hidden, `D` directions.

use serde::Serialize;
use tch::Tensor;

use super::find::{find, lookup};
use super::gate_order::GateOrder;
use crate::checkpoint::{Checkpoint, CheckpointExt};
use crate::error::{Error, Result};
use crate::lstm::{Lstm, LstmConfig, params};

/// What kind of module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum RecurrentKind {
    /// `torch.nn.LSTM`
    #[serde(rename = "LSTM")]
    Lstm,
    /// `torch.nn.LSTMCell`: no layers, no directions.
    #[serde(rename = "LSTMCell")]
    LstmCell,
    /// `torch.nn.GRU`
    #[serde(rename = "GRU")]
    Gru,
    /// `torch.nn.GRUCell`
    #[serde(rename = "GRUCell")]
    GruCell,
    /// `torch.nn.RNN`
    #[serde(rename = "RNN")]
    Rnn,
    /// `torch.nn.RNNCell`
    #[serde(rename = "RNNCell")]
    RnnCell,
    /// An LSTM of Keras or Haste: `kernel` `[I, 4H]`, `recurrent_kernel`
    /// `[H, 4H]`, one `bias` `[4H]`.
    #[serde(rename = "Keras LSTM")]
    Kernel,
    /// ONNX's operator: `W` `[D, 4H, I]`, `R` `[D, 4H, H]`, `B` `[D, 8H]`.
    #[serde(rename = "ONNX LSTM")]
    Onnx,
}

impl RecurrentKind {
    /// Whether it is an LSTM in any form.
    pub fn is_lstm(self) -> bool {
        use RecurrentKind::*;
        matches!(self, Lstm | LstmCell | Kernel | Onnx)
    }

    /// As people say it.
    pub fn name(self) -> &'static str {
        match self {
            RecurrentKind::Lstm => "LSTM",
            RecurrentKind::LstmCell => "LSTMCell",
            RecurrentKind::Gru => "GRU",
            RecurrentKind::GruCell => "GRUCell",
            RecurrentKind::Rnn => "RNN",
            RecurrentKind::RnnCell => "RNNCell",
            RecurrentKind::Kernel => "Keras LSTM",
            RecurrentKind::Onnx => "ONNX LSTM",
        }
    }
}

/// A recurrent module of a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recurrent {
    /// Its path from the top of the file; empty if its tensors are the file.
    pub name: String,
    /// What kind.
    pub kind: RecurrentKind,
    /// `I`.
    pub input_size: i64,
    /// `H`.
    pub hidden_size: i64,
    /// Layers stacked on each other.
    pub num_layers: i64,
    /// Whether it also reads backwards.
    pub bidirectional: bool,
    /// The size of its projection; 0 for none.
    pub proj_size: i64,
    /// Whether it has biases.
    pub bias: bool,
    /// Whether it reads `[B, T, I]`, where the file tells.
    pub batch_first: Option<bool>,
    /// The type of its elements.
    pub dtype: String,
    /// The names of its tensors.
    pub tensors: Vec<String>,
    /// Why it cannot be had whole, if so.
    pub problem: Option<String>,
}

/// The recurrent modules of a checkpoint.
pub trait RecurrentExt {
    /// Finds every recurrent module, in the order of the file.
    fn recurrent(&self) -> Vec<Recurrent>;

    /// Reads an LSTM or `LSTMCell` of the file as one of ours, batch first, on the
    /// CPU, in the file's dtype. `name` is its path from the top of the file, or
    /// the end of it where only one ends so: `lstm` for `state_dict.lstm`.
    ///
    /// # Errors
    ///
    /// If there is none of this name, or several, or it is of another kind, or its
    /// tensors do not fit together.
    fn lstm(&self, name: &str) -> Result<Lstm>;
}

impl RecurrentExt for Checkpoint {
    fn recurrent(&self) -> Vec<Recurrent> {
        find(self)
    }

    fn lstm(&self, name: &str) -> Result<Lstm> {
        lookup(self, &self.recurrent(), name)?.lstm(self, GateOrder::TORCH)
    }
}

impl Recurrent {
    /// Its architecture, if it is an LSTM: batch first unless the file says
    /// otherwise, no dropout.
    pub fn config(&self) -> LstmConfig {
        LstmConfig {
            num_layers: self.num_layers,
            bias: self.bias,
            bidirectional: self.bidirectional,
            proj_size: self.proj_size,
            ..LstmConfig::new(self.input_size, self.hidden_size)
        }
    }

    /// Its parameters as an LSTM of ours, the gates put into PyTorch's order.
    ///
    /// Keras and Haste have one bias, which is kept as `bias_ih` beside a
    /// `bias_hh` of zeros: the sum is the same, to the bit.
    ///
    /// Errors if it is no LSTM, or not whole.
    pub fn lstm(&self, checkpoint: &Checkpoint, order: GateOrder) -> Result<Lstm> {
        let refuse = |message: String| {
            let name = if self.name.is_empty() {
                "the file"
            } else {
                &self.name
            };
            Err(Error::file(checkpoint.path(), format!("{name} {message}")))
        };
        if !self.kind.is_lstm() {
            return refuse(format!("is a {}, not an LSTM", self.kind.name()));
        }
        if let Some(problem) = &self.problem {
            return refuse(format!("is not a whole {}: {problem}", self.kind.name()));
        }
        let read = |n: usize| checkpoint.tensor(&self.tensors[n]);
        match self.kind {
            RecurrentKind::Kernel => {
                let w_ih = order.to_torch(&read(0)?.tr(), 0).contiguous();
                let w_hh = order.to_torch(&read(1)?.tr(), 0).contiguous();
                let bias = match self.bias {
                    true => Some(order.to_torch(&read(2)?, 0)),
                    false => None,
                };
                Lstm::from_tensors(self.config(), |name| {
                    Ok(match (name, &bias) {
                        ("weight_ih_l0", _) => w_ih.shallow_clone(),
                        ("bias_ih_l0", Some(bias)) => bias.shallow_clone(),
                        ("bias_hh_l0", Some(bias)) => bias.zeros_like(),
                        _ => w_hh.shallow_clone(),
                    })
                })
            }
            RecurrentKind::Onnx => {
                let (w, r) = (read(0)?, read(1)?);
                let b = if self.bias { Some(read(2)?) } else { None };
                Lstm::from_tensors(self.config(), |name| {
                    let direction = i64::from(name.ends_with("_reverse"));
                    let half = |b: &Tensor, n: i64| {
                        let rows = params::GATES * self.hidden_size;
                        b.get(direction).narrow(0, n * rows, rows)
                    };
                    let block = match (&b, name) {
                        (Some(b), name) if name.starts_with("bias_ih") => half(b, 0),
                        (Some(b), name) if name.starts_with("bias_hh") => half(b, 1),
                        (_, name) if name.starts_with("weight_ih") => w.get(direction),
                        _ => r.get(direction),
                    };
                    Ok(order.to_torch(&block, 0).contiguous())
                })
            }
            _ => Lstm::from_tensors(self.config(), |name| {
                let role = match self.kind {
                    RecurrentKind::LstmCell => name.trim_end_matches("_l0"),
                    _ => name,
                };
                let whole = match self.name.as_str() {
                    "" => role.to_owned(),
                    module => format!("{module}.{role}"),
                };
                let tensor = checkpoint.tensor(&whole)?;
                Ok(match role.starts_with("weight_hr") {
                    true => tensor,
                    false => order.to_torch(&tensor, 0),
                })
            }),
        }
    }
}
