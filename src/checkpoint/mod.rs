//! Checkpoints: whatever file a training in PyTorch left behind, read without
//! Python, bit for bit, or refused with a reason.
//!
//! ```no_run
//! use cellway::checkpoint::Checkpoint;
//!
//! let checkpoint = Checkpoint::open("model.pt")?;
//! for tensor in checkpoint.tensors() {
//!     println!("{} {} {:?}", tensor.name, tensor.dtype, tensor.shape);
//! }
//! let lstm = checkpoint.lstm("encoder.lstm")?; // ours, whatever else is in there
//! # Ok::<(), cellway::error::Error>(())
//! ```
//!
//! A file is told by its content, once, and read by the one reader of its
//! format; none is ever handed to libtorch's own unpickler. Nothing of a pickle
//! is executed: what it asks to be called stays an inert value with a name.
//!
//! Files are mapped into memory; opening one reads its directory and pickles
//! only. While a [`Checkpoint`] lives, its files must not be written to.

mod archive;
mod bytes;
mod contents;
mod dtype;
mod index;
mod legacy;
pub mod limits;
mod npz;
mod parts;
mod pickle;
pub mod recurrent;
pub mod safetensors;
mod sniff;
mod tensor;
mod value;
mod write;
mod zip;

use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use serde_json::Value;
use tch::Tensor;

pub use self::contents::{ModuleInfo, Refusal};
pub use self::dtype::DType;
pub use self::parts::Hint;
use self::parts::{Kept, Parts};
pub use self::recurrent::{Recurrent, RecurrentKind};
pub use self::tensor::{StorageInfo, TensorInfo};
pub use self::write::save_torch;
use crate::error::{Error, Read, Result};
pub use crate::error::{Fault, FaultKind};
use crate::lstm::Lstm;

/// The bytes of one file.
#[derive(Debug)]
enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

#[derive(Debug)]
struct Source {
    path: PathBuf,
    bytes: Bytes,
}

impl Source {
    fn open(path: &Path) -> Result<Source> {
        let file = File::open(path).map_err(Error::io(path))?;
        let metadata = file.metadata().map_err(Error::io(path))?;
        if !metadata.is_file() {
            return Err(Error::file(path, "is not a file"));
        }
        let bytes = match metadata.len() {
            0 => Bytes::Owned(Vec::new()), // cannot be mapped
            // SAFETY: the file must not be written to while it is mapped, as the
            // documentation of this module says; every place in it that is used
            // was checked against the map's length.
            _ => Bytes::Mapped(unsafe { Mmap::map(&file) }.map_err(Error::io(path))?),
        };
        Ok(Source {
            path: path.to_path_buf(),
            bytes,
        })
    }
}

/// A value of a checkpoint that is no tensor.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ValueInfo {
    /// Its path from the top of the file.
    pub name: String,
    /// What it is, in a line.
    pub summary: String,
}

/// A reader of one format: from a file's bytes and its number to contents.
type Reader = fn(&[u8], usize, &mut Parts) -> Read<()>;

/// An opened checkpoint: what is in it, and the way to its numbers.
#[derive(Debug)]
pub struct Checkpoint {
    sources: Vec<Source>,
    parts: Parts,
    /// For each storage whether it was held against its checksum.
    checked: Vec<Cell<bool>>,
    /// The tensor of each name; `None` where several have it.
    by_name: HashMap<String, Option<usize>>,
}

impl Checkpoint {
    /// Opens a file, or the folder or index of a checkpoint in several files.
    ///
    /// Errors if it is no checkpoint, is damaged, or is beyond the
    /// [limits]: [`Error::Checkpoint`] with the place.
    pub fn open(path: impl AsRef<Path>) -> Result<Checkpoint> {
        let path = path.as_ref();
        if path.is_dir() {
            let mut names = index::NAMES.iter().chain(&["model.safetensors"]);
            return match names.find(|name| path.join(name).is_file()) {
                Some(name) => Checkpoint::open(path.join(name)),
                None => Err(Error::file(
                    path,
                    format!(
                        "is a folder without {} or model.safetensors; name the file",
                        index::NAMES[0]
                    ),
                )),
            };
        }
        let source = Source::open(path)?;
        match index::looks_like(&source.bytes) {
            true => Self::open_shards(path, source),
            false => Self::read_one(source, sniff::read),
        }
    }

    /// The same from bytes in memory; errors name `origin`.
    ///
    /// An index needs the files beside it, and is refused here.
    pub fn from_bytes(bytes: Vec<u8>, origin: impl AsRef<Path>) -> Result<Checkpoint> {
        let source = Source {
            path: origin.as_ref().to_path_buf(),
            bytes: Bytes::Owned(bytes),
        };
        Self::read_one(source, sniff::read)
    }

    /// A file that has to be of one format.
    pub(crate) fn open_as(path: &Path, read: Reader) -> Result<Checkpoint> {
        Self::read_one(Source::open(path)?, read)
    }

    fn read_one(source: Source, read: Reader) -> Result<Checkpoint> {
        let mut parts = Parts::default();
        read(&source.bytes, 0, &mut parts).map_err(|fault| fault.of(&source.path))?;
        Ok(Self::new(vec![source], parts))
    }

    fn open_shards(path: &Path, index: Source) -> Result<Checkpoint> {
        let shards = index::read(&index.bytes).map_err(|fault| fault.of(path))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let (mut sources, mut parts) = (Vec::new(), Parts::default());
        for (shard, mut names) in shards {
            let source = Source::open(&folder.join(&shard))?;
            let before = parts.tensors.len();
            let read = match index::looks_like(&source.bytes) {
                true => Err(Fault::unsupported(0, "an index of indices")),
                false => sniff::read(&source.bytes, sources.len(), &mut parts),
            };
            read.map_err(|fault| fault.of(&source.path))?;
            let mut there: Vec<&str> = parts.tensors[before..]
                .iter()
                .map(|tensor| tensor.name.as_str())
                .collect();
            there.extend(parts.refused.iter().map(|refusal| refusal.name.as_str()));
            there.sort_unstable();
            names.sort_unstable();
            if let Some(name) = names
                .iter()
                .find(|name| there.binary_search(&name.as_str()).is_err())
            {
                let message = format!(
                    "has no tensor {name:?}, which {} expects there",
                    path.display()
                );
                return Err(Fault::missing(0, message).of(&source.path));
            }
            let stranger = parts.tensors[before..]
                .iter()
                .find(|tensor| names.binary_search(&tensor.name).is_err());
            if let Some(stranger) = stranger {
                let message = format!(
                    "has the tensor {:?}, which {} does not list",
                    stranger.name,
                    path.display()
                );
                return Err(Fault::malformed(0, message).of(&source.path));
            }
            sources.push(source);
        }
        parts.container = match parts.container {
            "safetensors" => "safetensors in several files",
            _ => "checkpoint in several files",
        };
        parts
            .hints
            .push(Hint::new("files", &sources.len().to_string()));
        Ok(Self::new(sources, parts))
    }

    fn new(sources: Vec<Source>, parts: Parts) -> Checkpoint {
        let mut by_name = HashMap::with_capacity(parts.tensors.len());
        for (n, tensor) in parts.tensors.iter().enumerate() {
            by_name
                .entry(tensor.name.clone())
                .and_modify(|place| *place = None)
                .or_insert(Some(n));
        }
        Checkpoint {
            checked: vec![Cell::new(false); parts.storages.len()],
            by_name,
            sources,
            parts,
        }
    }

    /// The file; of several, the first.
    pub fn path(&self) -> &Path {
        &self.sources[0].path
    }

    /// What kind of file it is.
    pub fn container(&self) -> &'static str {
        self.parts.container
    }

    /// What the file tells of how it was written.
    pub fn hints(&self) -> &[Hint] {
        &self.parts.hints
    }

    /// Every tensor, in the order of the file.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.parts.tensors
    }

    /// What the tensors are views of.
    pub fn storages(&self) -> &[StorageInfo] {
        &self.parts.storages
    }

    /// Tensors that cannot be had, and why.
    pub fn refused(&self) -> &[Refusal] {
        &self.parts.refused
    }

    /// The objects with parameters.
    pub fn modules(&self) -> &[ModuleInfo] {
        &self.parts.modules
    }

    /// Every class and function that its pickles name; none was imported.
    pub fn globals(&self) -> &[String] {
        &self.parts.globals
    }

    /// What else is in there: vocabularies, configurations, epochs, losses.
    pub fn values(&self) -> Vec<ValueInfo> {
        let infos = self.parts.values.iter().map(|(name, kept)| ValueInfo {
            name: name.clone(),
            summary: match kept {
                Kept::Pickled(pickle, id) => value::summary(self.tree(*pickle), *id),
                Kept::Json(value) => match value.as_str() {
                    Some(text) => value::text_summary(text),
                    None => value.to_string(),
                },
            },
        });
        infos.collect()
    }

    fn tree(&self, pickle: usize) -> pickle::Tree<'_> {
        let kept = &self.parts.pickles[pickle];
        let bytes = &self.sources[kept.source].bytes[kept.range.clone()];
        self.parts.tree(pickle, bytes)
    }

    /// A value that is no tensor, as JSON: by the name that
    /// [`values`](Self::values) gives it, or with keys of dicts behind it
    /// (`config.hidden_size`).
    ///
    /// Errors if there is none, or JSON cannot hold it.
    pub fn json(&self, name: &str) -> Result<Value> {
        // The longest name that is a start of the path: a key may have dots.
        let starts = |whole: &str| {
            let rest = name.strip_prefix(whole)?;
            match rest.strip_prefix('.') {
                Some(rest) => Some(Some(rest)),
                None => rest.is_empty().then_some(None),
            }
        };
        let mut found: Vec<_> = self
            .parts
            .values
            .iter()
            .filter_map(|(whole, kept)| Some((whole.len(), starts(whole)?, kept)))
            .collect();
        found.sort_by_key(|(length, ..)| std::cmp::Reverse(*length));
        for (_, rest, kept) in found {
            match (kept, rest) {
                (Kept::Json(value), None) => return Ok(Value::clone(value)),
                (Kept::Json(_), Some(_)) => {}
                (Kept::Pickled(pickle, id), rest) => {
                    let tree = self.tree(*pickle);
                    if let Some(id) = rest.map_or(Some(*id), |rest| value::descend(tree, *id, rest))
                    {
                        let kept = &self.parts.pickles[*pickle];
                        return value::to_json(tree, id, kept.range.start)
                            .map_err(|fault| fault.of(&self.sources[kept.source].path));
                    }
                }
            }
        }
        let names: Vec<&str> = self
            .parts
            .values
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        Err(Error::file(
            self.path(),
            format!("has no value {name:?}; it has {}", some_of(&names)),
        ))
    }

    /// The tensor of this name.
    ///
    /// Errors if there is none, or several.
    pub fn find(&self, name: &str) -> Result<&TensorInfo> {
        match self.by_name.get(name) {
            Some(Some(n)) => Ok(&self.parts.tensors[*n]),
            Some(None) => Err(Error::file(
                self.path(),
                format!("has several tensors {name:?}"),
            )),
            None => match self.refused().iter().find(|refusal| refusal.name == name) {
                Some(refusal) => Err(Error::file(
                    self.path(),
                    format!("tensor {name:?} cannot be read: {}", refusal.reason),
                )),
                None => Err(Error::file(self.path(), format!("has no tensor {name:?}"))),
            },
        }
    }

    /// The bytes of a storage, held against their checksum the first time.
    fn storage(&self, n: usize) -> Result<&[u8]> {
        let storage = &self.parts.storages[n];
        let source = &self.sources[storage.source];
        let bytes = &source.bytes[storage.start..storage.start + storage.bytes];
        if let (Some(crc), false) = (storage.crc, self.checked[n].get()) {
            zip::check_crc(bytes, crc, storage.start, &storage.key)
                .map_err(|fault| fault.of(&source.path))?;
            self.checked[n].set(true);
        }
        Ok(bytes)
    }

    /// The elements of a tensor in row-major order, little-endian.
    ///
    /// Errors if there is none of this name, or its bytes are damaged.
    pub fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        let tensor = self.find(name)?;
        tensor
            .gather(self.storage(tensor.storage)?)
            .map_err(|error| self.named(error))
    }

    /// A tensor, row-major, on the CPU, in its own dtype.
    ///
    /// Errors as [`bytes`](Self::bytes), and for the dtypes that `tch` lacks.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let tensor = self.find(name)?;
        tensor
            .to_tensor(self.storage(tensor.storage)?)
            .map_err(|error| self.named(error))
    }

    /// All tensors with their names, as `torch.load` gives them: views of their
    /// storages, shared where the file shares them.
    ///
    /// Errors as [`tensor`](Self::tensor).
    pub fn load(&self) -> Result<Vec<(String, Tensor)>> {
        let mut storages: HashMap<usize, Tensor> = HashMap::new();
        let mut loaded = Vec::with_capacity(self.tensors().len());
        for tensor in self.tensors() {
            let kind = tensor.kind().map_err(|error| self.named(error))?;
            // Plain bytes: tensors of several dtypes may be views of them.
            let storage = match storages.get(&tensor.storage) {
                Some(storage) => storage.shallow_clone(),
                None => {
                    let bytes = self.storage(tensor.storage)?;
                    let length = [bytes.len() as i64];
                    let storage = Tensor::f_from_data_size(bytes, &length, tch::Kind::Uint8)?;
                    storages.insert(tensor.storage, storage.shallow_clone());
                    storage
                }
            };
            let view = match tensor.numel() {
                0 => Tensor::f_zeros(&tensor.shape[..], (kind, tch::Device::Cpu))?,
                _ => {
                    let size = tensor.dtype.size() as i64;
                    let whole = storage.size()[0] / size * size;
                    let storage = storage.f_narrow(0, 0, whole)?.f_view_dtype(kind)?;
                    storage.f_as_strided(&tensor.shape[..], &tensor.stride[..], tensor.offset)?
                }
            };
            loaded.push((tensor.name.clone(), view));
        }
        Ok(loaded)
    }

    /// Every recurrent module.
    pub fn recurrent(&self) -> Vec<Recurrent> {
        recurrent::find(self)
    }

    /// An LSTM or `LSTMCell` of the file as one of ours, batch first, on the
    /// CPU, in the file's dtype. `name` is its path from the top of the file, or
    /// the end of it where only one ends so: `lstm` for `state_dict.lstm`.
    ///
    /// Errors if there is none of this name, or several, or it is of another
    /// kind, or its tensors do not fit together.
    pub fn lstm(&self, name: &str) -> Result<Lstm> {
        recurrent::lookup(self, &self.recurrent(), name)?.lstm(self, recurrent::GateOrder::TORCH)
    }

    /// With the file in front of an error about a tensor.
    fn named(&self, error: Error) -> Error {
        match error {
            Error::Tensor { .. } => Error::file(self.path(), format!("tensor {error}")),
            other => other,
        }
    }
}

/// Some names as a message shows them.
pub(crate) fn some_of(names: &[&str]) -> String {
    const MOST: usize = 12;
    match names.len() {
        0 => "none".to_owned(),
        count if count > MOST => format!("{}, ... ({count} in all)", names[..MOST].join(", ")),
        _ => names.join(", "),
    }
}
