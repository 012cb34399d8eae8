//! What a pickle describes, as an arena of values that refer to each other by
//! number: shared objects stay shared, cycles do no harm, and nothing needs
//! recursion to be built or dropped.

use crate::limits::{PICKLE_HEAP, PICKLE_NODES};
use crate::parse_error::{ParseError, ParseResult};

/// A value of the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id(pub u32);

/// A part of the pickle's own bytes: strings are not copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    length: u32,
}

impl Span {
    pub fn new(start: usize, length: usize) -> Span {
        // A pickle is shorter than 4 GiB: PICKLE_BYTES.
        Span {
            start: start as u32,
            length: length as u32,
        }
    }

    pub fn len(&self) -> usize {
        self.length as usize
    }

    pub fn of<'a>(&self, pickle: &'a [u8]) -> &'a [u8] {
        let start = self.start as usize;
        pickle
            .get(start..start + self.length as usize)
            .unwrap_or_default()
    }
}

/// The elements of a container, or none yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Items(u32);

impl Items {
    pub const NONE: Items = Items(u32::MAX);
}

/// A call or a construction that was asked for and did not happen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Object {
    /// What was to be called: a [`Node::Global`], as a rule.
    pub class: Id,
    /// Its arguments: a [`Node::Tuple`], as a rule.
    pub arguments: Id,
    /// The state that it was to be given.
    pub state: Option<Id>,
    /// The keys and values that are put into it as into a dict, a [`Node::Dict`].
    pub entries: Option<Id>,
    /// The elements that are put into it as into a list or set, a [`Node::List`].
    pub elements: Option<Id>,
    /// The byte of the file that asks for it.
    pub offset: usize,
}

/// One value. 16 bytes, since hostile files are made of millions of them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Node {
    None,
    Bool(bool),
    Int(i64),
    /// Little-endian two's complement, longer than 64 bits.
    BigInt(Span),
    /// A number written in decimal, longer than 64 bits.
    Decimal(Span),
    Float(f64),
    Bytes(Span),
    /// UTF-8, checked.
    Str(Span),
    /// A string with escapes, decoded: a number in the arena's own list.
    Text(u32),
    List(Items),
    Tuple(Items),
    Set(Items),
    /// Keys and values in turn.
    Dict(Items),
    /// A class or function by name, `module` and `name` in the arena's list.
    Global(u32),
    /// A number in the arena's list.
    Object(u32),
    /// `persistent_load` of this.
    Persistent(Id),
}

/// What memory may be taken for the pickles of a file, and for what is made of
/// them. It is counted before it is taken, at its worst.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    used: usize,
    limit: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Budget::of(PICKLE_HEAP)
    }
}

impl Budget {
    pub fn of(limit: usize) -> Budget {
        Budget { used: 0, limit }
    }

    /// Allows for more: a long file may take more than a short one.
    pub fn grow(&mut self, bytes: usize) {
        self.limit = self.limit.saturating_add(bytes);
    }

    #[inline]
    pub fn charge(&mut self, bytes: usize, offset: usize) -> ParseResult<()> {
        self.used = self.used.saturating_add(bytes);
        match self.used > self.limit {
            false => Ok(()),
            true => Err(ParseError::too_large(
                offset,
                format!(
                    "its values take more than {} bytes of memory; save the tensors without them",
                    self.limit
                ),
            )),
        }
    }

    /// What was charged is free again.
    pub fn refund(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
    }
}

/// All values of one pickle.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    nodes: Vec<Node>,
    items: Vec<Vec<Id>>,
    texts: Vec<Box<str>>,
    objects: Vec<Object>,
    globals: Vec<(Span, Span)>,
    /// State that a container was given, such as a state dict's `_metadata`.
    attributes: Vec<(Id, Id)>,
    budget: Budget,
}

/// As `Vec::push`, but grows by a quarter: what is counted is what is taken.
fn push<T>(list: &mut Vec<T>, value: T) {
    if list.len() == list.capacity() {
        list.reserve_exact(growth(list));
    }
    list.push(value);
}

/// By how much [`push`] makes a full list longer.
fn growth<T>(list: &[T]) -> usize {
    (list.len() / 4).max(4)
}

impl Arena {
    pub fn new(budget: Budget) -> Arena {
        Arena {
            budget,
            ..Arena::default()
        }
    }

    /// What is left for others.
    pub fn budget(&self) -> Budget {
        self.budget
    }

    pub fn set_budget(&mut self, budget: Budget) {
        self.budget = budget;
    }

    /// Counts memory before it is taken.
    pub fn charge(&mut self, bytes: usize, offset: usize) -> ParseResult<()> {
        self.budget.charge(bytes, offset)
    }

    /// Puts a value onto a list that shrinks again: only what it takes at its
    /// longest is counted.
    #[inline]
    pub fn stack<T>(&mut self, list: &mut Vec<T>, value: T, offset: usize) -> ParseResult<()> {
        if list.len() == list.capacity() {
            self.charge(growth(list) * size_of::<T>(), offset)?;
        }
        push(list, value);
        Ok(())
    }

    pub fn add(&mut self, node: Node, offset: usize) -> ParseResult<Id> {
        self.charge(size_of::<Node>() * 5 / 4, offset)?;
        if self.nodes.len() >= PICKLE_NODES {
            let message = format!("has more than {PICKLE_NODES} values");
            return Err(ParseError::too_large(offset, message));
        }
        push(&mut self.nodes, node);
        Ok(Id(self.nodes.len() as u32 - 1))
    }

    pub fn add_items(&mut self, items: &[Id], offset: usize) -> ParseResult<Items> {
        let mut added = Items::NONE;
        self.extend(&mut added, items, offset)?;
        Ok(added)
    }

    fn extend(&mut self, items: &mut Items, more: &[Id], offset: usize) -> ParseResult<()> {
        if more.is_empty() {
            return Ok(());
        }
        self.charge(size_of_val(more) * 5 / 4, offset)?;
        if *items == Items::NONE {
            // A list, and the allocator's share of its elements.
            self.charge(size_of::<Vec<Id>>() * 5 / 4 + 16, offset)?;
            push(&mut self.items, Vec::new());
            *items = Items(self.items.len() as u32 - 1);
        }
        let list = &mut self.items[items.0 as usize];
        if list.capacity() - list.len() < more.len() {
            list.reserve_exact(more.len().max(list.len() / 4));
        }
        list.extend_from_slice(more);
        Ok(())
    }

    /// Adds elements to a list or set, or keys and values in `pairs` to a dict; to an
    /// object as well, which may be of a class of these. `false` if `id` is none of them.
    pub fn append(
        &mut self,
        mut id: Id,
        more: &[Id],
        pairs: bool,
        offset: usize,
    ) -> ParseResult<bool> {
        if let Node::Object(object) = self.node(id) {
            id = self.container(object, pairs, offset)?;
        }
        let mut node = self.nodes[id.0 as usize];
        match &mut node {
            Node::List(items) | Node::Set(items) | Node::Dict(items) => {
                self.extend(items, more, offset)?;
            }
            _ => return Ok(false),
        }
        self.nodes[id.0 as usize] = node;
        Ok(true)
    }

    /// The container of an object, which begins empty.
    fn container(&mut self, object: u32, pairs: bool, offset: usize) -> ParseResult<Id> {
        let Object {
            entries, elements, ..
        } = self.objects[object as usize];
        if let Some(there) = if pairs { entries } else { elements } {
            return Ok(there);
        }
        let empty = match pairs {
            true => Node::Dict(Items::NONE),
            false => Node::List(Items::NONE),
        };
        let new = self.add(empty, offset)?;
        let object = &mut self.objects[object as usize];
        match pairs {
            true => object.entries = Some(new),
            false => object.elements = Some(new),
        }
        Ok(new)
    }

    pub fn add_text(&mut self, text: String, offset: usize) -> ParseResult<Id> {
        self.charge(text.len() + size_of::<Box<str>>() * 5 / 4 + 16, offset)?;
        push(&mut self.texts, text.into_boxed_str());
        self.add(Node::Text(self.texts.len() as u32 - 1), offset)
    }

    pub fn add_global(&mut self, module: Span, name: Span, offset: usize) -> ParseResult<Id> {
        // And its name, once more, in the list of all of them.
        let listed = size_of::<(&str, &str)>() + size_of::<String>() * 2;
        let text = module.len() + name.len() + 1;
        self.charge(size_of::<(Span, Span)>() * 5 / 4 + listed + text, offset)?;
        push(&mut self.globals, (module, name));
        self.add(Node::Global(self.globals.len() as u32 - 1), offset)
    }

    pub fn add_object(&mut self, class: Id, arguments: Id, offset: usize) -> ParseResult<Id> {
        self.charge(size_of::<Object>() * 5 / 4, offset)?;
        push(
            &mut self.objects,
            Object {
                class,
                arguments,
                state: None,
                entries: None,
                elements: None,
                offset,
            },
        );
        self.add(Node::Object(self.objects.len() as u32 - 1), offset)
    }

    /// What `BUILD` does: an object gets a state, a container attributes.
    pub fn set_state(&mut self, id: Id, state: Id, offset: usize) -> ParseResult<()> {
        match self.node(id) {
            Node::Object(n) => self.objects[n as usize].state = Some(state),
            _ => {
                self.charge(size_of::<(Id, Id)>() * 5 / 4, offset)?;
                push(&mut self.attributes, (id, state));
            }
        }
        Ok(())
    }

    /// Containers that were given a state, and it; the last of a container counts.
    pub fn attributes(&self) -> &[(Id, Id)] {
        &self.attributes
    }

    pub fn node(&self, id: Id) -> Node {
        self.nodes[id.0 as usize]
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn list(&self, items: Items) -> &[Id] {
        match items {
            Items::NONE => &[],
            Items(n) => &self.items[n as usize],
        }
    }

    pub fn text(&self, n: u32) -> &str {
        &self.texts[n as usize]
    }

    pub fn object(&self, n: u32) -> Object {
        self.objects[n as usize]
    }

    pub fn global(&self, n: u32) -> (Span, Span) {
        self.globals[n as usize]
    }

    pub fn globals(&self) -> &[(Span, Span)] {
        &self.globals
    }
}

/// An arena with the bytes that its spans point into.
#[derive(Clone, Copy)]
pub(crate) struct Tree<'a> {
    pub arena: &'a Arena,
    pub pickle: &'a [u8],
}

impl<'a> Tree<'a> {
    pub fn node(&self, id: Id) -> Node {
        self.arena.node(id)
    }

    pub fn str(&self, id: Id) -> Option<&'a str> {
        match self.node(id) {
            // Checked once, and again: a mapped file may change while we read.
            Node::Str(span) => std::str::from_utf8(span.of(self.pickle)).ok(),
            Node::Text(n) => Some(self.arena.text(n)),
            _ => None,
        }
    }

    /// Whether it is this string. Looks no further than that is long.
    pub fn is(&self, id: Id, text: &str) -> bool {
        self.raw(id) == Some(text.as_bytes())
    }

    /// The bytes of a string, which are looked at no further.
    pub fn raw(&self, id: Id) -> Option<&'a [u8]> {
        match self.node(id) {
            Node::Str(span) => Some(span.of(self.pickle)),
            Node::Text(n) => Some(self.arena.text(n).as_bytes()),
            _ => None,
        }
    }

    pub fn int(&self, id: Id) -> Option<i64> {
        match self.node(id) {
            Node::Int(value) => Some(value),
            Node::Bool(value) => Some(value.into()),
            _ => None,
        }
    }

    /// The elements of a list, tuple or set.
    pub fn elements(&self, id: Id) -> Option<&'a [Id]> {
        match self.node(id) {
            Node::List(items) | Node::Tuple(items) | Node::Set(items) => {
                Some(self.arena.list(items))
            }
            _ => None,
        }
    }

    /// The keys and values of a dict.
    pub fn entries(&self, id: Id) -> Option<impl ExactSizeIterator<Item = (Id, Id)> + use<'a>> {
        match self.node(id) {
            Node::Dict(items) => {
                let pairs = self.arena.list(items).chunks_exact(2);
                Some(pairs.map(|pair| (pair[0], pair[1])))
            }
            _ => None,
        }
    }

    /// The keys and values of a dict, or of an object of a class of dicts.
    pub fn mapping(&self, id: Id) -> Option<impl ExactSizeIterator<Item = (Id, Id)> + use<'a>> {
        let dict = self.object(id).and_then(|object| object.entries);
        self.entries(dict.unwrap_or(id))
    }

    /// What a dict has under this string, the last if there are several.
    pub fn get(&self, dict: Id, key: &str) -> Option<Id> {
        self.entries(dict)?
            .filter(|&(k, _)| self.is(k, key))
            .last()
            .map(|(_, value)| value)
    }

    /// The `n`th of the values inside of a value, if there are so many.
    pub fn child(&self, id: Id, n: usize) -> Option<Id> {
        match self.node(id) {
            Node::List(items) | Node::Tuple(items) | Node::Set(items) => {
                self.arena.list(items).get(n).copied()
            }
            Node::Dict(items) => self.arena.list(items).get(2 * n + 1).copied(),
            Node::Object(object) => {
                let object = self.arena.object(object);
                let inside = [object.state, object.entries, object.elements];
                let mut inside = [Some(object.arguments)].into_iter().chain(inside).flatten();
                inside.nth(n)
            }
            _ => None,
        }
    }

    /// Module and name of a class or function.
    pub fn global(&self, id: Id) -> Option<(&'a str, &'a str)> {
        match self.node(id) {
            Node::Global(n) => Some(self.global_names(self.arena.global(n))),
            _ => None,
        }
    }

    fn global_names(&self, (module, name): (Span, Span)) -> (&'a str, &'a str) {
        let text = |span: Span| std::str::from_utf8(span.of(self.pickle)).unwrap_or_default();
        (text(module), text(name))
    }

    /// Every class and function that the pickle names, `module.name`, sorted.
    pub fn global_list(&self) -> Vec<String> {
        let mut names: Vec<(&str, &str)> = self
            .arena
            .globals()
            .iter()
            .map(|&pair| self.global_names(pair))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
            .iter()
            .map(|(module, name)| format!("{module}.{name}"))
            .collect()
    }

    pub fn object(&self, id: Id) -> Option<Object> {
        match self.node(id) {
            Node::Object(n) => Some(self.arena.object(n)),
            _ => None,
        }
    }

    /// The arguments of a call, and what was to be called.
    pub fn call(&self, id: Id) -> Option<((&'a str, &'a str), &'a [Id])> {
        let object = self.object(id)?;
        let arguments = self.elements(object.arguments).unwrap_or_default();
        Some((self.global(object.class)?, arguments))
    }
}
