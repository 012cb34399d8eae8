//! Sequences in memory: views `[T, B, F]` of a slice, with strides.

use std::ops::Range;

use crate::error::ShapeError;
use crate::memory::SharedSlice;
use crate::scalar::Scalar;

/// A view `[T, B, F]` of a slice that is read: `F` neighboring elements for each time step
/// and sequence, whose rows lie anywhere, and may overlap.
#[derive(Clone, Copy, Debug)]
pub struct Sequence<'a, T> {
    data: &'a [T],
    layout: Layout,
}

/// A view `[T, B, F]` of a slice that is written to; its rows do not overlap.
#[derive(Debug)]
pub struct SequenceMut<'a, T> {
    data: &'a mut [T],
    layout: Layout,
}

/// Where rows lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub shape: [usize; 3],
    pub strides: [usize; 2],
}

impl Layout {
    fn new(elements: usize, shape: [usize; 3], strides: [usize; 2]) -> Result<Self, ShapeError> {
        let [time, batch, features] = shape;
        let reach = || {
            let last = (time.checked_sub(1)?).checked_mul(strides[0])?;
            let last = last.checked_add((batch.checked_sub(1)?).checked_mul(strides[1])?)?;
            last.checked_add(features)
        };
        let empty = shape.contains(&0);
        match empty || reach().is_some_and(|reach| reach <= elements) {
            true => Ok(Layout { shape, strides }),
            false => Err(ShapeError::Bounds {
                shape,
                strides,
                elements,
            }),
        }
    }

    fn contiguous(elements: usize, shape: [usize; 3]) -> Result<Self, ShapeError> {
        let [_, batch, features] = shape;
        Self::new(elements, shape, [batch.saturating_mul(features), features])
    }

    /// Whether no element belongs to two rows.
    fn has_separate_rows(&self) -> bool {
        let [time, batch, features] = self.shape;
        if self.shape.contains(&0) {
            return true;
        }
        let mut dims = [(time, self.strides[0]), (batch, self.strides[1])];
        dims.sort_by_key(|&(_, stride)| stride);
        // The inner dimension steps over a row, the outer one over all of the inner one.
        let mut width = features;
        for (count, stride) in dims {
            if count > 1 && stride < width {
                return false;
            }
            if count > 1 {
                width += (count - 1) * stride;
            }
        }
        true
    }

    #[inline]
    fn first(&self, time: usize, sequence: usize) -> usize {
        assert!(time < self.shape[0] && sequence < self.shape[1]);
        time * self.strides[0] + sequence * self.strides[1]
    }
}

impl<'a, T: Scalar> Sequence<'a, T> {
    /// A view of shape `[T, B, F]`, whose strides lead from one time step, and from one
    /// sequence, to the next.
    ///
    /// # Errors
    ///
    /// If it reaches beyond the slice.
    pub fn new(data: &'a [T], shape: [usize; 3], strides: [usize; 2]) -> Result<Self, ShapeError> {
        let layout = Layout::new(data.len(), shape, strides)?;
        Ok(Sequence { data, layout })
    }

    /// A view of shape `[T, B, F]` without gaps.
    ///
    /// # Errors
    ///
    /// If it reaches beyond the slice.
    pub fn contiguous(data: &'a [T], shape: [usize; 3]) -> Result<Self, ShapeError> {
        let layout = Layout::contiguous(data.len(), shape)?;
        Ok(Sequence { data, layout })
    }

    /// The shape `[T, B, F]`.
    pub fn shape(&self) -> [usize; 3] {
        self.layout.shape
    }

    pub(crate) fn row(&self, time: usize, sequence: usize) -> &'a [T] {
        let first = self.layout.first(time, sequence);
        &self.data[first..first + self.layout.shape[2]]
    }

    /// As threads share it.
    pub(crate) fn shared(self) -> SharedSequence<'a, T> {
        SharedSequence {
            // SAFETY: who has no `SequenceMut` only reads.
            data: unsafe { SharedSlice::read_only(self.data) },
            layout: self.layout,
        }
    }

    pub(crate) fn expect(
        &self,
        name: &'static str,
        expected: [usize; 3],
    ) -> Result<(), ShapeError> {
        expect_shape(name, self.layout.shape, expected)
    }
}

impl<'a, T: Scalar> SequenceMut<'a, T> {
    /// A view of shape `[T, B, F]`, whose strides lead from one time step, and from one
    /// sequence, to the next.
    ///
    /// # Errors
    ///
    /// If it reaches beyond the slice, or its rows overlap.
    pub fn new(
        data: &'a mut [T],
        shape: [usize; 3],
        strides: [usize; 2],
    ) -> Result<Self, ShapeError> {
        let layout = Layout::new(data.len(), shape, strides)?;
        match layout.has_separate_rows() {
            true => Ok(SequenceMut { data, layout }),
            false => Err(ShapeError::Overlap { shape, strides }),
        }
    }

    /// A view of shape `[T, B, F]` without gaps.
    ///
    /// # Errors
    ///
    /// If it reaches beyond the slice.
    pub fn contiguous(data: &'a mut [T], shape: [usize; 3]) -> Result<Self, ShapeError> {
        let layout = Layout::contiguous(data.len(), shape)?;
        Ok(SequenceMut { data, layout })
    }

    /// The shape `[T, B, F]`.
    pub fn shape(&self) -> [usize; 3] {
        self.layout.shape
    }

    /// As threads share it.
    pub(crate) fn shared(self) -> SharedSequence<'a, T> {
        SharedSequence {
            data: SharedSlice::new(self.data),
            layout: self.layout,
        }
    }

    pub(crate) fn expect(
        &self,
        name: &'static str,
        expected: [usize; 3],
    ) -> Result<(), ShapeError> {
        expect_shape(name, self.layout.shape, expected)
    }
}

fn expect_shape(
    name: &'static str,
    actual: [usize; 3],
    expected: [usize; 3],
) -> Result<(), ShapeError> {
    match actual == expected {
        true => Ok(()),
        false => Err(ShapeError::Shape {
            name,
            expected,
            actual,
        }),
    }
}

/// A view whose rows threads share.
pub(crate) struct SharedSequence<'a, T> {
    data: SharedSlice<'a, T>,
    layout: Layout,
}

impl<T> Clone for SharedSequence<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for SharedSequence<'_, T> {}

impl<'a, T: Scalar> SharedSequence<'a, T> {
    /// A view `[T, B, F]` without gaps.
    pub fn contiguous(data: SharedSlice<'a, T>, shape: [usize; 3]) -> Self {
        let strides = [shape[1] * shape[2], shape[2]];
        SharedSequence {
            data,
            layout: Layout { shape, strides },
        }
    }

    /// Where these columns of a row are.
    #[inline]
    pub fn row(self, time: usize, sequence: usize, columns: Range<usize>) -> *mut T {
        self.data
            .at(self.first(time, sequence, &columns), columns.len())
    }

    /// Writes columns of a row from this one on.
    ///
    /// # Safety
    ///
    /// Nobody else uses the columns of this row at the same time.
    #[inline]
    pub unsafe fn write(self, time: usize, sequence: usize, column: usize, from: &[T]) {
        let first = self.first(time, sequence, &(column..column + from.len()));
        // SAFETY: the elements are the caller's alone.
        unsafe { self.data.write(first, from) };
    }

    /// Writes zeros to these columns of a row.
    ///
    /// # Safety
    ///
    /// Nobody else uses the columns of this row at the same time.
    pub unsafe fn clear(self, time: usize, sequence: usize, columns: Range<usize>) {
        let first = self.first(time, sequence, &columns);
        // SAFETY: the elements are the caller's alone.
        unsafe { self.data.fill(first, columns.len(), T::default()) };
    }

    #[inline]
    fn first(self, time: usize, sequence: usize, columns: &Range<usize>) -> usize {
        assert!(columns.start <= columns.end && columns.end <= self.layout.shape[2]);
        self.layout.first(time, sequence) + columns.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_stays_inside_of_its_slice() {
        let data = [0f32; 24];
        assert!(Sequence::contiguous(&data, [2, 3, 4]).is_ok());
        // Windows that overlap may be read.
        assert!(Sequence::new(&data, [21, 1, 4], [1, 0]).is_ok());
        assert!(Sequence::new(&data, [22, 1, 4], [1, 0]).is_err());
        assert!(Sequence::new(&data, [usize::MAX, 2, 4], [usize::MAX, 1]).is_err());
        assert!(Sequence::new(&data[..0], [0, 3, 4], [9, 9]).is_ok());
    }

    #[test]
    fn rows_that_are_written_to_do_not_overlap() {
        let mut data = [0f32; 24];
        assert!(SequenceMut::new(&mut data, [2, 3, 4], [4, 8]).is_ok());
        // Gaps between rows: the next time step begins where the last row ends.
        assert!(SequenceMut::new(&mut data, [2, 2, 4], [9, 5]).is_ok());
        for strides in [[0, 8], [3, 8], [4, 4], [8, 8]] {
            let error = SequenceMut::new(&mut data, [2, 2, 4], strides).unwrap_err();
            assert!(matches!(error, ShapeError::Overlap { .. }), "{strides:?}");
        }
        // A view of nothing has no rows that could overlap.
        assert!(SequenceMut::new(&mut data[..0], [0, 3, 4], [4, 0]).is_ok());
        // One of a kind has no stride.
        assert!(SequenceMut::new(&mut data, [1, 3, 4], [0, 4]).is_ok());
    }
}
