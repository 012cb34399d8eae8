//! The loops over whole registers (`microkernel.rs`, `equations.rs`, `gate_kernels.rs`),
//! compiled once for each instruction set, and the choice between them at run time.

use std::sync::OnceLock;

use crate::equations::GateGradients;
use crate::gate_kernels::{GateStep, InputProduct};
use crate::microkernel::Microkernel;
use crate::scalar::{DType, Scalar};
use crate::simd::{Array, Simd};

/// The loops for one instruction set. To call them this machine must have it, and every
/// pointer must lead to what is said of it.
pub struct Kernels<T: 'static> {
    pub(crate) name: &'static str,
    /// Elements in a register.
    pub(crate) lanes: usize,
    /// The most rows of a tile.
    pub(crate) mr: usize,
    pub(crate) microkernel: unsafe fn(&Microkernel<T>),
    /// The same of columns that fill no register.
    pub(crate) dot_microkernel: unsafe fn(&Microkernel<T>),
    pub(crate) gate_gradients: unsafe fn(&GateGradients<T>),
    pub(crate) input_product: unsafe fn(&InputProduct<T>),
    pub(crate) gate_step: unsafe fn(&GateStep<T>),
    /// See [`Simd::transpose`].
    pub(crate) transpose: unsafe fn(*const T, usize, *mut T, usize),
    pub(crate) activate: unsafe fn(&[T], &mut [T], bool),
}

/// Sigmoid or tanh of each element.
///
/// # Safety
///
/// This machine has the instructions of V.
#[inline(always)]
unsafe fn activate<V: Simd>(from: &[V::Scalar], to: &mut [V::Scalar], tanh: bool) {
    let mut lanes = [V::Scalar::default(); 16];
    for (from, to) in from.chunks(V::COUNT).zip(to.chunks_mut(V::COUNT)) {
        lanes[..from.len()].copy_from_slice(from);
        // SAFETY: no register has more than 16 elements.
        unsafe {
            let x = V::load(lanes.as_ptr());
            let y = if tanh { x.tanh() } else { x.sigmoid() };
            y.store(lanes.as_mut_ptr());
        }
        to.copy_from_slice(&lanes[..to.len()]);
    }
}

/// The loops for one type of register.
macro_rules! kernels {
    ($table:ident, $module:ident, $name:literal, $register:ty, $scalar:ty, $mr:expr
     $(, $features:literal)?) => {
        mod $module {
            use super::*;
            $(#[target_feature(enable = $features)])?
            unsafe fn microkernel(of: &Microkernel<$scalar>) {
                // SAFETY: the caller of the table has this instruction set and the rows.
                unsafe { crate::microkernel::microkernel::<$register, $mr>(of) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn dot_microkernel(of: &Microkernel<$scalar>) {
                // SAFETY: the caller of the table has this instruction set and the rows.
                unsafe { crate::microkernel::dot_microkernel::<$register, $mr>(of) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn gate_gradients(of: &GateGradients<$scalar>) {
                // SAFETY: the caller of the table has this instruction set and the rows.
                unsafe { crate::equations::gate_gradients::<$register>(of) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn input_product(of: &InputProduct<$scalar>) {
                // SAFETY: the caller of the table has this instruction set and the rows.
                unsafe { crate::gate_kernels::input_product::<$register, $mr>(of) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn gate_step(of: &GateStep<$scalar>) {
                // SAFETY: the caller of the table has this instruction set and the rows.
                unsafe { crate::gate_kernels::gate_step::<$register, $mr>(of) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn transpose(from: *const $scalar, k: usize, to: *mut $scalar, stride: usize) {
                // SAFETY: the caller of the table has this instruction set and both matrices.
                unsafe { <$register as Simd>::transpose(from, k, to, stride) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn activate(from: &[$scalar], to: &mut [$scalar], tanh: bool) {
                // SAFETY: the caller of the table has this instruction set.
                unsafe { super::activate::<$register>(from, to, tanh) }
            }
            pub(super) static TABLE: Kernels<$scalar> = Kernels {
                name: $name,
                lanes: <$register as Simd>::COUNT,
                mr: $mr,
                microkernel,
                dot_microkernel,
                gate_gradients,
                input_product,
                gate_step,
                transpose,
                activate,
            };
        }
        static $table: &Kernels<$scalar> = &$module::TABLE;
    };
}

/// Whether the compiler may multiply and add in one, without being asked for more.
const FUSED: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));

/// Of sixteen registers, one more is needed for a product that is added apart.
const PORTABLE_MR: usize = if FUSED { 3 } else { 2 };

kernels!(PORTABLE_F32, portable_f32, "portable", Array<f32, 4, FUSED>, f32, PORTABLE_MR);
kernels!(PORTABLE_F64, portable_f64, "portable", Array<f64, 2, FUSED>, f64, PORTABLE_MR);
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

/// The environment variable that names the instruction set to take instead of the fastest:
/// `avx512`, `avx2` or `portable`, for tests and measurements. It is read once.
pub const ISA_VARIABLE: &str = "CELLWAY_ISA";

/// The former name of [`ISA_VARIABLE`], which is read where that is not set.
const DEPRECATED_ISA_VARIABLE: &str = "CELLWAY_REGISTERS";

/// The fastest of these, or the one that [`ISA_VARIABLE`] names, if it is among them.
fn chosen<T>(all: &[&'static Kernels<T>]) -> &'static Kernels<T> {
    let name = std::env::var(ISA_VARIABLE).or_else(|_| std::env::var(DEPRECATED_ISA_VARIABLE));
    let name = name.unwrap_or_default();
    let named = all.iter().find(|kernels| kernels.name == name);
    named.unwrap_or(&all[0])
}

/// The loops that this machine can run, the fastest first.
pub(crate) fn f32_kernels() -> Vec<&'static Kernels<f32>> {
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
pub(crate) fn f64_kernels() -> Vec<&'static Kernels<f64>> {
    let mut all = Vec::new();
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        all.push(AVX2_F64);
    }
    all.push(PORTABLE_F64);
    all
}

/// The names of the instruction sets that this machine has kernels for in f32, the fastest
/// first.
pub fn instruction_sets() -> Vec<&'static str> {
    f32_kernels().iter().map(|kernels| kernels.name).collect()
}

/// The name of the instruction set that computes in this element type.
pub fn instruction_set<T: Scalar>() -> &'static str {
    T::kernels().name
}

impl Scalar for f32 {
    const ONE: f32 = 1.0;
    const DTYPE: DType = DType::F32;
    #[inline]
    fn kernels() -> &'static Kernels<f32> {
        static CHOSEN: OnceLock<&'static Kernels<f32>> = OnceLock::new();
        CHOSEN.get_or_init(|| chosen(&f32_kernels()))
    }
}

impl Scalar for f64 {
    const ONE: f64 = 1.0;
    const DTYPE: DType = DType::F64;
    #[inline]
    fn kernels() -> &'static Kernels<f64> {
        static CHOSEN: OnceLock<&'static Kernels<f64>> = OnceLock::new();
        CHOSEN.get_or_init(|| chosen(&f64_kernels()))
    }
}

/// The sigmoid of each element, within 1.51 ulp for f32.
///
/// # Panics
///
/// If the slices have different lengths.
pub fn sigmoid<T: Scalar>(x: &[T], y: &mut [T]) {
    assert_eq!(x.len(), y.len(), "as many results as arguments");
    // SAFETY: the kernels were chosen for this machine.
    unsafe { (T::kernels().activate)(x, y, false) };
}

/// The hyperbolic tangent of each element, within 2.03 ulp for f32.
///
/// # Panics
///
/// If the slices have different lengths.
pub fn tanh<T: Scalar>(x: &[T], y: &mut [T]) {
    assert_eq!(x.len(), y.len(), "as many results as arguments");
    // SAFETY: the kernels were chosen for this machine.
    unsafe { (T::kernels().activate)(x, y, true) };
}
