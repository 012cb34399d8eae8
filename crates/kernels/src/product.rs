//! Products of matrices, cut into tiles. The right side is packed once into panels, as a
//! microkernel reads it; the rows of the left side and of the result lie wherever they lie.

use std::ops::Range;

use crate::isa::Kernels;
use crate::memory::{Allocator, Buffer, SharedSlice};
use crate::microkernel::{MAX_MR, MAX_NR, Microkernel, Start};
use crate::parallel::parallel_for;
use crate::pool::Context;
use crate::scalar::Scalar;

/// So many elements of a weight are worth threads that pack them.
pub(crate) const WORTH_A_THREAD: usize = 40_000;

/// A matrix `[k, columns]` as the right side of products.
pub(crate) struct Panels<T> {
    buffer: Buffer<T>,
    k: usize,
    /// The columns in whole registers.
    width: usize,
}

impl<T: Scalar> Panels<T> {
    /// A matrix of any contents.
    pub fn uninit(allocator: &dyn Allocator, k: usize, columns: usize) -> Panels<T> {
        let width = columns.next_multiple_of(T::kernels().lanes);
        Panels {
            buffer: Buffer::uninit(allocator, k * width),
            k,
            width,
        }
    }

    /// From rows of at least `columns` elements; none: zeros.
    pub fn of_rows<'r>(
        context: &Context,
        k: usize,
        columns: usize,
        row: impl Fn(usize) -> Option<&'r [T]> + Sync,
    ) -> Panels<T> {
        let mut panels = Self::uninit(context.allocator, k, columns);
        let portion = match k * columns < WORTH_A_THREAD {
            true => k,
            false => k.div_ceil(4 * context.threads()),
        };
        let firsts = (0..k).step_by(portion.max(1));
        let portions: Vec<_> = firsts.map(|n| n..k.min(n + portion)).collect();
        let width = panels.width;
        let to = panels.buffer.shared();
        parallel_for(context, &portions, |rows| {
            // SAFETY: each portion has rows of its own.
            unsafe { pack(to, (k, width), rows.clone(), columns, &row) };
        });
        panels
    }

    /// The same in the memory of one of this `k` or more.
    pub fn refill<'r>(&mut self, k: usize, columns: usize, row: impl Fn(usize) -> &'r [T]) {
        assert!(k * self.width <= self.buffer.len() && columns <= self.width);
        self.k = k;
        let row = |n: usize| Some(row(n));
        // SAFETY: the buffer is borrowed mutably.
        unsafe { pack(self.buffer.shared(), (k, self.width), 0..k, columns, row) };
    }

    /// The transpose of `from` `[columns, k]`.
    pub fn transposed(
        allocator: &dyn Allocator,
        k: usize,
        columns: usize,
        from: &[T],
    ) -> Panels<T> {
        assert_eq!(from.len(), columns * k);
        let mut panels = Self::uninit(allocator, k, columns);
        let (width, to) = (panels.width, panels.buffer.shared());
        for first in (0..width).step_by(MAX_NR * T::kernels().lanes) {
            let wide = (MAX_NR * T::kernels().lanes).min(width - first);
            let to = to.at(first * k, wide * k);
            for n in 0..wide {
                let row = (first + n < columns).then(|| &from[(first + n) * k..][..k]);
                for k in 0..k {
                    let value = row.map_or(T::default(), |row| row[k]);
                    // SAFETY: the panel has `k` rows of `wide` elements.
                    unsafe { to.add(k * wide + n).write(value) };
                }
            }
        }
        panels
    }

    /// The rows of the matrix.
    pub fn k(&self) -> usize {
        self.k
    }
}

/// Packs these rows of a matrix `[k, width]`.
///
/// # Safety
///
/// Nobody else uses these rows at the same time.
unsafe fn pack<'r, T: Scalar>(
    to: SharedSlice<T>,
    (k, width): (usize, usize),
    rows: Range<usize>,
    columns: usize,
    row: impl Fn(usize) -> Option<&'r [T]>,
) {
    let panel = MAX_NR * T::kernels().lanes;
    for n in rows {
        let from = row(n).map_or(&[][..], |row| &row[..columns]);
        for first in (0..width).step_by(panel) {
            let wide = panel.min(width - first);
            let real = first.min(from.len())..(first + wide).min(from.len());
            // SAFETY: the panel that begins at this column begins at element `first * k`;
            // the row is the caller's.
            unsafe { to.write_padded(first * k + n * wide, &from[real], wide) };
        }
    }
}

/// The left side of a product: where its rows are, and from one element of a row to the
/// next.
pub(crate) struct Lhs<A> {
    pub row: A,
    pub stride: usize,
}

/// `C = A B` for `rows` rows, or `C += A B`; the rows of C have the columns of B in whole
/// registers.
///
/// # Safety
///
/// The rows of A lead to `panels.k()` elements at their stride that have been written, and
/// those of C to so many that nobody else uses at the same time.
pub(crate) unsafe fn product<T: Scalar>(
    rows: usize,
    lhs: Lhs<impl Fn(usize) -> *const T>,
    panels: &Panels<T>,
    c: impl Fn(usize) -> *mut T,
    add: bool,
) {
    // SAFETY: the rows are as the caller says, of which all columns are taken.
    unsafe { product_of(0..panels.width, rows, lhs, panels, c, add) };
}

/// The same of some columns, from whole panels on.
///
/// # Safety
///
/// As of [`product`], of C for these columns.
pub(crate) unsafe fn product_of<T: Scalar>(
    columns: Range<usize>,
    rows: usize,
    lhs: Lhs<impl Fn(usize) -> *const T>,
    panels: &Panels<T>,
    c: impl Fn(usize) -> *mut T,
    add: bool,
) {
    assert!(columns.end <= panels.width);
    let kernels = T::kernels();
    let panel = MAX_NR * kernels.lanes;
    // SAFETY: who makes or refills panels writes all `k` rows.
    let b = unsafe { panels.buffer.first(panels.k * panels.width) };
    for first in columns.step_by(panel) {
        let wide = panel.min(panels.width - first);
        let b = b[first * panels.k..][..panels.k * wide].as_ptr();
        for_tiles(kernels, rows, |row, count| {
            let of = Microkernel {
                mr: count,
                nr: wide / kernels.lanes,
                k: panels.k,
                a: tile_rows(row, count, &lhs.row),
                a_stride: lhs.stride,
                b,
                b_stride: wide,
                c: tile_rows(row, count, |n| c(n).wrapping_add(first)),
                c_stride: kernels.lanes,
                start: if add { Start::Accumulate } else { Start::Zero },
            };
            // SAFETY: the kernels are this machine's, B is a whole panel, and the caller
            // has the rows of A and C.
            unsafe { (kernels.microkernel)(&of) };
        });
    }
}

/// Calls `of(first row, count)` for rows in portions that a tile can have, about equally
/// many in each.
pub(crate) fn for_tiles<T>(kernels: &Kernels<T>, rows: usize, mut of: impl FnMut(usize, usize)) {
    let tiles = rows.div_ceil(kernels.mr);
    let mut first = 0;
    for tile in 0..tiles {
        let count = (rows - first).div_ceil(tiles - tile);
        of(first, count);
        first += count;
    }
}

/// The rows of a tile; those that it has not are its first.
pub(crate) fn tile_rows<P>(first: usize, count: usize, row: impl Fn(usize) -> P) -> [P; MAX_MR] {
    std::array::from_fn(|r| row(first + if r < count { r } else { 0 }))
}
