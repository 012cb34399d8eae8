//! Values that are no tensors, as text and as JSON.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use crate::limits::{DEPTH, JSON_HEAP};
use crate::parse_error::{ParseError, ParseResult};
use crate::pickle::{Budget, Id, Node, Tree};

/// The longest text that a summary shows, in characters.
const SHOWN: usize = 60;
/// The longest summary, in bytes, but for a character.
const SUMMARY: usize = 160;

/// A dict's key as part of a path.
pub(crate) fn key_text<'a>(tree: Tree<'a>, id: Id) -> Cow<'a, str> {
    match tree.str(id) {
        Some(text) => text.into(),
        None => scalar(tree, id).unwrap_or_else(|| summary(tree, id)).into(),
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
        Node::Decimal(span) => beginning(span.of(tree.pickle)),
        Node::Str(_) | Node::Text(_) => beginning(tree.raw(id)?),
        _ => return None,
    })
}

/// As [`shortened`], of a text that may be long: no more of it is looked at.
fn beginning(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(4 * (SHOWN + 1))];
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        // The last character may be cut.
        Err(error) => std::str::from_utf8(&start[..error.valid_up_to()]).unwrap_or_default(),
    };
    shortened(text)
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
    // Escapes can make a short text long.
    let text = long_summary(tree, id);
    let mut places = text.char_indices().map(|(at, _)| at);
    match places.find(|&at| at > SUMMARY) {
        Some(end) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// The same of a text.
pub(crate) fn text_summary(text: &str) -> String {
    format!("{:?}", beginning(text.as_bytes()))
}

fn long_summary(tree: Tree, id: Id) -> String {
    let count = |n: usize, what: &str| match n {
        1 => format!("{what} of 1"),
        n => format!("{what} of {n}"),
    };
    let some = |texts: &mut dyn Iterator<Item = String>| -> String {
        let mut shown = String::new();
        for (n, text) in texts.take(4).enumerate() {
            if n > 0 {
                shown.push_str(", ");
            }
            shown.push_str(&text);
            // The rest would be cut off.
            if shown.len() > SUMMARY {
                break;
            }
        }
        shown
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
/// becomes its class, arguments and state, with the entries or elements that were put into it.
///
/// Errors on two keys that are the same as strings, and on what is too large or
/// refers to itself.
pub(crate) fn to_json(tree: Tree, id: Id, base: usize) -> ParseResult<Value> {
    convert(tree, id, base, 0, &mut Budget::of(JSON_HEAP))
}

fn convert(
    tree: Tree,
    id: Id,
    base: usize,
    depth: usize,
    budget: &mut Budget,
) -> ParseResult<Value> {
    // An entry of an object: its key, its hash and its place in the table, which
    // may be half empty.
    const ENTRY: usize = size_of::<String>() + 32;
    const TABLE: usize = 64; // of an object, at least
    const TEXT: usize = 8; // an allocation, rounded up
    if depth > DEPTH {
        let message = format!("a value that refers to itself, or is nested deeper than {DEPTH}");
        return Err(ParseError::too_large(base, message));
    }
    budget.charge(size_of::<Value>(), base)?;
    let inner = |id: Id, budget: &mut Budget| convert(tree, id, base, depth + 1, budget);
    Ok(match tree.node(id) {
        Node::None => Value::Null,
        Node::Bool(value) => value.into(),
        Node::Int(value) => value.into(),
        // JSON has no infinities.
        Node::Float(value) if value.is_finite() => value.into(),
        Node::Float(value) => value.to_string().into(),
        Node::BigInt(_) | Node::Decimal(_) => scalar(tree, id).into(),
        Node::Str(_) | Node::Text(_) => {
            budget.charge(TEXT + tree.raw(id).map_or(0, <[u8]>::len), base)?;
            tree.str(id).unwrap_or_default().into()
        }
        Node::Bytes(span) => {
            budget.charge(size_of::<Value>() * span.len(), base)?;
            span.of(tree.pickle).into()
        }
        Node::List(_) | Node::Tuple(_) | Node::Set(_) => {
            let elements = tree.elements(id).unwrap_or_default();
            // Each charges for itself, but room for all is taken at once.
            let room = size_of::<Value>() * elements.len();
            budget.charge(room, base)?;
            let mut array = Vec::with_capacity(elements.len());
            budget.refund(room);
            for &id in elements {
                array.push(inner(id, budget)?);
            }
            Value::Array(array)
        }
        Node::Dict(_) => {
            let length = tree.entries(id).map_or(0, |entries| entries.len());
            let room = (ENTRY + size_of::<Value>()) * length;
            budget.charge(TABLE + room, base)?;
            let mut map = Map::with_capacity(length);
            budget.refund(room);
            for (key, value) in tree.entries(id).into_iter().flatten() {
                let length = tree.raw(key).map_or(0, <[u8]>::len);
                budget.charge(ENTRY + TEXT + length, base)?;
                let key = key_text(tree, key);
                let value = inner(value, budget)?;
                if map.contains_key(&*key) {
                    let message = format!("a dict has the key {:?} twice", shortened(&key));
                    return Err(ParseError::malformed(base, message));
                }
                map.insert(key.into_owned(), value);
            }
            Value::Object(map)
        }
        Node::Global(_) => class_name(tree, id).into(),
        Node::Object(n) => {
            let object = tree.arena.object(n);
            // Five entries, and the least that a list of them has room for.
            budget.charge(8 * (ENTRY + TEXT + size_of::<Value>()) + SHOWN, base)?;
            let class = class_name(tree, object.class);
            let arguments = inner(object.arguments, budget)?;
            let state = object.state.filter(|&state| state != id);
            let state = state.map(|id| inner(id, budget)).transpose()?;
            let mut json = json!({"class": class, "arguments": arguments, "state": state});
            for (name, inside) in [("entries", object.entries), ("elements", object.elements)] {
                if let Some(inside) = inside {
                    json[name] = inner(inside, budget)?;
                }
            }
            json
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
        for (key, value) in tree.mapping(id)? {
            // Keys that are longer need not be looked at.
            if tree.raw(key).is_some_and(|key| key.len() > path.len()) {
                continue;
            }
            let Some(rest) = path.strip_prefix(&*key_text(tree, key)) else {
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
