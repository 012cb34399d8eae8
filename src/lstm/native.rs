//! The native engine: layers by the kernels of `cellway-kernels` on the CPU, in f32 and f64,
//! forward and backward.
//!
//! Every layer is one function for libtorch's autograd (`shim.rs`), which keeps what the
//! forward pass saves. The kernels share libtorch's threads, and their large buffers are
//! tensors over memory that earlier ones had (`runtime::scratch`). All dropout inside of a
//! step is served, from the masks of the plain engine. Gradients of gradients, other dtypes
//! and other devices are errors.

use std::ptr::NonNull;

use cellway_kernels::{
    Allocator, Backward, BatchPlan, Block, Context, DType, DropoutMasks as KernelMasks, Forward,
    LayerGradients, LayerIo, LayerSizes, LayerWeights, Pool, SAVED_BUFFERS, SavePolicy,
    SavedActivations, SavedBuffers, Scalar, Sequence, SequenceMut, ShapeError, States, StatesMut,
};
use tch::kind::Element;
use tch::{Device, Kind, Tensor};

use super::regularization::{DropoutMasks, StepDropout};
use super::{Call, CellParams, Lstm, LstmConfig, State};
use crate::error::{Error, Result};
use crate::shim::{elements, elements_mut};
use crate::{runtime, shim};

/// An element type of tensors that the kernels compute with.
pub(super) trait Number: Scalar + Element {}
impl Number for f32 {}
impl Number for f64 {}

/// Runs all layers over `input` `[T, B, I]`, in which nothing behind a sequence's end is
/// read; gives `[T, B, D*P]`, zero in the padding, and the final state.
pub(super) fn run(
    lstm: &Lstm,
    input: &Tensor,
    lengths: Option<&[i64]>,
    start: &State,
    call: &Call,
) -> Result<(Tensor, State)> {
    let layer = match (input.device(), input.kind()) {
        (Device::Cpu, Kind::Float) => layer::<f32>,
        (Device::Cpu, Kind::Double) => layer::<f64>,
        (device, kind) => return Err(unserved(device, kind)),
    };
    let (time, batch) = (input.size()[0] as usize, input.size()[1] as usize);
    let lengths: Vec<usize> = match lengths {
        Some(lengths) => lengths.iter().map(|&length| length as usize).collect(),
        None => vec![time; batch],
    };
    let batch = Batch {
        plan: BatchPlan::new(&lengths, time).map_err(misfit)?,
        lengths,
    };
    let directions = lstm.config.directions();
    let (mut x, mut ends) = (input.shallow_clone(), Vec::new());
    for number in 0..lstm.config.num_layers {
        if number > 0 {
            x = lstm.dropped(call.mode, number, &x);
        }
        let rows = |all: &Tensor| all.narrow(0, number * directions, directions);
        let start = State {
            h: rows(&start.h),
            c: rows(&start.c),
        };
        let (output, end) = layer(lstm, number, &batch, &x, &start, call)?;
        ends.push(end);
        x = output;
    }
    Ok((x, State::cat(&ends)))
}

/// The error for other dtypes and devices.
pub(super) fn unserved(device: Device, kind: Kind) -> Error {
    let message = format!(
        "native computes in f32 and f64 on the CPU, not in {kind:?} on {device:?}; use fused"
    );
    Error::config("engine", message)
}

/// The error for shapes that the kernels refuse, which every call is checked for before.
pub(super) fn misfit(error: ShapeError) -> Error {
    Error::tensor("input", error.to_string())
}

/// The sequences of a call.
struct Batch {
    plan: BatchPlan,
    /// In the caller's order.
    lengths: Vec<usize>,
}

/// Runs one layer in all its directions.
fn layer<T: Number>(
    lstm: &Lstm,
    number: i64,
    batch: &Batch,
    input: &Tensor,
    start: &State,
    call: &Call,
) -> Result<(Tensor, State)> {
    let config = &lstm.config;
    let cells = &lstm.layers[number as usize];
    let (plan, sizes) = (&batch.plan, layer_sizes(config, number));
    let mut inputs = vec![readable(input), start.h.contiguous(), start.c.contiguous()];
    let parameters = cells.iter().flat_map(CellParams::tensors);
    inputs.extend(parameters.map(Tensor::contiguous));
    let keep = shim::records_gradients() && inputs.iter().any(Tensor::requires_grad);
    let no_grad = tch::no_grad_guard();

    let masks = (0..cells.len() as i64).map(|direction| {
        let cell = format!("lstm cell {}", number * config.directions() + direction);
        let (h, c) = (inputs[1].get(0), inputs[2].get(0));
        let dropout = StepDropout::new(&config.regularization, call.mode, cell, &h);
        contiguous(dropout.masks(plan.time() as i64, &c))
    });
    let masks: Vec<DropoutMasks> = masks.collect();
    let mut output = output_like::<T>(&inputs[0], plan, &sizes);
    let output_layout = time_first(&output);
    let (mut h, mut c) = (inputs[1].empty_like(), inputs[2].empty_like());
    // SAFETY: nobody writes to the inputs, the parameters and the masks during the call, and
    // the results are new.
    let saved = unsafe {
        Forward {
            plan,
            sizes,
            weights: &weights::<T>(&inputs[3..], &sizes),
            masks: &masks.iter().map(|of| kernel_masks(of)).collect::<Vec<_>>(),
            io: LayerIo {
                input: sequence(&inputs[0], time_first(&inputs[0])).map_err(misfit)?,
                start: Some(States {
                    h: elements(&inputs[1]),
                    c: elements(&inputs[2]),
                }),
                output: sequence_mut(&mut output, output_layout).map_err(misfit)?,
                end: StatesMut {
                    h: elements_mut(&mut h),
                    c: elements_mut(&mut c),
                },
            },
            save: match (keep, call.recompute) {
                (false, _) => SavePolicy::Nothing,
                (true, true) => SavePolicy::States,
                (true, false) => SavePolicy::All,
            },
        }
        .run(&CONTEXT)
        .map_err(misfit)?
    };
    drop(no_grad);
    if !keep {
        return Ok((output, State { h, c }));
    }
    let mut kept = vec![encode_shape(
        &batch.lengths,
        plan.time(),
        &sizes,
        call.truncate,
    )];
    for buffer in saved.into_iter().flat_map(SavedBuffers::into_blocks) {
        kept.push(buffer.map_or_else(Tensor::new, into_tensor));
    }
    let mut made = shim::node::<Layer>(&inputs, &[output, h, c], &kept)?.into_iter();
    match (made.next(), made.next(), made.next()) {
        (Some(output), Some(h), Some(c)) => Ok((output, State { h, c })),
        _ => Err(Error::Torch("a function lost its outputs".to_owned())),
    }
}

/// The sizes of the layer with this number.
pub(super) fn layer_sizes(config: &LstmConfig, number: i64) -> LayerSizes {
    LayerSizes {
        input: config.layer_input_size(number) as usize,
        hidden: config.hidden_size as usize,
        projection: (config.proj_size > 0).then_some(config.proj_size as usize),
        bias: config.bias,
        directions: config.directions() as usize,
    }
}

/// The input as it is if its last dimension is contiguous, else a copy; a copy also of
/// windows that overlap so far that another dimension is as dense: libtorch would lay their
/// gradient out with that one innermost.
fn readable(x: &Tensor) -> Tensor {
    let (size, stride) = (x.size(), x.stride());
    let dense = |n: usize| stride[n] == 1 && size[n] > 1;
    match size[2] == 1 || dense(2) && !dense(0) && !dense(1) {
        true => x.shallow_clone(),
        false => x.contiguous(),
    }
}

/// Room for the output, with the batch outside of the time if the input has it so.
fn output_like<T: Number>(input: &Tensor, plan: &BatchPlan, sizes: &LayerSizes) -> Tensor {
    let (time, batch) = (plan.time() as i64, plan.batch() as i64);
    let width = (sizes.directions * sizes.output()) as i64;
    let stride = match input.stride()[0] < input.stride()[1] {
        true => [width, time * width, 1],
        false => [batch * width, width, 1],
    };
    let options = (T::KIND, Device::Cpu);
    Tensor::empty_strided([time, batch, width], stride, options)
}

/// A shape `[T, B, F]` and the strides of its first two dimensions.
pub(super) type Layout = ([usize; 3], [usize; 2]);

/// The layout of a tensor of this size and stride, whose last stride is 1.
pub(super) fn layout(size: &[i64], stride: &[i64], batch_first: bool) -> Layout {
    let (time, batch) = if batch_first { (1, 0) } else { (0, 1) };
    (
        [time, batch, 2].map(|n| size[n] as usize),
        [time, batch].map(|n| stride[n] as usize),
    )
}

fn time_first(tensor: &Tensor) -> Layout {
    layout(&tensor.size(), &tensor.stride(), false)
}

/// # Safety
///
/// Nobody writes to the tensor while the view is there.
pub(super) unsafe fn sequence<T: Number>(
    tensor: &Tensor,
    (shape, strides): Layout,
) -> Result<Sequence<'_, T>, ShapeError> {
    // SAFETY: nobody writes to it, as the caller says.
    Sequence::new(unsafe { elements(tensor) }, shape, strides)
}

/// # Safety
///
/// Nobody else uses the tensor while the view is there.
pub(super) unsafe fn sequence_mut<T: Number>(
    tensor: &mut Tensor,
    (shape, strides): Layout,
) -> Result<SequenceMut<'_, T>, ShapeError> {
    // SAFETY: nobody else uses it, as the caller says.
    SequenceMut::new(unsafe { elements_mut(tensor) }, shape, strides)
}

/// The parameters of each direction, from contiguous tensors in the order of
/// [`CellParams::tensors`].
///
/// # Safety
///
/// Nobody writes to the tensors while the slices are there.
pub(super) unsafe fn weights<'a, T: Number>(
    tensors: &'a [Tensor],
    sizes: &LayerSizes,
) -> Vec<LayerWeights<'a, T>> {
    // SAFETY: nobody writes to them, as the caller says.
    let mut all = tensors.iter().map(|tensor| unsafe { elements(tensor) });
    let mut next = || all.next().unwrap_or(&[]);
    let mut direction = |_| LayerWeights {
        ih: next(),
        hh: next(),
        bias: sizes.bias.then(|| (next(), next())),
        hr: sizes.projection.map(|_| next()),
    };
    (0..sizes.directions).map(&mut direction).collect()
}

fn contiguous(masks: DropoutMasks) -> DropoutMasks {
    let of = |mask: Option<Tensor>| mask.map(|mask| mask.contiguous());
    DropoutMasks {
        recurrent: of(masks.recurrent),
        candidate: of(masks.candidate),
        cell: of(masks.cell),
        hidden: of(masks.hidden),
    }
}

/// # Safety
///
/// Nobody writes to the masks while the slices are there.
unsafe fn kernel_masks<T: Number>(masks: &DropoutMasks) -> KernelMasks<'_, T> {
    fn view<T: Number>(mask: &Tensor) -> Option<Sequence<'_, T>> {
        // SAFETY: nobody writes to it, as the caller of `kernel_masks` says.
        unsafe { sequence(mask, time_first(mask)) }.ok()
    }
    KernelMasks {
        // SAFETY: nobody writes to it, as the caller says.
        recurrent: (masks.recurrent.as_ref()).map(|mask| unsafe { elements(mask) }),
        candidate: masks.candidate.as_ref().and_then(view),
        cell: masks.cell.as_ref().and_then(view),
        hidden: masks.hidden.as_ref().and_then(view),
    }
}

/// A call's sizes and lengths as numbers, so that the graph keeps tensors only.
fn encode_shape(
    lengths: &[usize],
    time: usize,
    sizes: &LayerSizes,
    truncate: Option<i64>,
) -> Tensor {
    let mut numbers = vec![
        sizes.input,
        sizes.hidden,
        sizes.projection.unwrap_or(0),
        usize::from(sizes.bias),
        sizes.directions,
        truncate.unwrap_or(0) as usize,
        time,
    ];
    numbers.extend(lengths);
    let numbers: Vec<i64> = numbers.into_iter().map(|number| number as i64).collect();
    Tensor::from_slice(&numbers)
}

/// The reverse of [`encode_shape`]: the plan, the sizes, and the steps to truncate to.
fn decode_shape(numbers: &Tensor) -> Option<(BatchPlan, LayerSizes, Option<usize>)> {
    let numbers = Vec::<i64>::try_from(numbers).ok()?;
    let numbers: Vec<usize> = numbers.into_iter().map(|number| number as usize).collect();
    let (&[input, hidden, projection, bias, directions, truncate, time], lengths) =
        numbers.split_first_chunk::<7>()?;
    let sizes = LayerSizes {
        input,
        hidden,
        projection: (projection > 0).then_some(projection),
        bias: bias == 1,
        directions,
    };
    let plan = BatchPlan::new(lengths, time).ok()?;
    Some((plan, sizes, (truncate > 0).then_some(truncate)))
}

/// The backward pass of a layer.
struct Layer;

impl shim::Function for Layer {
    fn backward(call: shim::Backward) -> std::result::Result<(), String> {
        match call.saved.first().map(Tensor::kind) {
            Some(Kind::Double) => backward::<f64>(call),
            _ => backward::<f32>(call),
        }
    }
}

fn backward<T: Number>(call: shim::Backward) -> std::result::Result<(), String> {
    let shim::Backward {
        saved,
        gradients,
        mut results,
    } = call;
    let (inputs, kept) = saved.split_at(results.len());
    let (plan, sizes, truncate) = kept
        .first()
        .and_then(decode_shape)
        .ok_or("the sizes of a layer are lost")?;
    let contiguous = |n: usize| gradients[n].as_ref().map(Tensor::contiguous);
    let d_output = gradients[0].as_ref().map(readable);
    let (d_h_end, d_c_end) = (contiguous(1), contiguous(2));
    let [d_input, d_h_start, d_c_start, parameters @ ..] = &mut results[..] else {
        return Err("the results of a layer are lost".to_owned());
    };
    // SAFETY: libtorch lets nobody change what is saved before the call is over, and the
    // results are new, and of this call.
    let run = unsafe {
        let kept: Vec<&[T]> = kept[1..].iter().map(|tensor| elements(tensor)).collect();
        let activations = kept.chunks_exact(SAVED_BUFFERS).filter_map(|of| {
            let slices = of.try_into().ok()?;
            Some(SavedActivations::from_slices(slices))
        });
        let mut parameters = parameters.iter_mut();
        let mut next = |there: bool| match there {
            true => (parameters.next()?.as_mut()).map(|tensor| elements_mut(tensor)),
            false => None,
        };
        let of_direction = |_| LayerGradients {
            ih: next(true),
            hh: next(true),
            b_ih: next(sizes.bias),
            b_hh: next(sizes.bias),
            hr: next(sizes.projection.is_some()),
        };
        let gradients = (0..sizes.directions).map(of_direction).collect();
        let view = |tensor| sequence(tensor, time_first(tensor));
        Backward {
            plan: &plan,
            sizes,
            truncate,
            weights: &weights(&inputs[3..], &sizes),
            input: view(&inputs[0]).map_err(|error| error.to_string())?,
            saved: &activations.collect::<Vec<_>>(),
            d_output: (d_output.as_ref().map(view).transpose())
                .map_err(|error| error.to_string())?,
            d_h_end: d_h_end.as_ref().map(|tensor| elements(tensor)),
            d_c_end: d_c_end.as_ref().map(|tensor| elements(tensor)),
            d_input: (d_input.as_mut())
                .map(|tensor| {
                    let layout = time_first(tensor);
                    sequence_mut(tensor, layout)
                })
                .transpose()
                .map_err(|error| error.to_string())?,
            d_h_start: d_h_start.as_mut().map(|tensor| elements_mut(tensor)),
            d_c_start: d_c_start.as_mut().map(|tensor| elements_mut(tensor)),
            gradients,
        }
        .run(&CONTEXT)
    };
    run.map_err(|error| error.to_string())
}

/// Libtorch's threads and its memory.
pub(super) static CONTEXT: Context<'static> = Context {
    pool: &LibtorchThreads,
    allocator: &LibtorchMemory,
};

/// As many threads as libtorch is set to: a second pool beside its own would compete for the
/// same cores.
struct LibtorchThreads;

impl Pool for LibtorchThreads {
    fn threads(&self) -> usize {
        tch::get_num_threads().max(1) as usize
    }

    fn run(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        shim::in_parallel(count, task);
    }
}

/// Memory of tensors, so that the graph can keep what a forward pass saves.
struct LibtorchMemory;

impl Allocator for LibtorchMemory {
    fn allocate(&self, count: usize, dtype: DType) -> Block {
        let kind = match dtype {
            DType::F32 => Kind::Float,
            DType::F64 => Kind::Double,
        };
        let tensor = runtime::scratch(count, kind);
        let start = NonNull::new(tensor.data_ptr().cast()).expect("a tensor has memory");
        let bytes = count * dtype.size();
        // SAFETY: the memory is the new tensor's, which the block owns, and has so many
        // bytes.
        unsafe { Block::new(start, bytes, Box::new(tensor)) }
    }
}

/// The tensor that a block of [`LibtorchMemory`] owns.
fn into_tensor(block: Block) -> Tensor {
    match block.into_owner().downcast::<Tensor>() {
        Ok(tensor) => *tensor,
        Err(_) => unreachable!("every block of the engine is a tensor's"),
    }
}
