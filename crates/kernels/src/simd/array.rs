//! Arrays as registers, for any machine.

use super::{Simd, SimdF32};
use crate::activation;

/// An array. `FUSED`: compiled where one instruction multiplies and adds.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Array<T, const N: usize, const FUSED: bool>([T; N]);

macro_rules! array {
    ($scalar:ty, $sigmoid:expr, $tanh:expr) => {
        impl<const N: usize, const FUSED: bool> Simd for Array<$scalar, N, FUSED> {
            type Scalar = $scalar;
            const COUNT: usize = N;
            #[inline(always)]
            unsafe fn splat(x: $scalar) -> Self {
                Array([x; N])
            }
            #[inline(always)]
            unsafe fn load(from: *const $scalar) -> Self {
                // SAFETY: the caller has N elements there; no alignment is asked for.
                unsafe { from.cast::<Self>().read_unaligned() }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $scalar) {
                // SAFETY: the caller has room for N elements; no alignment is asked for.
                unsafe { to.cast::<Self>().write_unaligned(self) }
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                Array(std::array::from_fn(|n| self.0[n] + other.0[n]))
            }
            #[inline(always)]
            unsafe fn sub(self, other: Self) -> Self {
                Array(std::array::from_fn(|n| self.0[n] - other.0[n]))
            }
            #[inline(always)]
            unsafe fn mul(self, other: Self) -> Self {
                Array(std::array::from_fn(|n| self.0[n] * other.0[n]))
            }
            #[inline(always)]
            unsafe fn mul_add(self, b: Self, c: Self) -> Self {
                Array(std::array::from_fn(|n| match FUSED {
                    true => self.0[n].mul_add(b.0[n], c.0[n]),
                    // Without an instruction for it this would be a call.
                    false => self.0[n] * b.0[n] + c.0[n],
                }))
            }
            #[inline(always)]
            unsafe fn sigmoid(self) -> Self {
                $sigmoid(self)
            }
            #[inline(always)]
            unsafe fn tanh(self) -> Self {
                $tanh(self)
            }
        }
    };
}

array!(
    f32,
    // SAFETY: arrays need no instruction set.
    |x: Self| unsafe { activation::sigmoid(x) },
    // SAFETY: arrays need no instruction set.
    |x: Self| unsafe { activation::tanh(x) }
);
// The standard library's, one after another: f64 is there to be exact.
array!(
    f64,
    |x: Self| Array(x.0.map(|x| 1.0 / (1.0 + (-x).exp()))),
    |x: Self| Array(x.0.map(f64::tanh))
);

impl<const N: usize, const FUSED: bool> SimdF32 for Array<f32, N, FUSED> {
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Array(std::array::from_fn(|n| self.0[n] / other.0[n]))
    }
    #[inline(always)]
    unsafe fn min(self, bound: f32) -> Self {
        Array(self.0.map(|x| if x > bound { bound } else { x }))
    }
    #[inline(always)]
    unsafe fn max(self, bound: f32) -> Self {
        Array(self.0.map(|x| if x < bound { bound } else { x }))
    }
    #[inline(always)]
    unsafe fn abs(self) -> Self {
        Array(self.0.map(f32::abs))
    }
    #[inline(always)]
    unsafe fn copysign(self, sign: Self) -> Self {
        Array(std::array::from_fn(|n| self.0[n].copysign(sign.0[n])))
    }
    #[inline(always)]
    unsafe fn shift_into_exponent(self, plus: i32) -> Self {
        let shifted = |x: f32| (x.to_bits() << 23).wrapping_add(plus as u32);
        Array(self.0.map(|x| f32::from_bits(shifted(x))))
    }
}
