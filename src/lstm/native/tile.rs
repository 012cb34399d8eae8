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
    unsafe { sized::<V, MOST, false>(tile) }
}

/// A tile of single numbers, where columns fill no register:
/// `C[r][v] = start + sum over k of A[r][k] B[v][k]`, with the k in registers, whole ones.
/// Its `vectors` are columns, and `b_step` leads from `B[v]` to `B[v + 1]`.
///
/// # Safety
///
/// As of [`tile`].
#[inline(always)]
pub(super) unsafe fn dots<V: Lanes, const MOST: usize>(tile: &Tile<V::Real>) {
    // SAFETY: as the caller says.
    unsafe { sized::<V, MOST, true>(tile) }
}

#[inline(always)]
unsafe fn sized<V: Lanes, const MOST: usize, const DOTS: bool>(tile: &Tile<V::Real>) {
    // SAFETY: as above.
    unsafe {
        match tile.vectors {
            1 => wide::<V, MOST, 1, DOTS>(tile),
            2 => wide::<V, MOST, 2, DOTS>(tile),
            3 => wide::<V, MOST, 3, DOTS>(tile),
            _ => wide::<V, MOST, 4, DOTS>(tile),
        }
    }
}

#[inline(always)]
unsafe fn wide<V: Lanes, const MOST: usize, const N: usize, const DOTS: bool>(
    tile: &Tile<V::Real>,
) {
    // SAFETY: as above. Of the arms that `MOST` excludes nothing is compiled.
    unsafe {
        match tile.rows {
            1 => summed::<V, 1, N, DOTS>(tile),
            2 => summed::<V, 2, N, DOTS>(tile),
            4 if MOST > 3 => summed::<V, 4, N, DOTS>(tile),
            5 if MOST > 3 => summed::<V, 5, N, DOTS>(tile),
            6 if MOST > 3 => summed::<V, 6, N, DOTS>(tile),
            _ => summed::<V, 3, N, DOTS>(tile),
        }
    }
}

#[inline(always)]
unsafe fn summed<V: Lanes, const R: usize, const N: usize, const DOTS: bool>(tile: &Tile<V::Real>) {
    // SAFETY: as above.
    unsafe {
        match DOTS {
            true => dot::<V, R, N>(tile),
            false => product::<V, R, N>(tile),
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
            let mut of_a = [V::splat(V::Real::default()); R];
            for r in 0..R {
                of_a[r] = V::load(tile.a[r].add(k));
            }
            // One register of B at a time, as below.
            for v in 0..N {
                let b = V::load(tile.b.add(v * tile.b_step + k));
                for r in 0..R {
                    sums[r][v] = of_a[r].mul_add(b, sums[r][v]);
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
