//! The gradients of weights: products in which the sum runs over all packed rows.

use std::ops::Range;

use crate::memory::{Buffer, SharedSlice, add_to};
use crate::microkernel::{MAX_NR, Microkernel, Start};
use crate::pool::Context;
use crate::product::{Lhs, Panels, for_tiles, product, tile_rows};
use crate::scalar::Scalar;

/// So many packed rows are summed up at once.
pub(crate) const BLOCK: usize = 384;

/// So many rows of a weight's gradient are made of one copy of their elements, in which the
/// packed rows lie near each other. Among the gates' gradients they are a power of two apart,
/// most often, so that few of them can be in a cache at once.
const GROUP: usize = 96;

/// The left side of such products: the transpose of a matrix of packed rows.
pub(crate) struct TransposedLhs<'a, T, P> {
    pub rows: &'a [T],
    /// From a packed row to the next one.
    pub width: usize,
    /// Where among a packed row's elements that of a row of the transpose stands, in the
    /// order of rows.
    pub place: P,
}

/// What packed rows read through a weight, and the gradient of the weight.
pub(crate) struct WeightInput<'a, T> {
    /// Of each packed row.
    from: Vec<&'a [T]>,
    /// The packed rows before this one read nothing but zeros.
    first: usize,
    to: SharedSlice<'a, T>,
    /// Elements in a row of the gradient.
    width: usize,
    /// Of a block of packed rows.
    panels: Panels<T>,
    /// Columns in whole registers.
    columns: usize,
}

impl<'a, T: Scalar> WeightInput<'a, T> {
    pub fn new(
        context: &Context,
        from: Vec<&'a [T]>,
        first: usize,
        to: SharedSlice<'a, T>,
        width: usize,
    ) -> Self {
        let lanes = T::kernels().lanes;
        let columns = width / lanes * lanes;
        WeightInput {
            panels: Panels::uninit(context.allocator, from.len().min(BLOCK), columns),
            from,
            first,
            to,
            width,
            columns,
        }
    }

    /// Packs what these packed rows read, but zeros.
    fn fill(&mut self, block: &Range<usize>) {
        let first = self.first.clamp(block.start, block.end);
        let from = &self.from[first..block.end];
        self.panels.refill(from.len(), self.columns, |n| from[n]);
    }
}

/// Rows in portions for so many threads, all but the last in whole tiles. Each thread reads
/// its part of the gates' gradients, which are much more than a cache holds, but all of the
/// other side, which is less.
pub(crate) fn portions<T: Scalar>(rows: usize, threads: usize) -> Vec<Range<usize>> {
    let portion = match threads {
        1 => rows,
        _ => rows.div_ceil(threads).next_multiple_of(T::kernels().mr),
    };
    let firsts = (0..rows).step_by(portion.max(1));
    firsts
        .map(|first| first..rows.min(first + portion))
        .collect()
}

/// `left^T right`, summed over all packed rows, for some rows, and of everything that the
/// packed rows read the columns of whole registers.
///
/// # Safety
///
/// Nobody else uses these rows of the gradients.
pub(crate) unsafe fn weight_gradients<T: Scalar>(
    context: &Context,
    lhs: TransposedLhs<T, impl Fn(usize) -> usize>,
    packed_rows: usize,
    mut inputs: Vec<WeightInput<T>>,
    rows: Range<usize>,
) {
    let places: Vec<usize> = rows.clone().map(lhs.place).collect();
    let span = |group: &[usize]| group[0]..group[group.len() - 1] + 1;
    let widest = places.chunks(GROUP).map(|group| span(group).len()).max();
    let len = packed_rows.min(BLOCK) * widest.unwrap_or(0);
    let mut buffer = Buffer::uninit(context.allocator, len);
    let near = buffer.shared();
    for block in (0..packed_rows.max(1)).step_by(BLOCK) {
        let block = block..packed_rows.min(block + BLOCK);
        for input in &mut inputs {
            input.fill(&block);
        }
        for (group, first) in places.chunks(GROUP).zip(rows.clone().step_by(GROUP)) {
            let (span, stride) = (span(group), span(group).len());
            for (n, packed_row) in block.clone().enumerate() {
                let from = &lhs.rows[packed_row * lhs.width..][span.clone()];
                // SAFETY: the buffer is this call's.
                unsafe { near.write(n * stride, from) };
            }
            let copied = near.at(0, block.len() * stride).cast_const();
            for input in &inputs {
                let skipped = block.len() - input.panels.k();
                let row = |n: usize| copied.wrapping_add(skipped * stride + group[n] - span.start);
                let to = |n: usize| input.to.at((first + n) * input.width, input.width);
                let (lhs, add) = (Lhs { row, stride }, block.start > 0);
                // SAFETY: a row has an element in each of the copied packed rows that the
                // panels have; these rows of the gradient are the caller's.
                unsafe { product(group.len(), lhs, &input.panels, to, add) };
            }
        }
    }
}

/// `left right`, summed over all packed rows, of which `left(row, packed row)` has an element
/// and `right` a row of `width` elements, whole registers.
pub(crate) fn row_sums<T: Scalar>(
    rows: usize,
    packed_rows: usize,
    left: impl Fn(usize, usize) -> T,
    (right, width): (&[T], usize),
) -> Vec<T> {
    let kernels = T::kernels();
    let mut sums = vec![T::default(); rows * width];
    let mut parts = vec![T::default(); rows * width];
    let mut elements = vec![T::default(); rows * BLOCK];
    // The sum of sums of blocks: of biases there may be very many elements of one sign.
    for first in (0..if rows == 0 { 0 } else { packed_rows }).step_by(BLOCK) {
        let count = BLOCK.min(packed_rows - first);
        for (row, elements) in elements.chunks_mut(BLOCK).enumerate() {
            for (n, element) in elements[..count].iter_mut().enumerate() {
                *element = left(row, first + n);
            }
        }
        let right = &right[first * width..][..count * width];
        let part = SharedSlice::new(&mut parts);
        for column in (0..width).step_by(MAX_NR * kernels.lanes) {
            let wide = (width - column).min(MAX_NR * kernels.lanes);
            for_tiles(kernels, rows, |row, mr| {
                let of = Microkernel {
                    mr,
                    nr: wide / kernels.lanes,
                    k: count,
                    a: tile_rows(row, mr, |n| elements[n * BLOCK..][..count].as_ptr()),
                    a_stride: 1,
                    b: right[column..].as_ptr(),
                    b_stride: width,
                    c: tile_rows(row, mr, |n| part.at(n * width + column, wide)),
                    c_stride: kernels.lanes,
                    start: Start::Zero,
                };
                // SAFETY: the kernels are this machine's; A has `count` elements in each
                // row, B so many rows of `width`, and the sums are this call's.
                unsafe { (kernels.microkernel)(&of) };
            });
        }
        add_to(&mut sums, &parts);
    }
    sums
}
