//! What a torch pickle means: which of its inert calls describe tensors and
//! storages (an allow-list), and the path of each from the top of the file.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::dtype::DType;
use crate::limits::{DEPTH, NAME, NAME_BYTES, RANK, STORAGE_KEY, TENSORS, VISITS};
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

/// A storage as a pickle declares it.
#[derive(Debug)]
pub(crate) struct Declared {
    pub key: String,
    pub device: String,
    pub dtype: DType,
    /// Bytes of an element.
    pub element: usize,
    pub bytes: usize,
}

/// All storages that a pickle declares, each once, in the order in which they
/// appear.
pub(crate) fn declared_storages(
    tree: Tree,
    base: usize,
    budget: &mut Budget,
) -> ParseResult<Vec<Declared>> {
    // A storage with its places in this list, in that of the file and in the
    // maps from keys to them; lists and maps may be half empty.
    const EACH: usize = 384;
    let mut all: Vec<Declared> = Vec::new();
    let mut by_key = HashMap::new();
    for n in 0..tree.arena.len() as u32 {
        let Node::Persistent(id) = tree.node(Id(n)) else {
            continue;
        };
        let Some(declared) = declared(tree, id, base)? else {
            continue;
        };
        match by_key.get(&declared.key) {
            None => {
                let texts = 2 * declared.key.len() + declared.device.len();
                budget.charge(EACH + texts, base)?;
                by_key.insert(declared.key.clone(), all.len());
                all.push(declared);
            }
            Some(&n) if all[n].bytes == declared.bytes => {}
            Some(&n) => {
                let message = format!(
                    "storage {:?} is said to have {} bytes, and {}",
                    declared.key, all[n].bytes, declared.bytes
                );
                return Err(ParseError::malformed(base, message));
            }
        }
    }
    Ok(all)
}

/// `('storage', torch.FloatStorage, key, device, count)` and, in old files, a
/// view of it, which has been `None` since torch 0.4.
fn declared(tree: Tree, id: Id, base: usize) -> ParseResult<Option<Declared>> {
    let Some([kind, class, key, device, count, view @ ..]) = tree.elements(id) else {
        return Ok(None);
    };
    if !tree.is(*kind, "storage") {
        return Ok(None);
    }
    let malformed = |what: &str| ParseError::malformed(base, format!("a storage {what}"));
    let (module, name) = tree
        .global(*class)
        .ok_or_else(|| malformed("without a class"))?;
    let dtype = match (module, name) {
        ("torch.storage" | "torch", "UntypedStorage") => Some(DType::U8),
        ("torch" | "torch.cuda" | "torch.storage", name) => {
            DType::from_storage(name).or_else(|| quantized(name).then_some(DType::U8))
        }
        _ => None,
    };
    let Some(dtype) = dtype else {
        let message = format!("a storage of the class {module}.{name}, which torch 2.11 has not");
        return Err(ParseError::unsupported(base, message));
    };
    let element = match name {
        "QInt32Storage" => 4,
        _ => dtype.size(),
    };
    let short = |id: Id, what: &str| match tree.raw(id) {
        Some(text) if text.len() <= STORAGE_KEY => {
            tree.str(id).ok_or_else(|| malformed("that is no text"))
        }
        Some(_) => {
            let message = format!("a storage with {what} of more than {STORAGE_KEY} bytes");
            Err(ParseError::too_large(base, message))
        }
        None => Err(malformed(&format!("without {what}"))),
    };
    let key = short(*key, "a key")?;
    let device = short(*device, "a device")?;
    let bytes = tree
        .int(*count)
        .and_then(|count| usize::try_from(count).ok()?.checked_mul(element))
        .filter(|&bytes| i64::try_from(bytes).is_ok())
        .ok_or_else(|| malformed("without a size"))?;
    if !matches!(
        view.first().map(|&id| tree.node(id)),
        None | Some(Node::None)
    ) {
        let message = "a storage that is a view of another, as torch before 0.4 wrote them; load and save it with a newer torch";
        return Err(ParseError::unsupported(base, message));
    }
    Ok(Some(Declared {
        key: key.to_owned(),
        device: device.to_owned(),
        dtype,
        element,
        bytes,
    }))
}

fn quantized(storage: &str) -> bool {
    matches!(
        storage,
        "QInt8Storage" | "QUInt8Storage" | "QInt32Storage" | "QUInt4x2Storage" | "QUInt2x4Storage"
    )
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
    let mut walker = Walker {
        tree,
        base,
        storages: by_key,
        holds: holds_tensors(tree, root, base, budget)?,
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

/// The `n`th of the values inside of a value.
fn child(tree: Tree, id: Id, n: usize) -> Option<Id> {
    match tree.node(id) {
        Node::Persistent(_) if n == 0 => module_class(tree, id),
        _ => tree.child(id, n),
    }
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

/// For each value whether a tensor, or a storage by itself, is in it. Each is
/// looked at once, however often it is shared.
fn holds_tensors(tree: Tree, root: Id, base: usize, budget: &mut Budget) -> ParseResult<Vec<bool>> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Holds,
        HoldsNot,
    }
    budget.charge(2 * tree.arena.len(), base)?;
    let mut states = vec![State::New; tree.arena.len()];
    // The values that are open, and which of their children comes next.
    let mut open: Vec<(Id, usize)> = Vec::new();
    let mut next = Some(root);
    loop {
        if let Some(id) = next.take() {
            let state = &mut states[id.0 as usize];
            if *state == State::New {
                if rebuilds(tree, id) || is_storage(tree, id) {
                    *state = State::Holds;
                } else {
                    *state = State::Open;
                    if open.len() >= DEPTH {
                        let message = format!("its values are nested deeper than {DEPTH}");
                        return Err(ParseError::too_large(base, message));
                    }
                    open.push((id, 0));
                }
            }
            if states[id.0 as usize] == State::Holds {
                // So do all that it is in; where one does, those around it do.
                for (outer, _) in open.iter().rev() {
                    let outer = &mut states[outer.0 as usize];
                    if *outer == State::Holds {
                        break;
                    }
                    *outer = State::Holds;
                }
            }
        }
        let Some((id, n)) = open.last_mut() else {
            break;
        };
        match child(tree, *id, *n) {
            Some(child) => {
                *n += 1;
                next = Some(child);
            }
            None => {
                let state = &mut states[id.0 as usize];
                if *state == State::Open {
                    *state = State::HoldsNot;
                }
                open.pop();
            }
        }
    }
    let holds = states.into_iter().map(|state| state == State::Holds);
    Ok(holds.collect())
}

struct Walker<'a> {
    tree: Tree<'a>,
    base: usize,
    /// Number and size of each storage.
    storages: HashMap<&'a str, (usize, usize)>,
    holds: Vec<bool>,
    budget: &'a mut Budget,
    found: Found,
    prefix: &'a str,
    path: String,
    visits: usize,
    name_bytes: usize,
}

/// What a call for a tensor comes to.
enum Rebuilt {
    Tensor(TensorInfo),
    Refused(String),
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

    /// An object that stays inert: its state is looked through for tensors.
    fn object(&mut self, id: Id, depth: usize) -> ParseResult<()> {
        let Some(object) = self.tree.object(id) else {
            return Ok(());
        };
        let class = module_class(self.tree, object.class).unwrap_or(object.class);
        let class = self.tree.global(class);
        if let Some((module, name)) = class {
            let attributes = match object.state {
                Some(state) => self.scalars(state)?,
                None => Vec::new(),
            };
            let length = module.len() + name.len() + 1;
            self.budget.charge(length, self.base)?;
            let info = ModuleInfo {
                name: self.name()?,
                class: format!("{module}.{name}"),
                attributes,
            };
            self.found.modules.push(info);
        }
        if let Some(state) = object.state {
            if self.tree.entries(state).is_some() {
                self.attributes(state, depth)?;
            } else {
                self.within("state", |walker| walker.visit_if_holds(state, depth))?;
            }
        }
        self.within("arguments", |walker| {
            walker.visit_if_holds(object.arguments, depth)
        })
    }

    fn visit_if_holds(&mut self, id: Id, depth: usize) -> ParseResult<()> {
        match self.holds[id.0 as usize] {
            true => self.visit(id, depth + 1),
            false => Ok(()),
        }
    }

    /// What an object has. Of a `torch.nn.Module` first its parameters, buffers
    /// and modules by their own names, as its state dict would have them; then
    /// what else holds tensors, but for those that were listed (an LSTM keeps
    /// its weights twice, in TorchScript as well), and its larger values.
    fn attributes(&mut self, state: Id, depth: usize) -> ParseResult<()> {
        const TABLES: [&str; 3] = ["_parameters", "_buffers", "_modules"];
        /// Bytes of a place in a set of values, which may be half empty.
        const LISTED: usize = 16;
        let tree = self.tree;
        self.spend(self.length(state))?;
        let is_module = tree.get(state, TABLES[0]).is_some();
        let mut listed = HashSet::new();
        let mut room = 0;
        for table in TABLES.iter().filter(|_| is_module) {
            let Some(table) = tree.get(state, table) else {
                continue;
            };
            let length = self.length(table);
            self.spend(length)?;
            room += LISTED * length;
            self.budget.charge(LISTED * length, self.base)?;
            for (key, value) in tree.entries(table).into_iter().flatten() {
                if self.holds[value.0 as usize] {
                    listed.insert(value);
                    let key = self.key(key)?;
                    self.within(&key, |walker| walker.visit(value, depth + 1))?;
                }
            }
        }
        if !is_module {
            // TorchScript has no tables: its tensors are attributes themselves.
            let more = LISTED * self.length(state);
            room += more;
            self.budget.charge(more, self.base)?;
            let direct = tree.entries(state).into_iter().flatten();
            listed.extend(
                direct
                    .map(|(_, value)| value)
                    .filter(|&id| rebuilds(tree, id)),
            );
        }
        for (key, value) in tree.entries(state).into_iter().flatten() {
            let name = self.key(key)?;
            if is_module && TABLES.contains(&&*name) {
                continue;
            }
            let elements = tree.elements(value);
            let wanted = match self.holds[value.0 as usize] {
                true => {
                    self.spend(self.length(value))?;
                    let copies = elements.is_some_and(|elements| {
                        let mut holding = elements.iter().filter(|id| self.holds[id.0 as usize]);
                        holding.all(|id| listed.contains(id))
                    });
                    match is_module {
                        true => !copies && !listed.contains(&value),
                        false => !(copies && name.starts_with('_')),
                    }
                }
                false => self.length(value) > 0 && !name.starts_with('_'),
            };
            if wanted {
                self.within(&name, |walker| walker.visit(value, depth + 1))?;
            }
        }
        self.budget.refund(room);
        Ok(())
    }

    /// How many values a container has.
    fn length(&self, id: Id) -> usize {
        match self.tree.entries(id) {
            Some(entries) => entries.len(),
            None => self.tree.elements(id).map_or(0, <[Id]>::len),
        }
    }

    /// The plain attributes of an object.
    fn scalars(&mut self, state: Id) -> ParseResult<Vec<(String, String)>> {
        const MOST: usize = 100;
        // In a list that may be half empty, with the texts' own allocations.
        const EACH: usize = 2 * size_of::<(String, String)>() + 32;
        let entries = self.tree.entries(state).into_iter().flatten();
        let mut scalars = Vec::new();
        for (key, value) in entries {
            let name = self.key(key)?;
            let private = name.starts_with('_') || name == "training";
            if let (false, Some(text)) = (private, value::scalar(self.tree, value)) {
                self.budget
                    .charge(EACH + name.len() + text.len(), self.base)?;
                scalars.push((name.into_owned(), text));
            }
            if scalars.len() == MOST {
                break;
            }
            self.spend(1)?;
        }
        Ok(scalars)
    }

    /// A storage that was saved by itself.
    fn whole_storage(&mut self, id: Id) -> ParseResult<TensorInfo> {
        let name = self.name()?;
        let (storage, dtype, bytes) = self.storage(id, self.base)?;
        Ok(TensorInfo {
            name,
            dtype,
            shape: vec![(bytes / dtype.size()) as i64],
            stride: vec![1],
            offset: 0,
            storage,
            parameter: false,
        })
    }

    /// Number, type and size of the storage that a value stands for.
    fn storage(&self, id: Id, at: usize) -> ParseResult<(usize, DType, usize)> {
        let declared = match self.tree.node(id) {
            Node::Persistent(id) => declared(self.tree, id, at)?,
            _ => None,
        };
        let Some(declared) = declared else {
            return Err(self.malformed(at, "has no storage"));
        };
        match self.storages.get(declared.key.as_str()) {
            Some(&(n, bytes)) => Ok((n, declared.dtype, bytes)),
            None => Err(self.malformed(at, format!("its storage {:?} is missing", declared.key))),
        }
    }

    /// The call for a tensor: torch's `_utils.py` and `_tensor.py` say what the
    /// arguments are.
    fn rebuild(&mut self, id: Id, depth: usize) -> ParseResult<Rebuilt> {
        let refuse = |reason: &str| Ok(Rebuilt::Refused(reason.to_owned()));
        let at = self
            .tree
            .object(id)
            .map_or(self.base, |object| object.offset);
        let Some(((_, function), arguments)) = self.tree.call(id) else {
            return Err(self.malformed(at, "is no call of torch's"));
        };
        if depth > 8 {
            return Err(self.malformed(at, "is wrapped too often"));
        }
        match (function, arguments) {
            ("_rebuild_tensor", &[storage, offset, size, stride]) => {
                self.view(at, storage, [offset, size, stride], None, None)
            }
            ("_rebuild_tensor_v2", &[storage, offset, size, stride, _, _, ref more @ ..]) => self
                .view(
                    at,
                    storage,
                    [offset, size, stride],
                    None,
                    more.first().copied(),
                ),
            (
                "_rebuild_tensor_v3",
                &[storage, offset, size, stride, _, _, dtype, ref more @ ..],
            ) => self.view(
                at,
                storage,
                [offset, size, stride],
                Some(dtype),
                more.first().copied(),
            ),
            ("_rebuild_parameter" | "_rebuild_parameter_with_state", &[data, ..]) => {
                if !rebuilds(self.tree, data) {
                    return Err(self.malformed(at, "is a parameter without a tensor"));
                }
                let mut inner = self.rebuild(data, depth + 1)?;
                if let Rebuilt::Tensor(tensor) = &mut inner {
                    tensor.parameter = true;
                }
                Ok(inner)
            }
            ("_rebuild_from_type_v2", &[function, _, arguments, _]) => {
                // A subclass: the tensor in it is what we want.
                let Some((_, name)) = self.tree.global(function) else {
                    return Err(self.malformed(at, "is of a type without a function"));
                };
                let arguments = self.tree.elements(arguments).unwrap_or_default();
                match (name, arguments) {
                    (
                        "_rebuild_tensor_v2",
                        &[storage, offset, size, stride, _, _, ref more @ ..],
                    ) => {
                        let metadata = more.first().copied();
                        self.view(at, storage, [offset, size, stride], None, metadata)
                    }
                    (
                        "_rebuild_tensor_v3",
                        &[storage, offset, size, stride, _, _, dtype, ref more @ ..],
                    ) => {
                        let metadata = more.first().copied();
                        self.view(at, storage, [offset, size, stride], Some(dtype), metadata)
                    }
                    ("_rebuild_parameter", &[data, ..]) if rebuilds(self.tree, data) => {
                        self.rebuild(data, depth + 1)
                    }
                    _ => Ok(Rebuilt::Refused(format!(
                        "a tensor subclass made by {name}; save tensor.as_subclass(torch.Tensor)"
                    ))),
                }
            }
            ("_rebuild_qtensor", _) => {
                refuse("is quantized; save tensor.dequantize(), or its int_repr() and scales")
            }
            ("_rebuild_sparse_tensor", _) => refuse("is sparse; save tensor.to_dense()"),
            ("_rebuild_sparse_csr_tensor", _) => {
                refuse("is sparse (compressed); save tensor.to_dense()")
            }
            ("_rebuild_meta_tensor_no_storage", _) => {
                refuse("is on the meta device: it never had any numbers")
            }
            ("_rebuild_nested_tensor", _) => refuse("is nested; save its parts, tensor.unbind()"),
            ("_rebuild_device_tensor_from_numpy" | "_rebuild_device_tensor_from_cpu_tensor", _) => {
                refuse("was saved on a device of another package; save tensor.cpu()")
            }
            ("_rebuild_wrapper_subclass", _) => {
                refuse("is of a tensor subclass without numbers of its own; save what it wraps")
            }
            ("_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3", _)
            | (
                "_rebuild_parameter" | "_rebuild_parameter_with_state" | "_rebuild_from_type_v2",
                _,
            ) => Err(self.malformed(at, format!("{function} with the wrong arguments"))),
            (other, _) => Ok(Rebuilt::Refused(format!(
                "made by torch's {other}, which this reader does not know"
            ))),
        }
    }

    fn view(
        &mut self,
        at: usize,
        storage: Id,
        [offset, size, stride]: [Id; 3],
        dtype: Option<Id>,
        metadata: Option<Id>,
    ) -> ParseResult<Rebuilt> {
        let tree = self.tree;
        if let Node::Persistent(id) = tree.node(storage) {
            let class = tree
                .elements(id)
                .and_then(|elements| elements.get(1).copied());
            if class
                .and_then(|id| tree.global(id))
                .is_some_and(|(_, name)| quantized(name))
            {
                let reason = "is quantized; save tensor.dequantize(), or its int_repr() and scales";
                return Ok(Rebuilt::Refused(reason.to_owned()));
            }
        }
        let (storage, mut storage_dtype, bytes) = self.storage(storage, at)?;
        if let Some(dtype) = dtype {
            let name = tree.global(dtype).map(|(_, name)| name).unwrap_or_default();
            storage_dtype = match DType::from_name(name) {
                Some(dtype) => dtype,
                None => {
                    let reason = format!("is torch.{name}, which this reader does not know");
                    return Ok(Rebuilt::Refused(reason));
                }
            };
        }
        for flag in ["conj", "neg"] {
            self.spend(metadata.map_or(0, |metadata| self.length(metadata)))?;
            let set = metadata.and_then(|metadata| tree.get(metadata, flag));
            if set.and_then(|flag| tree.int(flag)) == Some(1) {
                let reason = format!(
                    "its numbers are not written out (the {flag} bit is set); save tensor.resolve_{flag}()"
                );
                return Ok(Rebuilt::Refused(reason));
            }
        }
        // A rank that is too large is refused by the check below.
        let numbers = |id: Id| -> Option<Vec<i64>> {
            let ids = tree.elements(id)?;
            let numbers = ids.iter().take(RANK + 1).map(|&n| tree.int(n));
            numbers.collect()
        };
        // Both lists, as they grow.
        let rank = self.length(size).clamp(4, RANK).next_power_of_two();
        let room = 2 * size_of::<i64>() * rank;
        self.budget.charge(room, at)?;
        let (Some(offset), Some(shape), Some(stride)) =
            (tree.int(offset), numbers(size), numbers(stride))
        else {
            return Err(self.malformed(at, "sizes, strides or offset are no numbers"));
        };
        let tensor = TensorInfo {
            name: self.path.clone(),
            dtype: storage_dtype,
            shape,
            stride,
            offset,
            storage,
            parameter: false,
        };
        tensor.check(bytes, at)?;
        Ok(Rebuilt::Tensor(tensor))
    }
}
