//! The calls that are understood: those that only build a container.

use super::Machine;
use super::node::{Id, Items, Node, Tree};
use crate::parse_error::ParseResult;

impl Machine<'_> {
    /// Calls that only build a container of their arguments; they do nothing
    /// that the operations for containers do not.
    pub(super) fn known_call(&mut self, callable: Id, arguments: Id) -> ParseResult<Option<Id>> {
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
                let empty = Node::Dict(Items::NONE);
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
