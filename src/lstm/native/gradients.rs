//! The gradients of the weights and of the input, from those of all steps' sums, as a few
//! large products. Columns that fill no register are products of their own, so that
//! nothing is multiplied with padding.

use std::ops::Range;

use super::backward::{Backward, Direction, add_to};
use super::forward::{Shared, copy};
use super::lanes::Real;
use super::layer::{Sizes, Weights};
use super::product::{Buffer, Left, Panels, Ptr, for_tiles, product, rows_of};
use super::threads::{at_once, worth};
use super::tile::{Start, Tile, VECTORS};

/// So many tokens are summed up at once.
pub(super) const BLOCK: usize = 384;

/// So many rows of a weight's gradient are made of one copy of their numbers, in which the
/// tokens lie near each other. Among the gates' gradients they are a power of two apart,
/// most often, so that few of them can be in a cache at once.
const GROUP: usize = 96;

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

/// `left^T right`, summed over all tokens, for some rows, and of everything that the tokens
/// read the columns of whole registers.
///
/// # Safety
///
/// They lead to so many numbers, and these rows are nobody else's.
unsafe fn weights<T: Real>(
    left: Across<T, impl Fn(usize) -> usize>,
    tokens: usize,
    mut read: Vec<Read<T>>,
    rows: Range<usize>,
) {
    // The rows of each group, and where they stand among a token's numbers.
    let groups = rows.clone().step_by(GROUP).map(|first| {
        let rows = first..rows.end.min(first + GROUP);
        let places = (left.place)(first)..(left.place)(rows.end - 1) + 1;
        (rows, places)
    });
    let groups: Vec<(Range<usize>, Range<usize>)> = groups.collect();
    let widest = groups.iter().map(|(_, places)| places.len()).max();
    let near = Buffer::raw::<T>(tokens.min(BLOCK) * widest.unwrap_or(0));
    for block in (0..tokens.max(1)).step_by(BLOCK) {
        let block = block..tokens.min(block + BLOCK);
        // SAFETY: as the caller says.
        unsafe {
            for read in &mut read {
                read.fill(&block);
            }
            for (rows, places) in &groups {
                let near = near.at::<T>();
                for (n, token) in block.clone().enumerate() {
                    let from = left.at.add(token * left.width + places.start);
                    copy(from, near.add(n * places.len()), places.len());
                }
                for read in &read {
                    let skipped = block.len() - read.panels.depth();
                    let row = |n: usize| {
                        let place = (left.place)(rows.start + n) - places.start;
                        let to = skipped * places.len() + place;
                        near.0.wrapping_add(to).cast_const()
                    };
                    let left = Left {
                        row,
                        step: places.len(),
                    };
                    let to = |n: usize| read.to.add((rows.start + n) * read.width);
                    let add = block.start > read.first;
                    product(rows.len(), left, &read.panels, to, add);
                }
            }
        }
    }
}

/// `left right`, summed over all tokens, of which `left(row, token)` has a number and
/// `right` a row of so many, whole registers of them.
///
/// # Safety
///
/// `right` leads to so many rows.
unsafe fn transposed<T: Real>(
    rows: usize,
    tokens: usize,
    left: impl Fn(usize, usize) -> T,
    (right, width): (Ptr<T>, usize),
) -> Vec<T> {
    let kernels = T::kernels();
    let mut sums = vec![T::default(); rows * width];
    let mut parts = vec![T::default(); rows * width];
    let part = Ptr(parts.as_mut_ptr());
    let mut numbers = vec![T::default(); rows * BLOCK];
    // The sum of sums of blocks: of biases there may be very many numbers of one sign.
    for first in (0..if rows == 0 { 0 } else { tokens }).step_by(BLOCK) {
        let count = BLOCK.min(tokens - first);
        for (row, numbers) in numbers.chunks_mut(BLOCK).enumerate() {
            for (n, number) in numbers[..count].iter_mut().enumerate() {
                *number = left(row, first + n);
            }
        }
        for column in (0..width).step_by(VECTORS * kernels.lanes) {
            let wide = (width - column).min(VECTORS * kernels.lanes);
            for_tiles(kernels, rows, |row, tile| {
                // SAFETY: as the caller says.
                unsafe {
                    (kernels.tile)(&Tile {
                        rows: tile,
                        vectors: wide / kernels.lanes,
                        depth: count,
                        a: rows_of(row, tile, |n| numbers[n * BLOCK..].as_ptr()),
                        a_step: 1,
                        b: right.add(first * width + column).cast_const(),
                        b_step: width,
                        c: rows_of(row, tile, |n| part.add(n * width + column)),
                        c_step: kernels.lanes,
                        start: Start::Zero,
                    });
                }
            });
        }
        add_to(&mut sums, &parts);
    }
    sums
}

/// `W_ih` as the input's gradient reads it.
pub(super) struct Split {
    /// `[4 * wide, I]`, without the columns behind the last whole register.
    whole: Panels,
    /// These, `[columns][4][wide]`.
    rest: Buffer,
}

impl Split {
    /// # Safety
    ///
    /// The weight is of these sizes.
    pub unsafe fn new<T: Real>(ih: Ptr<T>, sizes: &Sizes) -> Split {
        let (wide, columns) = (sizes.wide::<T>(), sizes.input);
        let whole = columns / T::kernels().lanes * T::kernels().lanes;
        let rest = Buffer::raw::<T>((columns - whole) * 4 * wide);
        // SAFETY: as the caller says; the buffer has so many numbers.
        unsafe {
            let row = |n: usize| Weights::row(ih, columns, sizes, n);
            for n in 0..4 * wide {
                for column in whole..columns {
                    let number = match row(n).is_null() {
                        true => T::default(),
                        false => *row(n).add(column),
                    };
                    let place = (column - whole) * 4 * wide + n;
                    rest.at::<T>().add(place).write(number);
                }
            }
            let whole = Panels::of_rows(4 * wide, whole, row);
            Split { whole, rest }
        }
    }
}

/// Rows of the transpose of a matrix that has a row of each token.
struct Across<T, P> {
    at: Ptr<T>,
    /// From a token's numbers to the next one's.
    width: usize,
    /// Where among a token's numbers that of a row stands, in the order of rows.
    place: P,
}

/// What tokens read through a weight, whose gradient it makes.
struct Read<T> {
    /// Of each token.
    from: Vec<*const T>,
    /// The tokens before this one read nothing but zeros.
    first: usize,
    to: Ptr<T>,
    /// Numbers in a row of the gradient.
    width: usize,
    /// Of a block of tokens.
    panels: Panels,
}

impl<T: Real> Read<T> {
    fn new(from: Vec<*const T>, first: usize, to: Ptr<T>, width: usize) -> Read<T> {
        let lanes = T::kernels().lanes;
        let panels = Panels::new::<T>(from.len().min(BLOCK), width / lanes * lanes);
        Read {
            from,
            first,
            to,
            width,
            panels,
        }
    }

    /// Packs what these tokens read, but zeros.
    unsafe fn fill(&mut self, block: &Range<usize>) {
        let block = block.start.max(self.first).min(block.end)..block.end;
        let columns = self.panels.width;
        // SAFETY: each token reads so many numbers.
        unsafe {
            self.panels
                .refill(block.len(), columns, |n| self.from[block.start + n])
        };
    }
}

/// Rows in portions for so many threads, all but the last in whole tiles. Each thread reads
/// its part of the gates' gradients, which are much more than a cache holds, but all of the
/// other side, which is less.
fn portions<T: Real>(rows: usize, threads: usize) -> Vec<Range<usize>> {
    let portion = match threads {
        1 => rows,
        _ => rows.div_ceil(threads).next_multiple_of(T::kernels().rows),
    };
    let firsts = (0..rows).step_by(portion.max(1));
    firsts
        .map(|first| first..rows.min(first + portion))
        .collect()
}
