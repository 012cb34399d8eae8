//! The steps of a backward pass, the last first.

use std::ops::Range;

use super::{BackwardPass, Direction};
use crate::equations::{GateGradients, Masks};
use crate::memory::{SharedSlice, add_to};
use crate::microkernel::MAX_NR;
use crate::parallel::{run_barriered, units};
use crate::product::{Lhs, product, product_of};
use crate::recompute::Recompute;
use crate::scalar::Scalar;

impl<'a, T: Scalar> BackwardPass<'a, T> {
    /// Takes all sequences through all steps, the last first, by threads that go through
    /// each together. A part has the columns of `W_hh` of its own units, so that threads
    /// have to wait for each other once in a step: for the gradients of all gates.
    ///
    /// # Safety
    ///
    /// Nobody else uses the directions.
    pub(super) unsafe fn in_parts(&self, directions: &[Direction<T>], parts: usize) {
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
    pub(super) unsafe fn share(&self, of: &Direction<T>, share: Range<usize>) {
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
    pass: &BackwardPass<T>,
    of: &Direction<'s, T>,
    step: usize,
    slot: usize,
) -> (&'s [T], &'s [T]) {
    let row = (pass.plan.starts[step] + slot) * pass.sizes.hidden_padded::<T>();
    (&of.saved.gates[4 * row..], &of.saved.tanh[row..])
}
