//! What `torch.save` wrote from 0.1.11 to 1.5, and writes with
//! `_use_new_zipfile_serialization=False`: five pickles one behind another (a
//! magic number, a version, facts about the machine, the value, the list of
//! storage keys), then the storages in the order of the list, each as a count
//! of elements (i64) and the elements.

use std::collections::HashMap;

use crate::contents::{declared_storages, walk};
use crate::cursor::{Cursor, to_usize};
use crate::index::{CheckpointIndex, Hint};
use crate::parse_error::{ParseError, ParseErrorKind, ParseResult};
use crate::pickle::{self, Node, Pickle, Tree};
use crate::tensor::StorageInfo;

/// 0x1950a86a20f9469cfc6c, little-endian: what the first pickle holds.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// The same in decimal, as protocols 0 and 1 write it.
const MAGIC_DECIMAL: &str = "119547037146038801333356";
/// The version of the format, which has never changed.
const VERSION: i64 = 1001;

/// Whether a file may be one of these: a pickle, or the magic number in text.
pub(crate) fn looks_like(file: &[u8]) -> bool {
    let text = file
        .strip_prefix(b"L")
        .is_some_and(|rest| rest.starts_with(MAGIC_DECIMAL.as_bytes()));
    text || matches!(file, [0x80, 1..=5, ..])
}

pub(crate) fn read(file: &[u8], source: usize, index: &mut CheckpointIndex) -> ParseResult<()> {
    index.container = "torch.save legacy stream";
    let mut at = 0;
    let budget = &mut index.budget;
    let mut globals = Vec::new();
    let mut next = |what: &str| -> ParseResult<(Pickle, usize)> {
        let base = at;
        if base == file.len() {
            let message = format!("ends in front of {what}: the file was cut off; copy it again");
            return Err(ParseError::truncated(base, message));
        }
        let pickle = pickle::read(&file[base..], base, budget)?;
        at += pickle.length;
        let tree = Tree {
            arena: &pickle.arena,
            pickle: &file[base..at],
        };
        globals.extend(tree.global_list());
        Ok((pickle, base))
    };
    let (magic, base) = next("its magic number")?;
    let bytes = &file[base..base + magic.length];
    let same = match magic.arena.node(magic.root) {
        Node::BigInt(span) => span.of(bytes) == MAGIC,
        Node::Decimal(span) => span.of(bytes) == MAGIC_DECIMAL.as_bytes(),
        _ => false,
    };
    if !same {
        return Err(ParseError::new(
            ParseErrorKind::NotACheckpoint,
            0,
            "a pickle, but not one of torch.save; load it in Python and save its tensors with torch.save or safetensors",
        ));
    }
    let (version, base) = next("its version")?;
    match version.arena.node(version.root) {
        Node::Int(VERSION) => {}
        other => {
            let message =
                format!("legacy format of version {other:?}; torch only ever wrote {VERSION}");
            return Err(ParseError::unsupported(base, message));
        }
    }
    let (system, base) = next("the facts about its machine")?;
    let root = system.root;
    let system = Tree {
        arena: &system.arena,
        pickle: &file[base..base + system.length],
    };
    let little = system.get(root, "little_endian");
    if little.is_some_and(|id| !matches!(system.node(id), Node::Bool(true))) {
        return Err(ParseError::unsupported(
            base,
            "was saved on a big-endian machine; load and save it on an ordinary one",
        ));
    }
    let (value, value_base) = next("its value")?;
    let (keys, keys_base) = next("the list of its storages")?;
    index
        .hints
        .push(Hint::new("protocol", &VERSION.to_string()));
    index.hints.push(Hint::new(
        "written by",
        "torch 0.1.11 to 1.5, or _use_new_zipfile_serialization=False",
    ));

    let value_bytes = &file[value_base..value_base + value.length];
    let value_tree = Tree {
        arena: &value.arena,
        pickle: value_bytes,
    };
    let declared = declared_storages(value_tree, value_base, &mut index.budget)?;
    let sizes: HashMap<&str, usize> = (0..)
        .zip(&declared)
        .map(|(n, d)| (d.key.as_str(), n))
        .collect();

    let keys_tree = Tree {
        arena: &keys.arena,
        pickle: &file[keys_base..keys_base + keys.length],
    };
    let Some(keys) = keys_tree.elements(keys.root) else {
        return Err(ParseError::malformed(
            keys_base,
            "the list of storages is none",
        ));
    };
    let mut places: Vec<Option<usize>> = vec![None; declared.len()];
    let mut cursor = Cursor::new(&file[at..], at);
    for &key in keys {
        let name = keys_tree.str(key).unwrap_or_default();
        let Some(&n) = sizes.get(name) else {
            let message = format!("the list of storages has {name:?}, which no tensor uses");
            return Err(ParseError::malformed(keys_base, message));
        };
        let storage = &declared[n];
        let here = cursor.offset();
        let count = to_usize(cursor.u64("a storage's count")?, here, "a storage's count")?;
        if count.checked_mul(storage.element) != Some(storage.bytes) {
            return Err(ParseError::malformed(
                here,
                format!(
                    "storage {name:?} is said to have {count} elements of {} bytes, but its tensors say {} bytes",
                    storage.element, storage.bytes
                ),
            ));
        }
        if places[n].replace(cursor.offset()).is_some() {
            let message = format!("the list of storages has {name:?} twice");
            return Err(ParseError::malformed(keys_base, message));
        }
        cursor.take(storage.bytes, &format!("storage {name:?}"))?;
    }
    if cursor.left() > 0 {
        let message = format!("{} bytes behind the last storage", cursor.left());
        return Err(ParseError::malformed(cursor.offset(), message));
    }
    let first = index.storages.len();
    for (storage, place) in declared.into_iter().zip(places) {
        let Some(start) = place else {
            let message = format!(
                "the list of storages lacks {:?}, which a tensor uses",
                storage.key
            );
            return Err(ParseError::missing(keys_base, message));
        };
        index.storages.push(StorageInfo {
            key: storage.key,
            device: storage.device,
            bytes: storage.bytes,
            source,
            start,
            crc: None,
        });
    }
    let found = walk(
        value_tree,
        value.root,
        value_base,
        "",
        (first, &index.storages[first..]),
        &mut index.budget,
    )?;
    let end = value_base + value_bytes.len();
    index.keep(value, source, value_base..end);
    // What the other pickles name, which are not kept.
    index.globals.extend(globals);
    index.add(found);
    Ok(())
}
