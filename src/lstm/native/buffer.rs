//! Numbers in memory, as the engine's loops and threads pass them on.

use tch::Tensor;

use super::lanes::Real;
use crate::runtime;

/// Numbers in memory that libtorch owns, aligned to a register.
pub(super) struct Buffer {
    /// Undefined if there are no numbers.
    tensor: Tensor,
    /// What the tensor would say, which takes libtorch longer; null if there are none.
    at: Ptr<u8>,
    bytes: usize,
}

impl Buffer {
    /// Of no numbers.
    pub fn empty() -> Buffer {
        Self::of(Tensor::new())
    }

    /// Of whatever stood there.
    pub fn raw<T: Real>(count: usize) -> Buffer {
        match count {
            0 => Self::empty(),
            _ => Self::of(runtime::scratch(count, T::KIND)),
        }
    }

    pub fn zeros<T: Real>(count: usize) -> Buffer {
        let buffer = Self::raw::<T>(count);
        // SAFETY: zeros are numbers, and there is room for so many.
        unsafe { std::slice::from_raw_parts_mut(buffer.at.0, buffer.bytes) }.fill(0);
        buffer
    }

    /// Those of a contiguous tensor.
    pub fn of(tensor: Tensor) -> Buffer {
        let (at, bytes) = match tensor.defined() {
            false => (Ptr::NULL, 0),
            true => {
                let bytes = tensor.numel() * tensor.kind().elt_size_in_bytes();
                (Ptr(tensor.data_ptr().cast()), bytes)
            }
        };
        Buffer { tensor, at, bytes }
    }

    /// As the graph keeps it.
    pub fn tensor(&self) -> Tensor {
        self.tensor.shallow_clone()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Its numbers; null if it has none.
    pub fn at<T: Real>(&self) -> Ptr<T> {
        debug_assert!(self.is_empty() || self.tensor.kind() == T::KIND);
        Ptr(self.at.0.cast())
    }
}

/// A pointer that threads share, each for rows of its own.
pub(super) struct Ptr<T>(pub *mut T);

impl<T> Clone for Ptr<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Ptr<T> {}

// SAFETY: as safe as what is done with it, which is unsafe to say.
unsafe impl<T> Send for Ptr<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Ptr<T> {}

impl<T> Ptr<T> {
    pub const NULL: Ptr<T> = Ptr(std::ptr::null_mut());

    pub fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// # Safety
    ///
    /// So many numbers on there must still be memory of the same piece; null stays
    /// null.
    pub unsafe fn add(self, count: usize) -> *mut T {
        match self.0.is_null() {
            true => self.0,
            // SAFETY: as the caller says.
            false => unsafe { self.0.add(count) },
        }
    }
}

/// What threads share though it has pointers.
pub(super) struct Shared<'a, F>(pub &'a F);

// SAFETY: the jobs write to places of their own.
unsafe impl<F> Sync for Shared<'_, F> {}

impl<F> Shared<'_, F> {
    pub fn get(&self) -> &F {
        self.0
    }
}

/// # Safety
///
/// Both lead to so many numbers.
pub(super) unsafe fn copy<T>(from: *const T, to: *mut T, count: usize) {
    // SAFETY: as the caller says; they never overlap here.
    unsafe { std::ptr::copy_nonoverlapping(from, to, count) }
}

/// As [`copy`], with zeros up to `wide`.
///
/// # Safety
///
/// As of [`copy`], and `to` leads to `wide` numbers.
pub(super) unsafe fn put<T: Real>(from: *const T, to: *mut T, count: usize, wide: usize) {
    // SAFETY: as the caller says.
    unsafe {
        copy(from, to, count);
        for n in count..wide {
            to.add(n).write(T::default());
        }
    }
}

pub(super) fn add_to<T: Real>(to: &mut [T], from: &[T]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += *from;
    }
}
