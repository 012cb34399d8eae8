//! Python's pickles (protocols 0 to 5), read as data: the stack machine of
//! `pickletools`, in which nothing is ever imported or called.
//!
//! A handful of calls are understood because they only build containers
//! (`calls.rs`); every other one becomes an inert [`Node::Object`] with the name
//! of what was to be called and its arguments. What the names mean is decided
//! elsewhere, by an allow-list.

mod calls;
mod execute;
mod literals;
mod node;

use crate::cursor::Cursor;
use crate::limits::{PICKLE_BYTES, PICKLE_MEMO, PICKLE_OPERATIONS};
use crate::parse_error::{ParseError, ParseResult};

pub(crate) use self::node::{Arena, Budget, Id, Node, Tree};

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

/// The machine that a pickle is a program for.
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

    /// Adds the values from `from` on, elements or keys and values in `pairs`, to the
    /// container in front of them.
    fn append(&mut self, from: usize, pairs: bool) -> ParseResult<()> {
        let container = match from.checked_sub(1) {
            Some(at) if at >= self.floor() => self.stack[at],
            _ => return Err(self.malformed("a pickle adds to a container that is not there")),
        };
        let taken = self
            .arena
            .append(container, &self.stack[from..], pairs, self.start)?;
        if !taken {
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
}
