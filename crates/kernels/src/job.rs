//! A direction of some sequences, step by step.
//!
//! No sequence waits for another: a job takes its sequences through all their steps, with
//! the products of the input for a block of steps at once, and then step by step the product
//! of the hidden state, with the gates computed while its sums are in registers.

mod rows;

use std::ops::Range;

pub(crate) use self::rows::{JobMemory, JobRows, SavedRows, SharedIo, Sums};
use crate::equations::Masks;
use crate::gate_kernels::{GateStep, InputProduct};
use crate::isa::Kernels;
use crate::layer::LayerSizes;
use crate::memory::SharedSlice;
use crate::packed::PackedDirection;
use crate::plan::BatchPlan;
use crate::product::{Lhs, product};
use crate::saved::PackedMasks;
use crate::scalar::Scalar;
use crate::schedule::LayerSchedule;

/// A direction of some sequences.
pub(crate) struct Job<'a, T: Scalar> {
    plan: &'a BatchPlan,
    sizes: &'a LayerSizes,
    weights: &'a PackedDirection<T>,
    direction: usize,
    share: Range<usize>,
    io: SharedIo<'a, T>,
    rows: JobRows<'a, T>,
    masks: PackedMasks<'a, T>,
    from_zeros: bool,
    /// See [`BatchPlan::blocks`].
    blocks: Vec<(Range<usize>, usize)>,
    /// What each step needs and a division gives: in a step of few small sequences a handful
    /// of divisions takes as long as its product.
    parts: Vec<Part>,
    hidden_padded: usize,
    output_padded: usize,
    kernels: &'static Kernels<T>,
}

/// The panels of a direction's weights that a part of a job has.
struct Part {
    ih: Range<usize>,
    hh: Range<usize>,
}

impl<'a, T: Scalar> Job<'a, T> {
    pub fn new(
        layer: &'a LayerSchedule<'a, T>,
        direction: usize,
        share: Range<usize>,
        io: SharedIo<'a, T>,
        memory: JobMemory<'a, T>,
    ) -> Job<'a, T> {
        let weights = &layer.directions[direction];
        let part = |part| Part {
            ih: weights.ih.part(part, layer.parts),
            hh: weights.hh.part(part, layer.parts),
        };
        Job {
            plan: layer.plan,
            sizes: layer.sizes,
            weights,
            direction,
            blocks: layer.plan.blocks(&share, layer.block),
            share,
            io,
            rows: memory.rows,
            masks: memory.masks,
            from_zeros: memory.from_zeros,
            parts: (0..layer.parts).map(part).collect(),
            hidden_padded: layer.sizes.hidden_padded::<T>(),
            output_padded: layer.sizes.output_padded::<T>(),
            kernels: T::kernels(),
        }
    }

    pub fn steps(&self) -> usize {
        self.plan.lengths[self.share.start]
    }

    /// The blocks of steps whose inputs have their product at once.
    pub fn distinct_blocks(&self) -> Vec<Range<usize>> {
        let mut blocks: Vec<_> = self.blocks.iter().map(|of| of.0.clone()).collect();
        blocks.dedup();
        blocks
    }

    /// What is to do before the first step: the initial states, and the padding.
    ///
    /// # Safety
    ///
    /// Nobody else uses the rows of this job's sequences at the same time.
    pub unsafe fn begin(&self) {
        let (plan, sizes, io) = (self.plan, self.sizes, &self.io);
        let (p, h) = (sizes.output(), sizes.hidden);
        let (hidden_padded, output_padded) = (self.hidden_padded, self.output_padded);
        let (hidden, cells, read) = self.initial_rows();
        for (n, slot) in self.share.clone().enumerate() {
            let sequence = plan.order[slot];
            // SAFETY: rows of sequences of this job; the initial states are only read.
            unsafe {
                match io.start {
                    None => {
                        hidden.fill(n * output_padded, output_padded, T::default());
                        cells.fill(n * hidden_padded, hidden_padded, T::default());
                    }
                    Some((h_start, c_start)) => {
                        let h_start = h_start.slice(sequence * p, p);
                        hidden.write_padded(n * output_padded, h_start, output_padded);
                        let c_start = c_start.slice(sequence * h, h);
                        cells.write_padded(n * hidden_padded, c_start, hidden_padded);
                    }
                }
                if plan.lengths[slot] == 0 {
                    io.end
                        .0
                        .write(sequence * p, hidden.slice(n * output_padded, p));
                    io.end
                        .1
                        .write(sequence * h, cells.slice(n * hidden_padded, h));
                }
                if io.clears_padding {
                    let columns = self.direction * p..(self.direction + 1) * p;
                    for time in plan.lengths[slot]..plan.time {
                        io.output.clear(time, sequence, columns.clone());
                    }
                }
            }
        }
        if let Some(read) = read {
            // SAFETY: rows of sequences of this job.
            unsafe { self.mask_hidden(hidden, read, self.share.len(), 0..output_padded) };
        }
    }

    /// Computes a step of this part of the units; with a projection all of them.
    ///
    /// # Safety
    ///
    /// The steps before are done, and nobody else uses the rows of this job's sequences, of
    /// other units of which other threads have their parts.
    pub unsafe fn step(&self, step: usize, part: usize) {
        let (plan, part, kernels) = (self.plan, &self.parts[part], self.kernels);
        let (hidden_padded, output_padded) = (self.hidden_padded, self.output_padded);
        let rows = plan.active_in(&self.share, step);
        let block = &self.blocks[step].0;
        if step == block.start {
            // SAFETY: the sums of the block before were used, and the units are the
            // caller's.
            unsafe { self.input_product(block.clone(), &part.ih) };
        }
        let at = self.step_rows(step, rows);
        let row = plan.starts[step] + self.share.start;
        let mask = |mask: &[T]| match mask.is_empty() {
            true => std::ptr::null(),
            false => mask[row * hidden_padded..][..rows * hidden_padded].as_ptr(),
        };
        let all = |slice: SharedSlice<T>, width: usize| slice.at(0, rows * width);
        let saved = |slice: Option<SharedSlice<T>>, width: usize| match slice {
            None => std::ptr::null_mut(),
            Some(slice) => all(slice, width),
        };
        let hidden = match self.from_zeros && step == 0 {
            true => std::ptr::null(),
            false => all(at.read.map_or(at.hidden[0], |read| read[0]), output_padded),
        };
        let out = at.out.unwrap_or(at.hidden[1]);
        let gate_step = GateStep {
            weights: self.weights.hh.view(),
            panels: part.hh.clone(),
            rows,
            last_panel_first: step % 2 == 1,
            hidden,
            stride: output_padded,
            sums: all(at.sums, 4 * hidden_padded),
            cells_before: all(at.cells[0], hidden_padded),
            cells_after: all(at.cells[1], hidden_padded),
            out: all(out, hidden_padded),
            gates: saved(at.gates, 4 * hidden_padded),
            tanh: saved(at.tanh, hidden_padded),
            masks: Masks {
                candidate: mask(self.masks.candidate),
                cell: mask(self.masks.cell),
            },
        };
        // SAFETY: the kernels are this machine's; there are `rows` rows of everything, and
        // these units of them are the caller's.
        unsafe { (kernels.gate_step)(&gate_step) };
        let padded = part.hh.start * kernels.lanes..part.hh.end * kernels.lanes;
        let outputs = match self.sizes.projected() {
            true => 0..output_padded,
            false => padded.clone(),
        };
        let after = at.hidden[1];
        // SAFETY: these units of the rows of this job's sequences are the caller's.
        unsafe {
            if let (Some(hr), Some(out)) = (&self.weights.hr, at.out) {
                let row = |n: usize| out.at(n * hidden_padded, hidden_padded).cast_const();
                let to = |n: usize| after.at(n * output_padded, output_padded);
                product(rows, Lhs { row, stride: 1 }, hr, to, false);
            }
            self.keep_hidden(step, &at.hidden, rows, outputs.clone());
            if let Some(read) = at.read {
                self.mask_hidden(after, read[1], rows, outputs.clone());
            }
            self.put_out(step, rows, (after, outputs), (at.cells[1], padded));
        }
    }

    /// What these steps' inputs add to the sums of these units.
    ///
    /// # Safety
    ///
    /// Nobody else uses the sums of these units.
    unsafe fn input_product(&self, steps: Range<usize>, panels: &Range<usize>) {
        let plan = self.plan;
        let width = 4 * self.hidden_padded;
        let mut inputs = Vec::with_capacity(crate::schedule::BLOCK);
        for step in steps {
            let rows = plan.active_in(&self.share, step);
            let sums = self.sums(step, rows);
            for n in 0..rows {
                let slot = self.share.start + n;
                let time = plan.time_of(step, slot, self.direction == 1);
                let input = self
                    .io
                    .input
                    .row(time, plan.order[slot], 0..self.sizes.input);
                inputs.push((input.cast_const(), sums.at(n * width, width)));
            }
        }
        // SAFETY: `PackedDirection::new` writes all of the bias.
        let bias = unsafe { self.weights.bias.as_slice() };
        let of = InputProduct {
            weights: self.weights.ih.view(),
            panels: panels.clone(),
            rows: &inputs,
            bias: bias.as_ptr(),
        };
        // SAFETY: the kernels are this machine's; every row has the elements of the input
        // and of all sums, and these units are the caller's.
        unsafe { (self.kernels.input_product)(&of) };
    }

    /// Zoneout: the hidden states before the step where the new ones are not taken.
    ///
    /// # Safety
    ///
    /// Nobody else uses these elements of these rows.
    unsafe fn keep_hidden(
        &self,
        step: usize,
        hidden: &[SharedSlice<'a, T>; 2],
        rows: usize,
        elements: Range<usize>,
    ) {
        let mask = self.masks.hidden;
        if mask.is_empty() {
            return;
        }
        let width = self.output_padded;
        for row in 0..rows {
            let packed_row = self.plan.starts[step] + self.share.start + row;
            let mask = &mask[packed_row * width..][elements.clone()];
            let first = row * width + elements.start;
            // SAFETY: the caller has these elements, of different rows before and after.
            let (old, new) = unsafe {
                (
                    hidden[0].slice(first, elements.len()),
                    hidden[1].slice_mut(first, elements.len()),
                )
            };
            for ((new, &old), &taken) in new.iter_mut().zip(old).zip(mask) {
                if taken == T::default() {
                    *new = old;
                }
            }
        }
    }

    /// These elements of the hidden states, times the recurrent mask, as the next step reads
    /// them.
    ///
    /// # Safety
    ///
    /// Nobody else uses these elements of these rows.
    unsafe fn mask_hidden(
        &self,
        hidden: SharedSlice<'a, T>,
        read: SharedSlice<'a, T>,
        rows: usize,
        elements: Range<usize>,
    ) {
        let width = self.output_padded;
        for row in 0..rows {
            let mask = &self.masks.recurrent[(self.share.start + row) * width..][elements.clone()];
            let first = row * width + elements.start;
            // SAFETY: the caller has these elements.
            let hidden = unsafe { hidden.slice(first, elements.len()) };
            let read = read.at(first, elements.len());
            for (n, (&hidden, &mask)) in hidden.iter().zip(mask).enumerate() {
                // SAFETY: within the elements.
                unsafe { read.add(n).write(hidden * mask) };
            }
        }
    }

    /// Copies the step's hidden states to the output, and the states of sequences that end;
    /// these elements of each, of whole registers the real ones.
    ///
    /// # Safety
    ///
    /// Nobody else uses these elements of the rows of this job's sequences.
    unsafe fn put_out(
        &self,
        step: usize,
        rows: usize,
        (hidden, outputs): (SharedSlice<'a, T>, Range<usize>),
        (cells, units): (SharedSlice<'a, T>, Range<usize>),
    ) {
        let (plan, sizes) = (self.plan, self.sizes);
        let (p, h) = (sizes.output(), sizes.hidden);
        let (hidden_padded, output_padded) = (self.hidden_padded, self.output_padded);
        let real = |of: Range<usize>, most: usize| {
            let first = of.start.min(most);
            (first, of.end.min(most) - first)
        };
        let ((output, outputs), (unit, units)) = (real(outputs, p), real(units, h));
        let column = self.direction * p + output;
        for row in 0..rows {
            let slot = self.share.start + row;
            let sequence = plan.order[slot];
            let time = plan.time_of(step, slot, self.direction == 1);
            // SAFETY: the sequence has this step; the rest is as the caller says.
            unsafe {
                let hidden = hidden.slice(row * output_padded + output, outputs);
                self.io.output.write(time, sequence, column, hidden);
                if plan.lengths[slot] == step + 1 {
                    self.io.end.0.write(sequence * p + output, hidden);
                    let cells = cells.slice(row * hidden_padded + unit, units);
                    self.io.end.1.write(sequence * h + unit, cells);
                }
            }
        }
    }
}
