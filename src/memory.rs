//! Memory of large tensors. An allocator that gives it back to the system after each
//! step pays with a page fault for every 4 KiB of the next one: of training at
//! `B = H = 256, T = 50` a quarter of the time.

use std::alloc::{Layout, alloc, dealloc};
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use nix::libc;
use tch::{Device, Kind, Tensor};

use crate::shim;

/// From here on the process keeps memory that is freed, for the next tensors of the
/// same size. For programs that train; what they need at once stays the same.
///
/// Does nothing where the C library is not glibc.
pub fn keep_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets two numbers of glibc's allocator, which are its documented options.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
    }
}

/// Below, a tensor is libtorch's own affair.
const POOLED: usize = 256 << 10;

/// Of x86-64 and aarch64. Blocks of some of them begin at one and ask for them.
const LARGE_PAGE: usize = 2 << 20;

/// A tensor `[count]` on the CPU of whatever stood there; a large one over memory that
/// earlier ones had, if some is free. A block is made only where none is free that is
/// large enough, and then free ones go until all are no more than what tensors once asked
/// for together, or none is left.
pub(crate) fn scratch(count: usize, kind: Kind) -> Tensor {
    let bytes = count * kind.elt_size_in_bytes();
    let block = match kind {
        Kind::Float | Kind::Double if bytes >= POOLED => pool().take(bytes),
        _ => None,
    };
    // Where the system has no more, it is libtorch that says so.
    let Some(start) = block else {
        return Tensor::empty([count as i64], (kind, Device::Cpu));
    };
    // SAFETY: the block has room for so many numbers, and is nobody else's until the
    // tensor gives it back.
    unsafe { shim::tensor_over(start as *mut c_void, count, kind == Kind::Double, give_back) }
}

/// As libtorch calls it, from any thread.
unsafe extern "C" fn give_back(start: *mut c_void) {
    pool().give(start as usize);
}

static POOL: LazyLock<Mutex<Pool>> = LazyLock::new(Mutex::default);

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Blocks of memory by their addresses.
#[derive(Default)]
struct Pool {
    /// The bytes of each that a tensor has, and those of them that it asked for.
    used: HashMap<usize, (usize, usize)>,
    /// `(address, bytes)`, the longest free first.
    free: Vec<(usize, usize)>,
    /// The most bytes that tensors asked for together.
    most: usize,
}

impl Pool {
    /// The address of a block of so many bytes; none if the system has none.
    ///
    /// The smallest free block that is large enough, however large: batches differ in
    /// length, and a step through a short one finds what a long one left.
    fn take(&mut self, asked: usize) -> Option<usize> {
        // In steps of an eighth or less, so that sizes that differ a little fit.
        let bytes = asked.next_multiple_of((asked.next_power_of_two() / 16).max(4096));
        let fits = |&(_, (_, free)): &(usize, &(usize, usize))| bytes <= *free;
        let best = (self.free.iter().enumerate())
            .filter(fits)
            .min_by_key(|(_, (_, free))| *free);
        let most = self.most.max(self.asked() + bytes);
        let (start, block) = match best.map(|(place, _)| place) {
            Some(place) => self.free.remove(place),
            None => {
                while !self.free.is_empty() && self.held() + bytes > most {
                    let (start, free) = self.free.remove(0);
                    // SAFETY: it is of `fresh` with this size, and in no use.
                    unsafe { release(start, free) };
                }
                (fresh(bytes)?, bytes)
            }
        };
        self.most = most;
        self.used.insert(start, (block, bytes));
        Some(start)
    }

    fn asked(&self) -> usize {
        self.used.values().map(|(_, asked)| asked).sum()
    }

    fn held(&self) -> usize {
        let used = self.used.values().map(|(block, _)| block);
        used.chain(self.free.iter().map(|(_, free)| free)).sum()
    }

    fn give(&mut self, start: usize) {
        if let Some((block, _)) = self.used.remove(&start) {
            self.free.push((start, block));
        }
    }
}

/// None for what no memory can hold.
fn layout(bytes: usize) -> Option<Layout> {
    let align = match bytes < 2 * LARGE_PAGE {
        true => 64,
        false => LARGE_PAGE,
    };
    Layout::from_size_align(bytes, align).ok()
}

/// # Safety
///
/// The block is of [`fresh`] with this size, and in no use.
unsafe fn release(start: usize, bytes: usize) {
    if let Some(layout) = layout(bytes) {
        // SAFETY: as the caller says.
        unsafe { dealloc(start as *mut u8, layout) };
    }
}

fn fresh(bytes: usize) -> Option<usize> {
    let layout = layout(bytes)?;
    // SAFETY: the size is not zero.
    let start = unsafe { alloc(layout) };
    if start.is_null() {
        return None;
    }
    #[cfg(target_os = "linux")]
    if layout.align() == LARGE_PAGE {
        // SAFETY: whole pages of ours; advice changes nothing of what stands there, and
        // whether the system takes it does not matter.
        unsafe {
            libc::madvise(
                start.cast(),
                bytes / LARGE_PAGE * LARGE_PAGE,
                libc::MADV_HUGEPAGE,
            )
        };
    }
    Some(start as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_block_is_taken_again_and_no_more_is_held_than_was_used() {
        let mut pool = Pool::default();
        let first = pool.take(1 << 20).unwrap();
        let second = pool.take(1 << 20).unwrap();
        assert_ne!(first, second);
        pool.give(first);
        assert_eq!(pool.take((1 << 20) - 100), Some(first));
        pool.give(first);
        pool.give(second);
        pool.give(second);
        assert_eq!(pool.free.len(), 2);
        let small = pool.take(300 << 10).unwrap();
        assert!([first, second].contains(&small));
        pool.give(small);
        assert_eq!(pool.held(), 2 << 20);
        // Neither fits; with both kept there would be more than was ever in use.
        let large = pool.take(3 << 20).unwrap();
        assert!(pool.free.len() < 2);
        assert!(pool.held() <= pool.most, "{} {}", pool.held(), pool.most);
        pool.give(large);
        while let Some((start, bytes)) = pool.free.pop() {
            // SAFETY: as in `take`.
            unsafe { release(start, bytes) };
        }
        // More than there can be: nothing is lost, and the pool goes on.
        let most = pool.most;
        assert_eq!(pool.take(1 << 60), None);
        assert_eq!((pool.most, pool.used.len()), (most, 0));
    }

    #[test]
    fn tensors_have_memory_of_their_own() {
        for kind in [Kind::Float, Kind::Double] {
            let tensors: Vec<Tensor> = (0..4)
                .map(|n| scratch(100_000, kind).fill_(n as f64))
                .collect();
            for (n, tensor) in tensors.iter().enumerate() {
                assert_eq!(tensor.kind(), kind);
                assert_eq!(tensor.size(), [100_000]);
                assert_eq!(tensor.double_value(&[99_999]), n as f64);
                assert_eq!(tensor.data_ptr() as usize % 64, 0);
            }
            assert_eq!(scratch(3, kind).size(), [3]);
        }
    }
}
