//! The loops over whole registers (`tile.rs`, `equations.rs`, `step.rs`), compiled once
//! for each instruction set, and the choice between them at run time.

use std::sync::OnceLock;

use super::equations::{Gates, Slopes};
use super::lanes::{Array, Lanes, Real};
use super::step::{Inputs, Step};
use super::tile::Tile;

/// The loops for one instruction set. To call them this machine must have it, and
/// every pointer must lead to what is said of it.
pub(crate) struct Kernels<T: 'static> {
    pub(super) name: &'static str,
    /// Numbers in a register.
    pub(super) lanes: usize,
    /// The most rows of a tile.
    pub(super) rows: usize,
    pub(super) tile: unsafe fn(&Tile<T>),
    /// The same of columns that fill no register.
    pub(super) dots: unsafe fn(&Tile<T>),
    pub(super) gates: unsafe fn(&Gates<T>),
    pub(super) slopes: unsafe fn(&Slopes<T>),
    pub(super) inputs: unsafe fn(&Inputs<T>),
    pub(super) step: unsafe fn(&Step<T>),
    /// See [`Lanes::transpose`].
    pub(super) transpose: unsafe fn(*const T, usize, *mut T, usize),
    #[cfg(test)]
    pub(super) curves: unsafe fn(&[T], &mut [T], bool),
}

/// Sigmoid or tanh of each; whole registers.
#[cfg(test)]
#[inline(always)]
unsafe fn curves<V: Lanes>(from: &[V::Real], to: &mut [V::Real], tanh: bool) {
    // SAFETY: both have the same length, a multiple of a register's.
    unsafe {
        for at in (0..from.len()).step_by(V::COUNT) {
            let x = V::load(from.as_ptr().add(at));
            let y = if tanh { x.tanh() } else { x.sigmoid() };
            y.store(to.as_mut_ptr().add(at));
        }
    }
}

/// The loops for one type of register.
macro_rules! kernels {
    ($table:ident, $module:ident, $name:literal, $lanes:ty, $real:ty, $rows:expr
     $(, $features:literal)?) => {
        mod $module {
            use super::*;
            // SAFETY of all: `Kernels` says what the caller must see to.
            $(#[target_feature(enable = $features)])?
            unsafe fn tile(of: &Tile<$real>) {
                unsafe { crate::lstm::native::tile::tile::<$lanes, $rows>(of) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn dots(of: &Tile<$real>) {
                unsafe { crate::lstm::native::tile::dots::<$lanes, $rows>(of) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn gates(of: &Gates<$real>) {
                unsafe { crate::lstm::native::equations::gates::<$lanes>(of) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn slopes(of: &Slopes<$real>) {
                unsafe { crate::lstm::native::equations::slopes::<$lanes>(of) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn inputs(of: &Inputs<$real>) {
                unsafe { crate::lstm::native::step::inputs::<$lanes, $rows>(of) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn step(of: &Step<$real>) {
                unsafe { crate::lstm::native::step::step::<$lanes, $rows>(of) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn transpose(from: *const $real, depth: usize, to: *mut $real, apart: usize) {
                unsafe { <$lanes as Lanes>::transpose(from, depth, to, apart) }
            }
            #[cfg(test)]
            $(#[target_feature(enable = $features)])?
            unsafe fn curves(from: &[$real], to: &mut [$real], tanh: bool) {
                unsafe { super::curves::<$lanes>(from, to, tanh) }
            }
            pub(super) static TABLE: Kernels<$real> = Kernels {
                name: $name,
                lanes: <$lanes as Lanes>::COUNT,
                rows: $rows,
                tile,
                dots,
                gates,
                slopes,
                inputs,
                step,
                transpose,
                #[cfg(test)]
                curves,
            };
        }
        static $table: &Kernels<$real> = &$module::TABLE;
    };
}

/// Whether the compiler may multiply and add in one, without being asked for more.
const FUSED: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));

/// Of sixteen registers, one more is needed for a product that is added apart.
const PORTABLE_ROWS: usize = if FUSED { 3 } else { 2 };

kernels!(PORTABLE_F32, portable_f32, "portable", Array<f32, 4, FUSED>, f32, PORTABLE_ROWS);
kernels!(PORTABLE_F64, portable_f64, "portable", Array<f64, 2, FUSED>, f64, PORTABLE_ROWS);
#[cfg(target_arch = "x86_64")]
kernels!(
    AVX2_F32,
    avx2_f32,
    "avx2",
    std::arch::x86_64::__m256,
    f32,
    3,
    "avx2,fma"
);
#[cfg(target_arch = "x86_64")]
kernels!(AVX2_F64, avx2_f64, "avx2", Array<f64, 4, true>, f64, 3, "avx2,fma");
#[cfg(target_arch = "x86_64")]
kernels!(
    AVX512_F32,
    avx512_f32,
    "avx512",
    std::arch::x86_64::__m512,
    f32,
    6,
    "avx512f,avx2,fma"
);

/// Names the loops to take instead of the fastest: `avx2` or `portable`, for tests and
/// measurements. It is read once.
pub(super) const CHOICE: &str = "CELLWAY_REGISTERS";

/// The fastest of these, or the one that [`CHOICE`] names, if it is among them.
fn chosen<T>(all: &[&'static Kernels<T>]) -> &'static Kernels<T> {
    let name = std::env::var(CHOICE).unwrap_or_default();
    let named = all.iter().find(|kernels| kernels.name == name);
    named.unwrap_or(&all[0])
}

/// The loops that this machine can run, the fastest first.
pub(super) fn f32_kernels() -> Vec<&'static Kernels<f32>> {
    let mut all = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        if avx2 && is_x86_feature_detected!("avx512f") {
            all.push(AVX512_F32);
        }
        if avx2 {
            all.push(AVX2_F32);
        }
    }
    all.push(PORTABLE_F32);
    all
}

/// The same of f64.
pub(super) fn f64_kernels() -> Vec<&'static Kernels<f64>> {
    let mut all = Vec::new();
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        all.push(AVX2_F64);
    }
    all.push(PORTABLE_F64);
    all
}

impl Real for f32 {
    const ONE: f32 = 1.0;
    const KIND: tch::Kind = tch::Kind::Float;
    fn kernels() -> &'static Kernels<f32> {
        static CHOSEN: OnceLock<&'static Kernels<f32>> = OnceLock::new();
        CHOSEN.get_or_init(|| chosen(&f32_kernels()))
    }
}

impl Real for f64 {
    const ONE: f64 = 1.0;
    const KIND: tch::Kind = tch::Kind::Double;
    fn kernels() -> &'static Kernels<f64> {
        static CHOSEN: OnceLock<&'static Kernels<f64>> = OnceLock::new();
        CHOSEN.get_or_init(|| chosen(&f64_kernels()))
    }
}
