//! Checkpoints as tensors: the files of [`cellway_checkpoint`], to and from
//! libtorch.
//!
//! ```no_run
//! use cellway::checkpoint::{Checkpoint, CheckpointExt};
//! use cellway::import::RecurrentExt;
//!
//! let checkpoint = Checkpoint::open("model.pt")?;
//! let weight = checkpoint.tensor("head.weight")?; // a tensor of tch
//! let lstm = checkpoint.lstm("encoder.lstm")?; // ours, whatever else is in there
//! # Ok::<(), cellway::error::Error>(())
//! ```
//!
//! No file is ever handed to libtorch's own unpickler.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

pub use cellway_checkpoint::{
    Checkpoint, DType, Error as CheckpointError, Hint, ModuleInfo, ParseError, ParseErrorKind,
    Refusal, StorageInfo, TensorInfo, TensorView, ValueInfo, limits,
};
use tch::{Device, Kind, Tensor};

pub(crate) use cellway_checkpoint::error::some_of;

use crate::error::{Error, Result};

/// The dtypes that both sides have.
const KINDS: [(DType, Kind); 17] = [
    (DType::F64, Kind::Double),
    (DType::F32, Kind::Float),
    (DType::F16, Kind::Half),
    (DType::BF16, Kind::BFloat16),
    (DType::F8E4M3, Kind::Float8e4m3fn),
    (DType::F8E5M2, Kind::Float8e5m2),
    (DType::F8E4M3Fnuz, Kind::Float8e4m3fnuz),
    (DType::F8E5M2Fnuz, Kind::Float8e5m2fnuz),
    (DType::I64, Kind::Int64),
    (DType::I32, Kind::Int),
    (DType::I16, Kind::Int16),
    (DType::I8, Kind::Int8),
    (DType::U8, Kind::Uint8),
    (DType::Bool, Kind::Bool),
    (DType::C128, Kind::ComplexDouble),
    (DType::C64, Kind::ComplexFloat),
    (DType::C32, Kind::ComplexHalf),
];

/// What `tch` calls a dtype, if it has it.
pub fn kind_of(dtype: DType) -> Option<Kind> {
    let row = KINDS.iter().find(|(ours, _)| *ours == dtype)?;
    Some(row.1)
}

/// The dtype that `tch` calls so; `None` for the quantized ones.
pub fn dtype_of(kind: Kind) -> Option<DType> {
    let row = KINDS.iter().find(|(_, theirs)| *theirs == kind)?;
    Some(row.0)
}

/// The short name of the dtype of a model's parameters: `f32`, `f64`, `f16`, `bf16`.
pub fn dtype_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Double => "f64",
        Kind::Half => "f16",
        Kind::BFloat16 => "bf16",
        _ => "f32",
    }
}

/// The tensors of a checkpoint as tensors of `tch`.
pub trait CheckpointExt {
    /// Reads a tensor, row-major, on the CPU, in its own dtype.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::bytes`], and for the dtypes that `tch` lacks.
    fn tensor(&self, name: &str) -> Result<Tensor>;

    /// Reads all tensors with their names, as `torch.load` gives them: views of
    /// their storages, shared where the file shares them.
    ///
    /// # Errors
    ///
    /// As [`tensor`](Self::tensor).
    fn load(&self) -> Result<Vec<(String, Tensor)>>;
}

impl CheckpointExt for Checkpoint {
    fn tensor(&self, name: &str) -> Result<Tensor> {
        let info = self.find(name)?;
        let bytes = self.bytes(name)?;
        let kind = known_kind(self, info)?;
        Ok(Tensor::f_from_data_size(&bytes, &info.shape, kind)?)
    }

    fn load(&self) -> Result<Vec<(String, Tensor)>> {
        let mut storages: HashMap<usize, Tensor> = HashMap::new();
        let mut loaded = Vec::with_capacity(self.tensors().len());
        for info in self.tensors() {
            let kind = known_kind(self, info)?;
            // Plain bytes: tensors of several dtypes may be views of them.
            let storage = match storages.get(&info.storage) {
                Some(storage) => storage.shallow_clone(),
                None => {
                    let bytes = self.storage_bytes(info.storage)?;
                    let length = [bytes.len() as i64];
                    let storage = Tensor::f_from_data_size(bytes, &length, Kind::Uint8)?;
                    storages.insert(info.storage, storage.shallow_clone());
                    storage
                }
            };
            let view = match info.numel() {
                0 => Tensor::f_zeros(&info.shape[..], (kind, Device::Cpu))?,
                _ => {
                    let size = info.dtype.size() as i64;
                    let whole = storage.size()[0] / size * size;
                    let storage = storage.f_narrow(0, 0, whole)?.f_view_dtype(kind)?;
                    storage.f_as_strided(&info.shape[..], &info.stride[..], info.offset)?
                }
            };
            loaded.push((info.name.clone(), view));
        }
        Ok(loaded)
    }
}

fn known_kind(checkpoint: &Checkpoint, info: &TensorInfo) -> Result<Kind> {
    kind_of(info.dtype).ok_or_else(|| {
        let message = format!(
            "tensor {}: is {}, which tch has no name for; read its bytes, or cast it before it is saved",
            info.name, info.dtype
        );
        Error::file(checkpoint.path(), message)
    })
}

/// The elements of a tensor in row-major order, little-endian.
pub(crate) fn bytes_of(tensor: &Tensor) -> Vec<u8> {
    let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
    let count = tensor.numel();
    let mut bytes = vec![0; count * tensor.kind().elt_size_in_bytes()];
    tensor.copy_data_u8(&mut bytes, count);
    bytes
}

/// A tensor to be written: its memory where that is its elements on the CPU in
/// row-major order, else a copy of them.
fn view<'a>(name: &'a str, dtype: DType, tensor: &'a Tensor) -> Result<TensorView<'a>> {
    // Lazily conjugated or negated tensors are not what their memory says.
    let is_its_memory = tensor.device() == Device::Cpu
        && tensor.is_contiguous()
        && !tensor.is_conj()
        && !tensor.is_neg();
    let count = tensor.numel() * dtype.size();
    let bytes = match is_its_memory {
        true if count == 0 => Cow::Borrowed(&[][..]), // its pointer is null
        true => {
            let start = tensor.data_ptr().cast::<u8>();
            // SAFETY: a contiguous tensor on the CPU has so many bytes from there
            // on, and is borrowed for as long as they are; nothing writes to it
            // while a file is written.
            Cow::Borrowed(unsafe { std::slice::from_raw_parts(start, count) })
        }
        false => {
            let copy = tensor.detach().f_to_device(Device::Cpu)?;
            let copy = copy.f_resolve_conj()?.f_resolve_neg()?.f_contiguous()?;
            Cow::Owned(bytes_of(&copy))
        }
    };
    Ok(TensorView::new(name, dtype, tensor.size(), bytes)?)
}

/// Writes a state dict that `torch.load(path, weights_only=True)` reads, whole or
/// not at all.
///
/// Each tensor is stored row-major and without its gradient. Tensors that are the
/// same memory on the CPU (tied weights) share one storage, and are still tied
/// when they are loaded.
///
/// # Errors
///
/// If a name is there twice, a tensor has no elements of its own (sparse,
/// quantized), or the file cannot be written.
pub fn save_torch<'a>(
    path: impl AsRef<Path>,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
) -> Result<()> {
    let views = tensors.into_iter().map(|(name, tensor)| {
        let refuse = |message: &str| Err(Error::tensor(name, message));
        if !tensor.defined() {
            return refuse("is undefined");
        }
        if tensor.is_sparse() {
            return refuse("is sparse; write tensor.to_dense()");
        }
        if tensor.is_mkldnn() {
            return refuse("is in oneDNN's own layout; write tensor.to_dense()");
        }
        match tensor.f_kind().ok().and_then(dtype_of) {
            Some(dtype) => view(name, dtype, tensor).map_err(|error| match error {
                Error::Torch(message) => Error::tensor(name, message),
                other => other,
            }),
            None => refuse("has a dtype that is not written; cast or dequantize it first"),
        }
    });
    let views: Vec<TensorView> = views.collect::<Result<_>>()?;
    Ok(cellway_checkpoint::save_torch(path, views)?)
}

/// safetensors files of tensors.
pub mod safetensors {
    use super::*;
    use cellway_checkpoint::safetensors as format;

    /// Tensors by name, in the order of the names.
    pub type Tensors = BTreeMap<String, Tensor>;

    /// Writes `tensors`, whole or not at all. `metadata` goes into the header.
    ///
    /// # Errors
    ///
    /// On a dtype that is not written, and if the file cannot be written.
    pub fn save<'a>(
        path: &Path,
        tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
        metadata: &[(&str, &str)],
    ) -> Result<()> {
        let views = tensors.into_iter().map(|(name, tensor)| {
            let kind = tensor.kind();
            match dtype_of(kind).filter(|&dtype| format::can_save(dtype)) {
                Some(dtype) => view(name, dtype, tensor),
                None => {
                    let message = format!("safetensors has no dtype for {kind:?}");
                    Err(Error::tensor(name, message))
                }
            }
        });
        let views: Vec<TensorView> = views.collect::<Result<_>>()?;
        Ok(format::save(path, views, metadata)?)
    }

    /// Reads every tensor, to the CPU.
    ///
    /// # Errors
    ///
    /// On a file that is truncated or is not safetensors, on a name that is there
    /// twice, on a dtype that tch lacks, and on anything else that the format
    /// forbids.
    pub fn load(path: &Path) -> Result<Tensors> {
        let checkpoint = Checkpoint::open_safetensors(path)?;
        if let Some(refusal) = checkpoint.refused().first() {
            let message = format!("tensor {:?} {}", refusal.name, refusal.reason);
            return Err(Error::file(path, message));
        }
        checkpoint
            .tensors()
            .iter()
            .map(|tensor| Ok((tensor.name.clone(), checkpoint.tensor(&tensor.name)?)))
            .collect()
    }
}

#[cfg(test)]
mod tests;
