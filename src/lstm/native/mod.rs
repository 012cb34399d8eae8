//! The native engine: layers by hand for the CPU, f32 and f64, forward and back.
//!
//! - **Packed.** The texts are sorted by length and read without padding (`plan.rs`):
//!   where a text ends the batch shrinks. Input and output lie as the caller has them.
//! - **Products** of matrices are tiles in registers (`tile.rs`), over weights that are
//!   packed once for each call (`product.rs`): the input's for a block of steps at once,
//!   the hidden state's step by step (`forward.rs`), with the gates computed
//!   (`equations.rs`) while their sums are near (`gates.rs`). The sum behind each number
//!   runs in one order, so that a text's results are the same bits whatever is beside it,
//!   and with any number of threads.
//! - **Back** (`backward.rs`) it goes step by step with what the forward pass kept: i,
//!   f, g, o, c, tanh c and h, some `7 H` numbers for each token and direction; or only
//!   c and h, and the rest is computed once more (`again.rs`), to the same bits. The
//!   gradients of the weights and of the input are a few products at the end
//!   (`gradients.rs`, `weights.rs`). Without gradients nothing of this is kept.
//! - **Registers** are those of AVX-512, of AVX2, or arrays that the compiler makes what
//!   it can of (`lanes.rs`, `isa.rs`), chosen when the program runs.
//! - **Frozen** (`frozen.rs`, `packed.rs`, `reading.rs`, `step.rs`) the weights are packed
//!   once for many calls, as they are or as bf16 (`half.rs`), and a step of a few texts is
//!   one loop: the same bits sooner.
//! - **Threads** (`threads.rs`), as many as libtorch is set to, take texts and directions
//!   of their own; of few texts, units of each step, or layers that go behind each other.
//!
//! Every layer is one function for libtorch's autograd (`shim.rs`). Everything that
//! happens inside of a step in training is served, from the masks of the plain engine.
//! What it has not: gradients of gradients, other dtypes, other devices; each is an
//! error.

mod activation;
mod again;
mod backward;
mod buffer;
#[cfg(test)]
mod edges;
mod equations;
mod forward;
mod frozen;
mod gates;
mod gradients;
mod half;
mod isa;
mod lanes;
mod layer;
mod packed;
mod plan;
mod product;
mod reading;
mod step;
#[cfg(test)]
mod tests;
mod threads;
mod tile;
mod weights;

use tch::{Device, Kind, Tensor};

use self::backward::Backward;
use self::buffer::{Buffer, Ptr, put};
use self::forward::Forward;
pub(crate) use self::frozen::{Layers, Read};
use self::lanes::Real;
use self::layer::{Dropped, Keep, Memory, Sequence, Sizes, Weights};
use self::plan::Plan;
use super::regularization::{Inside, Within};
use super::{Call, CellParams, Lstm, State};
use crate::error::{Error, Result};
use crate::shim;

/// `input` `[T, B, I]`, in which nothing behind a text's end is read; gives
/// `[T, B, D*P]`, zero in the padding, and the final state.
pub(crate) fn run(
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
    let plan = Plan::new(&lengths, time);
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
        let (output, end) = layer(lstm, number, &plan, &x, &start, call)?;
        ends.push(end);
        x = output;
    }
    Ok((x, State::cat(&ends)))
}

/// What it says to other dtypes and devices.
pub(crate) fn unserved(device: Device, kind: Kind) -> Error {
    let message = format!(
        "native computes in f32 and f64 on the CPU, not in {kind:?} on {device:?}; use fused"
    );
    Error::config("engine", message)
}

/// One layer in all its directions.
fn layer<T: Real>(
    lstm: &Lstm,
    number: i64,
    plan: &Plan,
    input: &Tensor,
    start: &State,
    call: &Call,
) -> Result<(Tensor, State)> {
    let config = &lstm.config;
    let cells = &lstm.layers[number as usize];
    let sizes = Sizes {
        truncate: call.truncate.map(|steps| steps as usize),
        ..Sizes::of(config, number)
    };
    let mut inputs = vec![readable(input), start.h.contiguous(), start.c.contiguous()];
    let parameters = cells.iter().flat_map(CellParams::tensors);
    inputs.extend(parameters.map(Tensor::contiguous));
    let keep = shim::records_gradients() && inputs.iter().any(Tensor::requires_grad);
    let no_grad = tch::no_grad_guard();

    let masks = (0..cells.len() as i64).map(|direction| {
        let place = format!("lstm cell {}", number * config.directions() + direction);
        let inside = Inside::new(&config.regularization, call.mode, place, &inputs[1].get(0));
        dropped::<T>(
            &inside.within(plan.time as i64, &inputs[2].get(0)),
            plan,
            &sizes,
            direction == 1,
        )
    });
    let masks = masks.collect();
    let output = output_like::<T>(&inputs[0], plan, &sizes);
    let (h, c) = (inputs[1].empty_like(), inputs[2].empty_like());
    let forward = Forward {
        plan,
        sizes,
        input: Sequence::of(&inputs[0]),
        h_start: pointer::<T>(&inputs[1]),
        c_start: pointer(&inputs[2]),
        output: Sequence::of(&output),
        h_end: pointer(&h),
        c_end: pointer(&c),
        keep: match (keep, call.recompute) {
            (false, _) => Keep::Nothing,
            (true, true) => Keep::States,
            (true, false) => Keep::All,
        },
    };
    // SAFETY: `Lstm` has checked the shapes and dtypes of the input, the states and the
    // parameters; all are on the CPU, and contiguous where they must be.
    let memory = unsafe { forward.run(weights(&inputs[3..], &sizes), masks) };
    drop(no_grad);
    if !keep {
        return Ok((output, State { h, c }));
    }
    let mut kept = vec![written(plan, &sizes)];
    for mut memory in memory {
        if call.recompute {
            memory.gates = Buffer::empty();
        }
        kept.extend(buffers(&memory).map(|buffer| buffer.tensor()));
    }
    let mut made = shim::node::<Layer>(&inputs, &[output, h, c], &kept)?.into_iter();
    match (made.next(), made.next(), made.next()) {
        (Some(output), Some(h), Some(c)) => Ok((output, State { h, c })),
        _ => Err(Error::Torch("a function lost its outputs".to_owned())),
    }
}

/// As it is if its last dimension is contiguous, else a copy; a copy also of windows
/// that overlap so far that another dimension is as dense: libtorch would lay their
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
fn output_like<T: Real>(input: &Tensor, plan: &Plan, sizes: &Sizes) -> Tensor {
    let (time, batch) = (plan.time as i64, plan.batch() as i64);
    let width = (sizes.directions * sizes.output) as i64;
    let stride = match input.stride()[0] < input.stride()[1] {
        true => [width, time * width, 1],
        false => [batch * width, width, 1],
    };
    let options = (T::KIND, Device::Cpu);
    Tensor::empty_strided([time, batch, width], stride, options)
}

fn pointer<T: Real>(tensor: &Tensor) -> Ptr<T> {
    debug_assert_eq!(tensor.kind(), T::KIND);
    Ptr(tensor.data_ptr().cast())
}

/// Of each direction, from tensors in the order of [`CellParams::tensors`].
fn weights<T: Real>(tensors: &[impl Place<T>], sizes: &Sizes) -> Vec<Weights<T>> {
    let mut places = tensors.iter().map(Place::place);
    let mut next = |there: bool| match there {
        true => places.next().unwrap_or(Ptr::NULL),
        false => Ptr::NULL,
    };
    let mut direction = |_| Weights {
        ih: next(true),
        hh: next(true),
        b_ih: next(sizes.bias),
        b_hh: next(sizes.bias),
        hr: next(sizes.projected),
    };
    (0..sizes.directions).map(&mut direction).collect()
}

/// Where numbers lie; null for those of no tensor.
trait Place<T> {
    fn place(&self) -> Ptr<T>;
}

impl<T: Real> Place<T> for Tensor {
    fn place(&self) -> Ptr<T> {
        pointer(self)
    }
}

impl<T: Real> Place<T> for Option<Tensor> {
    fn place(&self) -> Ptr<T> {
        self.as_ref().map_or(Ptr::NULL, pointer)
    }
}

/// The masks in the order of the tokens.
fn dropped<T: Real>(within: &Within, plan: &Plan, sizes: &Sizes, reverse: bool) -> Dropped {
    let (wide, wide_output) = (sizes.wide::<T>(), sizes.wide_output::<T>());
    let tokens = |mask: &Option<Tensor>, count: usize, wide: usize| {
        let Some(mask) = mask else {
            return Buffer::empty();
        };
        let mask = mask.contiguous();
        let to = Buffer::raw::<T>(plan.tokens() * wide);
        let from = Sequence::<T>::of(&mask);
        for step in 0..plan.steps() {
            for place in 0..plan.reading(step) {
                let when = plan.when(step, place, reverse);
                // SAFETY: the mask is [T, B, count], the buffer [tokens][wide].
                unsafe {
                    let row = (to.at::<T>()).add((plan.starts[step] + place) * wide);
                    put(from.row(when, plan.order[place]), row, count, wide);
                }
            }
        }
        to
    };
    let recurrent = match &within.recurrent {
        None => Buffer::empty(),
        Some(mask) => {
            let mask = mask.contiguous();
            let to = Buffer::raw::<T>(plan.batch() * wide_output);
            for (place, &text) in plan.order.iter().enumerate() {
                // SAFETY: the mask is [B, P], the buffer [batch][wide output].
                unsafe {
                    let from = pointer::<T>(&mask).add(text * sizes.output);
                    let row = to.at::<T>().add(place * wide_output);
                    put(from, row, sizes.output, wide_output);
                }
            }
            to
        }
    };
    Dropped {
        recurrent,
        candidate: tokens(&within.candidate, sizes.hidden, wide),
        cell: tokens(&within.cell, sizes.hidden, wide),
        hidden: tokens(&within.hidden, sizes.output, wide_output),
    }
}

/// How many [`buffers`] a direction has.
const BUFFERS: usize = 10;

fn buffers(memory: &Memory) -> [&Buffer; BUFFERS] {
    [
        &memory.gates,
        &memory.cells,
        &memory.tanh,
        &memory.hidden,
        &memory.read,
        &memory.out,
        &memory.masks.recurrent,
        &memory.masks.candidate,
        &memory.masks.cell,
        &memory.masks.hidden,
    ]
}

fn memory(tensors: &[Tensor]) -> Memory {
    let buffer = |n: usize| Buffer::of(tensors[n].shallow_clone());
    Memory {
        gates: buffer(0),
        cells: buffer(1),
        tanh: buffer(2),
        hidden: buffer(3),
        read: buffer(4),
        out: buffer(5),
        masks: Dropped {
            recurrent: buffer(6),
            candidate: buffer(7),
            cell: buffer(8),
            hidden: buffer(9),
        },
    }
}

/// A call's sizes and lengths as numbers, so that the graph keeps tensors only.
fn written(plan: &Plan, sizes: &Sizes) -> Tensor {
    let mut numbers = vec![
        sizes.input,
        sizes.hidden,
        sizes.output,
        usize::from(sizes.projected),
        usize::from(sizes.bias),
        sizes.directions,
        sizes.truncate.unwrap_or(0),
        plan.time,
    ];
    let mut lengths = vec![0; plan.batch()];
    for (&text, &length) in plan.order.iter().zip(&plan.lengths) {
        lengths[text] = length;
    }
    numbers.extend(lengths);
    let numbers: Vec<i64> = numbers.into_iter().map(|number| number as i64).collect();
    Tensor::from_slice(&numbers)
}

/// The reverse of [`written`].
fn read(numbers: &Tensor) -> Option<(Plan, Sizes)> {
    let numbers = Vec::<i64>::try_from(numbers).ok()?;
    let numbers: Vec<usize> = numbers.into_iter().map(|number| number as usize).collect();
    let (
        &[
            input,
            hidden,
            output,
            projected,
            bias,
            directions,
            truncate,
            time,
        ],
        lengths,
    ) = numbers.split_first_chunk::<8>()?;
    let sizes = Sizes {
        input,
        hidden,
        output,
        projected: projected == 1,
        bias: bias == 1,
        directions,
        truncate: (truncate > 0).then_some(truncate),
    };
    Some((Plan::new(lengths, time), sizes))
}

/// The way back of a layer.
struct Layer;

impl shim::Function for Layer {
    fn backward(call: shim::Backward) -> std::result::Result<(), String> {
        match call.saved.first().map(Tensor::kind) {
            Some(Kind::Double) => back::<f64>(call),
            _ => back::<f32>(call),
        }
    }
}

fn back<T: Real>(call: shim::Backward) -> std::result::Result<(), String> {
    let shim::Backward {
        saved,
        gradients,
        results,
    } = call;
    let (inputs, kept) = saved.split_at(results.len());
    let (plan, sizes) = kept
        .first()
        .and_then(read)
        .ok_or("the sizes of a layer are lost")?;
    let memory: Vec<Memory> = kept[1..].chunks_exact(BUFFERS).map(memory).collect();
    let contiguous = |n: usize| gradients[n].as_ref().map(Tensor::contiguous);
    let (d_output, d_h, d_c) = (
        gradients[0].as_ref().map(readable),
        contiguous(1),
        contiguous(2),
    );
    let sequence = |of: &Option<Tensor>| of.as_ref().map_or(Sequence::NONE, Sequence::of);
    let backward = Backward {
        plan: &plan,
        sizes,
        input: Sequence::of(&inputs[0]),
        d_output: sequence(&d_output),
        d_h_end: d_h.place(),
        d_c_end: d_c.place(),
        d_input: sequence(&results[0]),
        d_h_start: results[1].place(),
        d_c_start: results[2].place(),
    };
    let gradients = weights::<T>(&results[3..], &sizes);
    // SAFETY: the inputs are those of the forward pass, what was kept is what it left,
    // and gradients have the shapes of what they are of.
    unsafe { backward.run(&weights(&inputs[3..], &sizes), &memory, &gradients) };
    Ok(())
}
