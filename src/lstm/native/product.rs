//! Products of matrices, cut into tiles. The right side is packed once into panels, as
//! a tile reads it; the rows of the left side and of the result lie wherever they lie.

use std::ops::Range;

use super::buffer::{Buffer, Ptr, Shared};
use super::isa::Kernels;
use super::lanes::Real;
use super::threads::{at_once, threads};
use super::tile::{ROWS, Start, Tile, VECTORS};

/// So many numbers of a weight are worth threads that pack them.
const WORTH_A_THREAD: usize = 40_000;

/// A matrix `[depth, columns]` as the right side of products.
pub(super) struct Panels {
    buffer: Buffer,
    depth: usize,
    /// The columns in whole registers.
    pub width: usize,
    /// Registers in each panel but the last.
    vectors: usize,
}

impl Panels {
    /// Of whatever stood there.
    pub fn new<T: Real>(depth: usize, columns: usize) -> Panels {
        let width = columns.next_multiple_of(T::kernels().lanes);
        Panels {
            buffer: Buffer::raw::<T>(depth * width),
            depth,
            width,
            vectors: VECTORS,
        }
    }

    /// From rows `[columns]` that `row` points to; null: zeros.
    ///
    /// # Safety
    ///
    /// What `row` gives is null or leads to `columns` numbers.
    pub unsafe fn of_rows<T: Real>(
        depth: usize,
        columns: usize,
        row: impl Fn(usize) -> *const T + Sync,
    ) -> Panels {
        let panels = Self::new::<T>(depth, columns);
        let portion = match depth * columns < WORTH_A_THREAD {
            true => depth,
            false => depth.div_ceil(4 * threads()),
        };
        let firsts = (0..depth).step_by(portion.max(1));
        let portions: Vec<_> = firsts.map(|n| n..depth.min(n + portion)).collect();
        let this = Shared(&panels);
        // SAFETY: as the caller says; each portion has rows of its own.
        at_once(&portions, |rows| unsafe {
            this.get().pack(rows.clone(), columns, &row);
        });
        panels
    }

    /// The same in the memory of one of this depth or more.
    ///
    /// # Safety
    ///
    /// As of [`of_rows`](Self::of_rows).
    pub unsafe fn refill<T: Real>(
        &mut self,
        depth: usize,
        columns: usize,
        row: impl Fn(usize) -> *const T,
    ) {
        assert!(depth * self.width * size_of::<T>() <= self.buffer.bytes());
        self.depth = depth;
        // SAFETY: as the caller says.
        unsafe { self.pack(0..depth, columns, row) };
    }

    /// These rows; nobody else may write to them.
    unsafe fn pack<T: Real>(
        &self,
        rows: Range<usize>,
        columns: usize,
        row: impl Fn(usize) -> *const T,
    ) {
        let panel = self.vectors * T::kernels().lanes;
        let to = self.buffer.at::<T>().0;
        for k in rows {
            let from = row(k);
            for first in (0..self.width).step_by(panel) {
                let wide = panel.min(self.width - first);
                let real = if from.is_null() {
                    0
                } else {
                    wide.min(columns.saturating_sub(first))
                };
                // SAFETY: the panel that begins at this column begins at number
                // first * depth; the caller says what `from` is.
                unsafe {
                    let to = to.add(first * self.depth + k * wide);
                    if real > 0 {
                        std::ptr::copy_nonoverlapping(from.add(first), to, real);
                    }
                    for n in real..wide {
                        to.add(n).write(T::default());
                    }
                }
            }
        }
    }

    /// The transpose of `from` `[columns, depth]`.
    ///
    /// # Safety
    ///
    /// `from` leads to so many numbers.
    pub unsafe fn transposed<T: Real>(depth: usize, columns: usize, from: *const T) -> Panels {
        let panels = Self::new::<T>(depth, columns);
        let panel = VECTORS * T::kernels().lanes;
        for first in (0..panels.width).step_by(panel) {
            let wide = panel.min(panels.width - first);
            for n in 0..wide {
                // SAFETY: as above.
                unsafe {
                    let to = panels.buffer.at::<T>().0.add(first * depth + n);
                    let real = first + n < columns;
                    for k in 0..depth {
                        let value = match real {
                            true => *from.add((first + n) * depth + k),
                            false => T::default(),
                        };
                        to.add(k * wide).write(value);
                    }
                }
            }
        }
        panels
    }

    /// The transpose of weights `[4, hidden, depth]`, a panel for each register of
    /// units, with all four gates of these: the result is laid out `[4][wide]`, with
    /// `wide` whole registers.
    ///
    /// # Safety
    ///
    /// `from` leads to so many numbers.
    pub unsafe fn of_gates<T: Real>(depth: usize, hidden: usize, from: *const T) -> Panels {
        let lanes = T::kernels().lanes;
        let wide = hidden.next_multiple_of(lanes);
        let panels = Self::new::<T>(depth, 4 * wide);
        let (to, from) = (panels.buffer.at::<T>(), Ptr(from.cast_mut()));
        let panel = |unit: usize| {
            let real = lanes.min(hidden - unit);
            for gate in 0..4 {
                // SAFETY: the panel of these units begins at 4 * unit * depth, and each
                // of its rows has 4 * lanes numbers.
                unsafe {
                    let to = to.add(4 * unit * depth + gate * lanes);
                    let from = from.add((gate * hidden + unit) * depth).cast_const();
                    if real == lanes {
                        (T::kernels().transpose)(from, depth, to, 4 * lanes);
                        continue;
                    }
                    for k in 0..depth {
                        for n in 0..lanes {
                            let value = match n < real {
                                true => *from.add(n * depth + k),
                                false => T::default(),
                            };
                            to.add(k * 4 * lanes + n).write(value);
                        }
                    }
                }
            }
        };
        let units: Vec<usize> = (0..wide).step_by(lanes).collect();
        match depth * 4 * wide < WORTH_A_THREAD {
            true => units.into_iter().for_each(panel),
            false => at_once(&units, |&unit| panel(unit)),
        }
        panels
    }

    /// The rows of the matrix.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The memory of panels made by [`of_gates`](Self::of_gates).
    pub fn into_buffer(self) -> Buffer {
        self.buffer
    }

    /// The panel of the register of units that begins with this one, of panels made by
    /// [`of_gates`](Self::of_gates).
    pub fn gates_of<T: Real>(&self, unit: usize) -> *const T {
        debug_assert!(4 * unit < self.width);
        // SAFETY: within the buffer, see `of_gates`.
        unsafe { self.buffer.at::<T>().0.add(4 * unit * self.depth) }
    }
}

/// The left side of a product: its rows, and from one of their numbers to the next.
pub(super) struct Left<A> {
    pub row: A,
    pub step: usize,
}

/// `C = A B` for `rows` rows, or `C += A B`; the rows of C have `panels.width` numbers.
///
/// # Safety
///
/// The pointers lead to so many numbers, and C is nobody else's.
pub(super) unsafe fn product<T: Real>(
    rows: usize,
    left: Left<impl Fn(usize) -> *const T>,
    panels: &Panels,
    c: impl Fn(usize) -> *mut T,
    add: bool,
) {
    // SAFETY: as the caller says.
    unsafe { product_of(0..panels.width, rows, left, panels, c, add) };
}

/// The same of some columns, from whole panels on.
///
/// # Safety
///
/// As of [`product`].
pub(super) unsafe fn product_of<T: Real>(
    columns: Range<usize>,
    rows: usize,
    left: Left<impl Fn(usize) -> *const T>,
    panels: &Panels,
    c: impl Fn(usize) -> *mut T,
    add: bool,
) {
    let kernels = T::kernels();
    let panel = panels.vectors * kernels.lanes;
    let b = panels.buffer.at::<T>().0;
    for first in columns.step_by(panel) {
        let wide = panel.min(panels.width - first);
        for_tiles(kernels, rows, |row, count| {
            // SAFETY: as the caller says.
            unsafe {
                let tile = Tile {
                    rows: count,
                    vectors: wide / kernels.lanes,
                    depth: panels.depth,
                    a: rows_of(row, count, &left.row),
                    a_step: left.step,
                    b: b.add(first * panels.depth),
                    b_step: wide,
                    c: rows_of(row, count, |n| c(n).add(first)),
                    c_step: kernels.lanes,
                    start: if add { Start::There } else { Start::Zero },
                };
                (kernels.tile)(&tile);
            }
        });
    }
}

/// Calls `of(first row, count)` for rows in portions that a tile can have, about
/// equally many in each.
pub(super) fn for_tiles<T>(kernels: &Kernels<T>, rows: usize, mut of: impl FnMut(usize, usize)) {
    let tiles = rows.div_ceil(kernels.rows);
    let mut first = 0;
    for tile in 0..tiles {
        let count = (rows - first).div_ceil(tiles - tile);
        of(first, count);
        first += count;
    }
}

/// Pointers to the rows of a tile; those that it has not are those of its first.
pub(super) fn rows_of<P>(first: usize, count: usize, row: impl Fn(usize) -> P) -> [P; ROWS] {
    std::array::from_fn(|r| row(first + if r < count { r } else { 0 }))
}
