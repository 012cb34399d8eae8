//! LSTMs for inference only: their weights packed once for the native engine.

use cellway_kernels::{
    BatchPlan, LayerIo, LayerSizes, LayerWeights, PackedLayers, States, StatesMut,
};
use tch::{Device, Kind, Tensor};

pub use cellway_kernels::WeightStorage;

use super::native::{
    self, CONTEXT, Layout, Number, layer_sizes, layout, misfit, sequence, sequence_mut,
};
use super::{Call, CellParams, Lstm, LstmConfig, Mode, Output, State, expect_fit};
use crate::error::{Error, Result};
use crate::shim::{self, elements, elements_mut};

/// The layers of an [`Lstm`] as they were when it was [packed](Lstm::pack), on the CPU: what
/// [`Engine::Native`](super::Engine::Native) computes in evaluation, the same bits, without
/// packing the weights in each call. It pays where sequences come one by one or a few at a
/// time.
///
/// It has copies: a later change of the LSTM's parameters changes nothing here, and the
/// LSTM may be dropped. Threads can share one, each computing sequences of its own. Memory of
/// a call that is over is kept for the next, as much as the largest one needed, once for
/// each of the calls that ran at the same time.
///
/// ```
/// use cellway::lstm::{Call, Init, Lstm, LstmConfig, WeightStorage};
/// use cellway::random::Stream;
/// use tch::{Device, Kind, Tensor};
///
/// let lstm = Lstm::new(LstmConfig::new(3, 4), Init::default(), Stream::new(1, "example"))?;
/// let packed = lstm.pack(WeightStorage::Same)?;
/// let x = Tensor::ones([1, 5, 3], (Kind::Float, Device::Cpu)); // [B, T, I]
/// let out = packed.forward(&x, &Call::default())?;
/// assert_eq!(out.output.size(), [1, 5, 4]);
/// # Ok::<(), cellway::error::Error>(())
/// ```
pub struct PackedLstm {
    config: LstmConfig,
    storage: WeightStorage,
    layers: ByKind,
}

/// In the dtype of the parameters.
enum ByKind {
    Float(PackedLayers<f32>),
    Double(PackedLayers<f64>),
}

impl std::fmt::Debug for PackedLstm {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("PackedLstm")
            .field("config", &self.config)
            .field("storage", &self.storage)
            .finish_non_exhaustive()
    }
}

impl Lstm {
    /// A copy of the parameters, packed for inference.
    ///
    /// # Errors
    ///
    /// Unless the parameters are f32 or f64 on the CPU.
    pub fn pack(&self, storage: WeightStorage) -> Result<PackedLstm> {
        let (config, cells) = (&self.config, &self.layers);
        let (kind, device) = self.place();
        let layers = match (device, kind) {
            (Device::Cpu, Kind::Float) => ByKind::Float(pack(config, cells, storage)?),
            (Device::Cpu, Kind::Double) => ByKind::Double(pack(config, cells, storage)?),
            _ => return Err(native::unserved(device, kind)),
        };
        Ok(PackedLstm {
            config: self.config.clone(),
            storage,
            layers,
        })
    }
}

fn pack<T: Number>(
    config: &LstmConfig,
    cells: &[Vec<CellParams>],
    storage: WeightStorage,
) -> Result<PackedLayers<T>> {
    let _no_grad = tch::no_grad_guard();
    let tensors: Vec<Vec<Tensor>> = (cells.iter())
        .map(|cells| {
            let tensors = cells.iter().flat_map(CellParams::tensors);
            tensors.map(Tensor::contiguous).collect()
        })
        .collect();
    let layers: Vec<(LayerSizes, Vec<LayerWeights<T>>)> = (tensors.iter().zip(0..))
        .map(|(tensors, number)| {
            let sizes = layer_sizes(config, number);
            // SAFETY: nobody writes to the parameters while they are packed.
            (sizes, unsafe { native::weights(tensors, &sizes) })
        })
        .collect();
    PackedLayers::new(&CONTEXT, &layers, storage).map_err(misfit)
}

/// A call of [`PackedLstm::forward`], checked.
struct Infer<'a> {
    plan: BatchPlan,
    input: &'a Tensor,
    input_layout: Layout,
    /// Contiguous.
    start: Option<State>,
    output: &'a mut Tensor,
    output_layout: Layout,
    end: &'a mut State,
}

impl Infer<'_> {
    fn run<T: Number>(self, layers: &PackedLayers<T>) -> Result<()> {
        // SAFETY: nobody writes to the input and the states during the call, and the
        // results are new.
        unsafe {
            let io = LayerIo {
                input: sequence(self.input, self.input_layout).map_err(misfit)?,
                start: self.start.as_ref().map(|start| States {
                    h: elements(&start.h),
                    c: elements(&start.c),
                }),
                output: sequence_mut(self.output, self.output_layout).map_err(misfit)?,
                end: StatesMut {
                    h: elements_mut(&mut self.end.h),
                    c: elements_mut(&mut self.end.c),
                },
            };
            layers.infer(&CONTEXT, &self.plan, io).map_err(misfit)
        }
    }
}

impl PackedLstm {
    /// The architecture.
    pub fn config(&self) -> &LstmConfig {
        &self.config
    }

    /// How the weights are stored.
    pub fn storage(&self) -> WeightStorage {
        self.storage
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

    /// Computes the output for `input` `[B, T, I]` (`[T, B, I]` unless batch first), in the
    /// dtype of the parameters, as [`Lstm::forward`] does. The call's lengths and state are
    /// heeded, while its engine and its truncation make no difference here.
    ///
    /// # Errors
    ///
    /// If a shape, dtype or length does not fit, if the call wants to train, or if gradients
    /// of the input or the states are wanted: there are none.
    pub fn forward(&self, input: &Tensor, call: &Call) -> Result<Output> {
        if call.mode != Mode::Eval {
            let message = "a packed LSTM does not train; take the LSTM that it was made of";
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
        let lengths: Vec<usize> = match call.lengths {
            None => vec![time as usize; batch as usize],
            Some(lengths) => lengths.iter().map(|&length| length as usize).collect(),
        };
        let (mut input, mut stride) = (input.shallow_clone(), input.stride());
        if size[2] > 1 && stride[2] != 1 {
            input = input.contiguous();
            stride = input.stride();
        }
        let layout = |size: &[i64], stride: &[i64]| layout(size, stride, self.config.batch_first);
        let input_layout = layout(&size, &stride);
        // Laid out as the input is.
        let width = self.config.directions() * self.config.output_size();
        let stride = match stride[0] < stride[1] {
            true => [width, size[0] * width, 1],
            false => [size[1] * width, width, 1],
        };
        let size = [size[0], size[1], width];
        let mut output = Tensor::empty_strided(size, stride, options);
        let rows = self.config.num_layers * self.config.directions();
        let mut end = State {
            h: Tensor::empty([rows, batch, self.config.output_size()], options),
            c: Tensor::empty([rows, batch, self.config.hidden_size], options),
        };
        let infer = Infer {
            plan: BatchPlan::new(&lengths, time as usize).map_err(misfit)?,
            input: &input,
            input_layout,
            start: call.state.map(|state| State {
                h: state.h.contiguous(),
                c: state.c.contiguous(),
            }),
            output: &mut output,
            output_layout: layout(&size, &stride),
            end: &mut end,
        };
        match &self.layers {
            ByKind::Float(layers) => infer.run(layers)?,
            ByKind::Double(layers) => infer.run(layers)?,
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
                "wants a gradient, which a packed LSTM does not have; detach it, or take the \
                 LSTM",
            )),
        }
    }
}
