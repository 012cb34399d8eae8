//! The index of a checkpoint: what the readers of all formats put together, and the
//! one check of it that all access to a file's bytes relies on.

use std::ops::Range;

use serde_json::Value;

use crate::contents::{Found, ModuleInfo, Refusal};
use crate::parse_error::ParseError;
use crate::pickle::{Budget, Id, Pickle, Tree};
use crate::tensor::{StorageInfo, TensorInfo};

/// A fact about how the file was written.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Hint {
    /// Which.
    pub name: String,
    /// What the file says.
    pub value: String,
}

impl Hint {
    pub(crate) fn new(name: &str, value: &str) -> Hint {
        Hint {
            name: name.to_owned(),
            value: value.to_owned(),
        }
    }
}

/// A value that is no tensor, and where it is kept.
#[derive(Debug)]
pub(crate) enum Kept {
    /// In the pickle with this number.
    Pickled(usize, Id),
    Json(Box<Value>),
}

/// A pickle and its bytes' place.
#[derive(Debug)]
pub(crate) struct KeptPickle {
    pub pickle: Pickle,
    pub source: usize,
    pub range: Range<usize>,
}

/// The contents of a checkpoint; the bytes of its storages stay in the files.
#[derive(Debug, Default)]
pub(crate) struct CheckpointIndex {
    pub container: &'static str,
    pub hints: Vec<Hint>,
    pub tensors: Vec<TensorInfo>,
    pub storages: Vec<StorageInfo>,
    pub refused: Vec<Refusal>,
    pub modules: Vec<ModuleInfo>,
    pub values: Vec<(String, Kept)>,
    pub globals: Vec<String>,
    pub pickles: Vec<KeptPickle>,
    /// What memory is left for pickles and what they hold.
    pub budget: Budget,
}

/// Puts one list behind another, which is empty as a rule: then no memory is
/// taken.
fn put_behind<T>(list: &mut Vec<T>, more: Vec<T>) {
    match list.is_empty() {
        true => *list = more,
        false => list.extend(more),
    }
}

impl CheckpointIndex {
    /// Checks what every access to the bytes relies on, whatever the format: each
    /// storage lies inside its file, which has so many bytes, and each tensor inside
    /// its storage. An error comes with the number of its file.
    pub fn validate(&self, file_bytes: &[usize]) -> Result<(), (usize, ParseError)> {
        for storage in &self.storages {
            let end = storage.start.checked_add(storage.bytes);
            let file = file_bytes.get(storage.source);
            if !matches!((end, file), (Some(end), Some(&file)) if end <= file) {
                let message = format!(
                    "storage {:?} of {} bytes leaves its file",
                    storage.key, storage.bytes
                );
                let error = ParseError::malformed(storage.start, message);
                return Err((storage.source, error));
            }
        }
        for tensor in &self.tensors {
            let Some(storage) = self.storages.get(tensor.storage) else {
                let message = format!("tensor {:?} has no storage", tensor.name);
                return Err((0, ParseError::missing(0, message)));
            };
            tensor
                .check(storage.bytes, storage.start)
                .map_err(|error| (storage.source, error))?;
        }
        Ok(())
    }

    /// Adds what was found in the pickle that is [kept](Self::keep) last.
    pub fn add(&mut self, found: Found) {
        let pickle = self.pickles.len() - 1;
        put_behind(&mut self.tensors, found.tensors);
        put_behind(&mut self.refused, found.refused);
        put_behind(&mut self.modules, found.modules);
        let values = found.values.into_iter();
        self.values
            .extend(values.map(|(name, id)| (name, Kept::Pickled(pickle, id))));
    }

    pub fn keep(&mut self, pickle: Pickle, source: usize, range: Range<usize>) {
        self.pickles.push(KeptPickle {
            pickle,
            source,
            range,
        });
    }

    /// The values of a pickle, with its bytes.
    pub fn tree<'a>(&'a self, pickle: usize, bytes: &'a [u8]) -> Tree<'a> {
        Tree {
            arena: &self.pickles[pickle].pickle.arena,
            pickle: bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::parse_error::ParseErrorKind;

    /// A tensor of two bytes in a storage of so many, which starts at byte 4.
    fn index(bytes: usize, storage: usize) -> CheckpointIndex {
        CheckpointIndex {
            tensors: vec![TensorInfo {
                name: "x".into(),
                dtype: DType::U8,
                shape: vec![2],
                stride: vec![1],
                offset: 0,
                storage,
                parameter: false,
            }],
            storages: vec![StorageInfo {
                key: "0".into(),
                device: "cpu".into(),
                bytes,
                source: 0,
                start: 4,
                crc: None,
            }],
            ..CheckpointIndex::default()
        }
    }

    #[test]
    fn every_broken_promise_of_an_index_is_found() {
        index(2, 0).validate(&[6]).unwrap();
        for (index, bytes, kind, says) in [
            (index(2, 0), 5, ParseErrorKind::Malformed, "leaves its file"),
            (index(usize::MAX, 0), 6, ParseErrorKind::Malformed, "leaves"),
            (index(1, 0), 6, ParseErrorKind::Malformed, "needs 2 bytes"),
            (index(2, 1), 6, ParseErrorKind::Missing, "has no storage"),
        ] {
            let (file, error) = index.validate(&[bytes]).unwrap_err();
            assert_eq!(file, 0);
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.message.contains(says), "{error}");
        }
    }
}
