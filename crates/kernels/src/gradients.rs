//! The gradients of the weights and of the input, from those of all steps' sums, as a few
//! large products. Columns that fill no register are products of their own, so that
//! nothing is multiplied with padding.

use std::ops::Range;

use crate::backward::{BackwardPass, Direction};
use crate::layer::{LayerSizes, SplitWeight, gate_row};
use crate::memory::{Buffer, SharedSlice};
use crate::microkernel::{MAX_NR, Microkernel, Start};
use crate::parallel::{parallel_for, worth};
use crate::pool::Context;
use crate::product::{Lhs, Panels, for_tiles, product, tile_rows};
use crate::scalar::Scalar;
use crate::weight_gradients::{
    BLOCK, TransposedLhs, WeightInput, portions, row_sums, weight_gradients,
};

/// A piece of the work behind the last step.
enum Piece<'d, 'a, T> {
    /// Rows of the gradients of `W_ih` and `W_hh`.
    Gates(&'d Direction<'a, T>, Range<usize>),
    /// Rows of that of `W_hr`.
    Projection(&'d Direction<'a, T>, Range<usize>),
    /// Those of the biases, and what is left of the others.
    Rest(&'d Direction<'a, T>),
    /// That of the input of these slots.
    Input(Range<usize>),
}

impl<T: Scalar> SplitWeight<T> {
    /// Of `W_ih`, `[4 H, I]`.
    pub fn new(context: &Context, ih: &[T], sizes: &LayerSizes) -> SplitWeight<T> {
        let (width, columns) = (4 * sizes.hidden_padded::<T>(), sizes.input);
        let whole = columns / T::kernels().lanes * T::kernels().lanes;
        let mut rest = Buffer::uninit(context.allocator, (columns - whole) * width);
        let to = rest.shared();
        let row = |n: usize| gate_row(ih, columns, sizes, n);
        for n in 0..width {
            for column in whole..columns {
                let element = row(n).map_or(T::default(), |row| row[column]);
                // SAFETY: the buffer is nobody else's yet.
                unsafe { to.fill((column - whole) * width + n, 1, element) };
            }
        }
        SplitWeight {
            whole: Panels::of_rows(context, width, whole, row),
            rest,
        }
    }
}

impl<T: Scalar> BackwardPass<'_, T> {
    /// Writes every gradient of weights, biases and the input that is wanted.
    ///
    /// # Safety
    ///
    /// All steps of all directions are done, and nobody else uses them.
    pub unsafe fn gradients(&self, directions: &[Direction<T>]) {
        let mut pieces = Vec::new();
        let parts = worth(&self.context, self.plan, &self.sizes);
        for of in directions {
            let to = &of.gradients;
            if to.ih.is_some() || to.hh.is_some() {
                let rows = portions::<T>(4 * self.sizes.hidden, parts).into_iter();
                pieces.extend(rows.map(|rows| Piece::Gates(of, rows)));
            }
            if to.hr.is_some() {
                let rows = portions::<T>(self.sizes.output(), parts).into_iter();
                pieces.extend(rows.map(|rows| Piece::Projection(of, rows)));
            }
            pieces.push(Piece::Rest(of));
        }
        if self.d_input.is_some() {
            pieces.extend(self.plan.shares(4 * parts).into_iter().map(Piece::Input));
        }
        // SAFETY: each piece writes to what no other one does, and the steps are done.
        let run = |piece: &Piece<T>| unsafe {
            match piece {
                Piece::Gates(of, rows) => self.of_gates(of, rows.clone()),
                Piece::Projection(of, rows) => self.of_projection(of, rows.clone()),
                Piece::Rest(of) => self.rest(of),
                Piece::Input(share) => self.of_input(directions, share.clone()),
            }
        };
        match parts * directions.len() {
            1 => pieces.iter().for_each(run),
            _ => parallel_for(&self.context, &pieces, run),
        }
    }

    /// What each packed row reads of the input.
    fn inputs(&self, of: &Direction<T>) -> Vec<&[T]> {
        let plan = self.plan;
        let mut inputs = Vec::with_capacity(plan.packed_rows());
        for step in 0..plan.steps() {
            for slot in 0..plan.active(step) {
                let time = plan.time_of(step, slot, of.number == 1);
                inputs.push(self.input.row(time, plan.order[slot]));
            }
        }
        inputs
    }

    /// The hidden state that each packed row's gates read.
    fn states<'d>(&self, of: &Direction<'d, T>) -> Vec<&'d [T]> {
        let (plan, width) = (self.plan, self.sizes.output_padded::<T>());
        let read = of.saved.read();
        let rows = (0..plan.steps()).flat_map(|step| {
            let first = plan.before(step);
            first..first + plan.active(step)
        });
        rows.map(|row| &read[row * width..][..width]).collect()
    }

    /// The gradients of the gates' sums, all of them.
    ///
    /// # Safety
    ///
    /// All steps are done.
    unsafe fn d_gates<'d>(&self, of: &Direction<'d, T>) -> &'d [T] {
        let width = 4 * self.sizes.hidden_padded::<T>();
        // SAFETY: the steps wrote all rows.
        unsafe { of.d_gates.slice(0, self.plan.packed_rows() * width) }
    }

    /// Writes the gradients of these rows of `W_ih` and `W_hh`.
    ///
    /// # Safety
    ///
    /// All steps are done, and nobody else uses these rows.
    unsafe fn of_gates(&self, of: &Direction<T>, rows: Range<usize>) {
        let (plan, sizes, to) = (self.plan, &self.sizes, &of.gradients);
        let (hidden, hidden_padded) = (sizes.hidden, sizes.hidden_padded::<T>());
        let lhs = TransposedLhs {
            // SAFETY: all steps are done.
            rows: unsafe { self.d_gates(of) },
            width: 4 * hidden_padded,
            place: |row: usize| row / hidden * hidden_padded + row % hidden,
        };
        // Of states of zeros there is no gradient.
        let first = match of.from_zeros && plan.steps() > 0 {
            true => plan.active(0),
            false => 0,
        };
        let mut inputs = Vec::new();
        if let Some(to) = to.ih {
            let from = self.inputs(of);
            inputs.push(WeightInput::new(&self.context, from, 0, to, sizes.input));
        }
        if let Some(to) = to.hh {
            let from = self.states(of);
            let input = WeightInput::new(&self.context, from, first, to, sizes.output());
            inputs.push(input);
        }
        // SAFETY: these rows of the gradients are the caller's.
        unsafe { weight_gradients(&self.context, lhs, plan.packed_rows(), inputs, rows) };
    }

    /// Writes the gradient of these rows of `W_hr`.
    ///
    /// # Safety
    ///
    /// All steps are done, and nobody else uses these rows.
    unsafe fn of_projection(&self, of: &Direction<T>, rows: Range<usize>) {
        let Some(to) = of.gradients.hr else { return };
        let packed_rows = self.plan.packed_rows();
        let width = self.sizes.output_padded::<T>();
        let lhs = TransposedLhs {
            // SAFETY: the steps wrote all rows.
            rows: unsafe { of.d_projected.slice(0, packed_rows * width) },
            width,
            place: |row| row,
        };
        let out = of.saved.out.chunks(self.sizes.hidden_padded::<T>());
        let from = out.collect();
        let input = WeightInput::new(&self.context, from, 0, to, self.sizes.hidden);
        // SAFETY: these rows of the gradient are the caller's.
        unsafe { weight_gradients(&self.context, lhs, packed_rows, vec![input], rows) };
    }

    /// Writes the gradients of the columns of weights behind the last whole register, and of
    /// the biases: of as many rows of a transposed product, whose left side has them, and
    /// ones.
    ///
    /// # Safety
    ///
    /// All steps are done, and nobody else uses these columns and biases.
    unsafe fn rest(&self, of: &Direction<T>) {
        let LayerSizes { input, hidden, .. } = self.sizes;
        let output = self.sizes.output();
        let hidden_padded = self.sizes.hidden_padded::<T>();
        let output_padded = self.sizes.output_padded::<T>();
        let (to, packed_rows) = (&of.gradients, self.plan.packed_rows());
        let lanes = T::kernels().lanes;
        let rest = |there: Option<SharedSlice<T>>, columns: usize| match there {
            None => columns..columns,
            Some(_) => columns / lanes * lanes..columns,
        };
        // SAFETY: element `[n, column]` of a gradient, which the caller has.
        let put = |to: SharedSlice<T>, columns: usize, column: usize, n: usize, x: T| unsafe {
            to.fill(n * columns + column, 1, x);
        };
        let (of_ih, of_hh) = (rest(to.ih, input), rest(to.hh, output));
        let ones = to.biases.iter().any(Option::is_some);
        let rows = of_ih.len() + of_hh.len() + usize::from(ones);
        let (inputs, states) = (self.inputs(of), self.states(of));
        let left = |row: usize, packed_row: usize| {
            let hh = row.wrapping_sub(of_ih.len());
            if row < of_ih.len() {
                inputs[packed_row][of_ih.start + row]
            } else if hh < of_hh.len() {
                states[packed_row][of_hh.start + hh]
            } else {
                T::ONE
            }
        };
        // SAFETY: all steps are done.
        let right = unsafe { self.d_gates(of) };
        let sums = row_sums(rows, packed_rows, left, (right, 4 * hidden_padded));
        for (row, sums) in sums.chunks(4 * hidden_padded).enumerate() {
            let sums = (0..4 * hidden).map(|n| sums[n / hidden * hidden_padded + n % hidden]);
            let hh = row.wrapping_sub(of_ih.len());
            match (to.ih, to.hh) {
                (Some(to), _) if row < of_ih.len() => sums
                    .enumerate()
                    .for_each(|(n, sum)| put(to, input, of_ih.start + row, n, sum)),
                (_, Some(to)) if hh < of_hh.len() => sums
                    .enumerate()
                    .for_each(|(n, sum)| put(to, output, of_hh.start + hh, n, sum)),
                _ => {
                    let sums: Vec<T> = sums.collect();
                    for bias in to.biases.iter().flatten() {
                        // SAFETY: the biases are the caller's.
                        unsafe { bias.write(0, &sums) };
                    }
                }
            }
        }

        let Some(to) = to.hr else { return };
        let of_hr = rest(Some(to), hidden);
        let out = of.saved.out;
        let left = |row: usize, n: usize| out[n * hidden_padded + of_hr.start + row];
        // SAFETY: the steps wrote all rows.
        let right = unsafe { of.d_projected.slice(0, packed_rows * output_padded) };
        let sums = row_sums(of_hr.len(), packed_rows, left, (right, output_padded));
        for (row, sums) in sums.chunks(output_padded).enumerate() {
            for (n, &sum) in sums[..output].iter().enumerate() {
                put(to, hidden, of_hr.start + row, n, sum);
            }
        }
    }

    /// Writes what the directions say of the input of these slots.
    ///
    /// # Safety
    ///
    /// All steps are done, and nobody else uses the gradient of these sequences' inputs.
    unsafe fn of_input(&self, directions: &[Direction<T>], share: Range<usize>) {
        let (plan, sizes) = (self.plan, &self.sizes);
        let Some(d_input) = self.d_input else { return };
        for slot in share.clone() {
            for time in plan.lengths[slot]..plan.time {
                // SAFETY: a row of these sequences.
                unsafe { d_input.clear(time, plan.order[slot], 0..sizes.input) };
            }
        }
        let width = 4 * sizes.hidden_padded::<T>();
        for of in directions {
            let Some(ih) = &of.ih else { continue };
            let add = of.number > 0;
            let mut rows: Vec<(*const T, *mut T)> = Vec::with_capacity(BLOCK);
            for step in 0..plan.lengths[share.start] {
                for slot in share.start..share.end.min(plan.active(step)) {
                    let time = plan.time_of(step, slot, of.number == 1);
                    let from = of.d_gates.at((plan.starts[step] + slot) * width, width);
                    let to = d_input.row(time, plan.order[slot], 0..sizes.input);
                    rows.push((from.cast_const(), to));
                    if rows.len() == BLOCK {
                        // SAFETY: rows of all gates, and of the input of these sequences.
                        unsafe { input_gradients(&rows, ih, sizes, add) };
                        rows.clear();
                    }
                }
            }
            // SAFETY: rows of all gates, and of the input of these sequences.
            unsafe { input_gradients(&rows, ih, sizes, add) };
        }
    }
}

/// From the gradients of gates to those of the input, for rows of both.
///
/// # Safety
///
/// The first of each leads to `4 * hidden padded` elements that have been written, the second
/// to those of the input, which nobody else uses.
unsafe fn input_gradients<T: Scalar>(
    rows: &[(*const T, *mut T)],
    ih: &SplitWeight<T>,
    sizes: &LayerSizes,
    add: bool,
) {
    let kernels = T::kernels();
    let width = 4 * sizes.hidden_padded::<T>();
    let whole = sizes.input / kernels.lanes * kernels.lanes;
    let row = |n: usize| rows[n].0;
    let lhs = Lhs { row, stride: 1 };
    // SAFETY: the rows are as the caller says; of the input the whole registers are taken.
    unsafe { product(rows.len(), lhs, &ih.whole, |n| rows[n].1, add) };
    // SAFETY: `SplitWeight::new` writes all of them.
    let rest = unsafe { ih.rest.as_slice() };
    for column in (whole..sizes.input).step_by(MAX_NR) {
        let nr = MAX_NR.min(sizes.input - column);
        let b = rest[(column - whole) * width..][..nr * width].as_ptr();
        for_tiles(kernels, rows.len(), |first, mr| {
            let of = Microkernel {
                mr,
                nr,
                k: width,
                a: tile_rows(first, mr, row),
                a_stride: 1,
                b,
                b_stride: width,
                c: tile_rows(first, mr, |n| rows[n].1.wrapping_add(column)),
                c_stride: 1,
                start: if add { Start::Accumulate } else { Start::Zero },
            };
            // SAFETY: the kernels are this machine's; A and B have `width` elements, whole
            // registers, and these columns of the input are the caller's.
            unsafe { (kernels.dot_microkernel)(&of) };
        });
    }
}
