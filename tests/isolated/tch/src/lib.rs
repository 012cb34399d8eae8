//! As much of tch as the loops of the native engine ask for: memory of exactly the
//! size that was asked for, with nothing written to it.

use std::alloc::{Layout, alloc, dealloc};
use std::ffi::c_void;
use std::sync::atomic::{AtomicI32, Ordering};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Float,
    Double,
    BFloat16,
}

impl Kind {
    pub fn elt_size_in_bytes(self) -> usize {
        match self {
            Kind::Float => 4,
            Kind::Double => 8,
            Kind::BFloat16 => 2,
        }
    }
}

#[derive(Clone, Copy)]
pub enum Device {
    Cpu,
}

/// One that is contiguous, and its only owner.
pub struct Tensor {
    start: *mut u8,
    layout: Layout,
    size: Vec<i64>,
    kind: Kind,
}

impl Tensor {
    /// An undefined one.
    pub fn new() -> Tensor {
        Tensor::empty([0], (Kind::Float, Device::Cpu))
    }

    pub fn defined(&self) -> bool {
        !self.start.is_null()
    }

    pub fn empty(size: impl AsRef<[i64]>, (kind, Device::Cpu): (Kind, Device)) -> Tensor {
        let size = size.as_ref().to_vec();
        let bytes = size.iter().product::<i64>() as usize * kind.elt_size_in_bytes();
        let layout = Layout::from_size_align(bytes, 64).expect("a size");
        let start = match bytes {
            0 => std::ptr::null_mut(),
            // SAFETY: the size is not zero.
            _ => unsafe { alloc(layout) },
        };
        Tensor {
            start,
            layout,
            size,
            kind,
        }
    }

    pub fn data_ptr(&self) -> *mut c_void {
        self.start.cast()
    }

    pub fn numel(&self) -> usize {
        self.size.iter().product::<i64>() as usize
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn size(&self) -> Vec<i64> {
        self.size.clone()
    }

    // What only packed weights ask for, which the tests do not make.
    pub fn to_kind(&self, _: Kind) -> Tensor {
        unimplemented!()
    }
    pub fn shallow_clone(&self) -> Tensor {
        unimplemented!()
    }
    pub fn contiguous(&self) -> Tensor {
        unimplemented!()
    }

    pub fn stride(&self) -> Vec<i64> {
        let after = |n: usize| self.size[n + 1..].iter().product();
        (0..self.size.len()).map(after).collect()
    }
}

impl Drop for Tensor {
    fn drop(&mut self) {
        if !self.start.is_null() {
            // SAFETY: it came from `alloc` with this layout.
            unsafe { dealloc(self.start, self.layout) };
        }
    }
}

static THREADS: AtomicI32 = AtomicI32::new(1);

pub fn get_num_threads() -> i32 {
    THREADS.load(Ordering::Relaxed)
}

pub fn set_num_threads(count: i32) {
    THREADS.store(count, Ordering::Relaxed);
}
