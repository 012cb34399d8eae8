//! What a file is, by its content: once, and then its one reader has it.

use crate::index::CheckpointIndex;
use crate::limits::PICKLE_BYTES;
use crate::parse_error::{ParseError, ParseErrorKind, ParseResult};
use crate::zip::Archive;
use crate::{archive, legacy, npz, safetensors, shards};

/// Reads a file of any format but an index.
pub(crate) fn read(file: &[u8], source: usize, index: &mut CheckpointIndex) -> ParseResult<()> {
    index.budget.grow(file.len().min(PICKLE_BYTES));
    // First, since it starts with a length, which can be any two bytes of the
    // others (0x280 is how a pickle starts); none of them has a `{` behind it.
    if safetensors::looks_like(file) {
        safetensors::read(file, source, index)?;
    } else if file.starts_with(b"PK\x03\x04") || file.starts_with(b"PK\x05\x06") {
        let archive = Archive::read(file)?;
        match npz::looks_like(&archive) {
            true => npz::read(file, &archive, source, index)?,
            false => archive::read(file, &archive, source, index)?,
        }
    } else if legacy::looks_like(file) {
        legacy::read(file, source, index)?;
    } else {
        return Err(stranger(file));
    }
    for n in 0..index.pickles.len() {
        if index.pickles[n].source == source {
            let bytes = &file[index.pickles[n].range.clone()];
            let globals = index.tree(n, bytes).global_list();
            index.globals.extend(globals);
        }
    }
    index.globals.sort_unstable();
    index.globals.dedup();
    Ok(())
}

/// What it is instead, where that can be told, and what to do.
fn stranger(file: &[u8]) -> ParseError {
    const WINDOW: usize = 1024;
    let window = &file[..file.len().min(WINDOW)];
    let start = window.trim_ascii_start().to_ascii_lowercase();
    let is = |prefixes: &[&[u8]]| prefixes.iter().any(|prefix| start.starts_with(prefix));
    let message = if file.is_empty() {
        "is empty; the download or the saving did not finish"
    } else if is(&[b"version https://git-lfs"]) {
        "is a git-LFS pointer, not the file itself: run `git lfs pull` where it came from"
    } else if is(&[b"<!doctype html", b"<html", b"<head", b"<?xml"]) {
        "is a web page, not a checkpoint: the download was answered with a page; download the file itself"
    } else if shards::looks_like(file) {
        "is the index of a checkpoint in several files; open it by its path, with its files beside it"
    } else if window.get(257..262) == Some(b"ustar") {
        "is a tar archive, as torch before 0.1.11 wrote them: load and save it with a newer torch, or unpack it first"
    } else if window.starts_with(b"\x89HDF\r\n") {
        "is HDF5, as Keras writes it: save the weights with numpy.savez(F, *model.get_weights()) instead"
    } else if window.starts_with(b"\x1f\x8b")
        || window.starts_with(b"BZh")
        || window.starts_with(b"\xfd7zXZ")
        || window.starts_with(b"\x28\xb5\x2f\xfd")
    {
        "is compressed: decompress it first"
    } else if window.starts_with(b"\x93NUMPY") {
        "is a single .npy array: save several with numpy.savez"
    } else if window.starts_with(b"GGUF") {
        "is GGUF, which holds no LSTM that torch saved"
    } else if is(&[b"{", b"["]) {
        "is JSON, not a checkpoint"
    } else if file
        .windows(4)
        .take(1 << 16)
        .any(|bytes| bytes == b"PK\x03\x04")
    {
        "has bytes in front of a zip archive; cut them off, or copy the file again"
    } else {
        "is no checkpoint: neither a zip archive, a pickle, safetensors nor .npz"
    };
    ParseError::new(ParseErrorKind::NotACheckpoint, 0, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_safetensors_file_is_told_whatever_bytes_its_length_has() {
        // As a pickle of protocol 2 starts, as one of 5, and as ` {` of JSON.
        for length in [0x280, 0x580, 0x7b20] {
            let entry = r#""weight_map":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}"#;
            let header = format!("{{{entry}{:1$}", "}", length - entry.len() - 1);
            assert_eq!(header.len(), length);
            let mut file = (length as u64).to_le_bytes().to_vec();
            file.extend(header.as_bytes());
            file.extend([3, 4]);
            assert!(!shards::looks_like(&file));
            let mut index = CheckpointIndex::default();
            read(&file, 0, &mut index).unwrap();
            assert_eq!(index.container, "safetensors");
            assert_eq!(index.tensors[0].name, "weight_map");
        }
    }
}
