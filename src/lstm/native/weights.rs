//! The gradients of weights: products in which the sum runs over all tokens.

use std::ops::Range;

use super::buffer::{Buffer, Ptr, add_to, copy};
use super::lanes::Real;
use super::product::{Left, Panels, for_tiles, product, rows_of};
use super::tile::{Start, Tile, VECTORS};

/// So many tokens are summed up at once.
pub(super) const BLOCK: usize = 384;

/// So many rows of a weight's gradient are made of one copy of their numbers, in which the
/// tokens lie near each other. Among the gates' gradients they are a power of two apart,
/// most often, so that few of them can be in a cache at once.
const GROUP: usize = 96;

/// Rows of the transpose of a matrix that has a row of each token.
pub(super) struct Across<T, P> {
    pub at: Ptr<T>,
    /// From a token's numbers to the next one's.
    pub width: usize,
    /// Where among a token's numbers that of a row stands, in the order of rows.
    pub place: P,
}

/// What tokens read through a weight, whose gradient it makes.
pub(super) struct Read<T> {
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
    pub fn new(from: Vec<*const T>, first: usize, to: Ptr<T>, width: usize) -> Read<T> {
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
        let first = self.first.clamp(block.start, block.end);
        let (from, columns) = (&self.from[first..block.end], self.panels.width);
        // SAFETY: each token reads so many numbers.
        unsafe { self.panels.refill(from.len(), columns, |n| from[n]) };
    }
}

/// Rows in portions for so many threads, all but the last in whole tiles. Each thread reads
/// its part of the gates' gradients, which are much more than a cache holds, but all of the
/// other side, which is less.
pub(super) fn portions<T: Real>(rows: usize, threads: usize) -> Vec<Range<usize>> {
    let portion = match threads {
        1 => rows,
        _ => rows.div_ceil(threads).next_multiple_of(T::kernels().rows),
    };
    let firsts = (0..rows).step_by(portion.max(1));
    firsts
        .map(|first| first..rows.min(first + portion))
        .collect()
}

/// `left^T right`, summed over all tokens, for some rows, and of everything that the tokens
/// read the columns of whole registers.
///
/// # Safety
///
/// They lead to so many numbers, and these rows are nobody else's.
pub(super) unsafe fn weights<T: Real>(
    left: Across<T, impl Fn(usize) -> usize>,
    tokens: usize,
    mut read: Vec<Read<T>>,
    rows: Range<usize>,
) {
    let places: Vec<usize> = rows.clone().map(left.place).collect();
    let span = |group: &[usize]| group[0]..group[group.len() - 1] + 1;
    let widest = places.chunks(GROUP).map(|group| span(group).len()).max();
    let buffer = Buffer::raw::<T>(tokens.min(BLOCK) * widest.unwrap_or(0));
    let near = buffer.at::<T>();
    for block in (0..tokens.max(1)).step_by(BLOCK) {
        let block = block..tokens.min(block + BLOCK);
        // SAFETY: as the caller says.
        unsafe {
            for read in &mut read {
                read.fill(&block);
            }
            for (group, first) in places.chunks(GROUP).zip(rows.clone().step_by(GROUP)) {
                let (span, step) = (span(group), span(group).len());
                for (n, token) in block.clone().enumerate() {
                    let from = left.at.add(token * left.width + span.start);
                    copy(from, near.add(n * step), step);
                }
                for read in &read {
                    let skipped = block.len() - read.panels.depth();
                    let row = |n: usize| {
                        let to = skipped * step + group[n] - span.start;
                        near.0.wrapping_add(to).cast_const()
                    };
                    let to = |n: usize| read.to.add((first + n) * read.width);
                    let add = block.start > 0;
                    product(group.len(), Left { row, step }, &read.panels, to, add);
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
pub(super) unsafe fn transposed<T: Real>(
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
