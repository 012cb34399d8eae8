//! Writes safetensors files, by the `safetensors` crate.

use std::path::Path;

use ::safetensors::{Dtype, serialize, tensor};

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::view::TensorView;

/// The dtypes that are written.
const WRITTEN: [(DType, Dtype); 12] = [
    (DType::Bool, Dtype::BOOL),
    (DType::U8, Dtype::U8),
    (DType::I8, Dtype::I8),
    (DType::I16, Dtype::I16),
    (DType::I32, Dtype::I32),
    (DType::I64, Dtype::I64),
    (DType::F16, Dtype::F16),
    (DType::BF16, Dtype::BF16),
    (DType::F32, Dtype::F32),
    (DType::F64, Dtype::F64),
    (DType::F8E5M2, Dtype::F8_E5M2),
    (DType::F8E4M3, Dtype::F8_E4M3),
];

/// Whether [`save`] writes tensors of this dtype.
pub fn can_save(dtype: DType) -> bool {
    format_dtype(dtype).is_some()
}

fn format_dtype(dtype: DType) -> Option<Dtype> {
    let row = WRITTEN.iter().find(|(ours, _)| *ours == dtype)?;
    Some(row.1)
}

/// Writes tensors, whole or not at all. `metadata` goes into the header.
///
/// # Errors
///
/// [`Error::Tensor`] for a dtype that is not written (see [`can_save`]),
/// [`Error::Io`] or [`Error::File`] if the file cannot be written.
pub fn save<'a>(
    path: impl AsRef<Path>,
    tensors: impl IntoIterator<Item = TensorView<'a>>,
    metadata: &[(&str, &str)],
) -> Result<()> {
    let path = path.as_ref();
    let tensors: Vec<TensorView> = tensors.into_iter().collect();
    let views = tensors
        .iter()
        .map(|view| {
            let refuse = |message: String| Error::tensor(view.name(), message);
            let dtype = format_dtype(view.dtype())
                .ok_or_else(|| refuse(format!("safetensors has no dtype for {}", view.dtype())))?;
            let shape = view.shape().iter().map(|&size| size as usize).collect();
            let stored = tensor::TensorView::new(dtype, shape, view.bytes())
                .map_err(|error| refuse(error.to_string()))?;
            Ok((view.name(), stored))
        })
        .collect::<Result<Vec<_>>>()?;
    let metadata = metadata
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect();
    let bytes = serialize(views, Some(metadata))
        .map_err(|error| Error::file(path, format!("cannot be written: {error}")))?;
    write_atomically(path, |file| std::io::Write::write_all(file, &bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Checkpoint;

    #[test]
    fn every_dtype_that_is_written_comes_back_to_the_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all.safetensors");
        let written: Vec<(String, DType, Vec<u8>)> = WRITTEN
            .iter()
            .map(|&(dtype, _)| {
                let bytes = (0..6 * dtype.size()).map(|n| n as u8 % 2).collect();
                (dtype.to_string(), dtype, bytes)
            })
            .collect();
        let views = written
            .iter()
            .map(|(name, dtype, bytes)| TensorView::new(name, *dtype, vec![3, 2], bytes).unwrap());
        save(&path, views, &[("format", "pt")]).unwrap();
        let read = Checkpoint::open_safetensors(&path).unwrap();
        assert_eq!(read.tensors().len(), WRITTEN.len());
        for (name, dtype, bytes) in &written {
            let tensor = read.find(name).unwrap();
            assert_eq!((tensor.dtype, &tensor.shape[..]), (*dtype, &[3, 2][..]));
            assert_eq!(read.bytes(name).unwrap(), *bytes, "{name}");
        }
        assert_eq!(read.json("format").unwrap(), "pt");
    }

    #[test]
    fn a_dtype_that_is_not_written_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("complex.safetensors");
        let view = TensorView::new("x", DType::C128, vec![1], vec![0; 16]).unwrap();
        let error = save(&path, [view], &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "x: safetensors has no dtype for complex128"
        );
        assert!(!path.exists());
    }
}
