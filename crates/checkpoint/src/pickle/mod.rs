//! Python's pickles (protocols 0 to 5), read as data: the stack machine of
//! `pickletools`, in which nothing is ever imported or called.
//!
//! A handful of calls are understood because they only build containers
//! ([`known_call`]); every other one becomes an inert [`Node::Object`] with the name
//! of what was to be called and its arguments. What the names mean is decided
//! elsewhere, by an allow-list.

mod node;

use crate::cursor::Cursor;
use crate::limits::{PICKLE_BYTES, PICKLE_MEMO, PICKLE_OPERATIONS, PICKLE_STRING};
use crate::parse_error::{ParseError, ParseResult};

pub(crate) use self::node::{Arena, Budget, Id, Node, Span, Tree};

/// The longest name of a class, function or module, in bytes.
const NAME: usize = 1024;

/// A pickle that was read.
#[derive(Debug)]
pub(crate) struct Pickle {
    pub arena: Arena,
    pub root: Id,
    /// How many bytes it has.
    pub length: usize,
}

/// Reads the pickle at the start of `bytes`, which lie at `base` in the file.
/// What stands behind it is left alone: see [`Pickle::length`].
///
/// `budget` is what memory it may take; what it takes is counted there.
pub(crate) fn read(bytes: &[u8], base: usize, budget: &mut Budget) -> ParseResult<Pickle> {
    // Cut, so that no pickle is longer.
    let window = &bytes[..bytes.len().min(PICKLE_BYTES)];
    let mut machine = Machine {
        cursor: Cursor::new(window, base),
        arena: Arena::new(*budget),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Vec::new(),
        start: 0,
    };
    let root = machine.run().map_err(|error| match error.kind {
        crate::parse_error::ParseErrorKind::Truncated if window.len() < bytes.len() => {
            ParseError::too_large(base, format!("a pickle of more than {PICKLE_BYTES} bytes"))
        }
        _ => error,
    })?;
    *budget = machine.arena.budget();
    budget.refund(machine.room());
    Ok(Pickle {
        root,
        length: machine.cursor.position(),
        arena: machine.arena,
    })
}

/// As [`read`], of a pickle that fills `bytes`.
pub(crate) fn read_whole(bytes: &[u8], base: usize, budget: &mut Budget) -> ParseResult<Pickle> {
    let pickle = read(bytes, base, budget)?;
    match bytes.len() - pickle.length {
        0 => Ok(pickle),
        left => Err(ParseError::malformed(
            base + pickle.length,
            format!("{left} bytes behind the end of a pickle"),
        )),
    }
}

struct Machine<'a> {
    cursor: Cursor<'a>,
    arena: Arena,
    stack: Vec<Id>,
    marks: Vec<u32>,
    memo: Vec<Option<Id>>,
    /// Where the operation that runs starts.
    start: usize,
}

impl<'a> Machine<'a> {
    /// What stack, marks and memo take, which end with the pickle.
    fn room(&self) -> usize {
        let stack = self.stack.capacity() * size_of::<Id>();
        let marks = self.marks.capacity() * size_of::<u32>();
        stack + marks + size_of_val(&self.memo[..])
    }

    fn run(&mut self) -> ParseResult<Id> {
        for _ in 0..PICKLE_OPERATIONS {
            self.start = self.cursor.offset();
            let operation = self.cursor.u8("a pickle")?;
            if operation == b'.' {
                let root = self.pop()?;
                return match self.stack.is_empty() && self.marks.is_empty() {
                    true => Ok(root),
                    false => Err(self.malformed("a pickle ends with values left over")),
                };
            }
            self.execute(operation)?;
        }
        Err(ParseError::too_large(
            self.cursor.offset(),
            format!("a pickle of more than {PICKLE_OPERATIONS} operations"),
        ))
    }

    /// One operation; names and order as in Python's `pickletools`.
    fn execute(&mut self, operation: u8) -> ParseResult<()> {
        match operation {
            // Numbers
            b'I' => self.int_line(),
            b'J' => {
                let value = self.cursor.i32("a number")?;
                self.push(Node::Int(value.into()))
            }
            b'K' => {
                let value = self.cursor.u8("a number")?;
                self.push(Node::Int(value.into()))
            }
            b'M' => {
                let value = self.cursor.u16("a number")?;
                self.push(Node::Int(value.into()))
            }
            b'L' => self.long_line(),
            0x8a => {
                let length = self.cursor.u8("a number")?;
                self.long(length.into())
            }
            0x8b => {
                let length = self.cursor.i32("a number")?;
                match usize::try_from(length) {
                    Ok(length) => self.long(length),
                    Err(_) => Err(self.malformed("a number of negative length")),
                }
            }
            b'F' => {
                let line = self.cursor.line(64, "a number")?;
                match std::str::from_utf8(line).map(|text| text.trim().parse()) {
                    Ok(Ok(value)) => self.push(Node::Float(value)),
                    _ => Err(self.malformed("a number that is none")),
                }
            }
            b'G' => {
                let value = self.cursor.f64_be("a number")?;
                self.push(Node::Float(value))
            }

            // Strings
            b'S' => self.quoted_line(),
            b'T' => {
                let length = self.cursor.i32("a string")?;
                match u64::try_from(length) {
                    Ok(length) => self.string(length),
                    Err(_) => Err(self.malformed("a string of negative length")),
                }
            }
            b'U' => {
                let length = self.cursor.u8("a string")?;
                self.string(length.into())
            }
            b'V' => self.escaped_line(),
            0x8c => {
                let length = self.cursor.u8("a string")?;
                self.string(length.into())
            }
            b'X' => {
                let length = self.cursor.u32("a string")?;
                self.string(length.into())
            }
            0x8d => {
                let length = self.cursor.u64("a string")?;
                self.string(length)
            }
            b'C' => {
                let length = self.cursor.u8("bytes")?;
                self.bytes(length.into())
            }
            b'B' => {
                let length = self.cursor.u32("bytes")?;
                self.bytes(length.into())
            }
            0x8e | 0x96 => {
                let length = self.cursor.u64("bytes")?;
                self.bytes(length)
            }

            // Constants
            b'N' => self.push(Node::None),
            0x88 => self.push(Node::Bool(true)),
            0x89 => self.push(Node::Bool(false)),

            // Containers
            b']' => self.push(Node::List(node::Items::NONE)),
            b')' => self.push(Node::Tuple(node::Items::NONE)),
            b'}' => self.push(Node::Dict(node::Items::NONE)),
            0x8f => self.push(Node::Set(node::Items::NONE)),
            b'l' => self.collect(Node::List),
            b't' => self.collect(Node::Tuple),
            0x91 => self.collect(Node::Set),
            b'd' => {
                self.even_since_mark()?;
                self.collect(Node::Dict)
            }
            0x85..=0x87 => {
                let from = self.top(usize::from(operation - 0x84))?;
                self.replace(from, Node::Tuple)
            }
            b'a' => {
                let from = self.top(1)?;
                self.append(from)
            }
            b'e' | 0x90 => {
                let from = self.pop_mark()?;
                self.append(from)
            }
            b's' => {
                let from = self.top(2)?;
                self.append(from)
            }
            b'u' => {
                self.even_since_mark()?;
                let from = self.pop_mark()?;
                self.append(from)
            }

            // The stack and the memo
            b'(' => {
                let mark = self.stack.len() as u32;
                self.arena.stack(&mut self.marks, mark, self.start)
            }
            b'0' => match self.marks.last() {
                // Python pops the mark where it is on top.
                Some(&mark) if mark as usize == self.stack.len() => {
                    self.marks.pop();
                    Ok(())
                }
                _ => self.pop().map(drop),
            },
            b'1' => {
                let from = self.pop_mark()?;
                self.stack.truncate(from);
                Ok(())
            }
            b'2' => {
                let top = self.stack[self.top(1)?];
                self.push_id(top)
            }
            b'g' => {
                let index = self.memo_line()?;
                self.get(index)
            }
            b'h' => {
                let index = self.cursor.u8("a memo's number")?;
                self.get(index.into())
            }
            b'j' => {
                let index = self.cursor.u32("a memo's number")?;
                self.get(index as usize)
            }
            b'p' => {
                let index = self.memo_line()?;
                self.put(index)
            }
            b'q' => {
                let index = self.cursor.u8("a memo's number")?;
                self.put(index.into())
            }
            b'r' => {
                let index = self.cursor.u32("a memo's number")?;
                self.put(index as usize)
            }
            0x94 => self.put(self.memo.len()),

            // Names, calls, objects: inert
            b'c' => {
                let module = self.name_line()?;
                let name = self.name_line()?;
                let id = self.arena.add_global(module, name, self.start)?;
                self.push_id(id)
            }
            0x93 => {
                let from = self.top(2)?;
                let (module, name) = (self.stack[from], self.stack[from + 1]);
                match (self.arena.node(module), self.arena.node(name)) {
                    (Node::Str(module), Node::Str(name)) => {
                        if module.len() > NAME || name.len() > NAME {
                            let message = format!("a name is longer than {NAME} bytes");
                            return Err(ParseError::too_large(self.start, message));
                        }
                        let id = self.arena.add_global(module, name, self.start)?;
                        self.stack.truncate(from);
                        self.push_id(id)
                    }
                    _ => Err(self.malformed("a class whose name is no string")),
                }
            }
            b'R' => {
                let from = self.top(2)?;
                let (callable, arguments) = (self.stack[from], self.stack[from + 1]);
                self.stack.truncate(from);
                let id = match self.known_call(callable, arguments)? {
                    Some(id) => id,
                    None => self.arena.add_object(callable, arguments, self.start)?,
                };
                self.push_id(id)
            }
            0x81 => {
                let from = self.top(2)?;
                let (class, arguments) = (self.stack[from], self.stack[from + 1]);
                self.stack.truncate(from);
                let id = self.arena.add_object(class, arguments, self.start)?;
                self.push_id(id)
            }
            0x92 => {
                // Keyword arguments are inert, too: kept beside the others.
                let from = self.top(3)?;
                let class = self.stack[from];
                let both = [self.stack[from + 1], self.stack[from + 2]];
                self.stack.truncate(from);
                let arguments = self.arena.add_items(&both, self.start)?;
                let arguments = self.arena.add(Node::Tuple(arguments), self.start)?;
                let id = self.arena.add_object(class, arguments, self.start)?;
                self.push_id(id)
            }
            b'i' => {
                let module = self.name_line()?;
                let name = self.name_line()?;
                let class = self.arena.add_global(module, name, self.start)?;
                self.collect(Node::Tuple)?;
                let arguments = self.pop()?;
                let id = self.arena.add_object(class, arguments, self.start)?;
                self.push_id(id)
            }
            b'o' => {
                self.collect(Node::Tuple)?;
                let arguments = self.pop()?;
                let id = self.arena.add_object(arguments, arguments, self.start)?;
                self.push_id(id)
            }
            b'b' => {
                let from = self.top(2)?;
                let (object, state) = (self.stack[from], self.stack[from + 1]);
                self.stack.truncate(from + 1);
                self.arena.set_state(object, state, self.start)
            }
            b'P' => {
                let line = self.name_line()?;
                let id = self.arena.add(Node::Str(line), self.start)?;
                self.push(Node::Persistent(id))
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Node::Persistent(id))
            }

            // Framing
            0x80 => match self.cursor.u8("a pickle's protocol")? {
                0..=5 => Ok(()),
                version => Err(ParseError::unsupported(
                    self.start,
                    format!("a pickle of protocol {version}; this reader knows 0 to 5"),
                )),
            },
            0x95 => {
                let length = self.cursor.u64("a frame")?;
                match length <= self.cursor.left() as u64 {
                    true => Ok(()),
                    false => Err(ParseError::truncated(
                        self.start,
                        format!(
                            "ends inside a frame of a pickle: {length} bytes wanted, {} left",
                            self.cursor.left()
                        ),
                    )),
                }
            }
            0x82..=0x84 => Err(ParseError::unsupported(
                self.start,
                "a pickle with extension codes, which mean something to one program only",
            )),
            0x97 | 0x98 => Err(ParseError::unsupported(
                self.start,
                "a pickle with buffers outside of it",
            )),
            other => Err(self.malformed(format!("no pickle operation has the code {other:#04x}"))),
        }
    }

    fn malformed(&self, message: impl Into<String>) -> ParseError {
        ParseError::malformed(self.start, message)
    }

    fn push(&mut self, node: Node) -> ParseResult<()> {
        let id = self.arena.add(node, self.start)?;
        self.push_id(id)
    }

    fn push_id(&mut self, id: Id) -> ParseResult<()> {
        self.arena.stack(&mut self.stack, id, self.start)
    }

    /// The lowest place on the stack that may be taken: that of the last mark.
    fn floor(&self) -> usize {
        self.marks.last().map_or(0, |&mark| mark as usize)
    }

    fn pop(&mut self) -> ParseResult<Id> {
        match self.stack.len() > self.floor() {
            true => Ok(self.stack.pop().unwrap_or(Id(0))),
            false => Err(self.malformed("a pickle takes from an empty stack")),
        }
    }

    /// Where the last `count` values start.
    fn top(&self, count: usize) -> ParseResult<usize> {
        match self.stack.len().checked_sub(count) {
            Some(from) if from >= self.floor() => Ok(from),
            _ => Err(self.malformed("a pickle takes from an empty stack")),
        }
    }

    /// Where the values since the last mark start.
    fn pop_mark(&mut self) -> ParseResult<usize> {
        match self.marks.pop() {
            Some(mark) => Ok(mark as usize),
            None => Err(self.malformed("a pickle without the mark that it refers to")),
        }
    }

    fn even_since_mark(&self) -> ParseResult<()> {
        match (self.stack.len() - self.floor()).is_multiple_of(2) {
            true => Ok(()),
            false => Err(self.malformed("a dict with a key that has no value")),
        }
    }

    /// Puts the values since the last mark into a container.
    fn collect(&mut self, container: fn(node::Items) -> Node) -> ParseResult<()> {
        let from = self.pop_mark()?;
        self.replace(from, container)
    }

    fn replace(&mut self, from: usize, container: fn(node::Items) -> Node) -> ParseResult<()> {
        let items = self.arena.add_items(&self.stack[from..], self.start)?;
        self.stack.truncate(from);
        self.push(container(items))
    }

    /// Adds the values from `from` on to the container in front of them. Those
    /// that a foreign class would take are dropped: it is inert.
    fn append(&mut self, from: usize) -> ParseResult<()> {
        let container = match from.checked_sub(1) {
            Some(at) if at >= self.floor() => self.stack[at],
            _ => return Err(self.malformed("a pickle adds to a container that is not there")),
        };
        let taken = self
            .arena
            .append(container, &self.stack[from..], self.start)?;
        if !taken && !matches!(self.arena.node(container), Node::Object(_)) {
            return Err(self.malformed("a pickle adds to a value that is no container"));
        }
        self.stack.truncate(from);
        Ok(())
    }

    fn get(&mut self, index: usize) -> ParseResult<()> {
        match self.memo.get(index).copied().flatten() {
            Some(id) => self.push_id(id),
            None => Err(self.malformed(format!("the memo has no entry {index}"))),
        }
    }

    fn put(&mut self, index: usize) -> ParseResult<()> {
        if index >= PICKLE_MEMO {
            return Err(ParseError::too_large(
                self.start,
                format!("a memo of more than {PICKLE_MEMO} entries"),
            ));
        }
        let id = self.stack[self.top(1)?];
        if index >= self.memo.len() {
            let more = index + 1 - self.memo.len();
            self.arena
                .charge(more * size_of::<Option<Id>>() * 5 / 4, self.start)?;
            if index >= self.memo.capacity() {
                self.memo.reserve_exact(more.max(self.memo.len() / 4));
            }
            self.memo.resize(index + 1, None);
        }
        self.memo[index] = Some(id);
        Ok(())
    }

    fn memo_line(&mut self) -> ParseResult<usize> {
        let line = self.cursor.line(32, "a memo's number")?;
        std::str::from_utf8(line)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .ok_or_else(|| self.malformed("a memo's number that is none"))
    }

    fn span(&self, bytes: &[u8]) -> Span {
        let end = self.cursor.position();
        Span::new(end - bytes.len(), bytes.len())
    }

    fn limited(&self, length: u64, what: &str) -> ParseResult<usize> {
        match usize::try_from(length) {
            Ok(length) if length <= self.cursor.left() => match length <= PICKLE_STRING {
                true => Ok(length),
                false => Err(ParseError::too_large(
                    self.start,
                    format!("{what} of {length} bytes (at most {PICKLE_STRING})"),
                )),
            },
            _ => Err(ParseError::truncated(
                self.start,
                format!(
                    "ends inside {what}: {length} bytes wanted, {} left",
                    self.cursor.left()
                ),
            )),
        }
    }

    /// Text where it is UTF-8, else bytes: strings of Python 2 may be anything,
    /// and those of Python 3 may hold lone surrogates.
    fn string(&mut self, length: u64) -> ParseResult<()> {
        let length = self.limited(length, "a string")?;
        let bytes = self.cursor.take(length, "a string")?;
        let span = self.span(bytes);
        match std::str::from_utf8(bytes) {
            Ok(_) => self.push(Node::Str(span)),
            Err(_) => self.push(Node::Bytes(span)),
        }
    }

    fn bytes(&mut self, length: u64) -> ParseResult<()> {
        let length = self.limited(length, "bytes")?;
        let bytes = self.cursor.take(length, "bytes")?;
        let span = self.span(bytes);
        self.push(Node::Bytes(span))
    }

    /// A number in little-endian two's complement.
    fn long(&mut self, length: usize) -> ParseResult<()> {
        let length = self.limited(length as u64, "a number")?;
        let bytes = self.cursor.take(length, "a number")?;
        if length > 8 {
            let span = self.span(bytes);
            return self.push(Node::BigInt(span));
        }
        let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        wide[..length].copy_from_slice(bytes);
        self.push(Node::Int(i64::from_le_bytes(wide)))
    }

    fn int_line(&mut self) -> ParseResult<()> {
        let line = self.cursor.line(64, "a number")?;
        match line {
            b"00" => return self.push(Node::Bool(false)),
            b"01" => return self.push(Node::Bool(true)),
            _ => {}
        }
        match std::str::from_utf8(line).map(|text| text.trim().parse()) {
            Ok(Ok(value)) => self.push(Node::Int(value)),
            _ => Err(self.malformed("a number that is none")),
        }
    }

    fn long_line(&mut self) -> ParseResult<()> {
        let line = self.cursor.line(PICKLE_STRING, "a number")?;
        let digits = line.strip_suffix(b"L").unwrap_or(line);
        let unsigned = digits.strip_prefix(b"-").unwrap_or(digits);
        if unsigned.is_empty() || !unsigned.iter().all(u8::is_ascii_digit) {
            return Err(self.malformed("a number that is none"));
        }
        let value = std::str::from_utf8(digits).map(str::parse);
        match value {
            Ok(Ok(value)) => self.push(Node::Int(value)),
            _ => {
                let start = self.cursor.position() - line.len() - 1;
                self.push(Node::Decimal(Span::new(start, digits.len())))
            }
        }
    }

    /// The module or name of a class.
    fn name_line(&mut self) -> ParseResult<Span> {
        let line = self.cursor.line(NAME, "a name")?;
        if std::str::from_utf8(line).is_err() {
            return Err(self.malformed("a name that is not UTF-8"));
        }
        let start = self.cursor.position() - line.len() - 1;
        Ok(Span::new(start, line.len()))
    }

    /// `'text'` with the escapes of a Python literal.
    fn quoted_line(&mut self) -> ParseResult<()> {
        let line = self.cursor.line(PICKLE_STRING, "a string")?;
        let quoted = match line {
            [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
            _ => return Err(self.malformed("a string without its quotes")),
        };
        let bytes = unescape(quoted).ok_or_else(|| self.malformed("a string's escape"))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| self.malformed("a string of Python 2 that is not UTF-8"))?;
        let id = self.arena.add_text(text, self.start)?;
        self.push_id(id)
    }

    /// Python's `raw-unicode-escape`: Latin-1 with `\uXXXX`.
    fn escaped_line(&mut self) -> ParseResult<()> {
        let line = self.cursor.line(PICKLE_STRING, "a string")?;
        let text = raw_unicode(line).ok_or_else(|| self.malformed("a string's escape"))?;
        let id = self.arena.add_text(text, self.start)?;
        self.push_id(id)
    }

    /// Calls that only build a container of their arguments; they do nothing
    /// that the operations for containers do not.
    fn known_call(&mut self, callable: Id, arguments: Id) -> ParseResult<Option<Id>> {
        let mut budget = self.arena.budget();
        let tree = Tree {
            arena: &self.arena,
            pickle: self.cursor.window(),
        };
        let (Some(name), Some(arguments)) = (tree.global(callable), tree.elements(arguments))
        else {
            return Ok(None);
        };
        match (name, arguments) {
            (("collections", "OrderedDict"), [])
            | (("collections", "defaultdict"), [] | [_])
            | (("collections", "Counter"), [])
            | (("builtins" | "__builtin__", "dict"), []) => {
                let empty = Node::Dict(node::Items::NONE);
                self.arena.add(empty, self.start).map(Some)
            }
            // Python 2 wrote an ordered dict as a list of pairs.
            (("collections", "OrderedDict"), &[pairs]) => {
                let Some(pairs) = tree.elements(pairs) else {
                    return Ok(None);
                };
                // Counted before they are looked at: the same list may be given
                // to many calls.
                let room = pairs.len() * size_of::<[Id; 2]>();
                budget.charge(room, self.start)?;
                let mut entries = Vec::with_capacity(2 * pairs.len());
                for &pair in pairs {
                    match tree.elements(pair) {
                        Some(&[key, value]) => entries.extend([key, value]),
                        _ => {
                            self.arena.set_budget(budget);
                            return Ok(None);
                        }
                    }
                }
                self.arena.set_budget(budget);
                let items = self.arena.add_items(&entries, self.start)?;
                self.arena.add(Node::Dict(items), self.start).map(Some)
            }
            (("builtins" | "__builtin__", "set" | "frozenset"), &[list]) => {
                let Some(elements) = tree.elements(list) else {
                    return Ok(None);
                };
                budget.charge(size_of_val(elements), self.start)?;
                let elements = elements.to_vec();
                self.arena.set_budget(budget);
                let items = self.arena.add_items(&elements, self.start)?;
                self.arena.add(Node::Set(items), self.start).map(Some)
            }
            (("collections", "Counter") | ("torch", "Size"), &[value]) => Ok(Some(value)),
            (("torch.jit._pickle", name), &[value, ..])
                if name.starts_with("build_") || name == "restore_type_tag" =>
            {
                Ok(Some(value))
            }
            _ => Ok(None),
        }
    }
}

/// The escapes of a Python byte literal.
fn unescape(quoted: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(quoted.len());
    let mut rest = quoted.iter();
    while let Some(&byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next()? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'0' => 0,
            b'x' => {
                let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
                (digit(rest.next())? * 16 + digit(rest.next())?) as u8
            }
            &same @ (b'\\' | b'\'' | b'"') => same,
            _ => return None,
        });
    }
    Some(bytes)
}

fn raw_unicode(line: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(line.len());
    let mut at = 0;
    while at < line.len() {
        let digits = match (line[at], line.get(at + 1)) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            (byte, _) => {
                text.push(char::from(byte));
                at += 1;
                continue;
            }
        };
        let code = line.get(at + 2..at + 2 + digits)?;
        let code = u32::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok()?;
        text.push(char::from_u32(code)?);
        at += 2 + digits;
    }
    Some(text)
}
