//! The models: a tanh RNN and three LSTMs that differ only in where the biases of their
//! gates start, each with a linear head. Shapes: `T` time steps, `B` sequences, `I` inputs,
//! `H` hidden size, `O` outputs.

use cellway::error::Result;
use cellway::lstm::{BiasInit, Call, Init, Lstm, LstmConfig};
use cellway::random::{self, Stream};
use serde::Serialize;
use tch::{Kind, Tensor};

use crate::tasks::{Task, last};

/// A model of the study, in the order of tables and legends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelKind {
    Rnn,
    LstmForget0,
    LstmForget1,
    LstmChrono,
}

impl ModelKind {
    pub const ALL: [ModelKind; 4] = [
        ModelKind::Rnn,
        ModelKind::LstmForget0,
        ModelKind::LstmForget1,
        ModelKind::LstmChrono,
    ];

    /// The name for readers.
    pub fn title(self) -> &'static str {
        match self {
            ModelKind::Rnn => "tanh RNN",
            ModelKind::LstmForget0 => "LSTM, forget bias 0",
            ModelKind::LstmForget1 => "LSTM, forget bias 1",
            ModelKind::LstmChrono => "LSTM, chrono",
        }
    }
}

/// A recurrent network with a linear head on its hidden state.
#[derive(Debug)]
pub struct Model {
    core: Core,
    /// Weight `[O, H]` and bias `[O]`.
    head: [Tensor; 2],
}

#[derive(Debug)]
enum Core {
    Rnn([Tensor; 4]),
    Lstm(Lstm),
}

/// The states `[B, H]` after each time step: nodes of the graph through which everything
/// later is computed. `c` and the forget gates `f` are empty for an RNN.
#[derive(Debug, Default)]
pub struct States {
    pub h: Vec<Tensor>,
    pub c: Vec<Tensor>,
    pub f: Vec<Tensor>,
}

/// PyTorch's names of the parameters of an RNN with one layer.
const RNN_NAMES: [&str; 4] = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"];

impl Model {
    /// New f32 parameters, drawn from `stream`.
    pub fn new(kind: ModelKind, task: Task, hidden: i64, stream: Stream) -> Result<Model> {
        let (inputs, outputs) = task.sizes();
        let t_max = task.steps();
        let lstm = |bias| {
            let config = LstmConfig {
                batch_first: false,
                ..LstmConfig::new(inputs, hidden)
            };
            let orthogonal = false;
            Lstm::new(config, Init { bias, orthogonal }, stream).map(Core::Lstm)
        };
        Ok(Model {
            core: match kind {
                ModelKind::Rnn => Core::Rnn(new_rnn(inputs, hidden, stream)),
                ModelKind::LstmForget0 => lstm(BiasInit::Forget(0.0))?,
                ModelKind::LstmForget1 => lstm(BiasInit::Forget(1.0))?,
                ModelKind::LstmChrono => lstm(BiasInit::Chrono { t_max })?,
            },
            head: [
                new_parameter("head.weight", &[outputs, hidden], hidden, stream),
                new_parameter("head.bias", &[outputs], hidden, stream),
            ],
        })
    }

    /// Every parameter with its name.
    pub fn parameters(&self) -> Vec<(String, Tensor)> {
        let core: Vec<(String, &Tensor)> = match &self.core {
            Core::Rnn(all) => RNN_NAMES.map(str::to_owned).into_iter().zip(all).collect(),
            Core::Lstm(lstm) => lstm.parameters(),
        };
        let head = ["head.weight", "head.bias"].map(str::to_owned);
        (core.into_iter().chain(head.into_iter().zip(&self.head)))
            .map(|(name, tensor)| (name, tensor.shallow_clone()))
            .collect()
    }

    /// The same model computing in f64.
    pub fn to_double(&self) -> Model {
        let double = |tensor: &Tensor| tensor.to_kind(Kind::Double);
        Model {
            core: match &self.core {
                Core::Rnn(all) => Core::Rnn(all.each_ref().map(double)),
                Core::Lstm(lstm) => Core::Lstm(lstm.to_kind(Kind::Double)),
            },
            head: self.head.each_ref().map(double),
        }
    }

    /// Outputs `[.., O]` of hidden states `[.., H]`.
    pub fn head(&self, h: &Tensor) -> Tensor {
        h.linear(&self.head[0], Some(&self.head[1]))
    }

    /// Outputs `[steps, B, O]` at the last time steps of `input` `[T, B, I]`.
    pub fn outputs(&self, input: &Tensor, steps: i64) -> Result<Tensor> {
        let h = match &self.core {
            Core::Rnn(parameters) => Tensor::stack(&rnn(parameters, input), 0),
            Core::Lstm(lstm) => lstm.forward(input, &Call::default())?.output,
        };
        Ok(self.head(&last(&h, steps)))
    }

    /// The states after each time step of `input` `[T, B, I]`.
    pub fn states(&self, input: &Tensor) -> Result<States> {
        let mut states = States::default();
        match &self.core {
            Core::Rnn(parameters) => states.h = rnn(parameters, input),
            Core::Lstm(lstm) => {
                let (_, layers) = lstm.steps(input, &Call::default())?;
                for step in layers.into_iter().flatten() {
                    states.h.push(step.h);
                    states.c.push(step.c);
                    states.f.push(step.f);
                }
            }
        }
        Ok(states)
    }
}

/// PyTorch's start of a parameter: uniform in ±1/√H, drawn from `stream` and the name.
fn new_parameter(name: &str, shape: &[i64], hidden: i64, stream: Stream) -> Tensor {
    let stream = Stream::new(stream.seed(), name);
    let bound = 1.0 / (hidden as f64).sqrt();
    let values = random::uniform(shape, -bound, bound, stream);
    values.to_kind(Kind::Float).set_requires_grad(true)
}

/// New parameters of a tanh RNN, in the order of PyTorch.
pub fn new_rnn(inputs: i64, hidden: i64, stream: Stream) -> [Tensor; 4] {
    let new = |name, shape: &[i64]| new_parameter(name, shape, hidden, stream);
    [
        new(RNN_NAMES[0], &[hidden, inputs]),
        new(RNN_NAMES[1], &[hidden, hidden]),
        new(RNN_NAMES[2], &[hidden]),
        new(RNN_NAMES[3], &[hidden]),
    ]
}

/// The hidden states `[B, H]` of a tanh RNN after each time step of `input` `[T, B, I]`,
/// from its equation (Elman, "Finding structure in time", 1990; in the form of PyTorch,
/// with two biases):
///
/// ```text
/// h' = tanh(W_ih x + b_ih + W_hh h + b_hh)
/// ```
pub fn rnn([w_ih, w_hh, b_ih, b_hh]: &[Tensor; 4], input: &Tensor) -> Vec<Tensor> {
    let from_input = input.linear(w_ih, Some(b_ih)).unbind(0);
    let mut h = from_input[0].zeros_like();
    let step = |from_input: Tensor| {
        h = (from_input + h.linear(w_hh, Some(b_hh))).tanh();
        h.shallow_clone()
    };
    from_input.into_iter().map(step).collect()
}
