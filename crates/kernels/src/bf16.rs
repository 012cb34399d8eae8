//! bf16, the upper half of an f32: rounding, and weights that are stored so, two in a word.
//!
//! A word holds the weights of two registers at one place, so that one load of words and
//! one operation for each register widen both.

use crate::scalar::Scalar;
use crate::simd::{Array, Simd};

/// An element type that can be stored as bf16.
pub trait Bf16Storage: Sized {
    /// The bits of the nearest bf16, of two the even one.
    ///
    /// An f64 is rounded to f32 first. These are the bits of torch's `.to(bfloat16)`, with
    /// 0xffff for every NaN, which its vectorized conversion gives.
    fn to_bf16(self) -> u16;

    /// The value of a bf16 with these bits.
    fn from_bf16(bits: u16) -> Self;
}

impl Bf16Storage for f32 {
    fn to_bf16(self) -> u16 {
        if self.is_nan() {
            return 0xffff;
        }
        let bits = self.to_bits();
        let even = bits >> 16 & 1;
        // The largest sum is that of infinity, whose lower half is zero.
        ((bits + 0x7fff + even) >> 16) as u16
    }

    fn from_bf16(bits: u16) -> f32 {
        f32::from_bits(u32::from(bits) << 16)
    }
}

impl Bf16Storage for f64 {
    fn to_bf16(self) -> u16 {
        (self as f32).to_bf16()
    }

    fn from_bf16(bits: u16) -> f64 {
        f32::from_bf16(bits).into()
    }
}

/// Two weights as one word; the first one is the lower half.
pub(crate) fn word<T: Scalar>(first: T, second: T) -> u32 {
    u32::from(first.to_bf16()) | u32::from(second.to_bf16()) << 16
}

/// Registers that are made of words.
pub(crate) trait Widen: Simd {
    /// The registers of the lower and of the upper halves of `COUNT` words.
    ///
    /// # Safety
    ///
    /// This machine has the instructions of the register, and `COUNT` words stand there.
    unsafe fn widen(from: *const u32) -> (Self, Self);
}

macro_rules! array {
    ($scalar:ty) => {
        impl<const N: usize, const FUSED: bool> Widen for Array<$scalar, N, FUSED> {
            #[inline(always)]
            unsafe fn widen(from: *const u32) -> (Self, Self) {
                // SAFETY: the caller has N words there; the arrays have N elements.
                unsafe {
                    let words = from.cast::<[u32; N]>().read_unaligned();
                    let low = words.map(|word| f32::from_bits(word << 16).into());
                    let high = words.map(|word| f32::from_bits(word & 0xffff_0000).into());
                    let load = |all: [$scalar; N]| Self::load(all.as_ptr());
                    (load(low), load(high))
                }
            }
        }
    };
}

array!(f32);
array!(f64);

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Widen;

    /// The upper half of a word.
    const UPPER: i32 = i32::MIN >> 15;

    impl Widen for __m256 {
        #[inline(always)]
        unsafe fn widen(from: *const u32) -> (Self, Self) {
            // SAFETY: the caller has AVX2, and eight words there.
            unsafe {
                let words = _mm256_loadu_si256(from.cast());
                let upper = _mm256_and_si256(words, _mm256_set1_epi32(UPPER));
                let lower = _mm256_slli_epi32::<16>(words);
                (_mm256_castsi256_ps(lower), _mm256_castsi256_ps(upper))
            }
        }
    }

    impl Widen for __m512 {
        #[inline(always)]
        unsafe fn widen(from: *const u32) -> (Self, Self) {
            // SAFETY: the caller has AVX-512, and sixteen words there.
            unsafe {
                let words = _mm512_loadu_si512(from.cast());
                let upper = _mm512_and_si512(words, _mm512_set1_epi32(UPPER));
                let lower = _mm512_slli_epi32::<16>(words);
                (_mm512_castsi512_ps(lower), _mm512_castsi512_ps(upper))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_to_nearest_and_of_two_to_even() {
        for (x, bits) in [
            (0.0f32, 0),
            (-0.0, 0x8000),
            (1.0, 0x3f80),
            // Halfway between 1 and the next bf16, and between that and the one behind it.
            (f32::from_bits(0x3f80_8000), 0x3f80),
            (f32::from_bits(0x3f81_8000), 0x3f82),
            (f32::from_bits(0x3f80_8001), 0x3f81),
            (f32::from_bits(0x3f80_7fff), 0x3f80),
            (f32::INFINITY, 0x7f80),
            (f32::NEG_INFINITY, 0xff80),
            // Beyond the largest bf16.
            (f32::MAX, 0x7f80),
            (f32::MIN, 0xff80),
            // Subnormal numbers.
            (f32::from_bits(0x8000), 0),
            (f32::from_bits(0x8001), 1),
            (f32::NAN, 0xffff),
            (f32::from_bits(0x7f80_0001), 0xffff),
        ] {
            assert_eq!(x.to_bf16(), bits, "{x:e}");
            assert_eq!(f64::from(x).to_bf16(), bits, "{x:e}");
        }
        for bits in 0..=u16::MAX {
            let value = f32::from_bf16(bits);
            assert!(value.is_nan() || value.to_bf16() == bits, "{bits:x}");
        }
    }
}
