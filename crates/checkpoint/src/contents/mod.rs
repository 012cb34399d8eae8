//! What a torch pickle means: which of its inert calls describe tensors and
//! storages (an allow-list), and the path of each from the top of the file.

mod holds;
mod objects;
mod rebuild;
mod storages;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use self::holds::holds_tensors;
use self::rebuild::Rebuilt;
pub(crate) use self::storages::declared_storages;
use crate::limits::{DEPTH, NAME, NAME_BYTES, TENSORS, VISITS};
use crate::parse_error::{ParseError, ParseResult};
use crate::pickle::{Budget, Id, Node, Tree};
use crate::tensor::{StorageInfo, TensorInfo};
use crate::value;

/// A tensor that is in the file and cannot be had, and why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Refusal {
    /// Its path from the top of the file.
    pub name: String,
    /// Why, and what to do.
    pub reason: String,
}

/// An object of a class that holds parameters: a `torch.nn.Module`, or one of
/// TorchScript.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ModuleInfo {
    /// Its path from the top of the file; empty for the file's only value.
    pub name: String,
    /// `torch.nn.modules.rnn.LSTM`
    pub class: String,
    /// Its numbers, strings and flags: `batch_first`, `hidden_size`.
    pub attributes: Vec<(String, String)>,
}

/// Everything that the walk over a pickle finds.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub tensors: Vec<TensorInfo>,
    pub refused: Vec<Refusal>,
    pub modules: Vec<ModuleInfo>,
    /// Values without a tensor in them, as high up as they are.
    pub values: Vec<(String, Id)>,
}

/// Walks the pickle whose storages are these, from a number on. `prefix` stands
/// in front of all names.
pub(crate) fn walk(
    tree: Tree,
    root: Id,
    base: usize,
    prefix: &str,
    (first, storages): (usize, &[StorageInfo]),
    budget: &mut Budget,
) -> ParseResult<Found> {
    let by_key = (first..)
        .zip(storages)
        .map(|(n, storage)| (storage.key.as_str(), (n, storage.bytes)))
        .collect();
    // In a table that may be half empty.
    let attributes = tree.arena.attributes();
    budget.charge(2 * size_of_val(attributes) + attributes.len(), base)?;
    let attributes: HashMap<Id, Id> = attributes.iter().copied().collect();
    let mut walker = Walker {
        tree,
        base,
        storages: by_key,
        holds: holds_tensors(tree, &attributes, root, base, budget)?,
        attributes,
        budget,
        found: Found::default(),
        prefix,
        path: prefix.to_owned(),
        visits: 0,
        name_bytes: 0,
    };
    walker.visit(root, 0)?;
    Ok(walker.found)
}

/// What a call of torch's would make, if it is one that makes tensors.
fn rebuilds(tree: Tree, id: Id) -> bool {
    matches!(
        tree.call(id),
        Some((("torch._utils" | "torch._tensor" | "torch", name), _)) if name.starts_with("_rebuild_")
    )
}

fn is_storage(tree: Tree, id: Id) -> bool {
    let Node::Persistent(id) = tree.node(id) else {
        return false;
    };
    let first = tree.elements(id).and_then(|elements| elements.first());
    first.is_some_and(|&kind| tree.is(kind, "storage"))
}

/// Old files name a class together with its source code:
/// `('module', class, file, code)`.
fn module_class(tree: Tree, id: Id) -> Option<Id> {
    let Node::Persistent(id) = tree.node(id) else {
        return None;
    };
    match tree.elements(id)? {
        [kind, class, ..] if tree.is(*kind, "module") => Some(*class),
        _ => None,
    }
}

/// Walks over the values of a pickle, and notes what it finds.
struct Walker<'a> {
    tree: Tree<'a>,
    base: usize,
    /// Number and size of each storage.
    storages: HashMap<&'a str, (usize, usize)>,
    holds: Vec<bool>,
    /// The state of containers that have one, as an `OrderedDict` may.
    attributes: HashMap<Id, Id>,
    budget: &'a mut Budget,
    found: Found,
    prefix: &'a str,
    path: String,
    visits: usize,
    name_bytes: usize,
}

impl<'a> Walker<'a> {
    fn malformed(&self, at: usize, what: impl std::fmt::Display) -> ParseError {
        ParseError::malformed(at, format!("tensor {:?}: {what}", self.path))
    }

    /// Counts work: a small value that is shared often must not cost much.
    fn spend(&mut self, visits: usize) -> ParseResult<()> {
        self.visits = self.visits.saturating_add(visits);
        match self.visits > VISITS {
            false => Ok(()),
            true => {
                let message =
                    format!("has more than {VISITS} values, shared ones counted each time");
                Err(ParseError::too_large(self.base, message))
            }
        }
    }

    /// The path as a name, counted.
    fn name(&mut self) -> ParseResult<String> {
        // A tensor with its places in lists and maps, or a value and its
        // summary. Names are copied: into the map and into recurrent modules.
        const EACH: usize = 480;
        self.budget.charge(EACH + 3 * self.path.len(), self.base)?;
        self.name_bytes += self.path.len();
        let found = &self.found;
        let count = found.tensors.len() + found.refused.len() + found.modules.len();
        if count >= TENSORS || found.values.len() >= TENSORS {
            let message = format!("has more than {TENSORS} tensors or values");
            return Err(ParseError::too_large(self.base, message));
        }
        if self.name_bytes > NAME_BYTES {
            let message = format!("its names have more than {NAME_BYTES} bytes together");
            return Err(ParseError::too_large(self.base, message));
        }
        Ok(self.path.clone())
    }

    fn visit(&mut self, id: Id, depth: usize) -> ParseResult<()> {
        self.spend(1)?;
        if depth > DEPTH {
            let message = format!("its values are nested deeper than {DEPTH}");
            return Err(ParseError::too_large(self.base, message));
        }
        if !self.holds[id.0 as usize] {
            // The top is always opened, so that its entries have names.
            if depth > 0 || self.tree.entries(id).is_none() {
                // TorchScript has a tuple of constants even where there are none.
                let none = self.tree.elements(id).is_some_and(<[_]>::is_empty);
                if none && !self.prefix.is_empty() {
                    return Ok(());
                }
                let name = self.name()?;
                self.found.values.push((name, id));
                return Ok(());
            }
        }
        if is_storage(self.tree, id) {
            let tensor = self.whole_storage(id)?;
            self.found.tensors.push(tensor);
            return Ok(());
        }
        if rebuilds(self.tree, id) {
            let name = self.name()?;
            match self.rebuild(id, 0)? {
                Rebuilt::Tensor(tensor) => self.found.tensors.push(tensor),
                Rebuilt::Refused(reason) => self.found.refused.push(Refusal { name, reason }),
            }
            return Ok(());
        }
        if let Some(&state) = self.attributes.get(&id) {
            self.attributes_of_container(state, depth)?;
        }
        if let Some(entries) = self.tree.entries(id) {
            return self.dict(entries, depth);
        }
        if let Some(elements) = self.tree.elements(id) {
            return self.list(elements, depth);
        }
        if self.tree.object(id).is_some() {
            return self.object(id, depth);
        }
        match module_class(self.tree, id) {
            Some(class) => self.visit(class, depth + 1),
            None => Ok(()),
        }
    }

    fn dict(
        &mut self,
        entries: impl ExactSizeIterator<Item = (Id, Id)>,
        depth: usize,
    ) -> ParseResult<()> {
        // The set's places; it may be half empty.
        const EACH: usize = 64;
        let room = EACH * entries.len();
        self.budget.charge(room, self.base)?;
        let mut keys = HashSet::new();
        for (key, value) in entries {
            // 1 and "1" are two keys, though their paths are the same.
            let quoted = self.tree.str(key).is_some();
            let key = self.key(key)?;
            self.within(&key, |walker| walker.visit(value, depth + 1))?;
            if !keys.insert((quoted, key)) {
                let message = format!("a dict at {:?} has a key twice", self.path);
                return Err(ParseError::malformed(self.base, message));
            }
        }
        self.budget.refund(room);
        Ok(())
    }

    /// A dict's key as part of a path.
    fn key(&mut self, id: Id) -> ParseResult<Cow<'a, str>> {
        let length = self.tree.raw(id).map_or(0, <[u8]>::len);
        if length > NAME {
            let message = format!("a name of {length} bytes (at most {NAME})");
            return Err(ParseError::too_large(self.base, message));
        }
        self.spend(length / 64)?;
        Ok(value::key_text(self.tree, id))
    }

    /// Tensors that are attributes of a container.
    fn attributes_of_container(&mut self, state: Id, depth: usize) -> ParseResult<()> {
        let tree = self.tree;
        self.spend(self.length(state))?;
        let Some(entries) = tree.entries(state) else {
            return self.within("state", |walker| walker.visit_if_holds(state, depth));
        };
        for (key, value) in entries {
            if self.holds[value.0 as usize] {
                let key = self.key(key)?;
                self.within(&key, |walker| walker.visit(value, depth + 1))?;
            }
        }
        Ok(())
    }

    fn list(&mut self, elements: &[Id], depth: usize) -> ParseResult<()> {
        for (n, &element) in elements.iter().enumerate() {
            let length = self.path.len();
            self.path.push_str(&format!("[{n}]"));
            self.visit(element, depth + 1)?;
            self.path.truncate(length);
        }
        Ok(())
    }

    /// With `.key` behind the path.
    fn within(
        &mut self,
        key: &str,
        run: impl FnOnce(&mut Self) -> ParseResult<()>,
    ) -> ParseResult<()> {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        // What is walked is counted, so that long paths cannot be made cheaply.
        self.name_bytes += key.len();
        if self.path.len() > NAME {
            let message = format!("a name of more than {NAME} bytes");
            return Err(ParseError::too_large(self.base, message));
        }
        run(self)?;
        self.path.truncate(length);
        Ok(())
    }

    /// How many values a container has.
    fn length(&self, id: Id) -> usize {
        match self.tree.entries(id) {
            Some(entries) => entries.len(),
            None => self.tree.elements(id).map_or(0, <[Id]>::len),
        }
    }
}
