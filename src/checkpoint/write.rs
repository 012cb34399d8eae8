//! Writes what `torch.save(state_dict)` writes, byte for byte but for one member:
//! `.data/serialization_id`, which torch itself does without. (Of a member beyond
//! 4 GiB, its own header gives the stored size, too, where torch's says 0.)
//!
//! The same tensors give the same file. Each storage starts at a multiple of 64
//! bytes, so that `torch.load(..., mmap=True)` can use it in place.

mod pickle;
mod zip;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use tch::{Device, Tensor};

use self::pickle::Pickler;
use self::zip::Writer;
use super::dtype::DType;
use super::limits::{RANK, TENSORS, ZIP_NAME};
use crate::error::{Error, Result};
use crate::files::AtomicFile;

/// One storage, and the first tensor that lies in it.
struct Storage<'a> {
    name: &'a str,
    tensor: &'a Tensor,
}

/// A tensor as the pickle describes it; row-major from the start of its storage.
struct Entry<'a> {
    name: &'a str,
    dtype: DType,
    shape: Vec<i64>,
    storage: usize,
}

/// Writes a state dict that `torch.load(path, weights_only=True)` reads, whole or
/// not at all.
///
/// Each tensor is stored row-major and without its gradient. Tensors that are the
/// same memory on the CPU (tied weights) share one storage, and are still tied
/// when they are loaded.
///
/// Errors if a name is there twice, a tensor has no elements of its own (sparse,
/// quantized), or the file cannot be written.
pub fn save_torch<'a>(
    path: impl AsRef<Path>,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
) -> Result<()> {
    let path = path.as_ref();
    let (entries, storages) = describe(path, tensors)?;
    let mut pickler = Pickler::new();
    for entry in &entries {
        pickler.tensor(entry.name, entry.dtype, &entry.shape, entry.storage);
    }

    let root = root(path);
    let mut zip = Writer::new(AtomicFile::create(path)?);
    let mut add = |name: &str, bytes: &[u8]| {
        zip.add(&format!("{root}/{name}"), bytes)
            .map_err(Error::io(path))
    };
    add("data.pkl", &pickler.finish())?;
    add(".format_version", b"1")?;
    add(".storage_alignment", zip::ALIGNMENT.to_string().as_bytes())?;
    add("byteorder", b"little")?;
    for (n, storage) in storages.iter().enumerate() {
        let tensor = dense(storage.tensor).map_err(|error| match error {
            Error::Torch(message) => Error::tensor(storage.name, message),
            other => other,
        })?;
        add(&format!("data/{n}"), elements(&tensor))?;
    }
    add("version", b"3\n")?;
    zip.finish().map_err(Error::io(path))?.commit()?;
    Ok(())
}

/// What the file will hold, checked before anything is written.
fn describe<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
) -> Result<(Vec<Entry<'a>>, Vec<Storage<'a>>)> {
    let mut names = HashSet::new();
    let mut entries: Vec<Entry> = Vec::new();
    let mut storages: Vec<Storage> = Vec::new();
    let mut by_place = HashMap::new();
    for (name, tensor) in tensors {
        let refuse = |message: &str| Err(Error::tensor(name, message));
        if !names.insert(name) {
            return refuse("is there twice; give each tensor a name of its own");
        }
        if entries.len() == TENSORS {
            let message = format!("more than {TENSORS} tensors; write several files");
            return Err(Error::file(path, message));
        }
        if !tensor.defined() {
            return refuse("is undefined");
        }
        if tensor.is_sparse() {
            return refuse("is sparse; write tensor.to_dense()");
        }
        if tensor.is_mkldnn() {
            return refuse("is in oneDNN's own layout; write tensor.to_dense()");
        }
        let shape = tensor.size();
        if shape.len() > RANK {
            return refuse("has more dimensions than can be read again");
        }
        let dtype = tensor.f_kind().ok().and_then(DType::of_kind);
        let Some(dtype) = dtype else {
            return refuse("has a dtype that is not written; cast or dequantize it first");
        };
        // Lazily conjugated or negated tensors are not what their memory says.
        let is_its_memory = tensor.device() == Device::Cpu
            && tensor.is_contiguous()
            && !tensor.is_conj()
            && !tensor.is_neg();
        let next = storages.len();
        let storage = match is_its_memory && tensor.numel() > 0 {
            // Another dtype over the same bytes stays apart.
            true => *by_place
                .entry((tensor.data_ptr() as usize, tensor.numel(), dtype))
                .or_insert(next),
            false => next,
        };
        if storage == next {
            storages.push(Storage { name, tensor });
        }
        entries.push(Entry {
            name,
            dtype,
            shape,
            storage,
        });
    }
    Ok((entries, storages))
}

/// Row-major on the CPU; the tensor itself where it is so already.
fn dense(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor
        .detach()
        .f_to_device(Device::Cpu)?
        .f_resolve_conj()?
        .f_resolve_neg()?
        .f_contiguous()?)
}

/// The bytes of a tensor of [`dense`].
fn elements(tensor: &Tensor) -> &[u8] {
    let bytes = tensor.numel() * tensor.kind().elt_size_in_bytes();
    if bytes == 0 {
        return &[];
    }
    // SAFETY: a contiguous tensor on the CPU has so many bytes from there on, and
    // is borrowed for as long as they are.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast::<u8>(), bytes) }
}

/// The folder in the archive: the name of the file without its ending, as torch
/// has it, or what torch takes where that would be a strange name.
fn root(path: &Path) -> &str {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    let plain = |stem: &&str| {
        stem.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'\\')
            && !matches!(*stem, "" | "." | "..")
            && stem.len() < ZIP_NAME / 2
    };
    stem.filter(plain).unwrap_or("archive")
}

#[cfg(test)]
mod tests;
