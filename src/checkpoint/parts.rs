//! What the readers of all formats put together.

use std::ops::Range;

use serde_json::Value;

use super::contents::{Found, ModuleInfo, Refusal};
use super::pickle::{Id, Pickle, Tree};
use super::tensor::{StorageInfo, TensorInfo};

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
    Json(Value),
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
pub(crate) struct Parts {
    pub container: &'static str,
    pub hints: Vec<Hint>,
    pub tensors: Vec<TensorInfo>,
    pub storages: Vec<StorageInfo>,
    pub refused: Vec<Refusal>,
    pub modules: Vec<ModuleInfo>,
    pub values: Vec<(String, Kept)>,
    pub globals: Vec<String>,
    pub pickles: Vec<KeptPickle>,
}

impl Parts {
    /// Adds what was found in the pickle that is [kept](Self::keep) last.
    pub fn add(&mut self, found: Found, prefix: &str) {
        let pickle = self.pickles.len() - 1;
        let named = |name: String| match (prefix, name.as_str()) {
            ("", _) => name,
            (_, "") => prefix.to_owned(),
            _ if name.starts_with('[') => format!("{prefix}{name}"),
            _ => format!("{prefix}.{name}"),
        };
        self.tensors
            .extend(found.tensors.into_iter().map(|tensor| TensorInfo {
                name: named(tensor.name),
                ..tensor
            }));
        self.refused
            .extend(found.refused.into_iter().map(|refusal| Refusal {
                name: named(refusal.name),
                ..refusal
            }));
        self.modules
            .extend(found.modules.into_iter().map(|module| ModuleInfo {
                name: named(module.name),
                ..module
            }));
        // TorchScript has a tuple of constants even where there are none.
        let values = found.values.into_iter().filter(|(_, id)| {
            prefix.is_empty()
                || !self
                    .tree(pickle, &[])
                    .elements(*id)
                    .is_some_and(<[_]>::is_empty)
        });
        let values: Vec<_> = values
            .map(|(name, id)| (named(name), Kept::Pickled(pickle, id)))
            .collect();
        self.values.extend(values);
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
