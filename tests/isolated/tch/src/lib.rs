//! As much of tch as the loops of the native engine ask for: memory of exactly the
//! size that was asked for, with nothing written to it.

use std::alloc::{Layout, alloc, dealloc};
use std::ffi::c_void;
use std::sync::Arc;
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

/// Without gradients nothing is to be guarded.
pub struct NoGradGuard;

pub fn no_grad_guard() -> NoGradGuard {
    NoGradGuard
}

/// One that is contiguous.
pub struct Tensor {
    memory: Arc<Memory>,
    size: Vec<i64>,
    kind: Kind,
}

struct Memory {
    start: *mut u8,
    layout: Layout,
}

impl Tensor {
    /// An undefined one.
    pub fn new() -> Tensor {
        Tensor::empty([0], (Kind::Float, Device::Cpu))
    }

    pub fn defined(&self) -> bool {
        !self.memory.start.is_null()
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
            memory: Arc::new(Memory { start, layout }),
            size,
            kind,
        }
    }

    pub fn data_ptr(&self) -> *mut c_void {
        self.memory.start.cast()
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

    /// Only to the kind that it has: the tests round no weights.
    pub fn to_kind(&self, kind: Kind) -> Tensor {
        assert_eq!(kind, self.kind);
        self.shallow_clone()
    }

    pub fn shallow_clone(&self) -> Tensor {
        Tensor {
            memory: Arc::clone(&self.memory),
            size: self.size.clone(),
            kind: self.kind,
        }
    }

    pub fn contiguous(&self) -> Tensor {
        self.shallow_clone()
    }

    pub fn stride(&self) -> Vec<i64> {
        let after = |n: usize| self.size[n + 1..].iter().product();
        (0..self.size.len()).map(after).collect()
    }
}

impl Drop for Memory {
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
