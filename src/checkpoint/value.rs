//! Values that are no tensors, as text and as JSON.

use serde_json::{Map, Value, json};

use super::limits::{DEPTH, VISITS};
use super::pickle::{Id, Node, Tree};
use crate::error::{Fault, Read};

/// The longest text that a summary shows, in characters.
const SHOWN: usize = 60;

/// A dict's key as part of a path.
pub(crate) fn key_text(tree: Tree, id: Id) -> String {
    match tree.str(id) {
        Some(text) => text.to_owned(),
        None => scalar(tree, id).unwrap_or_else(|| summary(tree, id)),
    }
}

/// A number, string or flag as text; `None` for everything else.
pub(crate) fn scalar(tree: Tree, id: Id) -> Option<String> {
    Some(match tree.node(id) {
        Node::Bool(true) => "True".to_owned(),
        Node::Bool(false) => "False".to_owned(),
        Node::Int(value) => value.to_string(),
        // As Python has it: the key 2.0 is another than the key 2.
        Node::Float(value) => format!("{value:?}"),
        Node::BigInt(span) => hex(span.of(tree.pickle)),
        Node::Decimal(span) => String::from_utf8_lossy(span.of(tree.pickle)).into_owned(),
        Node::Str(_) | Node::Text(_) => shortened(tree.str(id)?),
        _ => return None,
    })
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

/// A number of more than 64 bits, in little-endian two's complement.
fn hex(bytes: &[u8]) -> String {
    const MOST: usize = 40;
    let shown = &bytes[bytes.len().saturating_sub(MOST)..];
    let digits: String = shown
        .iter()
        .rev()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let more = if shown.len() < bytes.len() { "..." } else { "" };
    format!("0x{digits}{more}")
}

/// A line about a value.
pub(crate) fn summary(tree: Tree, id: Id) -> String {
    let count = |n: usize, what: &str| match n {
        1 => format!("{what} of 1"),
        n => format!("{what} of {n}"),
    };
    let some = |ids: &mut dyn Iterator<Item = String>| -> String {
        let shown: Vec<String> = ids.take(4).collect();
        shown.join(", ")
    };
    match tree.node(id) {
        Node::None => "None".to_owned(),
        Node::Str(_) | Node::Text(_) => format!("{:?}", scalar(tree, id).unwrap_or_default()),
        Node::Bytes(span) => count(span.of(tree.pickle).len(), "bytes"),
        Node::List(_) | Node::Tuple(_) | Node::Set(_) => {
            let name = match tree.node(id) {
                Node::List(_) => "list",
                Node::Tuple(_) => "tuple",
                _ => "set",
            };
            let elements = tree.elements(id).unwrap_or_default();
            let mut texts = elements.iter().map(|&id| brief(tree, id));
            let dots = if elements.len() > 4 { ", ..." } else { "" };
            format!(
                "{}: {}{dots}",
                count(elements.len(), name),
                some(&mut texts)
            )
        }
        Node::Dict(_) => {
            let entries = tree.entries(id);
            let length = entries.as_ref().map_or(0, |entries| entries.len());
            let mut texts = entries
                .into_iter()
                .flatten()
                .map(|(key, value)| format!("{}: {}", brief(tree, key), brief(tree, value)));
            let dots = if length > 4 { ", ..." } else { "" };
            format!("{}: {}{dots}", count(length, "dict"), some(&mut texts))
        }
        _ => brief(tree, id),
    }
}

/// A few words about a value inside another.
fn brief(tree: Tree, id: Id) -> String {
    match tree.node(id) {
        Node::None => "None".to_owned(),
        Node::Str(_) | Node::Text(_) => format!("{:?}", scalar(tree, id).unwrap_or_default()),
        Node::Bytes(span) => format!("{} bytes", span.of(tree.pickle).len()),
        Node::List(_) => "[...]".to_owned(),
        Node::Tuple(_) => "(...)".to_owned(),
        Node::Set(_) | Node::Dict(_) => "{...}".to_owned(),
        Node::Global(_) => class_name(tree, id),
        Node::Object(n) => format!("{}(...)", class_name(tree, tree.arena.object(n).class)),
        Node::Persistent(_) => "a storage".to_owned(),
        _ => scalar(tree, id).unwrap_or_default(),
    }
}

fn class_name(tree: Tree, id: Id) -> String {
    match tree.global(id) {
        Some((module, name)) => shortened(&format!("{module}.{name}")),
        None => "an object".to_owned(),
    }
}

/// The value as JSON: tuples and sets become arrays, keys strings; an object
/// becomes its class, arguments and state.
///
/// Errors on two keys that are the same as strings, and on what is too large or
/// refers to itself.
pub(crate) fn to_json(tree: Tree, id: Id, base: usize) -> Read<Value> {
    let mut visits = 0;
    convert(tree, id, base, 0, &mut visits)
}

fn convert(tree: Tree, id: Id, base: usize, depth: usize, visits: &mut usize) -> Read<Value> {
    *visits += 1;
    if depth > DEPTH || *visits > VISITS {
        let message = format!(
            "a value that refers to itself, is nested deeper than {DEPTH} or has more than {VISITS} parts"
        );
        return Err(Fault::too_large(base, message));
    }
    let mut inner = |id: Id| convert(tree, id, base, depth + 1, visits);
    Ok(match tree.node(id) {
        Node::None => Value::Null,
        Node::Bool(value) => value.into(),
        Node::Int(value) => value.into(),
        // JSON has no infinities.
        Node::Float(value) if value.is_finite() => value.into(),
        Node::Float(value) => value.to_string().into(),
        Node::BigInt(_) | Node::Decimal(_) => scalar(tree, id).into(),
        Node::Str(_) | Node::Text(_) => tree.str(id).unwrap_or_default().into(),
        Node::Bytes(span) => span.of(tree.pickle).into(),
        Node::List(_) | Node::Tuple(_) | Node::Set(_) => {
            let elements = tree.elements(id).unwrap_or_default();
            Value::Array(elements.iter().map(|&id| inner(id)).collect::<Read<_>>()?)
        }
        Node::Dict(_) => {
            let mut map = Map::new();
            for (key, value) in tree.entries(id).into_iter().flatten() {
                let key = match tree.str(key) {
                    Some(text) => text.to_owned(),
                    None => key_text(tree, key),
                };
                let value = inner(value)?;
                if let Some(_twice) = map.insert(key.clone(), value) {
                    let message = format!("a dict has the key {:?} twice", shortened(&key));
                    return Err(Fault::malformed(base, message));
                }
            }
            Value::Object(map)
        }
        Node::Global(_) => class_name(tree, id).into(),
        Node::Object(n) => {
            let object = tree.arena.object(n);
            let class = class_name(tree, object.class);
            let arguments = inner(object.arguments)?;
            let state = object.state.map(&mut inner).transpose()?;
            json!({"class": class, "arguments": arguments, "state": state})
        }
        Node::Persistent(_) => "a storage".into(),
    })
}

/// What stands at a path of keys inside dicts; a key may have dots itself.
pub(crate) fn descend(tree: Tree, id: Id, path: &str) -> Option<Id> {
    let (mut id, mut path) = (id, path);
    // Every round takes a key off the path.
    loop {
        let mut next = None;
        for (key, value) in tree.entries(id)? {
            let Some(rest) = path.strip_prefix(key_text(tree, key).as_str()) else {
                continue;
            };
            match rest.strip_prefix('.') {
                None if rest.is_empty() => return Some(value),
                Some(rest)
                    if next.is_none_or(|(_, other): (Id, &str)| rest.len() < other.len()) =>
                {
                    next = Some((value, rest));
                }
                _ => {}
            }
        }
        (id, path) = next?;
    }
}
