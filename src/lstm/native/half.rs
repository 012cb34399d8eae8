//! Weights of 16 bits: bf16, the upper half of an f32, two in a word.
//!
//! A word holds the weights of two registers at one place, so that one load of words
//! and one operation for each register widen both.

use super::lanes::{Array, Lanes, Real};

/// A number whose value may be a bf16.
pub(crate) trait Halve: Real {
    /// The bits of the bf16 that has this value.
    fn half(self) -> u32;
}

impl Halve for f32 {
    fn half(self) -> u32 {
        self.to_bits() >> 16
    }
}

impl Halve for f64 {
    fn half(self) -> u32 {
        (self as f32).half()
    }
}

/// Two weights as one word; the first one is the lower half.
pub(super) fn word<T: Halve>(first: T, second: T) -> u32 {
    first.half() | second.half() << 16
}

/// Registers that are made of words.
pub(super) trait Widen: Lanes {
    /// The registers of the lower and of the upper halves of `COUNT` words.
    ///
    /// # Safety
    ///
    /// As of [`Lanes::load`].
    unsafe fn widen(from: *const u32) -> (Self, Self);
}

macro_rules! array {
    ($real:ty) => {
        impl<const N: usize, const FUSED: bool> Widen for Array<$real, N, FUSED> {
            #[inline(always)]
            unsafe fn widen(from: *const u32) -> (Self, Self) {
                // SAFETY: as the caller says.
                unsafe {
                    let words = from.cast::<[u32; N]>().read_unaligned();
                    let low = words.map(|word| f32::from_bits(word << 16).into());
                    let high = words.map(|word| f32::from_bits(word & 0xffff_0000).into());
                    let load = |all: [$real; N]| Self::load(all.as_ptr());
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
