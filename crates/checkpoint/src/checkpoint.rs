//! An opened checkpoint: what is in it, and the way to its bytes.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use crate::contents::{ModuleInfo, Refusal};
use crate::error::{Error, Result, some_of};
use crate::index::{CheckpointIndex, Hint, Kept};
use crate::parse_error::{ParseError, ParseResult};
use crate::pickle::Tree;
use crate::source::{Bytes, Source};
use crate::tensor::{StorageInfo, TensorInfo};
use crate::{detect, safetensors, shards, value, zip};

/// A value of a checkpoint that is no tensor.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ValueInfo {
    /// Its path from the top of the file.
    pub name: String,
    /// What it is, in a line.
    pub summary: String,
}

/// A reader of one format: from a file's bytes and its number to contents.
type Reader = fn(&[u8], usize, &mut CheckpointIndex) -> ParseResult<()>;

/// An opened checkpoint: what is in it, and the way to its bytes.
#[derive(Debug)]
pub struct Checkpoint {
    sources: Vec<Source>,
    index: CheckpointIndex,
    /// For each storage whether it was compared with its checksum.
    checked: Vec<Cell<bool>>,
    /// The tensor of each name; `None` where several have it.
    by_name: HashMap<String, Option<usize>>,
}

impl Checkpoint {
    /// Opens a file, or the folder or index of a checkpoint in several files.
    ///
    /// # Errors
    ///
    /// [`Error::Parse`] with the byte if it is no checkpoint, is damaged, or is
    /// beyond the [limits](crate::limits); [`Error::Io`] or [`Error::File`] if it
    /// cannot be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Checkpoint> {
        let path = path.as_ref();
        if path.is_dir() {
            let mut names = shards::NAMES.iter().chain(&["model.safetensors"]);
            return match names.find(|name| path.join(name).is_file()) {
                Some(name) => Checkpoint::open(path.join(name)),
                None => Err(Error::file(
                    path,
                    format!(
                        "is a folder without {} or model.safetensors; name the file",
                        shards::NAMES[0]
                    ),
                )),
            };
        }
        let source = Source::open(path)?;
        match shards::looks_like(&source.bytes) {
            true => Self::open_shards(path, source),
            false => Self::read_one(source, detect::read),
        }
    }

    /// Reads a checkpoint from bytes in memory; errors name `origin`.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open). An index needs the files beside it, and is refused
    /// here.
    pub fn from_bytes(bytes: Vec<u8>, origin: impl AsRef<Path>) -> Result<Checkpoint> {
        let source = Source {
            path: origin.as_ref().to_path_buf(),
            bytes: Bytes::Owned(bytes),
        };
        Self::read_one(source, detect::read)
    }

    /// Opens a file that has to be safetensors.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and for files of any other format.
    pub fn open_safetensors(path: impl AsRef<Path>) -> Result<Checkpoint> {
        Self::read_one(Source::open(path.as_ref())?, safetensors::read)
    }

    fn read_one(source: Source, read: Reader) -> Result<Checkpoint> {
        let mut index = CheckpointIndex::default();
        read(&source.bytes, 0, &mut index).map_err(|error| error.in_file(&source.path))?;
        Self::new(vec![source], index)
    }

    fn open_shards(path: &Path, index: Source) -> Result<Checkpoint> {
        let shards = shards::read(&index.bytes).map_err(|error| error.in_file(path))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let (mut sources, mut index) = (Vec::new(), CheckpointIndex::default());
        for (shard, mut names) in shards {
            let source = Source::open(&folder.join(&shard))?;
            let before = index.tensors.len();
            let read = match shards::looks_like(&source.bytes) {
                true => Err(ParseError::unsupported(0, "an index of indices")),
                false => detect::read(&source.bytes, sources.len(), &mut index),
            };
            read.map_err(|error| error.in_file(&source.path))?;
            let mut there: Vec<&str> = index.tensors[before..]
                .iter()
                .map(|tensor| tensor.name.as_str())
                .collect();
            there.extend(index.refused.iter().map(|refusal| refusal.name.as_str()));
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
                return Err(ParseError::missing(0, message).in_file(&source.path));
            }
            let stranger = index.tensors[before..]
                .iter()
                .find(|tensor| names.binary_search(&tensor.name).is_err());
            if let Some(stranger) = stranger {
                let message = format!(
                    "has the tensor {:?}, which {} does not list",
                    stranger.name,
                    path.display()
                );
                return Err(ParseError::malformed(0, message).in_file(&source.path));
            }
            sources.push(source);
        }
        index.container = match index.container {
            "safetensors" => "safetensors in several files",
            _ => "checkpoint in several files",
        };
        index
            .hints
            .push(Hint::new("files", &sources.len().to_string()));
        Self::new(sources, index)
    }

    fn new(sources: Vec<Source>, index: CheckpointIndex) -> Result<Checkpoint> {
        let lengths: Vec<usize> = sources.iter().map(|source| source.bytes.len()).collect();
        index
            .validate(&lengths)
            .map_err(|(n, error)| error.in_file(&sources[n].path))?;
        let mut by_name = HashMap::with_capacity(index.tensors.len());
        for (n, tensor) in index.tensors.iter().enumerate() {
            by_name
                .entry(tensor.name.clone())
                .and_modify(|place| *place = None)
                .or_insert(Some(n));
        }
        Ok(Checkpoint {
            checked: vec![Cell::new(false); index.storages.len()],
            by_name,
            sources,
            index,
        })
    }

    /// The file; of several, the first.
    pub fn path(&self) -> &Path {
        &self.sources[0].path
    }

    /// What kind of file it is.
    pub fn container(&self) -> &'static str {
        self.index.container
    }

    /// What the file tells of how it was written.
    pub fn hints(&self) -> &[Hint] {
        &self.index.hints
    }

    /// Every tensor, in the order of the file.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.index.tensors
    }

    /// What the tensors are views of.
    pub fn storages(&self) -> &[StorageInfo] {
        &self.index.storages
    }

    /// Tensors that cannot be had, and why.
    pub fn refused(&self) -> &[Refusal] {
        &self.index.refused
    }

    /// The objects with parameters.
    pub fn modules(&self) -> &[ModuleInfo] {
        &self.index.modules
    }

    /// Every class and function that its pickles name; none was imported.
    pub fn globals(&self) -> &[String] {
        &self.index.globals
    }

    /// What else is in there: vocabularies, configurations, epochs, losses.
    pub fn values(&self) -> Vec<ValueInfo> {
        let infos = self.index.values.iter().map(|(name, kept)| ValueInfo {
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

    fn tree(&self, pickle: usize) -> Tree<'_> {
        let kept = &self.index.pickles[pickle];
        let bytes = &self.sources[kept.source].bytes[kept.range.clone()];
        self.index.tree(pickle, bytes)
    }

    /// A value that is no tensor, as JSON: by the name that
    /// [`values`](Self::values) gives it, or with keys of dicts behind it
    /// (`config.hidden_size`).
    ///
    /// # Errors
    ///
    /// [`Error::File`] if there is none, [`Error::Parse`] if JSON cannot hold it.
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
            .index
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
                        let kept = &self.index.pickles[*pickle];
                        return value::to_json(tree, id, kept.range.start)
                            .map_err(|error| error.in_file(&self.sources[kept.source].path));
                    }
                }
            }
        }
        let names: Vec<&str> = self
            .index
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
    /// # Errors
    ///
    /// [`Error::File`] if there is none, or several.
    pub fn find(&self, name: &str) -> Result<&TensorInfo> {
        match self.by_name.get(name) {
            Some(Some(n)) => Ok(&self.index.tensors[*n]),
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

    /// The bytes of the storage with this number: see [`TensorInfo::storage`]. They
    /// are compared with their checksum the first time, where the file has one.
    ///
    /// # Errors
    ///
    /// [`Error::Parse`] if the bytes are damaged, [`Error::File`] if there is no
    /// such storage.
    pub fn storage_bytes(&self, n: usize) -> Result<&[u8]> {
        let Some(storage) = self.index.storages.get(n) else {
            return Err(Error::file(self.path(), format!("has no storage {n}")));
        };
        let source = &self.sources[storage.source];
        let bytes = &source.bytes[storage.start..storage.start + storage.bytes];
        if let (Some(crc), false) = (storage.crc, self.checked[n].get()) {
            zip::check_crc(bytes, crc, storage.start, &storage.key)
                .map_err(|error| error.in_file(&source.path))?;
            self.checked[n].set(true);
        }
        Ok(bytes)
    }

    /// The elements of a tensor in row-major order, little-endian; borrowed from
    /// the file where they lie in it like that.
    ///
    /// # Errors
    ///
    /// [`Error::File`] if there is no tensor of this name, or it repeats its storage
    /// beyond the [limits](crate::limits::EXPANSION); [`Error::Parse`] if its bytes
    /// are damaged.
    pub fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>> {
        let tensor = self.find(name)?;
        tensor
            .gather(self.storage_bytes(tensor.storage)?)
            .map_err(|message| Error::file(self.path(), format!("tensor {name}: {message}")))
    }
}
