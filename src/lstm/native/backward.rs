//! The way back through a layer: step by step the slopes of the gates and one product
//! with `W_hh`, and afterwards the gradients of the weights and of the input as a few
//! large products.

use std::ops::Range;

use super::again::Again;
use super::forward::{OfGates, Shared, copy};
use super::isa::{Slopes, VECTORS};
use super::lanes::Real;
use super::layer::{Memory, Sequence, Sizes, Weights, present};
use super::plan::Plan;
use super::product::{Buffer, Left, Panels, Ptr, product};
use super::threads::{at_once, shares, worth};

/// So many tokens are summed up at once in a gradient of weights.
const BLOCK: usize = 256;

/// What the way back starts from and where its results go; each result may be null.
pub(super) struct Backward<'a, T> {
    pub plan: &'a Plan,
    pub sizes: Sizes,
    pub input: Sequence<T>,
    /// `[T, B, D*P]`, or nothing.
    pub d_output: Sequence<T>,
    /// `[D, B, P]`, contiguous, or null.
    pub d_h_end: Ptr<T>,
    /// `[D, B, H]`, contiguous, or null.
    pub d_c_end: Ptr<T>,
    /// `[T, B, I]`, zeros.
    pub d_input: Sequence<T>,
    pub d_h_start: Ptr<T>,
    pub d_c_start: Ptr<T>,
}

/// A direction, ready to run.
pub(super) struct Direction<'a, T> {
    pub number: usize,
    pub memory: &'a Memory,
    /// If the gates were not kept.
    again: Option<OfGates>,
    /// `[4 * wide, P]`, `[4 * wide, I]`, `[P, H]`.
    hh: Panels,
    ih: Option<Panels>,
    hr: Option<Panels>,
    /// `[tokens][4][wide]`.
    d_gates: Buffer,
    /// `[batch][wide output]`, `[batch][wide]`.
    d_hidden: Buffer,
    d_cell: Buffer,
    /// `[batch][wide]`: of what is projected.
    d_out: Buffer,
    /// `[tokens][wide output]`: of what comes out of the projection.
    d_projected: Buffer,
    /// `[batch][wide output]`: what zoneout carries past a step.
    past: Buffer,
    gradients: &'a Weights<T>,
}

// SAFETY: threads only read its fields, and write to rows of the memory of their own.
unsafe impl<T> Sync for Direction<'_, T> {}

/// A piece of the work behind the last step: a gradient, or some columns of one.
enum Piece<'d, 'a, T> {
    /// Of `W_ih`.
    Input(&'d Direction<'a, T>, Range<usize>),
    /// Of `W_hh`.
    Hidden(&'d Direction<'a, T>, Range<usize>),
    /// Of `W_hr`.
    Projection(&'d Direction<'a, T>, Range<usize>),
    Biases(&'d Direction<'a, T>),
    /// Of the input of these texts.
    Texts(Range<usize>),
}

impl<T: Real> Backward<'_, T> {
    /// Writes every gradient that is not null.
    ///
    /// # Safety
    ///
    /// The pointers lead to what the fields say, and the results are nobody else's.
    pub unsafe fn run(self, weights: &[Weights<T>], memory: &[Memory], gradients: &[Weights<T>]) {
        let shares = shares(self.plan, &self.sizes);
        let mut directions = Vec::new();
        for number in 0..weights.len() {
            let of = (&weights[number], &memory[number], &gradients[number]);
            // SAFETY: as the caller says.
            directions.push(unsafe { self.direction(number, of) });
        }
        let this = Shared(&self);
        let jobs = directions.iter().flat_map(|direction| {
            let shares = shares.iter().cloned();
            shares.map(move |share| (direction, share))
        });
        let jobs: Vec<_> = jobs.collect();
        // SAFETY: as the caller says; each share has texts of its own.
        at_once(&jobs, |(direction, share)| unsafe {
            this.get().share(direction, share.clone())
        });

        let mut pieces = Vec::new();
        let Sizes {
            input,
            output,
            hidden,
            ..
        } = self.sizes;
        let parts = worth(self.plan, &self.sizes);
        if !self.d_input.at.is_null() {
            pieces.extend(self.plan.shares(4 * parts).into_iter().map(Piece::Texts));
        }
        for of in &directions {
            let some = |there: Ptr<T>, count: usize| match there.is_null() {
                true => Vec::new(),
                false => columns::<T>(count, parts),
            };
            let to = of.gradients;
            pieces.extend(
                some(to.hh, output)
                    .into_iter()
                    .map(|c| Piece::Hidden(of, c)),
            );
            pieces.extend(some(to.ih, input).into_iter().map(|c| Piece::Input(of, c)));
            pieces.extend(
                some(to.hr, hidden)
                    .into_iter()
                    .map(|c| Piece::Projection(of, c)),
            );
            pieces.push(Piece::Biases(of));
        }
        let directions = Shared(&directions);
        // SAFETY: as the caller says; each piece writes to what no other one does.
        let run = |piece: &Piece<T>| unsafe {
            match piece {
                Piece::Input(of, columns) => this.get().of_input(of, columns.clone()),
                Piece::Hidden(of, columns) => this.get().of_hidden(of, columns.clone()),
                Piece::Projection(of, columns) => this.get().of_projection(of, columns.clone()),
                Piece::Biases(of) => this.get().biases(of),
                Piece::Texts(share) => {
                    for of in directions.get() {
                        this.get().input(of, share.clone());
                    }
                }
            }
        };
        match parts * weights.len() {
            1 => pieces.iter().for_each(run),
            _ => at_once(&pieces, run),
        }
    }

    unsafe fn direction<'m>(
        &self,
        number: usize,
        (weights, memory, gradients): (&Weights<T>, &'m Memory, &'m Weights<T>),
    ) -> Direction<'m, T> {
        let (plan, sizes) = (self.plan, &self.sizes);
        let (wide, wide_output) = (sizes.wide::<T>(), sizes.wide_output::<T>());
        let (batch, tokens) = (plan.batch(), plan.tokens());
        let some = |count: usize, there: bool| Buffer::raw::<T>(if there { count } else { 0 });
        let zoneout = memory.masks.hidden.tensor.numel() > 0;
        let (d_hidden, d_cell) = (
            Buffer::zeros::<T>(batch * wide_output),
            Buffer::zeros::<T>(batch * wide),
        );
        let (p, h) = (sizes.output, sizes.hidden);
        for (place, &text) in plan.order.iter().enumerate() {
            let row = number * batch + text;
            // SAFETY: the gradients of the ends have these rows.
            unsafe {
                if !self.d_h_end.is_null() {
                    let to = d_hidden.at::<T>().add(place * wide_output);
                    copy(self.d_h_end.add(row * p), to, p);
                }
                if !self.d_c_end.is_null() {
                    let to = d_cell.at::<T>().add(place * wide);
                    copy(self.d_c_end.add(row * h), to, h);
                }
            }
        }
        // SAFETY: the weights have these shapes.
        unsafe {
            let rows = |weight, columns| {
                Panels::of_rows(4 * wide, columns, |n| {
                    Weights::row(weight, columns, sizes, n)
                })
            };
            Direction {
                number,
                memory,
                again: (memory.gates.tensor.numel() == 0).then(|| weights.of_gates(sizes)),
                hh: rows(weights.hh, p),
                ih: (!self.d_input.at.is_null()).then(|| rows(weights.ih, sizes.input)),
                hr: (sizes.projected)
                    .then(|| Panels::of_rows(p, h, |n| weights.hr.add(n * h).cast_const())),
                d_gates: some(tokens * 4 * wide, true),
                d_hidden,
                d_cell,
                d_out: some(batch * wide, sizes.projected),
                d_projected: some(tokens * wide_output, sizes.projected),
                past: some(batch * wide_output, zoneout),
                gradients,
            }
        }
    }

    /// All steps of the texts in these places, the last first.
    unsafe fn share(&self, of: &Direction<T>, share: Range<usize>) {
        let plan = self.plan;
        let mut again = of
            .again
            .as_ref()
            .map(|gates| Again::new(self, gates, &share));
        for step in (0..plan.lengths[share.start]).rev() {
            let places = share.start..share.end.min(plan.reading(step));
            // SAFETY: as the caller of `run` says.
            unsafe {
                let made = match &mut again {
                    None => {
                        let token = plan.starts[step] + places.start;
                        let wide = self.sizes.wide::<T>();
                        let gates = of.memory.gates.at::<T>().add(token * 4 * wide);
                        (gates, of.memory.tanh.at::<T>().add(token * wide))
                    }
                    Some(again) => again.step(self, of, step, &share),
                };
                self.step(of, step, places, made);
            }
        }
        let (p, h) = (self.sizes.output, self.sizes.hidden);
        for place in share {
            let row = of.number * plan.batch() + plan.order[place];
            // SAFETY: rows of the texts of this share.
            unsafe {
                if !self.d_h_start.is_null() {
                    let from = of.d_hidden.at::<T>();
                    let from = from.add(place * self.sizes.wide_output::<T>());
                    copy(from, self.d_h_start.add(row * p), p);
                }
                if !self.d_c_start.is_null() {
                    let from = of.d_cell.at::<T>().add(place * self.sizes.wide::<T>());
                    copy(from, self.d_c_start.add(row * h), h);
                }
            }
        }
    }

    /// One step back; `made` are the gates of its texts and the tanh of their cell states.
    unsafe fn step(
        &self,
        of: &Direction<T>,
        step: usize,
        places: Range<usize>,
        made: (*mut T, *mut T),
    ) {
        let (plan, sizes, memory) = (self.plan, &self.sizes, of.memory);
        let (wide, wide_output) = (sizes.wide::<T>(), sizes.wide_output::<T>());
        let (first, count) = (places.start, places.len());
        let token = plan.starts[step] + first;
        // SAFETY: rows of the texts of this share, and nobody else's.
        unsafe {
            let d_hidden = of.d_hidden.at::<T>().add(first * wide_output);
            let d_cell = of.d_cell.at::<T>().add(first * wide);
            if !self.d_output.at.is_null() {
                for (n, place) in places.clone().enumerate() {
                    let when = plan.when(step, place, of.number == 1);
                    let from = self.d_output.row(when, plan.order[place]);
                    let from = from.add(of.number * sizes.output);
                    let from = std::slice::from_raw_parts(from, sizes.output);
                    let to = d_hidden.add(n * wide_output);
                    add_to(std::slice::from_raw_parts_mut(to, sizes.output), from);
                }
            }
            let past = present::<T>(&of.past).add(first * wide_output);
            if !past.is_null() {
                let new = memory.masks.hidden.at::<T>().add(token * wide_output);
                for n in 0..count * wide_output {
                    let d = *d_hidden.add(n);
                    *past.add(n) = (T::ONE - *new.add(n)) * d;
                    *d_hidden.add(n) = *new.add(n) * d;
                }
            }
            let d_out = match &of.hr {
                None => d_hidden,
                Some(hr) => {
                    let kept = of.d_projected.at::<T>().add(token * wide_output);
                    copy(d_hidden, kept, count * wide_output);
                    let d_out = of.d_out.at::<T>().add(first * wide);
                    let row = |n: usize| d_hidden.add(n * wide_output).cast_const();
                    let left = Left { row, step: 1 };
                    product(count, left, hr, |n| d_out.add(n * wide), false);
                    d_out
                }
            };
            let d_gates = of.d_gates.at::<T>().add(token * 4 * wide);
            (T::kernels().slopes)(&Slopes {
                rows: count,
                units: wide,
                gates: made.0,
                width: wide,
                before: memory
                    .cells
                    .at::<T>()
                    .add((plan.before(step) + first) * wide),
                tanh: made.1,
                d_out,
                d_cell,
                d_gates,
                masks: memory.masks.of(token, wide),
            });
            if step > 0
                && sizes
                    .truncate
                    .is_some_and(|block| step.is_multiple_of(block))
            {
                std::ptr::write_bytes(d_hidden, 0, count * wide_output);
                std::ptr::write_bytes(d_cell, 0, count * wide);
                return;
            }
            if step == 0 && self.d_h_start.is_null() {
                return;
            }
            let row = |n: usize| d_gates.add(n * 4 * wide).cast_const();
            let left = Left { row, step: 1 };
            product(
                count,
                left,
                &of.hh,
                |n| d_hidden.add(n * wide_output),
                false,
            );
            let mask = present::<T>(&memory.masks.recurrent).add(first * wide_output);
            for n in 0..if mask.is_null() {
                0
            } else {
                count * wide_output
            } {
                *d_hidden.add(n) = *d_hidden.add(n) * *mask.add(n);
            }
            for n in 0..if past.is_null() {
                0
            } else {
                count * wide_output
            } {
                *d_hidden.add(n) += *past.add(n);
            }
        }
    }

    /// The gradient of these columns of `W_ih`.
    unsafe fn of_input(&self, of: &Direction<T>, columns: Range<usize>) {
        let plan = self.plan;
        let mut inputs: Vec<*const T> = Vec::with_capacity(plan.tokens());
        for step in 0..plan.steps() {
            for n in 0..plan.reading(step) {
                let when = plan.when(step, n, of.number == 1);
                // SAFETY: the text has this step.
                inputs.push(unsafe { self.input.row(when, plan.order[n]) });
            }
        }
        let to = Part {
            at: of.gradients.ih,
            width: self.sizes.input,
            columns,
        };
        // SAFETY: as the caller of `run` says.
        unsafe { self.of_gates(of, |token| inputs[token], to) };
    }

    /// The gradient of these columns of `W_hh`.
    unsafe fn of_hidden(&self, of: &Direction<T>, columns: Range<usize>) {
        let (plan, wide) = (self.plan, self.sizes.wide_output::<T>());
        let read = match of.memory.read.tensor.numel() {
            0 => of.memory.hidden.at::<T>(),
            _ => of.memory.read.at::<T>(),
        };
        // The row of states that each token started from.
        let rows = (0..plan.steps()).flat_map(|step| {
            let first = plan.before(step);
            first..first + plan.reading(step)
        });
        let rows: Vec<usize> = rows.collect();
        let to = Part {
            at: of.gradients.hh,
            width: self.sizes.output,
            columns,
        };
        // SAFETY: as the caller of `run` says.
        unsafe { self.of_gates(of, |token| read.add(rows[token] * wide).cast_const(), to) };
    }

    /// The gradient of a weight `[4H, columns]` that `right` gives the tokens' numbers to.
    unsafe fn of_gates(&self, of: &Direction<T>, right: impl Fn(usize) -> *const T, to: Part<T>) {
        let wide = self.sizes.wide::<T>();
        let hidden = self.sizes.hidden;
        let d_gates = of.d_gates.at::<T>();
        // SAFETY: as the caller says.
        let left = |token: usize, row: usize| unsafe {
            let place = row / hidden * wide + row % hidden;
            d_gates.add(token * 4 * wide + place).cast_const()
        };
        // SAFETY: as the caller says.
        unsafe { self.weight(4 * hidden, (left, 4 * wide), right, to) };
    }

    /// The gradient of these columns of `W_hr`.
    unsafe fn of_projection(&self, of: &Direction<T>, columns: Range<usize>) {
        let (wide, wide_output) = (self.sizes.wide::<T>(), self.sizes.wide_output::<T>());
        let (d_projected, out) = (of.d_projected.at::<T>(), of.memory.out.at::<T>());
        // SAFETY: as the caller of `run` says.
        unsafe {
            let left =
                |token: usize, row: usize| d_projected.add(token * wide_output + row).cast_const();
            let right = |token: usize| out.add(token * wide).cast_const();
            let to = Part {
                at: of.gradients.hr,
                width: self.sizes.hidden,
                columns,
            };
            self.weight(self.sizes.output, (left, wide_output), right, to);
        }
    }

    /// The gradients of the biases.
    unsafe fn biases(&self, of: &Direction<T>) {
        let gradients = of.gradients;
        if gradients.b_ih.is_null() && gradients.b_hh.is_null() {
            return;
        }
        let (hidden, wide) = (self.sizes.hidden, self.sizes.wide::<T>());
        let tokens = self.plan.tokens();
        let mut sums = vec![T::default(); 4 * wide];
        let mut part = vec![T::default(); 4 * wide];
        // SAFETY: as the caller of `run` says.
        unsafe {
            for first in (0..tokens).step_by(BLOCK) {
                part.fill(T::default());
                for token in first..tokens.min(first + BLOCK) {
                    let d_gates = of.d_gates.at::<T>().add(token * 4 * wide);
                    add_to(&mut part, std::slice::from_raw_parts(d_gates, 4 * wide));
                }
                add_to(&mut sums, &part);
            }
            for row in 0..4 * hidden {
                for bias in [gradients.b_ih, gradients.b_hh] {
                    if !bias.is_null() {
                        bias.add(row)
                            .write(sums[row / hidden * wide + row % hidden]);
                    }
                }
            }
        }
    }

    /// `left^T right`, summed over all tokens, for so many rows and the columns of a part;
    /// `left` gives a row's number at a token, and the next token's is so many numbers on.
    unsafe fn weight(
        &self,
        rows: usize,
        (left, step): (impl Fn(usize, usize) -> *const T, usize),
        right: impl Fn(usize) -> *const T,
        to: Part<T>,
    ) {
        let tokens = self.plan.tokens();
        let (first_column, columns) = (to.columns.start, to.columns.len());
        // SAFETY: as the caller says.
        unsafe {
            let right = |token: usize| right(token).add(first_column);
            let mut panels = Panels::of_rows(tokens.min(BLOCK), columns, right);
            let sums = Buffer::zeros::<T>(rows * panels.width);
            let sums = sums.at::<T>();
            let width = panels.width;
            for first in (0..tokens).step_by(BLOCK) {
                let count = BLOCK.min(tokens - first);
                if first > 0 {
                    panels.refill(count, columns, |n| right(first + n));
                }
                let row = |row: usize| left(first, row);
                let c = |row: usize| sums.add(row * width);
                product(rows, Left { row, step }, &panels, c, true);
            }
            for row in 0..rows {
                let to = to.at.add(row * to.width + first_column);
                copy(sums.add(row * width), to, columns);
            }
        }
    }

    /// Adds what a direction says of the input of these texts.
    unsafe fn input(&self, of: &Direction<T>, share: Range<usize>) {
        let (plan, sizes) = (self.plan, &self.sizes);
        let wide = sizes.wide::<T>();
        let Some(ih) = &of.ih else { return };
        let rows = Buffer::raw::<T>(BLOCK * ih.width);
        let rows = rows.at::<T>();
        let mut tokens: Vec<(*const T, *mut T)> = Vec::with_capacity(BLOCK);
        // SAFETY: as the caller of `run` says.
        let flush = |tokens: &mut Vec<(*const T, *mut T)>| unsafe {
            let left = Left {
                row: |n: usize| tokens[n].0,
                step: 1,
            };
            product(tokens.len(), left, ih, |n| rows.add(n * ih.width), false);
            for (n, (_, to)) in tokens.iter().enumerate() {
                let from = std::slice::from_raw_parts(rows.add(n * ih.width), sizes.input);
                add_to(std::slice::from_raw_parts_mut(*to, sizes.input), from);
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

/// Some columns of a matrix, whose rows have `width` numbers.
struct Part<T> {
    at: Ptr<T>,
    width: usize,
    columns: Range<usize>,
}

/// The columns of a matrix in whole panels, for some threads in a few pieces for each.
fn columns<T: Real>(count: usize, threads: usize) -> Vec<Range<usize>> {
    let panel = VECTORS * T::kernels().lanes;
    let piece = match threads {
        1 => count,
        _ => count.div_ceil(4 * threads).next_multiple_of(panel),
    };
    let firsts = (0..count).step_by(piece.max(1));
    firsts
        .map(|first| first..count.min(first + piece))
        .collect()
}

fn add_to<T: Real>(to: &mut [T], from: &[T]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += *from;
    }
}
