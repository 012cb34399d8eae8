//! What a call with slices of the wrong size is told.

/// Sizes, lengths or slices that do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// A slice has another number of elements than its shape.
    #[error("{name} has {actual} elements, expected {expected}")]
    Elements {
        /// The argument.
        name: &'static str,
        /// Elements that its shape has.
        expected: usize,
        /// Elements that it has.
        actual: usize,
    },
    /// A list has another number of entries than there are directions, layers or buffers.
    #[error("{name}: {actual} given, expected {expected}")]
    Count {
        /// The argument.
        name: &'static str,
        /// Entries that it needs.
        expected: usize,
        /// Entries that it has.
        actual: usize,
    },
    /// An optional argument is there and should not be, or the other way round.
    #[error("{name} does not fit the layer sizes: it is {}", if *.present { "given" } else { "missing" })]
    Presence {
        /// The argument.
        name: &'static str,
        /// Whether it was given.
        present: bool,
    },
    /// A view has another shape than the call needs.
    #[error("{name} has shape {actual:?}, expected {expected:?}")]
    Shape {
        /// The argument.
        name: &'static str,
        /// The shape `[T, B, F]` that the call needs.
        expected: [usize; 3],
        /// The shape of the view.
        actual: [usize; 3],
    },
    /// A view reaches beyond its slice.
    #[error("a view {shape:?} with strides {strides:?} does not fit into {elements} elements")]
    Bounds {
        /// `[T, B, F]`.
        shape: [usize; 3],
        /// From one time step, and from one sequence, to the next.
        strides: [usize; 2],
        /// Elements of the slice.
        elements: usize,
    },
    /// Rows of a view that is written to overlap.
    #[error("rows of a writable view {shape:?} with strides {strides:?} overlap")]
    Overlap {
        /// `[T, B, F]`.
        shape: [usize; 3],
        /// From one time step, and from one sequence, to the next.
        strides: [usize; 2],
    },
    /// A sequence is longer than the batch.
    #[error("sequence {index} has length {length}, expected at most {time}")]
    Length {
        /// Its number in the batch.
        index: usize,
        /// Its length.
        length: usize,
        /// Time steps of the batch.
        time: usize,
    },
    /// Layer sizes that no layer has.
    #[error("{0}")]
    Sizes(&'static str),
    /// A buffer of this call has more bytes than an address space.
    #[error("the sizes of this call overflow")]
    Overflow,
}

/// Checks a slice against the product of its sizes.
pub(crate) fn expect_elements<T>(
    name: &'static str,
    slice: &[T],
    shape: &[usize],
) -> Result<(), ShapeError> {
    let expected = product(shape)?;
    match slice.len() == expected {
        true => Ok(()),
        false => Err(ShapeError::Elements {
            name,
            expected,
            actual: slice.len(),
        }),
    }
}

/// Checks the number of entries of a list.
pub(crate) fn expect_count(
    name: &'static str,
    actual: usize,
    expected: usize,
) -> Result<(), ShapeError> {
    match actual == expected {
        true => Ok(()),
        false => Err(ShapeError::Count {
            name,
            expected,
            actual,
        }),
    }
}

/// The product of sizes of a buffer, whose bytes an `isize` can count.
pub(crate) fn product(shape: &[usize]) -> Result<usize, ShapeError> {
    let count = shape
        .iter()
        .try_fold(1usize, |all, &size| all.checked_mul(size));
    match count {
        Some(count) if count <= isize::MAX as usize / 8 => Ok(count),
        _ => Err(ShapeError::Overflow),
    }
}
