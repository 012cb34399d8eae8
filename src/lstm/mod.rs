//! The heart: LSTMs over batches of ragged sequences. Knows tensors, nothing of
//! text or files.
//!
//! Shape letters, here and below: `B` batch, `T` time, `I` input size, `H`
//! hidden size, `L` layers, `D` directions (1 or 2), `P` the size that a
//! direction puts out: `proj_size` with a projection, else `H`.
//!
//! The same parameters run through any [`Engine`]; the plain one is the cell's
//! equations and nothing else, and the others are tested to equal it.

mod call;
pub mod cell;
mod fused;
mod native;
mod packed;
pub mod params;
mod plain;
mod regularization;
#[cfg(test)]
mod tests;

pub use cellway_graph::lstm::LstmConfig;
pub use cellway_graph::regularization::Regularization;
use tch::{Device, Kind, Tensor};

pub(crate) use self::call::Ragged;
pub use self::call::{Call, Engine, Output, State};
use self::call::{Prepared, expect_fit, expect_place, expect_shape};
pub use self::packed::{PackedLstm, WeightStorage};
pub use self::params::{BiasInit, CellParams, Init};
pub use self::plain::Trace;
pub use self::regularization::Mode;
pub(crate) use self::regularization::expect_reach;
use crate::error::{Error, Result};
use crate::random::Stream;
use crate::shim;

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

    /// Returns this LSTM with its parameters in another dtype, such as f64 for a precise
    /// measurement. As with [`Tensor::to_kind`], gradients flow back to the parameters of
    /// this one, and where the dtype is the same already the parameters are shared.
    pub fn to_kind(&self, kind: Kind) -> Lstm {
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
            && expect_reach(&self.config.regularization, Engine::Fused).is_err();
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
            return self.pack(WeightStorage::Same)?.forward(input, call);
        }
        let prepared = self.prepare(input, call)?;
        let Prepared {
            input,
            ragged,
            start,
        } = &prepared;
        if call.mode != Mode::Eval {
            expect_reach(&self.config.regularization, call.engine)?;
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
}
