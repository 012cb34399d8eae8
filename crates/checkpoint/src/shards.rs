//! Checkpoints in several files, by Hugging Face's index:
//! `{"metadata": {...}, "weight_map": {"NAME": "model-00001-of-00002.safetensors"}}`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::limits::{SAFETENSORS_HEADER, SHARDS, TENSORS};
use crate::parse_error::{ParseError, ParseResult};
use crate::safetensors::{self, Strings};

/// The index's usual names, in a folder.
pub(crate) const NAMES: [&str; 2] = [
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
];

#[derive(Deserialize)]
struct Index {
    weight_map: Strings<TENSORS>,
}

/// Whether a file may be an index: a JSON object that has the key, and not the
/// header of a safetensors file whose length happens to start with a `{`.
pub(crate) fn looks_like(file: &[u8]) -> bool {
    let window = &file[..file.len().min(SAFETENSORS_HEADER as usize)];
    let key = b"\"weight_map\"";
    window.trim_ascii_start().first() == Some(&b'{')
        && !safetensors::looks_like(file)
        && window.windows(key.len()).any(|w| w == key)
}

/// For each file, which lies beside the index, the names of its tensors.
pub(crate) fn read(file: &[u8]) -> ParseResult<BTreeMap<String, Vec<String>>> {
    if file.len() as u64 > SAFETENSORS_HEADER {
        let message = format!("an index of more than {SAFETENSORS_HEADER} bytes");
        return Err(ParseError::too_large(0, message));
    }
    let index: Index = serde_json::from_slice(file).map_err(|error| {
        ParseError::malformed(0, format!("not an index of a sharded checkpoint: {error}"))
    })?;
    let mut shards: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (tensor, shard) in index.weight_map.0 {
        if shard.is_empty() || shard.contains(['/', '\\', '\0']) || shard.starts_with('.') {
            let message =
                format!("the file {shard:?} of tensor {tensor:?} is not one beside the index");
            return Err(ParseError::malformed(0, message));
        }
        shards.entry(shard).or_default().push(tensor);
        if shards.len() > SHARDS {
            let message = format!("an index of more than {SHARDS} files");
            return Err(ParseError::too_large(0, message));
        }
    }
    match shards.is_empty() {
        false => Ok(shards),
        true => Err(ParseError::missing(0, "an index without a tensor")),
    }
}
