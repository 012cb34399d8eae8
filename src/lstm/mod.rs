//! The heart: LSTMs over batches of ragged sequences. Knows tensors, nothing of
//! text or files.
//!
//! Shape letters, here and below: `B` batch, `T` time, `I` input size, `H`
//! hidden size, `L` layers, `D` directions (1 or 2), `P` the size that a
//! direction puts out: `proj_size` with a projection, else `H`.
//!
//! The same parameters run through any [`Engine`]; the plain one is the cell's
//! equations and nothing else, and the others are tested to equal it.

pub mod cell;
mod config;
mod frozen;
mod fused;
mod native;
pub mod params;
mod plain;
mod regularization;
#[cfg(test)]
mod tests;

use tch::{Device, Kind, Tensor};

pub use self::config::LstmConfig;
pub(crate) use self::config::{PARAMETER_LIMIT, SIZE_LIMIT};
pub use self::frozen::{Frozen, FrozenWeights};
pub use self::params::{BiasInit, CellParams, Init};
pub use self::plain::Trace;
pub use self::regularization::{Mode, Regularization};
use crate::error::{Error, Result};
use crate::random::Stream;
use crate::{runtime, shim};

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
    fn cat(states: &[State]) -> State {
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
    fn through_plain(&self) -> Self {
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
    fn new(lengths: &[i64], time: i64, device: Device) -> Self {
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

/// An LSTM: an architecture and its parameters.
#[derive(Debug)]
pub struct Lstm {
    config: LstmConfig,
    /// `layers[layer][direction]`.
    layers: Vec<Vec<CellParams>>,
}

impl Lstm {
    /// New f32 parameters on the CPU, made by `init` from the seed.
    pub fn new(config: LstmConfig, init: Init, stream: Stream) -> Result<Self> {
        config.validate()?;
        let mut lstm = Self::build(config, |config, layer, reverse| {
            init.cell(config, layer, reverse, stream)
        })?;
        lstm.map(|tensor| tensor.to_kind(Kind::Float).set_requires_grad(true));
        Ok(lstm)
    }

    /// With parameters that `get` gives for a PyTorch name such as
    /// `weight_ih_l0_reverse`. Errors if one has a wrong shape, or another dtype
    /// or device than the rest.
    pub fn from_tensors(
        config: LstmConfig,
        mut get: impl FnMut(&str) -> Result<Tensor>,
    ) -> Result<Self> {
        config.validate()?;
        Self::build(config, |config, layer, reverse| {
            CellParams::collect(config, layer, reverse, |name, shape| {
                let tensor = get(name)?;
                expect_shape(name, &tensor, shape)?;
                Ok(tensor)
            })
        })
        .and_then(|lstm| {
            for (name, tensor) in lstm.parameters() {
                expect_place(&name, tensor, lstm.place())?;
            }
            Ok(lstm)
        })
    }

    fn build(
        config: LstmConfig,
        mut cell: impl FnMut(&LstmConfig, i64, bool) -> Result<CellParams>,
    ) -> Result<Self> {
        let layers = (0..config.num_layers)
            .map(|layer| {
                (0..config.directions())
                    .map(|direction| cell(&config, layer, direction == 1))
                    .collect()
            })
            .collect::<Result<_>>()?;
        Ok(Lstm { config, layers })
    }

    /// The architecture.
    pub fn config(&self) -> &LstmConfig {
        &self.config
    }

    /// Every parameter with its PyTorch name, in PyTorch's order.
    pub fn parameters(&self) -> Vec<(String, &Tensor)> {
        let mut parameters = Vec::new();
        for (layer, directions) in self.layers.iter().enumerate() {
            for (direction, params) in directions.iter().enumerate() {
                parameters.extend(params.named(layer as i64, direction == 1));
            }
        }
        parameters
    }

    /// Replaces each parameter: a move to a device, a cast.
    pub(crate) fn map(&mut self, change: impl Fn(&Tensor) -> Tensor) {
        for params in self.layers.iter_mut().flatten() {
            params.w_ih = change(&params.w_ih);
            params.w_hh = change(&params.w_hh);
            for tensor in [&mut params.b_ih, &mut params.b_hh, &mut params.w_hr] {
                *tensor = tensor.as_ref().map(&change);
            }
        }
        self.flatten();
    }

    /// On CUDA cuDNN wants all parameters in one piece of memory, and copies them at
    /// each call if they are not. Only their place changes.
    fn flatten(&self) {
        let weight = &self.layers[0][0].w_ih;
        if !weight.device().is_cuda() || !tch::Cuda::cudnn_is_available() {
            return;
        }
        let _no_grad = tch::no_grad_guard();
        let cells = self.layers.iter().flatten();
        let parameters: Vec<&Tensor> = cells.flat_map(CellParams::tensors).collect();
        let of_a_cell = parameters.len() / (self.layers.len() * self.layers[0].len());
        const LSTM: i64 = 2; // CUDNN_LSTM
        // Where it cannot, as in f64 or with views, nothing but time is lost.
        let _ = Tensor::f_internal_cudnn_rnn_flatten_weight(
            &parameters,
            of_a_cell as i64,
            self.config.input_size,
            LSTM,
            self.config.hidden_size,
            self.config.proj_size,
            self.config.num_layers,
            self.config.batch_first,
            self.config.bidirectional,
        );
    }

    /// In another dtype; gradients flow to the parameters of this one.
    pub(crate) fn in_kind(&self, kind: Kind) -> Lstm {
        let mut lstm = self.shallow_clone();
        if kind != self.layers[0][0].w_ih.kind() {
            lstm.map(|tensor| tensor.to_kind(kind));
        }
        lstm
    }

    /// The same tensors, shared.
    fn shallow_clone(&self) -> Lstm {
        let shared = |tensor: &Option<Tensor>| tensor.as_ref().map(Tensor::shallow_clone);
        let cell = |params: &CellParams| CellParams {
            w_ih: params.w_ih.shallow_clone(),
            w_hh: params.w_hh.shallow_clone(),
            b_ih: shared(&params.b_ih),
            b_hh: shared(&params.b_hh),
            w_hr: shared(&params.w_hr),
        };
        let layers = self.layers.iter();
        Lstm {
            config: self.config.clone(),
            layers: layers
                .map(|cells| cells.iter().map(cell).collect())
                .collect(),
        }
    }

    /// A state of zeros for a batch of this size, like `input` in dtype and
    /// device.
    pub fn zero_state(&self, batch: i64, input: &Tensor) -> State {
        let options = (input.kind(), input.device());
        let rows = self.config.num_layers * self.config.directions();
        State {
            h: Tensor::zeros([rows, batch, self.config.output_size()], options),
            c: Tensor::zeros([rows, batch, self.config.hidden_size], options),
        }
    }

    /// Who computes such a call, if it leaves that to us: on the CPU in f32 and f64 native;
    /// else fused, or plain where something is to happen inside of the steps of training,
    /// which fused cannot.
    ///
    /// `scripts/bench` measures it over many shapes. Nothing is tried out when the
    /// program runs: the same call is computed by the same engine.
    pub fn engine(&self, call: &Call) -> Engine {
        if call.engine != Engine::Auto {
            return call.engine;
        }
        let inside = call.mode != Mode::Eval
            && (self.config.regularization)
                .expect_reach(Engine::Fused)
                .is_err();
        match self.place() {
            (Kind::Float | Kind::Double, Device::Cpu) => Engine::Native,
            _ if inside => Engine::Plain,
            _ => Engine::Fused,
        }
    }

    /// Reads `input` `[B, T, I]` (`[T, B, I]` unless batch first).
    ///
    /// Errors if a shape, dtype or length does not fit.
    pub fn forward(&self, input: &Tensor, call: &Call) -> Result<Output> {
        let call = &Call {
            engine: self.engine(call),
            ..*call
        };
        if call.recompute && call.engine != Engine::Native {
            let message = "only the native engine computes gates once more; \
                           leave it off, or take engine native on the CPU";
            return Err(Error::config("recompute", message));
        }
        let reads = call.mode == Mode::Eval && !self.wants_gradients(input, call);
        if call.engine == Engine::Native && reads {
            return self.freeze(FrozenWeights::Same)?.forward(input, call);
        }
        let prepared = self.prepare(input, call)?;
        let Prepared {
            input,
            ragged,
            start,
        } = &prepared;
        if call.mode != Mode::Eval {
            self.config.regularization.expect_reach(call.engine)?;
        }
        let dropped = self.weights_dropped(call.mode);
        let lstm = dropped.as_ref().unwrap_or(self);
        let dropout = |layer: i64, x: &Tensor| self.dropped(call.mode, layer, x);
        let (output, state) = if input.size()[0] == 0 {
            let width = self.config.directions() * self.config.output_size();
            let shape = [0, input.size()[1], width];
            let nothing = Tensor::zeros(shape, (input.kind(), input.device()));
            (nothing, start.shallow_clone())
        } else {
            match call.engine {
                Engine::Native => native::run(lstm, input, call.lengths, start, call)?,
                Engine::Plain => {
                    let run = plain::run(lstm, input, ragged.as_ref(), start, call);
                    (run.output, run.state)
                }
                Engine::Fused | Engine::Auto => {
                    let active = matches!(call.mode, Mode::Train(_)) && self.config.dropout > 0.0;
                    let dropout = active.then_some(&dropout as fused::Dropout);
                    let ragged = ragged.as_ref();
                    match call.truncate {
                        None => fused::run(lstm, input, ragged, start, dropout),
                        Some(steps) => fused::truncated(lstm, input, ragged, start, dropout, steps),
                    }
                }
            }
        };
        Ok(Output {
            output: self.caller_layout(output),
            state,
        })
    }

    /// As [`forward`](Self::forward) through the plain engine, with every gate
    /// and state of every step: one [`Trace`] for each layer and direction,
    /// `layer * D + direction`.
    pub fn trace(&self, input: &Tensor, call: &Call) -> Result<(Output, Vec<Trace>)> {
        let call = &call.through_plain();
        let prepared = self.prepare(input, call)?;
        let (output, steps) = self.steps_of(&prepared, call)?;
        let (ragged, batch_first) = (prepared.ragged.as_ref(), self.config.batch_first);
        let traces = steps
            .iter()
            .map(|steps| Trace::of(steps, ragged, batch_first));
        Ok((output, traces.collect()))
    }

    /// As [`trace`](Self::trace), the tensors of each step `t = 0..T` by themselves: the
    /// very ones that the next step reads, so that gradients with respect to them are
    /// those through all that follows. In the padding: what the cell would do there.
    pub fn steps(&self, input: &Tensor, call: &Call) -> Result<(Output, Vec<Vec<cell::Step>>)> {
        let call = &call.through_plain();
        self.steps_of(&self.prepare(input, call)?, call)
    }

    fn steps_of(&self, prepared: &Prepared, call: &Call) -> Result<(Output, Vec<Vec<cell::Step>>)> {
        let Prepared {
            input,
            ragged,
            start,
        } = prepared;
        if input.size()[0] == 0 {
            return Err(Error::tensor(
                "input",
                "has no step to trace; give it one or more",
            ));
        }
        let dropped = self.weights_dropped(call.mode);
        let lstm = dropped.as_ref().unwrap_or(self);
        let run = plain::run(lstm, input, ragged.as_ref(), start, call);
        let output = Output {
            output: self.caller_layout(run.output),
            state: run.state,
        };
        Ok((output, run.steps))
    }

    fn wants_gradients(&self, input: &Tensor, call: &Call) -> bool {
        let states = call.state.map(|state| [&state.h, &state.c]);
        let parameters = self.parameters().into_iter().map(|(_, tensor)| tensor);
        shim::records_gradients()
            && parameters
                .chain([input])
                .chain(states.into_iter().flatten())
                .any(Tensor::requires_grad)
    }

    /// The parameters of a layer in a direction: `layers[layer][direction]`.
    pub(crate) fn cells(&self) -> &[Vec<CellParams>] {
        &self.layers
    }

    fn caller_layout(&self, time_first: Tensor) -> Tensor {
        match self.config.batch_first {
            true => time_first.transpose(0, 1),
            false => time_first,
        }
    }

    /// The dtype and device of the parameters.
    fn place(&self) -> (Kind, Device) {
        let weight = &self.layers[0][0].w_ih;
        (weight.kind(), weight.device())
    }

    /// Checks everything that a caller can get wrong, so that the engines need
    /// not, and brings it into one form: time first, zeros in the padding.
    fn prepare(&self, input: &Tensor, call: &Call) -> Result<Prepared> {
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

struct Prepared {
    /// `[T, B, I]`.
    input: Tensor,
    ragged: Option<Ragged>,
    start: State,
}

/// Errors if something of the call does not fit an LSTM with parameters of this dtype
/// on this device.
fn expect_fit(
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
fn expect_place(name: &str, tensor: &Tensor, parameters: (Kind, Device)) -> Result<()> {
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

fn expect_shape(name: &str, tensor: &Tensor, shape: &[i64]) -> Result<()> {
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
