//! Gates that were not saved, computed once more in the backward pass: for a block of steps
//! at once, from the states, which were. The sums run as they did, so the bits are the same.

use std::ops::Range;

use crate::backward::{BackwardPass, Direction};
use crate::equations::Masks;
use crate::gate_kernels::{GateStep, InputProduct};
use crate::memory::{Buffer, SharedSlice};
use crate::packed::PackedDirection;
use crate::scalar::Scalar;

/// About so many packed rows at once.
const BLOCK: usize = 256;

/// The gates of a block of steps of some sequences.
pub(crate) struct Recompute<'a, T> {
    weights: &'a PackedDirection<T>,
    /// `[room][panels][4][lanes]` and `[room][hidden padded]`.
    gates: Buffer<T>,
    tanh: Buffer<T>,
    /// `[sequences][hidden padded]`: what a step writes besides, and nobody reads.
    cells: Buffer<T>,
    out: Buffer<T>,
    /// The block, and the first row of each of its steps.
    steps: Range<usize>,
    rows: Vec<usize>,
}

impl<'a, T: Scalar> Recompute<'a, T> {
    pub fn new(
        pass: &BackwardPass<T>,
        weights: &'a PackedDirection<T>,
        share: &Range<usize>,
    ) -> Self {
        let width = pass.sizes.hidden_padded::<T>();
        let room = BLOCK.max(share.len());
        let buffer = |len: usize| Buffer::uninit(pass.context.allocator, len);
        Recompute {
            weights,
            gates: buffer(room * 4 * width),
            tanh: buffer(room * width),
            cells: buffer(share.len() * width),
            out: buffer(share.len() * width),
            steps: 0..0,
            rows: Vec::new(),
        }
    }

    /// The gates of this step's sequences and the tanh of their cell states; asked for from
    /// the last step to the first.
    pub fn step<'s>(
        &'s mut self,
        pass: &BackwardPass<T>,
        direction: &Direction<T>,
        step: usize,
        share: &Range<usize>,
    ) -> (SharedSlice<'s, T>, SharedSlice<'s, T>) {
        if !self.steps.contains(&step) {
            self.block(pass, direction, step, share);
        }
        let width = pass.sizes.hidden_padded::<T>();
        let row = self.rows[step - self.steps.start];
        let rows = pass.plan.active_in(share, step);
        (
            (self.gates.shared()).part(row * 4 * width, rows * 4 * width),
            self.tanh.shared().part(row * width, rows * width),
        )
    }

    /// Computes the steps up to this one, as many as there is room for.
    fn block(
        &mut self,
        pass: &BackwardPass<T>,
        direction: &Direction<T>,
        last: usize,
        share: &Range<usize>,
    ) {
        let (plan, sizes, saved) = (pass.plan, &pass.sizes, &direction.saved);
        let hidden_padded = sizes.hidden_padded::<T>();
        let output_padded = sizes.output_padded::<T>();
        let active = |step: usize| plan.active_in(share, step);
        let (mut first, mut count) = (last, active(last));
        while first > 0 && count + active(first - 1) <= BLOCK {
            first -= 1;
            count += active(first);
        }
        self.steps = first..last + 1;
        self.rows.clear();
        let (gates, tanh) = (self.gates.shared(), self.tanh.shared());
        let mut inputs = Vec::with_capacity(count);
        for step in self.steps.clone() {
            self.rows.push(inputs.len());
            for slot in share.start..share.start + active(step) {
                let time = plan.time_of(step, slot, direction.number == 1);
                let input = pass.input.row(time, plan.order[slot]);
                let row = inputs.len() * 4 * hidden_padded;
                inputs.push((input.as_ptr(), gates.at(row, 4 * hidden_padded)));
            }
        }
        let (ih, hh) = (self.weights.ih.view(), self.weights.hh.view());
        // SAFETY: `PackedDirection::new` writes all of the bias.
        let bias = unsafe { self.weights.bias.as_slice() };
        let product = InputProduct {
            weights: ih,
            panels: 0..ih.panels,
            rows: &inputs,
            bias: bias.as_ptr(),
        };
        // SAFETY: the kernels are this machine's, the inputs have the input's size, and the
        // gates, which are this block's alone, a row for each.
        unsafe { (T::kernels().input_product)(&product) };
        for (step, &row) in self.steps.clone().zip(&self.rows) {
            let rows = active(step);
            let before = plan.before(step) + share.start;
            let packed_row = plan.starts[step] + share.start;
            let mask = |mask: &[T]| match mask.is_empty() {
                true => std::ptr::null(),
                false => mask[packed_row * hidden_padded..][..rows * hidden_padded].as_ptr(),
            };
            let of_gates = gates.at(row * 4 * hidden_padded, rows * 4 * hidden_padded);
            let gate_step = GateStep {
                weights: hh,
                panels: 0..hh.panels,
                rows,
                last_panel_first: false,
                hidden: match step == 0 && direction.from_zeros {
                    true => std::ptr::null(),
                    false => {
                        saved.read()[before * output_padded..][..rows * output_padded].as_ptr()
                    }
                },
                stride: output_padded,
                sums: of_gates,
                cells_before: saved.cells[before * hidden_padded..][..rows * hidden_padded]
                    .as_ptr(),
                cells_after: self.cells.shared().at(0, rows * hidden_padded),
                out: self.out.shared().at(0, rows * hidden_padded),
                gates: of_gates,
                tanh: tanh.at(row * hidden_padded, rows * hidden_padded),
                masks: Masks {
                    candidate: mask(saved.masks.candidate),
                    cell: mask(saved.masks.cell),
                },
            };
            // SAFETY: the kernels are this machine's, and everything has so many rows; what
            // is written is this block's alone.
            unsafe { (T::kernels().gate_step)(&gate_step) };
        }
    }
}
