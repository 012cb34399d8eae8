//! Memory of large tensors. An allocator that gives it back to the system after each
//! step pays with a page fault for every 4 KiB of the next one: of training at
//! `B = H = 256, T = 50` a quarter of the time.

use std::ffi::c_void;

use nix::libc;

/// Below, a buffer is not worth a call: one large page of x86-64 and aarch64.
const LARGE_PAGE: usize = 2 << 20;

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

/// Asks for large pages where this memory has room for whole ones. A wish: what the
/// system says to it does not matter.
pub(crate) fn prefer_large_pages(start: *mut c_void, bytes: usize) {
    if bytes < 2 * LARGE_PAGE {
        return;
    }
    #[cfg(target_os = "linux")]
    {
        let first = (start as usize).next_multiple_of(LARGE_PAGE);
        let end = (start as usize + bytes) / LARGE_PAGE * LARGE_PAGE;
        // SAFETY: whole pages of memory that the caller owns; advice changes none of
        // what stands there.
        unsafe { libc::madvise(first as *mut c_void, end - first, libc::MADV_HUGEPAGE) };
    }
}
