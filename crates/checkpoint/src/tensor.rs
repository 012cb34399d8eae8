//! Tensors as files describe them: views of storages. Their extent is checked
//! once, here, before any element is read.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use crate::dtype::DType;
use crate::limits::{EXPANSION, RANK};
use crate::parse_error::{ParseError, ParseResult};

/// A storage: bytes in one of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageInfo {
    /// What the file calls it.
    pub key: String,
    /// The device that it was saved on: `cpu`, `cuda:0`.
    pub device: String,
    /// Bytes.
    pub bytes: usize,
    /// Which of the checkpoint's files it lies in.
    pub(crate) source: usize,
    /// Where in that file.
    pub(crate) start: usize,
    /// Its checksum, where the file has one.
    pub(crate) crc: Option<u32>,
}

/// A tensor: a view of a storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TensorInfo {
    /// Its path from the top of the file, dotted: `state_dict.lstm.weight_ih_l0`,
    /// `optimizer_states[0].state.0.exp_avg`.
    pub name: String,
    /// The type of its elements.
    #[serde(serialize_with = "by_name")]
    pub dtype: DType,
    /// Its sizes.
    pub shape: Vec<i64>,
    /// For each dimension, how many elements lie between two neighbours.
    pub stride: Vec<i64>,
    /// Elements of the storage in front of the first.
    pub offset: i64,
    /// The number of its storage.
    pub storage: usize,
    /// Whether it is a `torch.nn.Parameter`.
    pub parameter: bool,
}

fn by_name<S: Serializer>(dtype: &DType, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(dtype.name())
}

/// Row-major strides.
pub(crate) fn contiguous_stride(shape: &[i64]) -> Vec<i64> {
    let mut stride = vec![1i64; shape.len()];
    for n in (1..shape.len()).rev() {
        stride[n - 1] = stride[n].saturating_mul(shape[n].max(1));
    }
    stride
}

impl TensorInfo {
    /// Elements. The extent was checked: it does not overflow.
    pub fn numel(&self) -> usize {
        self.shape.iter().product::<i64>() as usize
    }

    /// Whether it is row-major without gaps.
    pub fn is_contiguous(&self) -> bool {
        let dense = contiguous_stride(&self.shape);
        let mut places = self.shape.iter().zip(self.stride.iter().zip(&dense));
        self.numel() == 0 || places.all(|(&size, (stride, dense))| size == 1 || stride == dense)
    }

    /// Checks that every element lies inside a storage of so many bytes.
    /// `at` is the byte of the file for the error.
    pub(crate) fn check(&self, storage_bytes: usize, at: usize) -> ParseResult<()> {
        let name = &self.name;
        let refuse = |what: String| {
            Err(ParseError::malformed(
                at,
                format!("tensor {name:?}: {what}"),
            ))
        };
        if self.shape.len() > RANK {
            let message = format!(
                "tensor {name:?} has {} dimensions (at most {RANK})",
                self.shape.len()
            );
            return Err(ParseError::too_large(at, message));
        }
        if self.shape.len() != self.stride.len() {
            return refuse(format!(
                "has {} sizes, but {} strides",
                self.shape.len(),
                self.stride.len()
            ));
        }
        if let Some(size) = self.shape.iter().find(|&&size| size < 0) {
            return refuse(format!("has the negative size {size}"));
        }
        if let Some(stride) = self.stride.iter().find(|&&stride| stride < 0) {
            return refuse(format!("has the negative stride {stride}"));
        }
        if self.offset < 0 {
            return refuse(format!("has the negative offset {}", self.offset));
        }
        // libtorch counts in i64, zero sizes or not.
        let size = self.dtype.size() as i64;
        let total = self
            .shape
            .iter()
            .try_fold(size, |total, &n| total.checked_mul(n.max(1)));
        // The place behind the last element, in bytes.
        let last = self
            .shape
            .iter()
            .zip(&self.stride)
            .try_fold(self.offset, |last, (&n, &stride)| {
                last.checked_add((n - 1).max(0).checked_mul(stride)?)
            })
            .and_then(|last| last.checked_add(1)?.checked_mul(size));
        let (Some(_), Some(end)) = (total, last) else {
            return refuse(format!(
                "shape {:?} with strides {:?} is too large",
                self.shape, self.stride
            ));
        };
        let empty = self.shape.contains(&0);
        if !empty && end as u64 > storage_bytes as u64 {
            return refuse(format!(
                "shape {:?} with strides {:?} and offset {} needs {end} bytes, but its storage has {storage_bytes}",
                self.shape, self.stride, self.offset
            ));
        }
        Ok(())
    }

    /// Its elements in row-major order, little-endian, from its storage's bytes;
    /// borrowed where they lie there like that. The error is a message.
    pub(crate) fn gather<'a>(&self, storage: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
        let size = self.dtype.size();
        let total = self.numel().saturating_mul(size);
        if total > storage.len().saturating_add(EXPANSION) {
            return Err(format!(
                "repeats the {} bytes of its storage up to {total}; save tensor.contiguous() if that is meant",
                storage.len()
            ));
        }
        if self.numel() == 0 {
            return Ok(Cow::Borrowed(&[]));
        }
        let start = self.offset as usize * size;
        if self.is_contiguous() {
            return Ok(Cow::Borrowed(&storage[start..start + total]));
        }
        let mut bytes = Vec::with_capacity(total);
        let mut index = vec![0; self.shape.len()];
        let mut place = self.offset;
        loop {
            let from = place as usize * size;
            bytes.extend_from_slice(&storage[from..from + size]);
            // The next index, the last dimension first.
            let mut n = self.shape.len();
            loop {
                if n == 0 {
                    return Ok(Cow::Owned(bytes));
                }
                n -= 1;
                index[n] += 1;
                place += self.stride[n];
                if index[n] < self.shape[n] {
                    break;
                }
                place -= self.stride[n] * self.shape[n];
                index[n] = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[i64], stride: &[i64], offset: i64) -> TensorInfo {
        TensorInfo {
            name: "x".into(),
            dtype: DType::U8,
            shape: shape.into(),
            stride: stride.into(),
            offset,
            storage: 0,
            parameter: false,
        }
    }

    #[test]
    fn a_view_inside_its_storage_is_gathered_in_row_major_order() {
        let bytes: Vec<u8> = (0..12).collect();
        let all = |shape: &[i64], stride: &[i64], offset| {
            let view = tensor(shape, stride, offset);
            view.check(bytes.len(), 0).unwrap();
            view.gather(&bytes).unwrap().into_owned()
        };
        assert_eq!(all(&[2, 3], &[3, 1], 0), [0, 1, 2, 3, 4, 5]);
        assert_eq!(all(&[3, 2], &[1, 3], 0), [0, 3, 1, 4, 2, 5]);
        assert_eq!(all(&[2, 2], &[6, 2], 3), [3, 5, 9, 11]);
        assert_eq!(all(&[2, 2], &[0, 1], 4), [4, 5, 4, 5]);
        assert_eq!(all(&[], &[], 7), [7]);
        assert!(all(&[0, 5], &[5, 1], 99).is_empty());
        assert_eq!(all(&[2, 1, 2], &[2, 77, 1], 0), [0, 1, 2, 3]);
    }

    #[test]
    fn a_view_that_leaves_its_storage_is_refused() {
        let refused = |shape: &[i64], stride: &[i64], offset, why: &str| {
            let error = tensor(shape, stride, offset).check(12, 5).unwrap_err();
            assert!(error.message.contains(why), "{error}");
            assert_eq!(error.offset, 5);
        };
        refused(&[13], &[1], 0, "needs 13 bytes, but its storage has 12");
        refused(&[4], &[4], 0, "needs 13 bytes");
        refused(&[1], &[1], 12, "needs 13 bytes");
        refused(&[2], &[-1], 1, "negative stride");
        refused(&[-2], &[1], 1, "negative size");
        refused(&[2], &[1], -1, "negative offset");
        refused(&[2, 2], &[1], 0, "2 sizes, but 1 strides");
        refused(&[i64::MAX, 3], &[0, 0], 0, "too large");
        refused(&[3], &[i64::MAX], 0, "too large");
        refused(&[2], &[1], i64::MAX, "too large");
        refused(&[1; 17], &[1; 17], 0, "17 dimensions");
    }

    #[test]
    fn repeated_elements_do_not_fill_the_memory() {
        let view = tensor(&[1 << 40], &[0], 0);
        view.check(1, 0).unwrap();
        assert!(view.gather(&[1]).unwrap_err().contains("repeats"));
    }
}
