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

use self::pickle::Pickler;
use self::zip::Writer;
use crate::error::{Error, Result};
use crate::files::AtomicFile;
use crate::limits::{RANK, TENSORS, ZIP_NAME};
use crate::view::TensorView;

/// A tensor as the pickle describes it; row-major from the start of its storage.
struct Entry<'a> {
    tensor: TensorView<'a>,
    storage: usize,
}

/// Writes a state dict that `torch.load(path, weights_only=True)` reads, whole or
/// not at all.
///
/// Tensors whose elements are borrowed from the same memory (tied weights) share
/// one storage, and are still tied when they are loaded.
///
/// # Errors
///
/// [`Error::Tensor`] if a name is there twice or a tensor has too many dimensions,
/// [`Error::File`] for too many tensors, [`Error::Io`] if the file cannot be
/// written.
pub fn save_torch<'a>(
    path: impl AsRef<Path>,
    tensors: impl IntoIterator<Item = TensorView<'a>>,
) -> Result<()> {
    let path = path.as_ref();
    let entries = describe(path, tensors)?;
    let mut pickler = Pickler::new();
    for Entry { tensor, storage } in &entries {
        pickler.tensor(tensor.name(), tensor.dtype(), tensor.shape(), *storage);
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
    let mut written = 0;
    for Entry { tensor, storage } in &entries {
        // The first tensor of each storage comes in the order of their numbers.
        if *storage == written {
            add(&format!("data/{storage}"), tensor.bytes())?;
            written += 1;
        }
    }
    add("version", b"3\n")?;
    zip.finish().map_err(Error::io(path))?.commit()
}

/// What the file will hold, checked before anything is written.
fn describe<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = TensorView<'a>>,
) -> Result<Vec<Entry<'a>>> {
    let mut names = HashSet::new();
    let mut entries: Vec<Entry> = Vec::new();
    let mut storages = 0;
    let mut by_memory = HashMap::new();
    for tensor in tensors {
        let refuse = |message: &str| Err(Error::tensor(tensor.name(), message));
        if !names.insert(tensor.name()) {
            return refuse("is there twice; give each tensor a name of its own");
        }
        if entries.len() == TENSORS {
            let message = format!("more than {TENSORS} tensors; write several files");
            return Err(Error::file(path, message));
        }
        if tensor.shape().len() > RANK {
            return refuse("has more dimensions than can be read again");
        }
        let storage = match tensor.memory() {
            Some(memory) => *by_memory.entry(memory).or_insert(storages),
            None => storages,
        };
        storages = storages.max(storage + 1);
        entries.push(Entry { tensor, storage });
    }
    Ok(entries)
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
