//! The operations of a pickle.

use super::node::{Items, Node};
use super::{Machine, NAME};
use crate::parse_error::{ParseError, ParseResult};

impl Machine<'_> {
    /// One operation; names and order as in Python's `pickletools`.
    pub(super) fn execute(&mut self, operation: u8) -> ParseResult<()> {
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
            b']' => self.push(Node::List(Items::NONE)),
            b')' => self.push(Node::Tuple(Items::NONE)),
            b'}' => self.push(Node::Dict(Items::NONE)),
            0x8f => self.push(Node::Set(Items::NONE)),
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
                self.append(from, false)
            }
            b'e' | 0x90 => {
                let from = self.pop_mark()?;
                self.append(from, false)
            }
            b's' => {
                let from = self.top(2)?;
                self.append(from, true)
            }
            b'u' => {
                self.even_since_mark()?;
                let from = self.pop_mark()?;
                self.append(from, true)
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
}
