//! The backward pass through a layer: step by step the gradients of the gates and one
//! product with `W_hh`, and afterwards the gradients of the weights and of the input
//! (`gradients.rs`).

use std::ops::Range;

use crate::equations::{GateGradients, Masks};
use crate::error::{ShapeError, expect_count, expect_elements, product as checked_product};
use crate::layer::{LayerGradients, LayerSizes, LayerWeights, SplitWeight, gate_row};
use crate::memory::{Buffer, SharedSlice, add_to};
use crate::microkernel::MAX_NR;
use crate::packed::{PackedDirection, WeightStorage};
use crate::parallel::{parallel_for, run_barriered, shares, unit_parallelism, units};
use crate::plan::BatchPlan;
use crate::pool::Context;
use crate::product::{Lhs, Panels, product, product_of};
use crate::recompute::Recompute;
use crate::saved::SavedActivations;
use crate::scalar::Scalar;
use crate::views::{Sequence, SequenceMut, SharedSequence};

/// A backward pass through a layer. Every result that is there is overwritten.
#[derive(Debug)]
pub struct Backward<'a, T> {
    /// The lengths of the sequences.
    pub plan: &'a BatchPlan,
    /// The sizes of the layer.
    pub sizes: LayerSizes,
    /// No gradient flows from one block of so many steps into the one before.
    pub truncate: Option<usize>,
    /// The parameters of each direction.
    pub weights: &'a [LayerWeights<'a, T>],
    /// The input of the forward pass, `[T, B, I]`.
    pub input: Sequence<'a, T>,
    /// What the forward pass saved of each direction.
    pub saved: &'a [SavedActivations<'a, T>],
    /// The gradient of the output, `[T, B, D*P]`; none: zeros.
    pub d_output: Option<Sequence<'a, T>>,
    /// The gradient of the final hidden states, `[D, B, P]`; none: zeros.
    pub d_h_end: Option<&'a [T]>,
    /// The gradient of the final cell states, `[D, B, H]`; none: zeros.
    pub d_c_end: Option<&'a [T]>,
    /// Where the gradient of the input goes, `[T, B, I]`.
    pub d_input: Option<SequenceMut<'a, T>>,
    /// Where the gradient of the initial hidden states goes, `[D, B, P]`.
    pub d_h_start: Option<&'a mut [T]>,
    /// Where the gradient of the initial cell states goes, `[D, B, H]`.
    pub d_c_start: Option<&'a mut [T]>,
    /// Where the gradients of the parameters of each direction go.
    pub gradients: Vec<LayerGradients<'a, T>>,
}

/// What the directions share, as threads do.
pub(crate) struct Pass<'a, T> {
    pub context: Context<'a>,
    pub plan: &'a BatchPlan,
    pub sizes: LayerSizes,
    truncate: Option<usize>,
    pub input: Sequence<'a, T>,
    d_output: Option<Sequence<'a, T>>,
    pub d_input: Option<SharedSequence<'a, T>>,
    d_h_start: Option<SharedSlice<'a, T>>,
    d_c_start: Option<SharedSlice<'a, T>>,
}

/// A direction, ready to run.
pub(crate) struct Direction<'a, T> {
    pub number: usize,
    pub saved: SavedActivations<'a, T>,
    /// See [`SavedActivations::starts_from_zeros`].
    pub from_zeros: bool,
    /// If the gates were not saved.
    recompute: Option<PackedDirection<T>>,
    /// `[4 * hidden padded, P]`, `[4 * hidden padded, I]`, `[P, H]`.
    hh: Panels<T>,
    pub ih: Option<SplitWeight<T>>,
    hr: Option<Panels<T>>,
    /// `[packed rows][4][hidden padded]`.
    pub d_gates: SharedSlice<'a, T>,
    /// `[B][output padded]`, `[B][hidden padded]`.
    d_hidden: SharedSlice<'a, T>,
    d_cell: SharedSlice<'a, T>,
    /// `[B][hidden padded]`: of what is projected.
    d_out: SharedSlice<'a, T>,
    /// `[packed rows][output padded]`: of what comes out of the projection.
    pub d_projected: SharedSlice<'a, T>,
    /// `[B][output padded]`: what zoneout carries past a step.
    past: Option<SharedSlice<'a, T>>,
    pub gradients: SharedGradients<'a, T>,
}

/// As [`LayerGradients`].
pub(crate) struct SharedGradients<'a, T> {
    pub ih: Option<SharedSlice<'a, T>>,
    pub hh: Option<SharedSlice<'a, T>>,
    pub biases: [Option<SharedSlice<'a, T>>; 2],
    pub hr: Option<SharedSlice<'a, T>>,
}

/// The memory of a direction.
struct Memory<T> {
    d_gates: Buffer<T>,
    d_hidden: Buffer<T>,
    d_cell: Buffer<T>,
    d_out: Buffer<T>,
    d_projected: Buffer<T>,
    past: Buffer<T>,
}

impl<'a, T: Scalar> Backward<'a, T> {
    /// Runs the pass.
    ///
    /// # Errors
    ///
    /// If a length, shape or number of elements does not fit.
    pub fn run(self, context: &Context) -> Result<(), ShapeError> {
        self.check()?;
        let Backward {
            plan,
            sizes,
            weights,
            saved,
            ..
        } = self;
        let parts = match saved.iter().any(SavedActivations::lacks_gates) {
            true => 1,
            false => unit_parallelism(context.threads(), plan, &sizes),
        };
        let pass = Pass {
            context: *context,
            plan,
            sizes,
            truncate: self.truncate,
            input: self.input,
            d_output: self.d_output,
            d_input: self.d_input.map(SequenceMut::shared),
            d_h_start: self.d_h_start.map(SharedSlice::new),
            d_c_start: self.d_c_start.map(SharedSlice::new),
        };
        let mut memory: Vec<_> = (saved.iter().enumerate())
            .map(|(number, saved)| pass.memory(number, saved, self.d_h_end, self.d_c_end))
            .collect();
        let directions: Vec<_> = (memory.iter_mut().zip(self.gradients))
            .enumerate()
            .map(|(number, (memory, gradients))| {
                pass.direction(number, &weights[number], saved[number], memory, gradients)
            })
            .collect();
        match parts {
            1 => {
                let shares = shares(context, plan, &sizes);
                let jobs = directions.iter().flat_map(|direction| {
                    let shares = shares.iter().cloned();
                    shares.map(move |share| (direction, share))
                });
                let jobs: Vec<_> = jobs.collect();
                parallel_for(context, &jobs, |(of, share)| {
                    // SAFETY: each job has sequences of its own.
                    unsafe { pass.share(of, share.clone()) };
                });
            }
            // SAFETY: nobody else uses the directions.
            _ => unsafe { pass.in_parts(&directions, parts) },
        }
        // SAFETY: all steps are done.
        unsafe { pass.gradients(&directions) };
        Ok(())
    }

    fn check(&self) -> Result<(), ShapeError> {
        let (plan, sizes) = (self.plan, &self.sizes);
        let (time, batch, d) = (plan.time, plan.batch(), sizes.directions);
        LayerWeights::check_all(self.weights, sizes)?;
        self.input.expect("input", [time, batch, sizes.input])?;
        expect_count("saved directions", self.saved.len(), d)?;
        expect_count("gradients of directions", self.gradients.len(), d)?;
        for saved in self.saved {
            saved.check(plan, sizes)?;
        }
        for gradients in &self.gradients {
            gradients.check(sizes)?;
        }
        if let Some(d_output) = &self.d_output {
            d_output.expect("d_output", [time, batch, d * sizes.output()])?;
        }
        if let Some(d_input) = &self.d_input {
            d_input.expect("d_input", [time, batch, sizes.input])?;
        }
        let d_start = (self.d_h_start.as_deref(), self.d_c_start.as_deref());
        for (name, slice, width) in [
            ("d_h_end", self.d_h_end, sizes.output()),
            ("d_c_end", self.d_c_end, sizes.hidden),
            ("d_h_start", d_start.0, sizes.output()),
            ("d_c_start", d_start.1, sizes.hidden),
        ] {
            if let Some(slice) = slice {
                expect_elements(name, slice, &[d, batch, width])?;
            }
        }
        let rows = plan.packed_rows() + batch;
        let widest = sizes.hidden_padded::<T>().max(sizes.output_padded::<T>());
        checked_product(&[rows, 4, widest]).map(|_| ())
    }
}

impl<'a, T: Scalar> Pass<'a, T> {
    /// The memory of a direction, with the gradients of its final states.
    fn memory(
        &self,
        number: usize,
        saved: &SavedActivations<T>,
        d_h_end: Option<&[T]>,
        d_c_end: Option<&[T]>,
    ) -> Memory<T> {
        let (plan, sizes) = (self.plan, &self.sizes);
        let hidden_padded = sizes.hidden_padded::<T>();
        let output_padded = sizes.output_padded::<T>();
        let (batch, rows) = (plan.batch(), plan.packed_rows());
        let allocator = self.context.allocator;
        let some = |rows: usize, width: usize, there: bool| {
            Buffer::uninit(allocator, if there { rows * width } else { 0 })
        };
        let ends = |ends: Option<&[T]>, size: usize, padded: usize| {
            let mut buffer = Buffer::zeros(allocator, batch * padded);
            if let Some(ends) = ends {
                let to = buffer.shared();
                for (slot, &sequence) in plan.order.iter().enumerate() {
                    let row = &ends[(number * batch + sequence) * size..][..size];
                    // SAFETY: the buffer is nobody else's yet.
                    unsafe { to.write(slot * padded, row) };
                }
            }
            buffer
        };
        Memory {
            d_gates: some(rows, 4 * hidden_padded, true),
            d_hidden: ends(d_h_end, sizes.output(), output_padded),
            d_cell: ends(d_c_end, sizes.hidden, hidden_padded),
            d_out: some(batch, hidden_padded, sizes.projected()),
            d_projected: some(rows, output_padded, sizes.projected()),
            past: some(batch, output_padded, !saved.masks.hidden.is_empty()),
        }
    }

    fn direction<'d>(
        &self,
        number: usize,
        weights: &LayerWeights<T>,
        saved: SavedActivations<'d, T>,
        memory: &'d mut Memory<T>,
        gradients: LayerGradients<'d, T>,
    ) -> Direction<'d, T> {
        let (sizes, context) = (&self.sizes, &self.context);
        let (p, h) = (sizes.output(), sizes.hidden);
        let past = !memory.past.is_empty();
        Direction {
            number,
            saved,
            from_zeros: saved.starts_from_zeros(self.plan, sizes),
            recompute: saved.lacks_gates().then(|| {
                // What is projected was saved.
                let weights = LayerWeights {
                    hr: None,
                    ..*weights
                };
                PackedDirection::new(context, &weights, sizes, WeightStorage::Same)
            }),
            hh: Panels::of_rows(context, 4 * sizes.hidden_padded::<T>(), p, |n| {
                gate_row(weights.hh, p, sizes, n)
            }),
            ih: (self.d_input.is_some()).then(|| SplitWeight::new(context, weights.ih, sizes)),
            hr: (weights.hr).map(|hr| Panels::of_rows(context, p, h, |n| Some(&hr[n * h..][..h]))),
            d_gates: memory.d_gates.shared(),
            d_hidden: memory.d_hidden.shared(),
            d_cell: memory.d_cell.shared(),
            d_out: memory.d_out.shared(),
            d_projected: memory.d_projected.shared(),
            past: past.then(|| memory.past.shared()),
            gradients: SharedGradients {
                ih: gradients.ih.map(SharedSlice::new),
                hh: gradients.hh.map(SharedSlice::new),
                biases: [gradients.b_ih, gradients.b_hh].map(|bias| bias.map(SharedSlice::new)),
                hr: gradients.hr.map(SharedSlice::new),
            },
        }
    }

    /// Takes all sequences through all steps, the last first, by threads that go through
    /// each together. A part has the columns of `W_hh` of its own units, so that threads
    /// have to wait for each other once in a step: for the gradients of all gates.
    ///
    /// # Safety
    ///
    /// Nobody else uses the directions.
    unsafe fn in_parts(&self, directions: &[Direction<T>], parts: usize) {
        let (plan, steps) = (self.plan, self.plan.steps());
        let hidden_padded = self.sizes.hidden_padded::<T>();
        let panel = MAX_NR * T::kernels().lanes;
        let pieces = directions.len() * parts;
        run_barriered(&self.context, steps + 1, pieces, |stage, piece| {
            let of = &directions[piece / parts];
            let units = units(hidden_padded, panel, piece % parts, parts);
            // SAFETY: these units are this piece's, and the gates of the step above are
            // done since the stage before.
            unsafe {
                if stage > 0 {
                    let step = steps - stage;
                    self.hidden_gradients(of, step, 0..plan.active(step), units.clone());
                }
                if stage < steps {
                    let step = steps - 1 - stage;
                    let slots = 0..plan.active(step);
                    self.gate_gradients(of, step, slots, saved_gates(self, of, step, 0), units);
                }
            }
        });
        for of in directions {
            // SAFETY: all steps are done.
            unsafe { self.put_start(of, 0..plan.batch()) };
        }
    }

    /// Takes the sequences in these slots through all their steps, the last first.
    ///
    /// # Safety
    ///
    /// Nobody else uses the rows of these sequences.
    unsafe fn share(&self, of: &Direction<T>, share: Range<usize>) {
        let plan = self.plan;
        let mut recompute =
            (of.recompute.as_ref()).map(|weights| Recompute::new(self, weights, &share));
        for step in (0..plan.lengths[share.start]).rev() {
            let slots = share.start..share.end.min(plan.active(step));
            let gates = match &mut recompute {
                None => saved_gates(self, of, step, share.start),
                Some(recompute) => {
                    let (gates, tanh) = recompute.step(self, of, step, &share);
                    let width = self.sizes.hidden_padded::<T>();
                    let rows = slots.len() * width;
                    // SAFETY: they were just computed, and stay until the next block.
                    unsafe { (gates.slice(0, 4 * rows), tanh.slice(0, rows)) }
                }
            };
            let all = 0..self.sizes.hidden_padded::<T>();
            // SAFETY: the rows are the caller's.
            unsafe {
                self.gate_gradients(of, step, slots.clone(), gates, all);
                self.hidden_gradients(of, step, slots, 0..self.sizes.output_padded::<T>());
            }
        }
        // SAFETY: the rows are the caller's.
        unsafe { self.put_start(of, share) };
    }

    /// Writes the gradients of these sequences' initial states.
    ///
    /// # Safety
    ///
    /// All steps of these sequences are done, and nobody else uses their rows.
    unsafe fn put_start(&self, of: &Direction<T>, share: Range<usize>) {
        let plan = self.plan;
        let put = |to: Option<SharedSlice<T>>, from: SharedSlice<T>, size: usize, padded: usize| {
            let Some(to) = to else { return };
            for slot in share.clone() {
                let row = of.number * plan.batch() + plan.order[slot];
                // SAFETY: rows of sequences of the caller.
                unsafe { to.write(row * size, from.slice(slot * padded, size)) };
            }
        };
        let (p, h) = (self.sizes.output(), self.sizes.hidden);
        put(
            self.d_h_start,
            of.d_hidden,
            p,
            self.sizes.output_padded::<T>(),
        );
        put(
            self.d_c_start,
            of.d_cell,
            h,
            self.sizes.hidden_padded::<T>(),
        );
    }

    /// Computes the gradients of these units' gates at a step, from its gates and the tanh
    /// of its cell states. With a projection it has all units.
    ///
    /// # Safety
    ///
    /// The steps behind are done, and nobody else uses these units of the rows of these
    /// slots.
    unsafe fn gate_gradients(
        &self,
        of: &Direction<T>,
        step: usize,
        slots: Range<usize>,
        (gates, tanh): (&[T], &[T]),
        units: Range<usize>,
    ) {
        let (plan, sizes, saved) = (self.plan, &self.sizes, &of.saved);
        let hidden_padded = sizes.hidden_padded::<T>();
        let output_padded = sizes.output_padded::<T>();
        let (first, count) = (slots.start, slots.len());
        let packed_row = plan.starts[step] + first;
        let outputs = match sizes.projected() {
            true => 0..output_padded,
            false => units.clone(),
        };
        let d_hidden = of
            .d_hidden
            .part(first * output_padded, count * output_padded);
        let d_cell = of.d_cell.part(first * hidden_padded, count * hidden_padded);
        if let Some(d_output) = &self.d_output {
            let real = outputs.start..outputs.end.min(sizes.output());
            for (n, slot) in slots.clone().enumerate() {
                let time = plan.time_of(step, slot, of.number == 1);
                let from = d_output.row(time, plan.order[slot]);
                let from = &from[of.number * sizes.output()..][real.clone()];
                // SAFETY: elements of these units.
                let to = unsafe { d_hidden.slice_mut(n * output_padded + real.start, real.len()) };
                add_to(to, from);
            }
        }
        if let Some(past) = of.past {
            for n in 0..count {
                let new = &saved.masks.hidden[(packed_row + n) * output_padded..][outputs.clone()];
                let at = n * output_padded + outputs.start;
                let past = past.at(first * output_padded + at, outputs.len());
                // SAFETY: elements of these units.
                let d_hidden = unsafe { d_hidden.slice_mut(at, outputs.len()) };
                for (n, (d_hidden, &new)) in d_hidden.iter_mut().zip(new).enumerate() {
                    let d = *d_hidden;
                    // SAFETY: within the elements of these units.
                    unsafe { past.add(n).write((T::ONE - new) * d) };
                    *d_hidden = new * d;
                }
            }
        }
        let d_out = match &of.hr {
            None => d_hidden,
            Some(hr) => {
                let d_out = of.d_out.part(first * hidden_padded, count * hidden_padded);
                let row = |n: usize| d_hidden.at(n * output_padded, output_padded).cast_const();
                let to = |n: usize| d_out.at(n * hidden_padded, hidden_padded);
                // SAFETY: with a projection all elements of these rows are the caller's.
                unsafe {
                    let projected = d_hidden.slice(0, count * output_padded);
                    of.d_projected.write(packed_row * output_padded, projected);
                    product(count, Lhs { row, stride: 1 }, hr, to, false);
                }
                d_out
            }
        };
        let before = plan.before(step) + first;
        let rows = count * hidden_padded;
        let row_of = |slice: &[T], row: usize| slice[row * hidden_padded..][..rows].as_ptr();
        let mask = |mask: &[T]| match mask.is_empty() {
            true => std::ptr::null(),
            false => row_of(mask, packed_row).wrapping_add(units.start),
        };
        let d_gates = of.d_gates.at(packed_row * 4 * hidden_padded, 4 * rows);
        let arguments = GateGradients {
            rows: count,
            units: units.len(),
            gates: gates[..4 * rows].as_ptr().wrapping_add(4 * units.start),
            stride: hidden_padded,
            before: row_of(saved.cells, before).wrapping_add(units.start),
            tanh: tanh[..rows].as_ptr().wrapping_add(units.start),
            d_out: d_out.at(0, rows).wrapping_add(units.start),
            d_cell: d_cell.at(0, rows).wrapping_add(units.start),
            d_gates: d_gates.wrapping_add(units.start),
            masks: Masks {
                candidate: mask(saved.masks.candidate),
                cell: mask(saved.masks.cell),
            },
        };
        // SAFETY: the kernels are this machine's; everything has `count` rows, of which
        // these units are the caller's.
        unsafe { (T::kernels().gate_gradients)(&arguments) };
    }

    /// From the gradients of all gates at a step to these elements of the gradient of the
    /// hidden state before it.
    ///
    /// # Safety
    ///
    /// The gradients of the gates are done, and nobody else uses these elements of the rows
    /// of these slots.
    unsafe fn hidden_gradients(
        &self,
        of: &Direction<T>,
        step: usize,
        slots: Range<usize>,
        elements: Range<usize>,
    ) {
        let (plan, sizes) = (self.plan, &self.sizes);
        let hidden_padded = sizes.hidden_padded::<T>();
        let output_padded = sizes.output_padded::<T>();
        let (first, count) = (slots.start, slots.len());
        let d_hidden = of
            .d_hidden
            .part(first * output_padded, count * output_padded);
        let is_cut = |block: usize| step > 0 && step.is_multiple_of(block);
        if self.truncate.is_some_and(is_cut) {
            let d_cell = of.d_cell.part(first * hidden_padded, count * hidden_padded);
            let units = match sizes.projected() {
                true => 0..hidden_padded,
                false => elements.clone(),
            };
            for row in 0..count {
                let (hidden, cell) = (row * output_padded, row * hidden_padded);
                // SAFETY: elements of the caller.
                unsafe {
                    d_hidden.fill(hidden + elements.start, elements.len(), T::default());
                    d_cell.fill(cell + units.start, units.len(), T::default());
                }
            }
            return;
        }
        if step == 0 && self.d_h_start.is_none() {
            return;
        }
        let packed_row = plan.starts[step] + first;
        let width = 4 * hidden_padded;
        let row = |n: usize| of.d_gates.at((packed_row + n) * width, width).cast_const();
        let to = |n: usize| d_hidden.at(n * output_padded, output_padded);
        // SAFETY: the rows of all gates are done, and these columns are the caller's.
        unsafe {
            let lhs = Lhs { row, stride: 1 };
            product_of(elements.clone(), count, lhs, &of.hh, to, false);
        }
        let mask = of.saved.masks.recurrent;
        if mask.is_empty() && of.past.is_none() {
            return;
        }
        for row in 0..count {
            let at = row * output_padded + elements.start;
            let in_all = first * output_padded + at;
            // SAFETY: elements of the caller.
            let d_hidden = unsafe { d_hidden.slice_mut(at, elements.len()) };
            if !mask.is_empty() {
                for (d, &mask) in d_hidden.iter_mut().zip(&mask[in_all..]) {
                    *d = *d * mask;
                }
            }
            if let Some(past) = of.past {
                // SAFETY: elements of the caller, which the gates' gradients wrote.
                add_to(d_hidden, unsafe { past.slice(in_all, elements.len()) });
            }
        }
    }
}

/// The gates of a step's sequences from this slot on and the tanh of their cell states, as
/// they were saved.
fn saved_gates<'s, T: Scalar>(
    pass: &Pass<T>,
    of: &Direction<'s, T>,
    step: usize,
    slot: usize,
) -> (&'s [T], &'s [T]) {
    let row = (pass.plan.starts[step] + slot) * pass.sizes.hidden_padded::<T>();
    (&of.saved.gates[4 * row..], &of.saved.tanh[row..])
}
