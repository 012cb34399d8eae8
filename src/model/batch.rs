//! Texts of unequal length as one tensor.

use tch::{Device, Tensor};

use crate::error::Result;
use crate::runtime;

/// Behind the ends of texts: a row that every embedding has.
const PADDING: i64 = 0;

/// A padded batch of token ids.
#[derive(Debug)]
pub struct Batch {
    /// `[B, T]` i64, `T` the longest length; what stands behind the ends is never
    /// read.
    pub ids: Tensor,
    /// The length of each text.
    pub lengths: Vec<i64>,
}

impl Batch {
    /// Pads, on the CPU. The ids must be rows of the embedding.
    pub(crate) fn new<'a>(texts: impl IntoIterator<Item = &'a [i64]>) -> Batch {
        let texts: Vec<&[i64]> = texts.into_iter().collect();
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or(0);
        let mut ids = vec![PADDING; texts.len() * longest];
        for (row, text) in texts.iter().enumerate() {
            ids[row * longest..][..text.len()].copy_from_slice(text);
        }
        Batch {
            ids: Tensor::from_slice(&ids).view([texts.len() as i64, longest as i64]),
            lengths: texts.iter().map(|text| text.len() as i64).collect(),
        }
    }

    /// In memory that a CUDA device can copy from while the host goes on.
    pub(crate) fn pinned(self, device: Device) -> Result<Batch> {
        Ok(Batch {
            ids: self.ids.f_pin_memory(device)?,
            ..self
        })
    }

    /// On this device; the host does not wait for a copy from pinned memory.
    pub(crate) fn to_device(&self, device: Device) -> Batch {
        Batch {
            ids: runtime::upload(&self.ids, device),
            lengths: self.lengths.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_at_the_end() {
        let batch = Batch::new([&[5, 6, 7][..], &[], &[8]]);
        assert_eq!(batch.lengths, [3, 0, 1]);
        let rows: Vec<Vec<i64>> = Vec::try_from(&batch.ids).unwrap();
        assert_eq!(rows, [[5, 6, 7], [0, 0, 0], [8, 0, 0]]);
        assert_eq!(Batch::new([&[][..]]).ids.size(), [1, 0]);
    }
}
