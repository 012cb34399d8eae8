//! Registers of several numbers: plain arrays, which the compiler makes what it can
//! of, and the registers of AVX2 and AVX-512.
//!
//! Everything here is inlined into functions that are compiled for one instruction
//! set (`isa.rs`); nothing but those may call it.

/// A number of the kernel: `f32` or `f64`.
pub(crate) trait Real:
    Copy
    + Default
    + PartialEq
    + Send
    + Sync
    + 'static
    + std::ops::Add<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::AddAssign
    + std::ops::Sub<Output = Self>
{
    const ONE: Self;
    const KIND: tch::Kind;
    /// The loops over whole registers, for this machine.
    fn kernels() -> &'static super::isa::Kernels<Self>;
}

/// Several numbers side by side.
///
/// # Safety
///
/// The methods want the instruction set of the type, and `load` and `store` memory
/// for `COUNT` numbers.
pub(super) trait Lanes: Copy {
    type Real: Real;
    const COUNT: usize;
    unsafe fn splat(x: Self::Real) -> Self;
    unsafe fn load(from: *const Self::Real) -> Self;
    unsafe fn store(self, to: *mut Self::Real);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    /// `self * b + c`, rounded once where the machine can.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    unsafe fn sigmoid(self) -> Self;
    unsafe fn tanh(self) -> Self;
    /// The sum of its numbers: of its halves, and so on.
    #[inline(always)]
    unsafe fn sum(self) -> Self::Real {
        debug_assert!(Self::COUNT.is_power_of_two() && Self::COUNT <= 16);
        let mut numbers = [Self::Real::default(); 16];
        // SAFETY: no register has more.
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
    /// The transpose of `from` `[COUNT, depth]`, its rows side by side in memory, into
    /// `to` `[depth, COUNT]`, whose rows are so many numbers apart.
    #[inline(always)]
    unsafe fn transpose(from: *const Self::Real, depth: usize, to: *mut Self::Real, apart: usize) {
        // SAFETY: the caller has so many numbers at both.
        unsafe { transpose_from::<Self>(0, from, depth, to, apart) }
    }
}

/// The part of [`Lanes::transpose`] from this column on, one number after another.
#[inline(always)]
unsafe fn transpose_from<V: Lanes>(
    first: usize,
    from: *const V::Real,
    depth: usize,
    to: *mut V::Real,
    apart: usize,
) {
    for k in first..depth {
        for n in 0..V::COUNT {
            // SAFETY: as the caller of `transpose` says.
            unsafe { *to.add(k * apart + n) = *from.add(n * depth + k) };
        }
    }
}

/// What the sigmoid and the tanh of f32 need besides (`activation.rs`).
pub(super) trait Singles: Lanes<Real = f32> {
    unsafe fn div(self, other: Self) -> Self;
    /// The smaller one; NaN if `self` is NaN.
    unsafe fn at_most(self, bound: f32) -> Self;
    /// The larger one; NaN if `self` is NaN.
    unsafe fn at_least(self, bound: f32) -> Self;
    unsafe fn abs(self) -> Self;
    /// Of a positive `self`.
    unsafe fn with_sign_of(self, sign: Self) -> Self;
    /// The bits as integers: `self << 23` plus this number, which makes powers of two.
    unsafe fn shift_into_exponent(self, plus: i32) -> Self;
}

/// An array. `FUSED`: compiled where one instruction multiplies and adds.
#[derive(Clone, Copy)]
pub(super) struct Array<T, const N: usize, const FUSED: bool>([T; N]);

macro_rules! array {
    ($real:ty, $sigmoid:expr, $tanh:expr) => {
        impl<const N: usize, const FUSED: bool> Lanes for Array<$real, N, FUSED> {
            type Real = $real;
            const COUNT: usize = N;
            #[inline(always)]
            unsafe fn splat(x: $real) -> Self {
                Array([x; N])
            }
            #[inline(always)]
            unsafe fn load(from: *const $real) -> Self {
                // SAFETY: the caller has N numbers there; no alignment is asked for.
                unsafe { from.cast::<Self>().read_unaligned() }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $real) {
                // SAFETY: as above.
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
                // SAFETY: the caller has the instruction set.
                #[allow(unused_unsafe)]
                unsafe {
                    $sigmoid(self)
                }
            }
            #[inline(always)]
            unsafe fn tanh(self) -> Self {
                // SAFETY: as above.
                #[allow(unused_unsafe)]
                unsafe {
                    $tanh(self)
                }
            }
        }
    };
}

array!(f32, super::activation::sigmoid, super::activation::tanh);
// The standard library's, one after another: f64 is there to be exact.
array!(
    f64,
    |x: Self| Array(x.0.map(|x| 1.0 / (1.0 + (-x).exp()))),
    |x: Self| Array(x.0.map(f64::tanh))
);

impl<const N: usize, const FUSED: bool> Singles for Array<f32, N, FUSED> {
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Array(std::array::from_fn(|n| self.0[n] / other.0[n]))
    }
    #[inline(always)]
    unsafe fn at_most(self, bound: f32) -> Self {
        Array(self.0.map(|x| if x > bound { bound } else { x }))
    }
    #[inline(always)]
    unsafe fn at_least(self, bound: f32) -> Self {
        Array(self.0.map(|x| if x < bound { bound } else { x }))
    }
    #[inline(always)]
    unsafe fn abs(self) -> Self {
        Array(self.0.map(f32::abs))
    }
    #[inline(always)]
    unsafe fn with_sign_of(self, sign: Self) -> Self {
        Array(std::array::from_fn(|n| self.0[n].copysign(sign.0[n])))
    }
    #[inline(always)]
    unsafe fn shift_into_exponent(self, plus: i32) -> Self {
        let shifted = |x: f32| (x.to_bits() << 23).wrapping_add(plus as u32);
        Array(self.0.map(|x| f32::from_bits(shifted(x))))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::super::activation;
    use super::{Lanes, Singles};

    /// The transpose of eight rows of eight, `stride` apart, into rows `apart`.
    #[inline(always)]
    unsafe fn eight_by_eight(from: *const f32, stride: usize, to: *mut f32, apart: usize) {
        // SAFETY: the caller has AVX2, and so many rows at both.
        unsafe {
            // Of rows 4 apart the quarters that belong together.
            let pair = |n: usize, half: usize| {
                let at = |n: usize| _mm_loadu_ps(from.add(n * stride + 4 * half));
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
                    _mm256_storeu_ps(to.add((4 * half + k) * apart), column);
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
            // SAFETY of all: the caller has the instruction set, and memory where it
            // gives a pointer.
            impl Lanes for $register {
                type Real = f32;
                const COUNT: usize = $count;
                #[inline(always)]
                unsafe fn splat(x: f32) -> Self {
                    unsafe { $splat(x) }
                }
                #[inline(always)]
                unsafe fn load(from: *const f32) -> Self {
                    unsafe { $load(from) }
                }
                #[inline(always)]
                unsafe fn store(self, to: *mut f32) {
                    unsafe { $store(to, self) }
                }
                #[inline(always)]
                unsafe fn add(self, other: Self) -> Self {
                    unsafe { $add(self, other) }
                }
                #[inline(always)]
                unsafe fn sub(self, other: Self) -> Self {
                    unsafe { $sub(self, other) }
                }
                #[inline(always)]
                unsafe fn mul(self, other: Self) -> Self {
                    unsafe { $mul(self, other) }
                }
                #[inline(always)]
                unsafe fn mul_add(self, b: Self, c: Self) -> Self {
                    unsafe { $mul_add(self, b, c) }
                }
                #[inline(always)]
                unsafe fn sum(self) -> f32 {
                    unsafe { $sum(self) }
                }
                #[inline(always)]
                unsafe fn sigmoid(self) -> Self {
                    unsafe { activation::sigmoid(self) }
                }
                #[inline(always)]
                unsafe fn tanh(self) -> Self {
                    unsafe { activation::tanh(self) }
                }
                #[inline(always)]
                unsafe fn transpose(from: *const f32, depth: usize, to: *mut f32, apart: usize) {
                    unsafe {
                        for k in (0..depth / 8 * 8).step_by(8) {
                            for n in (0..$count).step_by(8) {
                                let to = to.add(k * apart + n);
                                eight_by_eight(from.add(n * depth + k), depth, to, apart);
                            }
                        }
                        super::transpose_from::<Self>(depth / 8 * 8, from, depth, to, apart);
                    }
                }
            }

            impl Singles for $register {
                #[inline(always)]
                unsafe fn div(self, other: Self) -> Self {
                    unsafe { $div(self, other) }
                }
                #[inline(always)]
                unsafe fn at_most(self, bound: f32) -> Self {
                    // The second operand is what comes out where one is NaN.
                    unsafe { $min($splat(bound), self) }
                }
                #[inline(always)]
                unsafe fn at_least(self, bound: f32) -> Self {
                    unsafe { $max($splat(bound), self) }
                }
                #[inline(always)]
                unsafe fn abs(self) -> Self {
                    unsafe { $from_bits($and($to_bits(self), $bits(i32::MAX))) }
                }
                #[inline(always)]
                unsafe fn with_sign_of(self, sign: Self) -> Self {
                    unsafe {
                        let sign = $and($to_bits(sign), $bits(i32::MIN));
                        $from_bits($or($to_bits(self), sign))
                    }
                }
                #[inline(always)]
                unsafe fn shift_into_exponent(self, plus: i32) -> Self {
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
}
