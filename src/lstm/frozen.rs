//! LSTMs that only read: their weights packed once for the native engine.

use tch::{Device, Kind, Tensor};

use super::native::{self, Layers, Read};
use super::{Call, Lstm, LstmConfig, Mode, Output, State, expect_fit};
use crate::error::{Error, Result};
use crate::shim;

/// How a [`Frozen`] keeps its weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FrozenWeights {
    /// In the dtype of the parameters.
    #[default]
    Same,
    /// The matrices of the gates, `weight_ih` and `weight_hh`, in bf16: each weight is
    /// rounded once, to the nearest (of two to the even one), so that it is off by 2^-9
    /// of itself at the most. Biases and projections stay as they are, and input,
    /// states, sums and output have the dtype of the parameters.
    ///
    /// How far the results are off: for one text of 50 steps with H = I = 128 and new
    /// parameters, the final hidden state, as a vector, by at most 2.4e-3 of its length
    /// from the f64 reference (20 seeds; with weights in f32 by 3.7e-7).
    ///
    /// It pays where a step waits for its weights: with one or two texts at a time, the
    /// more the larger H is. With four or more the sums themselves take the time, and
    /// widening the weights adds to it: then take [`Same`](Self::Same).
    Bf16,
}

/// The layers of an [`Lstm`] as they were when it was [frozen](Lstm::freeze), on the
/// CPU: what [`Engine::Native`](super::Engine::Native) computes in evaluation, the same
/// bits, without packing the weights in each call. It pays where texts come one by one
/// or a few at a time.
///
/// It has copies: a later change of the LSTM's parameters changes nothing here, and the
/// LSTM may be dropped. Threads can share one, each reading texts of its own. Memory of a
/// call that is over is kept for the next, as much as the largest one needed, once for
/// each of the calls that ran at the same time.
///
/// ```
/// use cellway::lstm::{Call, FrozenWeights, Init, Lstm, LstmConfig};
/// use cellway::random::Stream;
/// use tch::{Device, Kind, Tensor};
///
/// let lstm = Lstm::new(LstmConfig::new(3, 4), Init::default(), Stream::new(1, "example"))?;
/// let frozen = lstm.freeze(FrozenWeights::Same)?;
/// let x = Tensor::ones([1, 5, 3], (Kind::Float, Device::Cpu)); // [B, T, I]
/// let read = frozen.forward(&x, &Call::default())?;
/// assert_eq!(read.output.size(), [1, 5, 4]);
/// # Ok::<(), cellway::error::Error>(())
/// ```
pub struct Frozen {
    config: LstmConfig,
    weights: FrozenWeights,
    layers: ByKind,
}

/// In the dtype of the parameters.
enum ByKind {
    Float(Layers<f32>),
    Double(Layers<f64>),
}

impl std::fmt::Debug for Frozen {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Frozen")
            .field("config", &self.config)
            .field("weights", &self.weights)
            .finish_non_exhaustive()
    }
}

impl Lstm {
    /// A copy of the parameters, packed for reading.
    ///
    /// Errors unless they are f32 or f64 on the CPU.
    pub fn freeze(&self, weights: FrozenWeights) -> Result<Frozen> {
        let half = weights == FrozenWeights::Bf16;
        let (kind, device) = self.place();
        let layers = match (device, kind) {
            (Device::Cpu, Kind::Float) => {
                ByKind::Float(Layers::new(&self.config, &self.layers, half))
            }
            (Device::Cpu, Kind::Double) => {
                ByKind::Double(Layers::new(&self.config, &self.layers, half))
            }
            _ => return Err(native::unserved(device, kind)),
        };
        Ok(Frozen {
            config: self.config.clone(),
            weights,
            layers,
        })
    }
}

impl Frozen {
    /// The architecture.
    pub fn config(&self) -> &LstmConfig {
        &self.config
    }

    /// How the weights are kept.
    pub fn weights(&self) -> FrozenWeights {
        self.weights
    }

    /// How many bytes the matrices of the gates take.
    pub fn weight_bytes(&self) -> usize {
        match &self.layers {
            ByKind::Float(layers) => layers.bytes(),
            ByKind::Double(layers) => layers.bytes(),
        }
    }

    fn kind(&self) -> Kind {
        match &self.layers {
            ByKind::Float(_) => Kind::Float,
            ByKind::Double(_) => Kind::Double,
        }
    }

    /// Reads `input` `[B, T, I]` (`[T, B, I]` unless batch first), in the dtype of the
    /// parameters, as [`Lstm::forward`]; the call's lengths and state are heeded, while
    /// its engine and its truncation make no difference here.
    ///
    /// Errors if a shape, dtype or length does not fit, if the call wants to train, or if
    /// gradients of the input or the states are wanted: there are none.
    pub fn forward(&self, input: &Tensor, call: &Call) -> Result<Output> {
        if call.mode != Mode::Eval {
            let message = "a frozen LSTM does not train; take the LSTM that it was made of";
            return Err(Error::config("mode", message));
        }
        expect_fit(&self.config, (self.kind(), Device::Cpu), input, call)?;
        self.expect_no_gradient(input, call.state)?;

        let options = (self.kind(), Device::Cpu);
        let size = input.size();
        let (time, batch) = match self.config.batch_first {
            true => (size[1], size[0]),
            false => (size[0], size[1]),
        };
        let (lengths, padded) = match call.lengths {
            None => (vec![time as usize; batch as usize], false),
            Some(lengths) => (
                lengths.iter().map(|&length| length as usize).collect(),
                lengths.iter().any(|&length| length < time),
            ),
        };
        let input = match size[2] == 1 || input.stride()[2] == 1 {
            true => input.shallow_clone(),
            false => input.contiguous(),
        };
        // Laid out as the input is.
        let width = self.config.directions() * self.config.output_size();
        let stride = input.stride();
        let stride = match stride[0] < stride[1] {
            true => [width, size[0] * width, 1],
            false => [size[1] * width, width, 1],
        };
        let mut output = Tensor::empty_strided([size[0], size[1], width], stride, options);
        if padded {
            let _ = output.zero_();
        }
        let rows = self.config.num_layers * self.config.directions();
        let end = State {
            h: Tensor::empty([rows, batch, self.config.output_size()], options),
            c: Tensor::empty([rows, batch, self.config.hidden_size], options),
        };
        let start = call.state.map(|state| State {
            h: state.h.contiguous(),
            c: state.c.contiguous(),
        });
        let read = Read {
            input: &input,
            batch_first: self.config.batch_first,
            lengths: &lengths,
            time: time as usize,
            start: start.as_ref().map(|start| (&start.h, &start.c)),
            output: &output,
            end: (&end.h, &end.c),
        };
        // SAFETY: the shapes, dtypes and lengths were checked, and the results are new.
        unsafe {
            match &self.layers {
                ByKind::Float(layers) => layers.read(&read),
                ByKind::Double(layers) => layers.read(&read),
            }
        }
        Ok(Output { output, state: end })
    }

    fn expect_no_gradient(&self, input: &Tensor, state: Option<&State>) -> Result<()> {
        if !shim::records_gradients() {
            return Ok(());
        }
        let states = state.map(|state| [("h", &state.h), ("c", &state.c)]);
        let mut all = [("input", input)]
            .into_iter()
            .chain(states.into_iter().flatten());
        match all.find(|(_, tensor)| tensor.requires_grad()) {
            None => Ok(()),
            Some((name, _)) => Err(Error::tensor(
                name,
                "wants a gradient, which a frozen LSTM does not have; detach it, or take the \
                 LSTM",
            )),
        }
    }
}
