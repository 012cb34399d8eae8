//! Registers of several elements: plain arrays, which the compiler makes what it can of
//! (`array.rs`), and the registers of AVX2 and AVX-512 (`x86.rs`).
//!
//! Everything here is inlined into functions that are compiled for one instruction set
//! (`isa.rs`); nothing but those may call it.

mod array;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use self::array::Array;
use crate::scalar::Scalar;

/// A register of several elements.
///
/// # Safety
///
/// The methods need the instruction set of the type, and `load` and `store` memory for
/// `COUNT` elements, of any alignment.
pub(crate) trait Simd: Copy {
    type Scalar: Scalar;
    const COUNT: usize;
    unsafe fn splat(x: Self::Scalar) -> Self;
    unsafe fn load(from: *const Self::Scalar) -> Self;
    unsafe fn store(self, to: *mut Self::Scalar);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    /// `self * b + c`, rounded once where the machine can.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    unsafe fn sigmoid(self) -> Self;
    unsafe fn tanh(self) -> Self;
    /// The sum of its elements: of its halves, and so on.
    #[inline(always)]
    unsafe fn sum(self) -> Self::Scalar {
        debug_assert!(Self::COUNT.is_power_of_two() && Self::COUNT <= 16);
        let mut numbers = [Self::Scalar::default(); 16];
        // SAFETY: no register has more than 16 elements, and the caller has its
        // instructions.
        unsafe { self.store(numbers.as_mut_ptr()) };
        let mut half = Self::COUNT / 2;
        while half > 0 {
            for n in 0..half {
                let other = numbers[n + half];
                numbers[n] += other;
            }
            half /= 2;
        }
        numbers[0]
    }
    /// Transposes `from` `[COUNT, columns]`, its rows side by side in memory, into `to`
    /// `[columns, COUNT]`, from each of whose rows it is `stride` elements to the next.
    #[inline(always)]
    unsafe fn transpose(
        from: *const Self::Scalar,
        columns: usize,
        to: *mut Self::Scalar,
        stride: usize,
    ) {
        // SAFETY: the caller has the elements of both matrices.
        unsafe { transpose_from::<Self>(0, from, columns, to, stride) }
    }
}

/// The part of [`Simd::transpose`] from this column on, one element after another.
#[inline(always)]
unsafe fn transpose_from<V: Simd>(
    first: usize,
    from: *const V::Scalar,
    columns: usize,
    to: *mut V::Scalar,
    stride: usize,
) {
    for k in first..columns {
        for n in 0..V::COUNT {
            // SAFETY: element `[n, k]` of the one matrix and `[k, n]` of the other, which
            // the caller of `transpose` has.
            unsafe { *to.add(k * stride + n) = *from.add(n * columns + k) };
        }
    }
}

/// What the sigmoid and the tanh of f32 need besides (`activation.rs`).
pub(crate) trait SimdF32: Simd<Scalar = f32> {
    unsafe fn div(self, other: Self) -> Self;
    /// The smaller one; NaN if `self` is NaN.
    unsafe fn min(self, bound: f32) -> Self;
    /// The larger one; NaN if `self` is NaN.
    unsafe fn max(self, bound: f32) -> Self;
    unsafe fn abs(self) -> Self;
    /// Of a positive `self`.
    unsafe fn copysign(self, sign: Self) -> Self;
    /// The bits as integers: `self << 23` plus this number, which makes powers of two.
    unsafe fn shift_into_exponent(self, plus: i32) -> Self;
}
