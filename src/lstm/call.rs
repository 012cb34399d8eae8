//! A call of an LSTM: what it is given, what it gives, and the checks of both.

use tch::{Device, Kind, Tensor};

use super::{Lstm, LstmConfig, Mode};
use crate::error::{Error, Result};
use crate::runtime;

/// Who computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// The fastest of the others that can: see [`Lstm::engine`].
    #[default]
    Auto,
    /// The hand-written cell, step by step: clear, and open to inspection.
    Plain,
    /// libtorch's LSTM: oneDNN on the CPU, cuDNN on CUDA.
    Fused,
    /// Our own layers for the CPU, in f32 and f64: without padding, with everything
    /// that the plain one can but gradients of gradients.
    Native,
}

/// The recurrent state of all layers and directions, `layer * D + direction`
/// first.
#[derive(Debug)]
pub struct State {
    /// Hidden state `[L*D, B, P]`.
    pub h: Tensor,
    /// Cell state `[L*D, B, H]`.
    pub c: Tensor,
}

impl State {
    /// One above the other.
    pub(super) fn cat(states: &[State]) -> State {
        let all = |pick: fn(&State) -> &Tensor| {
            let tensors: Vec<&Tensor> = states.iter().map(pick).collect();
            Tensor::cat(&tensors, 0)
        };
        State {
            h: all(|state| &state.h),
            c: all(|state| &state.c),
        }
    }

    /// The same values, through which no gradient flows.
    pub fn detach(&self) -> State {
        State {
            h: self.h.detach(),
            c: self.c.detach(),
        }
    }

    /// The same tensors, shared.
    pub fn shallow_clone(&self) -> State {
        State {
            h: self.h.shallow_clone(),
            c: self.c.shallow_clone(),
        }
    }
}

/// How to run: everything has a default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Call<'a> {
    /// The length of each text, 0 to `T`; `None`: all are `T`. What stands
    /// behind a text's length never has an influence. A text of length 0 keeps
    /// its initial state.
    pub lengths: Option<&'a [i64]>,
    /// The initial state; `None`: zeros.
    pub state: Option<&'a State>,
    /// Who computes.
    pub engine: Engine,
    /// Evaluation or training.
    pub mode: Mode,
    /// Truncated backpropagation (Williams and Peng, "An efficient gradient-based
    /// algorithm for on-line training of recurrent network trajectories", 1990): the
    /// steps of each text, in the order in which a direction reads them, are cut into
    /// blocks of so many, and no gradient of the states flows from a block into the one
    /// before. Values are the same. `None`: through all steps. To read one sequence in
    /// several calls, give each the [detached](State::detach) state of the one before.
    pub truncate: Option<i64>,
    /// For gradients the native engine keeps i, f, g, o, c, tanh c and h of each token;
    /// with this only c and h, so `2 H` numbers and not `7 H`, and computes the others
    /// once more on the way back. Results and gradients are the same bits. An
    /// error with another engine.
    pub recompute: bool,
}

impl Call<'_> {
    /// The same through the plain engine.
    pub(super) fn through_plain(&self) -> Self {
        Call {
            engine: Engine::Plain,
            ..*self
        }
    }
}

/// What an LSTM puts out.
#[derive(Debug)]
pub struct Output {
    /// `[B, T, D*P]` (time first if the LSTM is), zero in the padding.
    pub output: Tensor,
    /// The state after each text's last step; for the backward direction, after
    /// its first.
    pub state: State,
}

/// The lengths of a batch that has padding, as the engines need them.
pub(crate) struct Ragged {
    /// On the host, where packing needs them.
    pub lengths: Vec<i64>,
    /// The same on the device, `[B]` i64.
    pub ends: Tensor,
    /// `[T, B, 1]`, true behind the end of a text.
    pub padding: Tensor,
}

impl Ragged {
    pub(super) fn new(lengths: &[i64], time: i64, device: Device) -> Self {
        let ends = runtime::upload(&Tensor::from_slice(lengths), device);
        let steps = Tensor::arange(time, (Kind::Int64, device));
        let padding = steps.unsqueeze(1).ge_tensor(&ends.unsqueeze(0));
        Ragged {
            lengths: lengths.to_vec(),
            ends,
            padding: padding.unsqueeze(-1),
        }
    }
}

impl Lstm {
    /// Checks everything that a caller can get wrong, so that the engines need
    /// not, and brings it into one form: time first, zeros in the padding.
    pub(super) fn prepare(&self, input: &Tensor, call: &Call) -> Result<Prepared> {
        expect_fit(&self.config, self.place(), input, call)?;
        let input = match self.config.batch_first {
            true => input.transpose(0, 1),
            false => input.shallow_clone(),
        };
        // The native engine reads it as it lies, and nothing of the padding.
        let as_it_lies = call.engine == Engine::Native;
        // Contiguous, so that no step's product depends on the length of T.
        let input = match as_it_lies {
            true => input,
            false => input.contiguous(),
        };
        let (time, batch) = (input.size()[0], input.size()[1]);
        let ragged = match call.lengths {
            None => None,
            Some(lengths) => {
                let ragged = lengths.iter().any(|&length| length < time);
                ragged.then(|| Ragged::new(lengths, time, input.device()))
            }
        };
        let input = match &ragged {
            Some(ragged) if !as_it_lies => input.masked_fill(&ragged.padding, 0.0),
            _ => input,
        };
        let start = match call.state {
            None => self.zero_state(batch, &input),
            Some(state) => State {
                h: state.h.contiguous(),
                c: state.c.contiguous(),
            },
        };
        Ok(Prepared {
            input,
            ragged,
            start,
        })
    }
}

pub(super) struct Prepared {
    /// `[T, B, I]`.
    pub input: Tensor,
    pub ragged: Option<Ragged>,
    pub start: State,
}

/// Errors if something of the call does not fit an LSTM with parameters of this dtype
/// on this device.
pub(super) fn expect_fit(
    config: &LstmConfig,
    parameters: (Kind, Device),
    input: &Tensor,
    call: &Call,
) -> Result<()> {
    let size = input.size();
    let layout = match config.batch_first {
        true => "[B, T, I]",
        false => "[T, B, I]",
    };
    if size.len() != 3 || size[2] != config.input_size {
        return Err(Error::tensor(
            "input",
            format!(
                "must be {layout} with I = {}, but its shape is {size:?}",
                config.input_size
            ),
        ));
    }
    expect_place("input", input, parameters)?;
    let (time, batch) = match config.batch_first {
        true => (size[1], size[0]),
        false => (size[0], size[1]),
    };
    if call.truncate.is_some_and(|steps| steps < 1) {
        let message = "takes 1 step or more";
        return Err(Error::config("truncate", message));
    }
    if batch == 0 {
        return Err(Error::tensor(
            "input",
            format!("{layout} has B = 0; give it a text"),
        ));
    }
    if let Some(lengths) = call.lengths {
        expect_lengths(lengths, batch, time)?;
    }
    if let Some(state) = call.state {
        let rows = config.num_layers * config.directions();
        expect_shape("h", &state.h, &[rows, batch, config.output_size()])?;
        expect_shape("c", &state.c, &[rows, batch, config.hidden_size])?;
        expect_place("h", &state.h, parameters)?;
        expect_place("c", &state.c, parameters)?;
    }
    Ok(())
}

/// Errors unless the tensor has the dtype and device of the parameters.
pub(super) fn expect_place(name: &str, tensor: &Tensor, parameters: (Kind, Device)) -> Result<()> {
    let of = (tensor.kind(), tensor.device());
    if of == parameters {
        return Ok(());
    }
    let message = format!(
        "is {:?} on {:?}, but the parameters are {:?} on {:?}; convert one of them",
        of.0, of.1, parameters.0, parameters.1
    );
    Err(Error::tensor(name, message))
}

pub(super) fn expect_shape(name: &str, tensor: &Tensor, shape: &[i64]) -> Result<()> {
    match tensor.size() == shape {
        true => Ok(()),
        false => Err(Error::tensor(
            name,
            format!("must have shape {shape:?}, but has {:?}", tensor.size()),
        )),
    }
}

fn expect_lengths(lengths: &[i64], batch: i64, time: i64) -> Result<()> {
    if lengths.len() as i64 != batch {
        return Err(Error::tensor(
            "lengths",
            format!("has {} entries for a batch of {batch}", lengths.len()),
        ));
    }
    match lengths
        .iter()
        .position(|length| !(0..=time).contains(length))
    {
        None => Ok(()),
        Some(at) => Err(Error::tensor(
            "lengths",
            format!("entry {at} is {}, but must be 0 to T = {time}", lengths[at]),
        )),
    }
}
