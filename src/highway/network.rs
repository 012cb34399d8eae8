//! What is compared: a tanh RNN and LSTMs that differ only in where their biases
//! start, each with a linear head.

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::rnn::Rnn;
use super::tasks::Task;
use crate::error::{Error, Result};
use crate::lstm::params::{name, uniform};
use crate::lstm::{BiasInit, Call, CellParams, Init, Lstm, LstmConfig, cell};
use crate::random::Stream;

/// A model of the study.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelKind {
    /// No gates, no cell state.
    Rnn,
    /// An LSTM whose forget gates start with a bias of 0.
    LstmForget0,
    /// An LSTM whose forget gates start with a bias of 1.
    LstmForget1,
    /// An LSTM with chrono initialisation.
    LstmChrono,
}

impl ModelKind {
    /// All of them, in the order of tables and legends.
    pub const ALL: [ModelKind; 4] = [
        ModelKind::Rnn,
        ModelKind::LstmForget0,
        ModelKind::LstmForget1,
        ModelKind::LstmChrono,
    ];

    /// The name of its files.
    pub fn name(self) -> &'static str {
        match self {
            ModelKind::Rnn => "rnn",
            ModelKind::LstmForget0 => "lstm-forget0",
            ModelKind::LstmForget1 => "lstm-forget1",
            ModelKind::LstmChrono => "lstm-chrono",
        }
    }

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            ModelKind::Rnn => "tanh RNN",
            ModelKind::LstmForget0 => "LSTM, forget bias 0",
            ModelKind::LstmForget1 => "LSTM, forget bias 1",
            ModelKind::LstmChrono => "LSTM, chrono",
        }
    }

    /// Whether it has a cell state and gates.
    pub fn is_lstm(self) -> bool {
        self != ModelKind::Rnn
    }
}

/// A recurrent network with a linear head that reads its hidden state.
pub(super) struct Network {
    core: Core,
    /// `[O, H]`.
    head_weight: Tensor,
    /// `[O]`.
    head_bias: Tensor,
}

enum Core {
    Rnn(Rnn),
    Lstm(Lstm),
}

/// Every state behind each step, `t = 0..T`: nodes of the graph through which all that
/// comes later is computed.
pub(super) struct States {
    /// Hidden state `[B, H]`.
    pub h: Vec<Tensor>,
    /// Cell state `[B, H]`; of an RNN none.
    pub c: Vec<Tensor>,
    /// Forget gate `[B, H]`; of an RNN none.
    pub f: Vec<Tensor>,
}

impl Network {
    /// New f32 parameters on the CPU, hashed from `stream`.
    pub fn new(kind: ModelKind, task: Task, hidden: i64, stream: Stream) -> Result<Network> {
        let bias = match kind {
            ModelKind::Rnn => BiasInit::Uniform,
            ModelKind::LstmForget0 => BiasInit::Forget(0.0),
            ModelKind::LstmForget1 => BiasInit::Forget(1.0),
            ModelKind::LstmChrono => BiasInit::Chrono {
                t_max: task.t_max(),
            },
        };
        let input = task.input_size();
        let core = match kind {
            ModelKind::Rnn => Core::Rnn(Rnn::new(input, hidden, stream)?),
            _ => {
                let config = LstmConfig {
                    batch_first: false,
                    ..LstmConfig::new(input, hidden)
                };
                let init = Init {
                    bias,
                    orthogonal: false,
                };
                Core::Lstm(Lstm::new(config, init, stream)?)
            }
        };
        // As torch.nn.Linear.
        let bound = 1.0 / (hidden as f64).sqrt();
        let parameter = |name: &str, shape: &[i64]| {
            let values = uniform(shape, -bound, bound, Stream::new(stream.seed(), name));
            values.to_kind(Kind::Float).set_requires_grad(true)
        };
        let outputs = task.output_size();
        Ok(Network {
            core,
            head_weight: parameter("head.weight", &[outputs, hidden]),
            head_bias: parameter("head.bias", &[outputs]),
        })
    }

    /// Every parameter with its name.
    pub fn parameters(&self) -> Vec<(String, Tensor)> {
        let core = match &self.core {
            Core::Rnn(rnn) => rnn.parameters(),
            Core::Lstm(lstm) => lstm.parameters(),
        };
        let head = [
            ("head.weight", &self.head_weight),
            ("head.bias", &self.head_bias),
        ];
        let head = head.map(|(name, tensor)| (name.to_owned(), tensor));
        (core.into_iter().chain(head))
            .map(|(name, tensor)| (name, tensor.shallow_clone()))
            .collect()
    }

    /// With the same numbers on a device and in a dtype: parameters of their own.
    pub fn to(&self, device: Device, kind: Kind) -> Result<Network> {
        let change = |tensor: &Tensor| {
            let copy = tensor.detach().to_device(device).to_kind(kind).copy();
            copy.set_requires_grad(true)
        };
        Ok(Network {
            core: match &self.core {
                Core::Rnn(rnn) => Core::Rnn(rnn.map(change)),
                Core::Lstm(lstm) => {
                    let changed = |name: &str| Ok(change(&parameter(lstm, name)?));
                    Core::Lstm(Lstm::from_tensors(lstm.config().clone(), changed)?)
                }
            },
            head_weight: change(&self.head_weight),
            head_bias: change(&self.head_bias),
        })
    }

    /// What the head makes of hidden states `[.., H]`.
    pub fn head(&self, h: &Tensor) -> Tensor {
        h.linear(&self.head_weight, Some(&self.head_bias))
    }

    /// Reads `input` `[T, B, I]`, the LSTM by the fused engine, and gives the outputs of
    /// the head at the last `last` steps.
    pub fn outputs(&self, input: &Tensor, last: i64) -> Result<Tensor> {
        let h = match &self.core {
            Core::Rnn(rnn) => Tensor::stack(&rnn.states(input)?, 0),
            Core::Lstm(lstm) => lstm.forward(input, &Call::default())?.output,
        };
        Ok(self.head(&h.narrow(0, h.size()[0] - last, last)))
    }

    /// Reads `input` `[T, B, I]` step by step, the LSTM by its hand-written cell.
    pub fn states(&self, input: &Tensor) -> Result<States> {
        let mut states = States {
            h: Vec::new(),
            c: Vec::new(),
            f: Vec::new(),
        };
        let lstm = match &self.core {
            Core::Rnn(rnn) => {
                states.h = rnn.states(input)?;
                return Ok(states);
            }
            Core::Lstm(lstm) => lstm,
        };
        let params = params(lstm)?;
        let start = lstm.zero_state(input.size()[1], input);
        let (mut h, mut c) = (start.h.get(0), start.c.get(0));
        for x in input.unbind(0) {
            let step = cell::step(&x, &h, &c, &params);
            (h, c) = (step.h.shallow_clone(), step.c.shallow_clone());
            states.h.push(step.h);
            states.c.push(step.c);
            states.f.push(step.f);
        }
        Ok(states)
    }
}

/// A parameter by its PyTorch name.
fn parameter(lstm: &Lstm, name: &str) -> Result<Tensor> {
    let all = lstm.parameters();
    let found = all.iter().find(|(other, _)| other == name);
    let found = found.ok_or_else(|| Error::tensor(name, "is no parameter of this LSTM"))?;
    Ok(found.1.shallow_clone())
}

/// Those of an LSTM with one layer, one direction and no projection.
fn params(lstm: &Lstm) -> Result<CellParams> {
    let get = |role: &str| parameter(lstm, &name(role, 0, false));
    Ok(CellParams {
        w_ih: get("weight_ih")?,
        w_hh: get("weight_hh")?,
        b_ih: Some(get("bias_ih")?),
        b_hh: Some(get("bias_hh")?),
        w_hr: None,
    })
}
