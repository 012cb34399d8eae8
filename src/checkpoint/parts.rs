//! What the readers of all formats put together.

use std::ops::Range;

use serde_json::Value;

use super::contents::{Found, ModuleInfo, Refusal};
use super::pickle::{Budget, Id, Pickle, Tree};
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

impl Parts {
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
