//! The storages that a pickle declares.

use std::collections::HashMap;

use crate::dtype::DType;
use crate::limits::STORAGE_KEY;
use crate::parse_error::{ParseError, ParseResult};
use crate::pickle::{Budget, Id, Node, Tree};

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
pub(super) fn declared(tree: Tree, id: Id, base: usize) -> ParseResult<Option<Declared>> {
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

pub(super) fn quantized(storage: &str) -> bool {
    matches!(
        storage,
        "QInt8Storage" | "QUInt8Storage" | "QInt32Storage" | "QUInt4x2Storage" | "QUInt2x4Storage"
    )
}
