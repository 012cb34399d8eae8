//! Memory: where large buffers come from, and how threads share them.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::any::Any;
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::scalar::{DType, Scalar};

/// Alignment of the blocks of [`HeapAllocator`]: a cache line, and the widest register.
pub(crate) const LINE: usize = 64;

/// Memory of an [`Allocator`], which goes back to it when the block is dropped.
pub struct Block {
    start: NonNull<u8>,
    bytes: usize,
    owner: Box<dyn Any + Send>,
}

// SAFETY: a shared block gives out nothing but its address and size; the owner, which
// need not be `Sync`, can be reached by value only.
unsafe impl Sync for Block {}
// SAFETY: the owner is `Send`, and `Block::new` asks for memory that any thread may use.
unsafe impl Send for Block {}

impl Block {
    /// A block over memory that `owner` keeps.
    ///
    /// # Safety
    ///
    /// Until `owner` is dropped, and wherever it is moved, `start` must lead to `bytes`
    /// bytes that may be read and written by any thread, that nothing else reads or writes
    /// while the block is there, and that are aligned to 8 bytes.
    pub unsafe fn new(start: NonNull<u8>, bytes: usize, owner: Box<dyn Any + Send>) -> Block {
        Block {
            start,
            bytes,
            owner,
        }
    }

    /// How many bytes there are.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What keeps the memory.
    pub fn into_owner(self) -> Box<dyn Any + Send> {
        self.owner
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Block")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// Where the kernels get their large buffers from.
pub trait Allocator: Sync {
    /// Memory for `count` elements, at least one, with any contents.
    fn allocate(&self, count: usize, dtype: DType) -> Block;
}

/// The global allocator of Rust, with buffers aligned to cache lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeapAllocator;

/// A piece of the heap.
struct Heap {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it owns its memory, and says nothing about threads.
unsafe impl Send for Heap {}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: `allocate` got this memory with this layout, and nobody else frees it.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

impl Allocator for HeapAllocator {
    fn allocate(&self, count: usize, dtype: DType) -> Block {
        let bytes = count.checked_mul(dtype.size()).filter(|&bytes| bytes > 0);
        let layout = bytes.and_then(|bytes| Layout::from_size_align(bytes, LINE).ok());
        let layout = layout.expect("a buffer has between one and isize::MAX bytes");
        // SAFETY: the size is not zero.
        let start = unsafe { alloc(layout) };
        let Some(start) = NonNull::new(start) else {
            handle_alloc_error(layout)
        };
        let owner = Box::new(Heap { start, layout });
        // SAFETY: the memory is fresh and the owner's alone, which frees it when dropped.
        unsafe { Block::new(start, layout.size(), owner) }
    }
}

/// Elements in a block of an allocator; without elements there is no block.
pub(crate) struct Buffer<T> {
    block: Option<Block>,
    len: usize,
    element: PhantomData<T>,
}

impl<T: Scalar> Buffer<T> {
    /// A buffer without elements.
    pub fn empty() -> Buffer<T> {
        Buffer {
            block: None,
            len: 0,
            element: PhantomData,
        }
    }

    /// A buffer of any contents.
    pub fn uninit(allocator: &dyn Allocator, len: usize) -> Buffer<T> {
        if len == 0 {
            return Self::empty();
        }
        let block = allocator.allocate(len, T::DTYPE);
        let fits = block.bytes >= len * size_of::<T>();
        let aligned = block.start.cast::<T>().is_aligned();
        assert!(fits && aligned, "the allocator gave too little memory");
        Buffer {
            block: Some(block),
            len,
            element: PhantomData,
        }
    }

    /// A buffer of zeros.
    pub fn zeros(allocator: &dyn Allocator, len: usize) -> Buffer<T> {
        let mut buffer = Self::uninit(allocator, len);
        let all = buffer.shared();
        // SAFETY: the buffer is not shared with anything yet.
        unsafe { all.fill(0, len, T::default()) };
        buffer
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Its elements, for threads that each write to some of them.
    pub fn shared(&mut self) -> SharedSlice<'_, T> {
        SharedSlice {
            start: self.start(),
            len: self.len,
            lifetime: PhantomData,
        }
    }

    fn start(&self) -> *mut T {
        match &self.block {
            Some(block) => block.start.as_ptr().cast(),
            None => NonNull::dangling().as_ptr(),
        }
    }

    /// Its elements.
    ///
    /// # Safety
    ///
    /// All of them have been written.
    pub unsafe fn as_slice(&self) -> &[T] {
        // SAFETY: all are written, as the caller says.
        unsafe { self.first(self.len) }
    }

    /// Its first elements.
    ///
    /// # Safety
    ///
    /// So many of them have been written.
    pub unsafe fn first(&self, count: usize) -> &[T] {
        assert!(count <= self.len);
        // SAFETY: the block has room for `len` elements, of which these are written, as the
        // caller says, and who writes to them later borrows the buffer mutably.
        unsafe { std::slice::from_raw_parts(self.start(), count) }
    }

    /// Its block.
    pub fn into_block(self) -> Option<Block> {
        self.block
    }
}

/// Elements that threads share, each of which writes to some that are its own.
///
/// Every access is checked against the length; that no two threads use the same elements
/// at the same time is what the `unsafe` methods ask of their callers.
pub(crate) struct SharedSlice<'a, T> {
    start: *mut T,
    len: usize,
    lifetime: PhantomData<&'a mut [T]>,
}

impl<T> Clone for SharedSlice<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for SharedSlice<'_, T> {}

// SAFETY: without `unsafe` it gives out addresses only; who reads or writes there answers
// for races, and elements of other threads are `Send` and `Sync`.
unsafe impl<T: Send + Sync> Send for SharedSlice<'_, T> {}
// SAFETY: sharing a copy is the same as sending one, see `Send`.
unsafe impl<T: Send + Sync> Sync for SharedSlice<'_, T> {}

impl<'a, T: Copy> SharedSlice<'a, T> {
    /// Elements that nobody else has.
    pub fn new(slice: &'a mut [T]) -> Self {
        SharedSlice {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            lifetime: PhantomData,
        }
    }

    /// Elements that are only read.
    ///
    /// # Safety
    ///
    /// Nobody writes through it.
    pub unsafe fn read_only(slice: &'a [T]) -> Self {
        SharedSlice {
            start: slice.as_ptr().cast_mut(),
            len: slice.len(),
            lifetime: PhantomData,
        }
    }

    /// Where `count` elements from `first` on are.
    ///
    /// # Panics
    ///
    /// There are fewer.
    #[inline]
    pub fn at(self, first: usize, count: usize) -> *mut T {
        assert!(
            first <= self.len && count <= self.len - first,
            "{count} elements from {first} on of {}",
            self.len
        );
        // SAFETY: not behind the end.
        unsafe { self.start.add(first) }
    }

    /// These elements only.
    #[inline]
    pub fn part(self, first: usize, count: usize) -> Self {
        SharedSlice {
            start: self.at(first, count),
            len: count,
            ..self
        }
    }

    /// # Safety
    ///
    /// The elements have been written, and nobody writes to them while the slice is there.
    #[inline]
    pub unsafe fn slice(self, first: usize, count: usize) -> &'a [T] {
        // SAFETY: within the elements; the caller says that they are set and stay.
        unsafe { std::slice::from_raw_parts(self.at(first, count), count) }
    }

    /// # Safety
    ///
    /// The elements have been written, and nobody else uses them while the slice is there.
    #[inline]
    pub unsafe fn slice_mut(self, first: usize, count: usize) -> &'a mut [T] {
        // SAFETY: within the elements; the caller says that they are set and its own.
        unsafe { std::slice::from_raw_parts_mut(self.at(first, count), count) }
    }

    /// Writes these from `first` on.
    ///
    /// # Safety
    ///
    /// Nobody else uses the elements at the same time, and `from` is not among them.
    #[inline]
    pub unsafe fn write(self, first: usize, from: &[T]) {
        let to = self.at(first, from.len());
        // SAFETY: both have so many elements and do not overlap, as the caller says.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) };
    }

    /// Writes `value` to `count` elements from `first` on.
    ///
    /// # Safety
    ///
    /// Nobody else uses the elements at the same time.
    #[inline]
    pub unsafe fn fill(self, first: usize, count: usize, value: T) {
        let to = self.at(first, count);
        for n in 0..count {
            // SAFETY: within the elements, which are the caller's.
            unsafe { to.add(n).write(value) };
        }
    }

    /// Writes these and zeros behind them, `width` elements together.
    ///
    /// # Safety
    ///
    /// As of [`write`](Self::write).
    #[inline]
    pub unsafe fn write_padded(self, first: usize, from: &[T], width: usize)
    where
        T: Default,
    {
        // SAFETY: the caller has these elements for itself.
        unsafe {
            self.write(first, from);
            self.fill(first + from.len(), width - from.len(), T::default());
        }
    }
}

/// Adds to each element the one that stands in the same place.
pub(crate) fn add_to<T: Scalar>(to: &mut [T], from: &[T]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += *from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_of_nothing_is_an_empty_slice() {
        let buffer = Buffer::<f32>::zeros(&HeapAllocator, 0);
        assert!(buffer.is_empty());
        // SAFETY: there are no elements.
        assert!(unsafe { buffer.as_slice() }.is_empty());
        assert!(buffer.into_block().is_none());
    }

    /// Gives an element less than it is asked for.
    struct Stingy;

    impl Allocator for Stingy {
        fn allocate(&self, count: usize, dtype: DType) -> Block {
            HeapAllocator.allocate(count - 1, dtype)
        }
    }

    #[test]
    #[should_panic(expected = "too little memory")]
    fn a_block_that_is_too_small_makes_no_buffer() {
        Buffer::<f32>::uninit(&Stingy, 8);
    }

    #[test]
    #[should_panic(expected = "2 elements from 3 on of 4")]
    fn a_shared_slice_ends() {
        SharedSlice::new(&mut [0f32; 4]).at(3, 2);
    }
}
