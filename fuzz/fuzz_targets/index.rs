//! The index of a checkpoint in several files, with one file beside it.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use cellway_checkpoint::{Checkpoint, Error};
use cellway_fuzz::{bytes, check};
use tempfile::TempDir;

static FOLDER: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let header = r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}"#;
    let shard = bytes::safetensors(header, &[1, 2, 3]);
    std::fs::write(folder.path().join("1.safetensors"), shard).expect("a file");
    let index = folder.path().join("model.safetensors.index.json");
    (folder, index)
});

libfuzzer_sys::fuzz_target!(|index: &[u8]| {
    std::fs::write(&FOLDER.1, index).expect("the index");
    match Checkpoint::open(&FOLDER.1) {
        // A file that the index names, and that is not there.
        Err(Error::Io { .. } | Error::File { .. }) => {}
        opened => check(opened),
    }
});
