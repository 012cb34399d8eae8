//! Layers whose weights are packed once, for calls without a backward pass.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::error::{ShapeError, product};
use crate::forward::LayerIo;
use crate::job::{Job, JobMemory, JobRows, SharedIo};
use crate::layer::{LayerSizes, LayerWeights};
use crate::memory::{LINE, SharedSlice};
use crate::packed::{PackedDirection, WeightStorage};
use crate::plan::BatchPlan;
use crate::pool::Context;
use crate::saved::PackedMasks;
use crate::scalar::Scalar;
use crate::schedule::{LayerSchedule, plan_wavefront, run_layers_as_wavefront};
use crate::views::SharedSequence;

/// The layers of an LSTM, packed once for many calls.
///
/// It has copies of the weights. Threads can share it, each calling [`infer`](Self::infer)
/// with sequences of its own; the memory of a call that is over is kept for the next.
pub struct PackedLayers<T> {
    layers: Vec<PackedLayer<T>>,
    /// Memory of calls that are over, for those to come.
    scratch: Mutex<Vec<Scratch>>,
}

struct PackedLayer<T> {
    sizes: LayerSizes,
    directions: Vec<PackedDirection<T>>,
}

/// The memory of one call.
#[derive(Default)]
struct Scratch {
    lines: Vec<Line>,
}

/// As much as a cache line, and as the widest register.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

impl<T: Scalar> PackedLayers<T> {
    /// Packs the parameters of each layer, of each of its directions.
    ///
    /// # Errors
    ///
    /// If there is no layer, weights have not the elements of their layer's sizes, or a
    /// layer does not read what the one below puts out.
    pub fn new(
        context: &Context,
        layers: &[(LayerSizes, Vec<LayerWeights<T>>)],
        storage: WeightStorage,
    ) -> Result<Self, ShapeError> {
        let Some((first, _)) = layers.first() else {
            return Err(ShapeError::Sizes("an LSTM has a layer or more"));
        };
        for (number, (sizes, weights)) in layers.iter().enumerate() {
            LayerWeights::check_all(weights, sizes)?;
            let alike = LayerSizes {
                input: match number {
                    0 => first.input,
                    _ => first.directions * first.output(),
                },
                ..*first
            };
            if *sizes != alike {
                return Err(ShapeError::Sizes(
                    "a layer reads what the one below puts out, and is as wide",
                ));
            }
        }
        let pack = |(sizes, weights): &(LayerSizes, Vec<LayerWeights<T>>)| PackedLayer {
            sizes: *sizes,
            directions: (weights.iter())
                .map(|weights| PackedDirection::new(context, weights, sizes, storage))
                .collect(),
        };
        Ok(PackedLayers {
            layers: layers.iter().map(pack).collect(),
            scratch: Mutex::default(),
        })
    }

    /// How many bytes the weights of the gates take.
    pub fn bytes(&self) -> usize {
        let directions = self.layers.iter().flat_map(|layer| &layer.directions);
        directions.map(|of| of.ih.bytes() + of.hh.bytes()).sum()
    }

    /// Runs all layers: fills the output `[T, B, D*P]` and the final states.
    ///
    /// # Errors
    ///
    /// If a length, shape or number of elements does not fit.
    pub fn infer(
        &self,
        context: &Context,
        plan: &BatchPlan,
        io: LayerIo<T>,
    ) -> Result<(), ShapeError> {
        let sizes = &self.layers[0].sizes;
        io.check(plan, self.layers.len(), sizes, sizes)?;
        let rows = plan.batch() + plan.packed_rows();
        product(&[rows, 8, sizes.hidden_padded::<T>(), self.layers.len()])?;
        let mut layers: Vec<_> = (self.layers.iter())
            .map(|of| LayerSchedule::new(*context, plan, &of.sizes, &of.directions))
            .collect();
        let wavefront = plan_wavefront(&mut layers);
        let mut scratch = self.take_scratch();
        self.run(plan, io, &layers, wavefront, &mut scratch);
        self.give_back(scratch);
        Ok(())
    }

    fn run(
        &self,
        plan: &BatchPlan,
        io: LayerIo<T>,
        layers: &[LayerSchedule<T>],
        wavefront: bool,
        scratch: &mut Scratch,
    ) {
        let lines = |count: usize| count.next_multiple_of(LINE / size_of::<T>());
        // Between two layers what the lower one puts out, in turns; also where layers go
        // behind each other: what one puts out over, two layers below it is read already.
        let width = layers[0].width();
        let between = match layers.len() {
            1 => 0,
            _ => lines(plan.time * plan.batch() * width),
        };
        let own = layers.iter().map(|of| of.workspace_len(false) * of.jobs());
        let all = match wavefront {
            true => own.sum(),
            false => own.max().unwrap_or(0),
        };
        let memory = scratch.shared(2 * between + all);
        let last = layers.len() - 1;
        let whole = io.shared();
        let of_layer = |number: usize| {
            let shape = [plan.time, plan.batch(), width];
            let inner = |number: usize| {
                let first = number % 2 * between;
                SharedSequence::contiguous(memory.part(first, between), shape)
            };
            let count = layers[number].sizes.directions;
            let states = whole.of_directions(number * count, count, plan, layers[number].sizes);
            SharedIo {
                input: if number == 0 {
                    whole.input
                } else {
                    inner(number - 1)
                },
                output: if number == last {
                    whole.output
                } else {
                    inner(number)
                },
                clears_padding: number == last,
                ..states
            }
        };
        let cut = |number: usize, first: usize| -> Vec<Job<T>> {
            let (layer, io) = (&layers[number], of_layer(number));
            let len = layer.workspace_len(false);
            let of_job = |direction: usize, share_number: usize, share: &Range<usize>| {
                let job = direction * layer.shares.len() + share_number;
                let own = memory.part(first + job * len, len);
                let own = layer.workspace(share.len(), false, own);
                JobMemory {
                    rows: JobRows::Workspace(own),
                    masks: PackedMasks::NONE,
                    from_zeros: false,
                }
            };
            // SAFETY: the shapes were checked, and each job has memory of its own.
            unsafe { layer.cut(&io, of_job) }
        };
        let mut first = 2 * between;
        if !wavefront {
            for (number, layer) in layers.iter().enumerate() {
                // SAFETY: the layers run one after another, and this call has the memory
                // and the results.
                unsafe { layer.run(&cut(number, first)) };
            }
            return;
        }
        let mut jobs = Vec::new();
        for (number, layer) in layers.iter().enumerate() {
            jobs.extend(cut(number, first));
            first += layer.workspace_len(false);
        }
        // SAFETY: each layer has one job, with memory of its own.
        unsafe { run_layers_as_wavefront(&layers[0].context, &jobs) };
    }

    fn take_scratch(&self) -> Scratch {
        let mut all = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        all.pop().unwrap_or_default()
    }

    fn give_back(&self, scratch: Scratch) {
        let mut all = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(scratch);
    }
}

impl Scratch {
    /// Room for so many elements.
    fn shared<T: Scalar>(&mut self, count: usize) -> SharedSlice<'_, T> {
        let lines = (count * size_of::<T>()).div_ceil(LINE);
        if self.lines.len() < lines {
            self.lines.resize(lines, Line([0; LINE]));
        }
        let start = self.lines.as_mut_ptr().cast::<T>();
        // SAFETY: the lines have so many bytes, aligned to more than an element, all
        // written, and any bytes are an element.
        SharedSlice::new(unsafe { std::slice::from_raw_parts_mut(start, count) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::HeapAllocator;
    use crate::pool::SingleThread;

    #[test]
    fn layers_fit_upon_each_other() {
        let context = Context {
            pool: &SingleThread,
            allocator: &HeapAllocator,
        };
        let sizes = |input, hidden| LayerSizes {
            input,
            hidden,
            projection: None,
            bias: false,
            directions: 1,
        };
        let zeros = [0f32; 64];
        let layer = |of: LayerSizes| {
            let weights = LayerWeights {
                ih: &zeros[..4 * of.hidden * of.input],
                hh: &zeros[..4 * of.hidden * of.hidden],
                bias: None,
                hr: None,
            };
            (of, vec![weights])
        };
        let pack = |layers: &[_]| PackedLayers::new(&context, layers, WeightStorage::Same);
        assert!(pack(&[layer(sizes(3, 2)), layer(sizes(2, 2))]).is_ok());
        assert!(pack(&[layer(sizes(3, 2)), layer(sizes(3, 2))]).is_err());
        assert!(pack(&[layer(sizes(3, 2)), layer(sizes(2, 3))]).is_err());
        assert!(pack(&[]).is_err());
    }
}
