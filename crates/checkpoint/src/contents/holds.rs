//! Which values of a pickle have tensors in them.

use std::collections::HashMap;

use super::{is_storage, module_class, rebuilds};
use crate::limits::DEPTH;
use crate::parse_error::{ParseError, ParseResult};
use crate::pickle::{Budget, Id, Node, Tree};

/// The `n`th of the values inside of a value, its attributes first.
fn child(tree: Tree, attributes: &HashMap<Id, Id>, id: Id, n: usize) -> Option<Id> {
    match (tree.node(id), attributes.get(&id)) {
        (Node::Persistent(_), _) if n == 0 => module_class(tree, id),
        (_, None) => tree.child(id, n),
        (_, Some(&state)) if n == 0 => Some(state),
        (_, Some(_)) => tree.child(id, n - 1),
    }
}

/// For each value whether a tensor, or a storage by itself, is in it. Each is
/// looked at once, however often it is shared.
pub(super) fn holds_tensors(
    tree: Tree,
    attributes: &HashMap<Id, Id>,
    root: Id,
    base: usize,
    budget: &mut Budget,
) -> ParseResult<Vec<bool>> {
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
        match child(tree, attributes, *id, *n) {
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
