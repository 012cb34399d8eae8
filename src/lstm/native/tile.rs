//! Products of matrices, a tile in registers at a time.
//!
//! In each the sum behind an element runs over `k` in order, however many rows a call
//! has: a text's result does not depend on which texts are beside it.

use super::lanes::Lanes;

/// The most rows of a [`Tile`].
pub(super) const ROWS: usize = 6;
/// The most registers in a row of a [`Tile`].
pub(super) const VECTORS: usize = 4;

/// What a tile starts from.
#[derive(Clone, Copy)]
pub(super) enum Start<T> {
    Zero,
    /// What stands in C.
    There,
    /// One row for all, laid out as a row of C.
    Row(*const T),
}

/// A piece of a product: `C[r][v] = start + sum over k of A[r][k] B[k][v]`, for some
/// rows and registers, which stay in the machine's registers all the time.
pub(super) struct Tile<T> {
    pub rows: usize,
    pub vectors: usize,
    pub depth: usize,
    pub a: [*const T; ROWS],
    /// From `A[r][k]` to `A[r][k + 1]`.
    pub a_step: usize,
    /// `[depth]` rows of so many registers.
    pub b: *const T,
    /// From `B[k]` to `B[k + 1]`.
    pub b_step: usize,
    pub c: [*mut T; ROWS],
    /// From one register of a row of C to the next.
    pub c_step: usize,
    pub start: Start<T>,
}

/// A tile, of at most so many rows.
///
/// # Safety
///
/// This machine has the instructions of V, and the pointers lead to what is said of them.
#[inline(always)]
pub(super) unsafe fn tile<V: Lanes, const MOST: usize>(tile: &Tile<V::Real>) {
    // SAFETY: as the caller says.
    unsafe {
        match tile.vectors {
            1 => tile_of::<V, MOST, 1>(tile),
            2 => tile_of::<V, MOST, 2>(tile),
            3 => tile_of::<V, MOST, 3>(tile),
            _ => tile_of::<V, MOST, 4>(tile),
        }
    }
}

#[inline(always)]
unsafe fn tile_of<V: Lanes, const MOST: usize, const N: usize>(tile: &Tile<V::Real>) {
    // SAFETY: as above. Of the arms that `MOST` excludes nothing is compiled.
    unsafe {
        match tile.rows {
            1 => product::<V, 1, N>(tile),
            2 => product::<V, 2, N>(tile),
            4 if MOST > 3 => product::<V, 4, N>(tile),
            5 if MOST > 3 => product::<V, 5, N>(tile),
            6 if MOST > 3 => product::<V, 6, N>(tile),
            _ => product::<V, 3, N>(tile),
        }
    }
}

/// A tile of single numbers, where columns fill no register:
/// `C[r][v] = start + sum over k of A[r][k] B[v][k]`, with the k in registers, whole ones.
/// Its `vectors` are columns, and `b_step` leads from `B[v]` to `B[v + 1]`.
///
/// # Safety
///
/// This machine has the instructions of V, and the pointers lead to what is said of them.
#[inline(always)]
pub(super) unsafe fn dots<V: Lanes, const MOST: usize>(tile: &Tile<V::Real>) {
    // SAFETY: as the caller says.
    unsafe {
        match tile.vectors {
            1 => dots_of::<V, MOST, 1>(tile),
            2 => dots_of::<V, MOST, 2>(tile),
            3 => dots_of::<V, MOST, 3>(tile),
            _ => dots_of::<V, MOST, 4>(tile),
        }
    }
}

#[inline(always)]
unsafe fn dots_of<V: Lanes, const MOST: usize, const N: usize>(tile: &Tile<V::Real>) {
    // SAFETY: as above.
    unsafe {
        match tile.rows {
            1 => dot::<V, 1, N>(tile),
            2 => dot::<V, 2, N>(tile),
            4 if MOST > 3 => dot::<V, 4, N>(tile),
            5 if MOST > 3 => dot::<V, 5, N>(tile),
            6 if MOST > 3 => dot::<V, 6, N>(tile),
            _ => dot::<V, 3, N>(tile),
        }
    }
}

#[expect(
    clippy::needless_range_loop,
    reason = "r and v number rows and columns of several things at once"
)]
#[inline(always)]
unsafe fn dot<V: Lanes, const R: usize, const N: usize>(tile: &Tile<V::Real>) {
    // SAFETY: the caller's pointers lead to R rows and N columns.
    unsafe {
        let mut sums = [[V::splat(V::Real::default()); N]; R];
        for k in (0..tile.depth).step_by(V::COUNT) {
            let mut of_b = [V::splat(V::Real::default()); N];
            for v in 0..N {
                of_b[v] = V::load(tile.b.add(v * tile.b_step + k));
            }
            for r in 0..R {
                let a = V::load(tile.a[r].add(k));
                for v in 0..N {
                    sums[r][v] = a.mul_add(of_b[v], sums[r][v]);
                }
            }
        }
        for r in 0..R {
            for v in 0..N {
                let c = tile.c[r].add(v * tile.c_step);
                *c = match tile.start {
                    Start::Zero => sums[r][v].sum(),
                    Start::There => *c + sums[r][v].sum(),
                    Start::Row(row) => *row.add(v * tile.c_step) + sums[r][v].sum(),
                };
            }
        }
    }
}

#[expect(
    clippy::needless_range_loop,
    reason = "r and v number rows and registers of several things at once"
)]
#[inline(always)]
unsafe fn product<V: Lanes, const R: usize, const N: usize>(tile: &Tile<V::Real>) {
    // SAFETY: the caller's pointers lead to R rows and N registers in each.
    unsafe {
        let mut sums = [[V::splat(V::Real::default()); N]; R];
        for r in 0..R {
            for v in 0..N {
                match tile.start {
                    Start::Zero => {}
                    Start::There => sums[r][v] = V::load(tile.c[r].add(v * tile.c_step)),
                    Start::Row(row) => sums[r][v] = V::load(row.add(v * tile.c_step)),
                }
            }
        }
        let (mut at, mut b) = (0, tile.b);
        for _ in 0..tile.depth {
            let mut of_a = [V::splat(V::Real::default()); R];
            for r in 0..R {
                of_a[r] = V::splat(*tile.a[r].add(at));
            }
            // One register of B at a time: with AVX2 there are 16, and the sums take 12.
            for v in 0..N {
                let b = V::load(b.add(v * V::COUNT));
                for r in 0..R {
                    sums[r][v] = of_a[r].mul_add(b, sums[r][v]);
                }
            }
            // Behind the last k both may lead out of their buffers.
            at = at.wrapping_add(tile.a_step);
            b = b.wrapping_add(tile.b_step);
        }
        for r in 0..R {
            for v in 0..N {
                sums[r][v].store(tile.c[r].add(v * tile.c_step));
            }
        }
    }
}
