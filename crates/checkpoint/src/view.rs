//! Tensors as a caller hands them over to be written.

use std::borrow::Cow;

use crate::dtype::DType;
use crate::error::{Error, Result};

/// A named tensor that can be written to a file: its dtype, its shape and its
/// elements in row-major order, little-endian.
///
/// Elements that are borrowed from the same place in the same dtype are taken for
/// one tensor under several names (tied weights).
#[derive(Clone, Debug)]
pub struct TensorView<'a> {
    name: &'a str,
    dtype: DType,
    shape: Vec<i64>,
    bytes: Cow<'a, [u8]>,
}

impl<'a> TensorView<'a> {
    /// Describes a tensor.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] if `bytes` are not as many as the dtype and the shape take.
    pub fn new(
        name: &'a str,
        dtype: DType,
        shape: Vec<i64>,
        bytes: impl Into<Cow<'a, [u8]>>,
    ) -> Result<TensorView<'a>> {
        let bytes = bytes.into();
        let expected = shape.iter().try_fold(dtype.size(), |total, &size| {
            total.checked_mul(usize::try_from(size).ok()?)
        });
        if expected != Some(bytes.len()) {
            let message = format!(
                "has {} bytes, which is not what {dtype} elements of shape {shape:?} take",
                bytes.len()
            );
            return Err(Error::tensor(name, message));
        }
        Ok(TensorView {
            name,
            dtype,
            shape,
            bytes,
        })
    }

    /// The name of the tensor in the file.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The sizes.
    pub fn shape(&self) -> &[i64] {
        &self.shape
    }

    /// The elements in row-major order, little-endian.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What tensors have in common that are the same memory: address, length and
    /// dtype. `None` for elements that nobody else can share.
    pub(crate) fn memory(&self) -> Option<(usize, usize, DType)> {
        match &self.bytes {
            Cow::Borrowed(bytes) if !bytes.is_empty() => {
                Some((bytes.as_ptr() as usize, bytes.len(), self.dtype))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_do_not_fit_the_shape_are_refused() {
        let new = |shape: &[i64], bytes| TensorView::new("x", DType::F32, shape.to_vec(), bytes);
        assert!(new(&[2, 1], vec![0u8; 8]).is_ok());
        assert!(new(&[], vec![0; 4]).is_ok());
        assert!(new(&[0, i64::MAX], vec![]).is_ok());
        for (shape, bytes) in [(&[2][..], 7), (&[-1][..], 4), (&[i64::MAX, 4][..], 0)] {
            let error = new(shape, vec![0; bytes]).unwrap_err();
            assert!(error.to_string().starts_with("x: has"), "{error}");
        }
    }
}
