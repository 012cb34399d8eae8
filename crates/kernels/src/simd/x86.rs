//! The registers of AVX2 and AVX-512.

use std::arch::x86_64::*;

use super::{Simd, SimdF32};
use crate::activation;

/// Transposes eight rows of eight, `from_stride` apart, into rows `to_stride` apart.
#[inline(always)]
unsafe fn eight_by_eight(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    // SAFETY: the caller has AVX2, and eight rows of eight at both.
    unsafe {
        // Of rows 4 apart the quarters that belong together.
        let pair = |n: usize, half: usize| {
            let at = |n: usize| _mm_loadu_ps(from.add(n * from_stride + 4 * half));
            _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(at(n)), at(n + 4))
        };
        for half in 0..2 {
            let (a, b, c, d) = (pair(0, half), pair(1, half), pair(2, half), pair(3, half));
            let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let (low2, high2) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            let columns = [
                _mm256_shuffle_ps::<0x44>(low, low2),
                _mm256_shuffle_ps::<0xee>(low, low2),
                _mm256_shuffle_ps::<0x44>(high, high2),
                _mm256_shuffle_ps::<0xee>(high, high2),
            ];
            for (k, column) in columns.into_iter().enumerate() {
                _mm256_storeu_ps(to.add((4 * half + k) * to_stride), column);
            }
        }
    }
}

#[inline(always)]
unsafe fn sum_of_eight(x: __m256) -> f32 {
    // SAFETY: the caller has AVX2.
    unsafe {
        let four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
    }
}

macro_rules! register {
    ($register:ty, $count:literal, $splat:ident, $load:ident, $store:ident, $add:ident,
     $sub:ident, $mul:ident, $mul_add:ident, $sum:ident, $div:ident, $min:ident, $max:ident,
     $to_bits:ident, $from_bits:ident, $bits:ident, $and:ident, $or:ident, $shift:ident,
     $add_bits:ident) => {
        impl Simd for $register {
            type Scalar = f32;
            const COUNT: usize = $count;
            #[inline(always)]
            unsafe fn splat(x: f32) -> Self {
                // SAFETY: the caller has the instructions of this register.
                unsafe { $splat(x) }
            }
            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self {
                // SAFETY: the caller has the instructions, and a register's elements there.
                unsafe { $load(from) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut f32) {
                // SAFETY: the caller has the instructions, and room for a register there.
                unsafe { $store(to, self) }
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                // SAFETY: the caller has the instructions of this register.
                unsafe { $add(self, other) }
            }
            #[inline(always)]
            unsafe fn sub(self, other: Self) -> Self {
                // SAFETY: the caller has the instructions of this register.
                unsafe { $sub(self, other) }
            }
            #[inline(always)]
            unsafe fn mul(self, other: Self) -> Self {
                // SAFETY: the caller has the instructions of this register.
                unsafe { $mul(self, other) }
            }
            #[inline(always)]
            unsafe fn mul_add(self, b: Self, c: Self) -> Self {
                // SAFETY: the caller has the instructions of this register.
                unsafe { $mul_add(self, b, c) }
            }
            #[inline(always)]
            unsafe fn sum(self) -> f32 {
                // SAFETY: the caller has the instructions of this register.
                unsafe { $sum(self) }
            }
            #[inline(always)]
            unsafe fn sigmoid(self) -> Self {
                // SAFETY: the caller has the instructions of this register.
                unsafe { activation::sigmoid(self) }
            }
            #[inline(always)]
            unsafe fn tanh(self) -> Self {
                // SAFETY: the caller has the instructions of this register.
                unsafe { activation::tanh(self) }
            }
            #[inline(always)]
            unsafe fn transpose(from: *const f32, columns: usize, to: *mut f32, stride: usize) {
                let whole = columns / 8 * 8;
                // SAFETY: the caller has the instructions and the elements of both
                // matrices, of which squares of eight are taken, and then the rest.
                unsafe {
                    for k in (0..whole).step_by(8) {
                        for n in (0..$count).step_by(8) {
                            let to = to.add(k * stride + n);
                            eight_by_eight(from.add(n * columns + k), columns, to, stride);
                        }
                    }
                    super::transpose_from::<Self>(whole, from, columns, to, stride);
                }
            }
        }

        impl SimdF32 for $register {
            #[inline(always)]
            unsafe fn div(self, other: Self) -> Self {
                // SAFETY: the caller has the instructions of this register.
                unsafe { $div(self, other) }
            }
            // The second operand is what comes out where one is NaN.
            #[inline(always)]
            unsafe fn min(self, bound: f32) -> Self {
                // SAFETY: the caller has the instructions of this register.
                unsafe { $min($splat(bound), self) }
            }
            // The second operand is what comes out where one is NaN.
            #[inline(always)]
            unsafe fn max(self, bound: f32) -> Self {
                // SAFETY: the caller has the instructions of this register.
                unsafe { $max($splat(bound), self) }
            }
            #[inline(always)]
            unsafe fn abs(self) -> Self {
                // SAFETY: the caller has the instructions of this register.
                unsafe { $from_bits($and($to_bits(self), $bits(i32::MAX))) }
            }
            #[inline(always)]
            unsafe fn copysign(self, sign: Self) -> Self {
                // SAFETY: the caller has the instructions of this register.
                unsafe {
                    let sign = $and($to_bits(sign), $bits(i32::MIN));
                    $from_bits($or($to_bits(self), sign))
                }
            }
            #[inline(always)]
            unsafe fn shift_into_exponent(self, plus: i32) -> Self {
                // SAFETY: the caller has the instructions of this register.
                unsafe { $from_bits($add_bits($shift::<23>($to_bits(self)), $bits(plus))) }
            }
        }
    };
}

register!(
    __m256,
    8,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_add_ps,
    _mm256_sub_ps,
    _mm256_mul_ps,
    _mm256_fmadd_ps,
    sum_of_eight,
    _mm256_div_ps,
    _mm256_min_ps,
    _mm256_max_ps,
    _mm256_castps_si256,
    _mm256_castsi256_ps,
    _mm256_set1_epi32,
    _mm256_and_si256,
    _mm256_or_si256,
    _mm256_slli_epi32,
    _mm256_add_epi32
);
register!(
    __m512,
    16,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_add_ps,
    _mm512_sub_ps,
    _mm512_mul_ps,
    _mm512_fmadd_ps,
    _mm512_reduce_add_ps,
    _mm512_div_ps,
    _mm512_min_ps,
    _mm512_max_ps,
    _mm512_castps_si512,
    _mm512_castsi512_ps,
    _mm512_set1_epi32,
    _mm512_and_si512,
    _mm512_or_si512,
    _mm512_slli_epi32,
    _mm512_add_epi32
);
