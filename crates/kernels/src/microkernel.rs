//! The microkernels of matrix products: a tile of the result in registers at a time.
//!
//! In each the sum behind an element runs over `k` in order, however many rows a call has:
//! a sequence's result does not depend on which sequences are beside it.

use crate::simd::Simd;

/// The most rows of a tile.
pub(crate) const MAX_MR: usize = 6;
/// The most registers in a row of a tile.
pub(crate) const MAX_NR: usize = 4;

/// What the sums of a tile start from.
#[derive(Clone, Copy)]
pub(crate) enum Start {
    /// Zero.
    Zero,
    /// The elements of C.
    Accumulate,
}

/// The arguments of a microkernel: `C[r][v] = start + sum over k of A[r][k] B[k][v]`, for
/// `mr` rows and `nr` registers, which stay in the machine's registers all the time.
pub(crate) struct Microkernel<T> {
    /// Rows, at most [`MAX_MR`].
    pub mr: usize,
    /// Registers in a row, at most [`MAX_NR`].
    pub nr: usize,
    /// The length of the sums.
    pub k: usize,
    pub a: [*const T; MAX_MR],
    /// From `A[r][k]` to `A[r][k + 1]`.
    pub a_stride: usize,
    /// `[k]` rows of `nr` registers.
    pub b: *const T,
    /// From `B[k]` to `B[k + 1]`.
    pub b_stride: usize,
    pub c: [*mut T; MAX_MR],
    /// From one register of a row of C to the next.
    pub c_stride: usize,
    pub start: Start,
}

/// Computes a tile of at most `MR` rows.
///
/// # Safety
///
/// This machine has the instructions of V, `a` and `c` lead to `mr` rows, and every row has
/// as many elements as `k`, `nr` and the strides say.
#[inline(always)]
pub(crate) unsafe fn microkernel<V: Simd, const MR: usize>(of: &Microkernel<V::Scalar>) {
    // SAFETY: the caller has the instructions, and its pointers lead to whole rows.
    unsafe { with_nr::<V, MR, false>(of) }
}

/// Computes a tile of single elements, where columns fill no register:
/// `C[r][v] = start + sum over k of A[r][k] B[v][k]`, with the k in registers, whole ones.
/// Its `nr` counts columns, and `b_stride` leads from `B[v]` to `B[v + 1]`.
///
/// # Safety
///
/// As of [`microkernel`], and `k` is a multiple of a register's elements.
#[inline(always)]
pub(crate) unsafe fn dot_microkernel<V: Simd, const MR: usize>(of: &Microkernel<V::Scalar>) {
    // SAFETY: the caller has the instructions, and its pointers lead to whole registers.
    unsafe { with_nr::<V, MR, true>(of) }
}

#[inline(always)]
unsafe fn with_nr<V: Simd, const MR: usize, const DOT: bool>(of: &Microkernel<V::Scalar>) {
    // SAFETY: `nr` is the constant of the arm that is taken; the rest is the caller's.
    unsafe {
        match of.nr {
            1 => with_mr::<V, MR, 1, DOT>(of),
            2 => with_mr::<V, MR, 2, DOT>(of),
            3 => with_mr::<V, MR, 3, DOT>(of),
            _ => with_mr::<V, MR, 4, DOT>(of),
        }
    }
}

#[inline(always)]
unsafe fn with_mr<V: Simd, const MR: usize, const N: usize, const DOT: bool>(
    of: &Microkernel<V::Scalar>,
) {
    // SAFETY: `mr` is the constant of the arm that is taken; of the arms that `MR` excludes
    // nothing is compiled.
    unsafe {
        match of.mr {
            1 => tile::<V, 1, N, DOT>(of),
            2 => tile::<V, 2, N, DOT>(of),
            4 if MR > 3 => tile::<V, 4, N, DOT>(of),
            5 if MR > 3 => tile::<V, 5, N, DOT>(of),
            6 if MR > 3 => tile::<V, 6, N, DOT>(of),
            _ => tile::<V, 3, N, DOT>(of),
        }
    }
}

#[inline(always)]
unsafe fn tile<V: Simd, const R: usize, const N: usize, const DOT: bool>(
    of: &Microkernel<V::Scalar>,
) {
    // SAFETY: R and N are the `mr` and `nr` that the caller's pointers lead to.
    unsafe {
        match DOT {
            true => dots::<V, R, N>(of),
            false => outer_products::<V, R, N>(of),
        }
    }
}

#[expect(
    clippy::needless_range_loop,
    reason = "r and v number rows and columns of several things at once"
)]
#[inline(always)]
unsafe fn dots<V: Simd, const R: usize, const N: usize>(of: &Microkernel<V::Scalar>) {
    // SAFETY: the caller's pointers lead to R rows and N columns of k elements.
    unsafe {
        let mut sums = [[V::splat(V::Scalar::default()); N]; R];
        for k in (0..of.k).step_by(V::COUNT) {
            let mut a = [V::splat(V::Scalar::default()); R];
            for r in 0..R {
                a[r] = V::load(of.a[r].add(k));
            }
            // One register of B at a time, as in `outer_products`.
            for v in 0..N {
                let b = V::load(of.b.add(v * of.b_stride + k));
                for r in 0..R {
                    sums[r][v] = a[r].mul_add(b, sums[r][v]);
                }
            }
        }
        for r in 0..R {
            for v in 0..N {
                let c = of.c[r].add(v * of.c_stride);
                *c = match of.start {
                    Start::Zero => sums[r][v].sum(),
                    Start::Accumulate => *c + sums[r][v].sum(),
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
unsafe fn outer_products<V: Simd, const R: usize, const N: usize>(of: &Microkernel<V::Scalar>) {
    // SAFETY: the caller's pointers lead to R rows and N registers in each.
    unsafe {
        let mut sums = [[V::splat(V::Scalar::default()); N]; R];
        for r in 0..R {
            for v in 0..N {
                match of.start {
                    Start::Zero => {}
                    Start::Accumulate => sums[r][v] = V::load(of.c[r].add(v * of.c_stride)),
                }
            }
        }
        let (mut at, mut b) = (0, of.b);
        for _ in 0..of.k {
            let mut a = [V::splat(V::Scalar::default()); R];
            for r in 0..R {
                a[r] = V::splat(*of.a[r].add(at));
            }
            // One register of B at a time: with AVX2 there are 16, and the sums take 12.
            for v in 0..N {
                let b = V::load(b.add(v * V::COUNT));
                for r in 0..R {
                    sums[r][v] = a[r].mul_add(b, sums[r][v]);
                }
            }
            // Behind the last k both may lead out of their buffers.
            at = at.wrapping_add(of.a_stride);
            b = b.wrapping_add(of.b_stride);
        }
        for r in 0..R {
            for v in 0..N {
                sums[r][v].store(of.c[r].add(v * of.c_stride));
            }
        }
    }
}
