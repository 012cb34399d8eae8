//! The gradients of the weights and of the input, from those of all steps' sums, as a few
//! large products. Columns that fill no register are products of their own, so that
//! nothing is multiplied with padding.

use std::ops::Range;

use super::backward::{Backward, Direction};
use super::buffer::{Ptr, Shared};
use super::lanes::Real;
use super::layer::Sizes;
use super::product::{Left, for_tiles, product, rows_of};
use super::threads::{at_once, worth};
use super::tile::{Start, Tile, VECTORS};
use super::weights::{Across, BLOCK, Read, portions, transposed, weights};

/// A piece of the work behind the last step.
enum Piece<'d, 'a, T> {
    /// Rows of those of `W_ih` and `W_hh`.
    Gates(&'d Direction<'a, T>, Range<usize>),
    /// Rows of that of `W_hr`.
    Projection(&'d Direction<'a, T>, Range<usize>),
    /// Of the biases, and what is left of the others.
    Rest(&'d Direction<'a, T>),
    /// Of the input of these texts.
    Texts(Range<usize>),
}

impl<T: Real> Backward<'_, T> {
    /// Writes every gradient of weights, biases and the input that is not null.
    ///
    /// # Safety
    ///
    /// As of [`run`](Self::run), behind the last step.
    pub unsafe fn gradients(&self, directions: &[Direction<T>]) {
        let mut pieces = Vec::new();
        let parts = worth(self.plan, &self.sizes);
        for of in directions {
            let to = of.gradients;
            if !(to.ih.is_null() && to.hh.is_null()) {
                let rows = portions::<T>(4 * self.sizes.hidden, parts).into_iter();
                pieces.extend(rows.map(|rows| Piece::Gates(of, rows)));
            }
            if !to.hr.is_null() {
                let rows = portions::<T>(self.sizes.output, parts).into_iter();
                pieces.extend(rows.map(|rows| Piece::Projection(of, rows)));
            }
            pieces.push(Piece::Rest(of));
        }
        if !self.d_input.at.is_null() {
            pieces.extend(self.plan.shares(4 * parts).into_iter().map(Piece::Texts));
        }
        let this = Shared(self);
        // SAFETY: as the caller says; each piece writes to what no other one does.
        let run = |piece: &Piece<T>| unsafe {
            match piece {
                Piece::Gates(of, rows) => this.get().of_gates(of, rows.clone()),
                Piece::Projection(of, rows) => this.get().of_projection(of, rows.clone()),
                Piece::Rest(of) => this.get().rest(of),
                Piece::Texts(share) => this.get().input(directions, share.clone()),
            }
        };
        match parts * directions.len() {
            1 => pieces.iter().for_each(run),
            _ => at_once(&pieces, run),
        }
    }

    /// What each token reads.
    fn inputs(&self, of: &Direction<T>) -> Vec<*const T> {
        let plan = self.plan;
        let mut inputs = Vec::with_capacity(plan.tokens());
        for step in 0..plan.steps() {
            for n in 0..plan.reading(step) {
                let when = plan.when(step, n, of.number == 1);
                // SAFETY: the text has this step.
                inputs.push(unsafe { self.input.row(when, plan.order[n]) }.cast_const());
            }
        }
        inputs
    }

    /// The hidden state that each token's gates read.
    fn states(&self, of: &Direction<T>) -> Vec<*const T> {
        let (plan, wide) = (self.plan, self.sizes.wide_output::<T>());
        let read = of.memory.read().at::<T>();
        let rows = (0..plan.steps()).flat_map(|step| {
            let first = plan.before(step);
            first..first + plan.reading(step)
        });
        // SAFETY: there are rows of all of these.
        rows.map(|row| unsafe { read.add(row * wide) }.cast_const())
            .collect()
    }

    /// The gradients of these rows of `W_ih` and `W_hh`.
    unsafe fn of_gates(&self, of: &Direction<T>, rows: Range<usize>) {
        let (plan, sizes, to) = (self.plan, &self.sizes, of.gradients);
        let (hidden, wide) = (sizes.hidden, sizes.wide::<T>());
        let left = Across {
            at: of.d_gates.at::<T>(),
            width: 4 * wide,
            place: |row: usize| row / hidden * wide + row % hidden,
        };
        // Of states of zeros there is no gradient.
        let first = match of.from_zeros && plan.steps() > 0 {
            true => plan.reading(0),
            false => 0,
        };
        let mut read = Vec::new();
        if !to.ih.is_null() {
            read.push(Read::new(self.inputs(of), 0, to.ih, sizes.input));
        }
        if !to.hh.is_null() {
            read.push(Read::new(self.states(of), first, to.hh, sizes.output));
        }
        // SAFETY: as the caller of `run` says.
        unsafe { weights(left, plan.tokens(), read, rows) };
    }

    /// The gradient of these rows of `W_hr`.
    unsafe fn of_projection(&self, of: &Direction<T>, rows: Range<usize>) {
        let (tokens, wide) = (self.plan.tokens(), self.sizes.wide::<T>());
        let left = Across {
            at: of.d_projected.at::<T>(),
            width: self.sizes.wide_output::<T>(),
            place: |row| row,
        };
        // SAFETY: as the caller of `run` says.
        unsafe {
            let out = of.memory.out.at::<T>();
            let out = |token: usize| out.add(token * wide).cast_const();
            let out = (0..tokens).map(out).collect();
            let read = Read::new(out, 0, of.gradients.hr, self.sizes.hidden);
            weights(left, tokens, vec![read], rows);
        }
    }

    /// The gradients of the columns of weights behind the last whole register, and of the
    /// biases: of as many rows of a transposed product, whose left side has them, and ones.
    unsafe fn rest(&self, of: &Direction<T>) {
        let Sizes {
            input,
            hidden,
            output,
            ..
        } = self.sizes;
        let (wide, wide_output) = (self.sizes.wide::<T>(), self.sizes.wide_output::<T>());
        let (to, tokens) = (of.gradients, self.plan.tokens());
        let rest = |there: Ptr<T>, columns: usize| match there.is_null() {
            true => columns..columns,
            false => columns / T::kernels().lanes * T::kernels().lanes..columns,
        };
        // SAFETY: as the caller of `run` says.
        unsafe {
            let (of_ih, of_hh) = (rest(to.ih, input), rest(to.hh, output));
            let biases = [to.b_ih, to.b_hh];
            let ones = biases.iter().any(|bias| !bias.is_null());
            let rows = of_ih.len() + of_hh.len() + usize::from(ones);
            let (inputs, states) = (self.inputs(of), self.states(of));
            let left = |row: usize, token: usize| {
                let hh = row.wrapping_sub(of_ih.len());
                if row < of_ih.len() {
                    *inputs[token].add(of_ih.start + row)
                } else if hh < of_hh.len() {
                    *states[token].add(of_hh.start + hh)
                } else {
                    T::ONE
                }
            };
            let right = of.d_gates.at::<T>();
            let sums = transposed(rows, tokens, left, (right, 4 * wide));
            for (row, sums) in sums.chunks(4 * wide).enumerate() {
                let sums = |n: usize| sums[n / hidden * wide + n % hidden];
                let hh = row.wrapping_sub(of_ih.len());
                if row < of_ih.len() {
                    let to = to.ih.add(of_ih.start + row);
                    (0..4 * hidden).for_each(|n| to.add(n * input).write(sums(n)));
                } else if hh < of_hh.len() {
                    let to = to.hh.add(of_hh.start + hh);
                    (0..4 * hidden).for_each(|n| to.add(n * output).write(sums(n)));
                } else {
                    for bias in biases.iter().filter(|bias| !bias.is_null()) {
                        (0..4 * hidden).for_each(|n| bias.add(n).write(sums(n)));
                    }
                }
            }

            let of_hr = rest(to.hr, hidden);
            let out = of.memory.out.at::<T>();
            let left = |row: usize, token: usize| *out.add(token * wide + of_hr.start + row);
            let right = of.d_projected.at::<T>();
            let sums = transposed(of_hr.len(), tokens, left, (right, wide_output));
            for (row, sums) in sums.chunks(wide_output).enumerate() {
                let to = to.hr.add(of_hr.start + row);
                (0..output).for_each(|n| to.add(n * hidden).write(sums[n]));
            }
        }
    }

    /// What the directions say of the input of these texts.
    unsafe fn input(&self, directions: &[Direction<T>], share: Range<usize>) {
        let (plan, sizes) = (self.plan, &self.sizes);
        let wide = sizes.wide::<T>();
        let kernels = T::kernels();
        let whole = sizes.input / kernels.lanes * kernels.lanes;
        for place in share.clone() {
            for when in plan.lengths[place]..plan.time {
                // SAFETY: a row of these texts.
                unsafe { self.d_input.clear(when, plan.order[place], 0..sizes.input) };
            }
        }
        for of in directions {
            let Some(ih) = &of.ih else { continue };
            let add = of.number > 0;
            let mut tokens: Vec<(*const T, *mut T)> = Vec::with_capacity(BLOCK);
            // SAFETY: as the caller of `run` says.
            let flush = |tokens: &mut Vec<(*const T, *mut T)>| unsafe {
                let row = |n: usize| tokens[n].0;
                let left = Left { row, step: 1 };
                product(tokens.len(), left, &ih.whole, |n| tokens[n].1, add);
                for column in (whole..sizes.input).step_by(VECTORS) {
                    let columns = VECTORS.min(sizes.input - column);
                    for_tiles(kernels, tokens.len(), |first, count| {
                        (kernels.dots)(&Tile {
                            rows: count,
                            vectors: columns,
                            depth: 4 * wide,
                            a: rows_of(first, count, row),
                            a_step: 1,
                            b: ih.rest.at::<T>().add((column - whole) * 4 * wide),
                            b_step: 4 * wide,
                            c: rows_of(first, count, |n| tokens[n].1.add(column)),
                            c_step: 1,
                            start: if add { Start::There } else { Start::Zero },
                        });
                    });
                }
                tokens.clear();
            };
            for step in 0..plan.lengths[share.start] {
                for place in share.start..share.end.min(plan.reading(step)) {
                    let when = plan.when(step, place, of.number == 1);
                    let token = plan.starts[step] + place;
                    // SAFETY: as above.
                    unsafe {
                        let to = self.d_input.row(when, plan.order[place]);
                        tokens.push((of.d_gates.at::<T>().add(token * 4 * wide), to));
                    }
                    if tokens.len() == BLOCK {
                        flush(&mut tokens);
                    }
                }
            }
            flush(&mut tokens);
        }
    }
}
