//! The element types that the kernels compute with.

use crate::bf16::Bf16Storage;
use crate::isa::Kernels;

/// An element type of the kernels: `f32` or `f64`.
pub trait Scalar:
    Sealed
    + Bf16Storage
    + Copy
    + Default
    + PartialEq
    + Send
    + Sync
    + 'static
    + std::fmt::Debug
    + std::ops::Add<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::AddAssign
    + std::ops::Sub<Output = Self>
{
    /// The number one.
    const ONE: Self;
    /// The type as a value.
    const DTYPE: DType;
    /// The loops over whole registers that were chosen for this machine.
    #[doc(hidden)]
    fn kernels() -> &'static Kernels<Self>;
}

/// An element type as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DType {
    /// `f32`.
    F32,
    /// `f64`.
    F64,
}

impl DType {
    /// Bytes of an element.
    pub const fn size(self) -> usize {
        match self {
            DType::F32 => 4,
            DType::F64 => 8,
        }
    }
}

/// Keeps [`Scalar`] to the types whose kernels are here.
pub trait Sealed {}
impl Sealed for f32 {}
impl Sealed for f64 {}
