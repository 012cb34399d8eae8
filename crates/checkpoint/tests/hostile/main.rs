//! Files made to do harm, one test for each way: none is executed, none fills
//! the memory, and each is refused with what is wrong and where.

#[path = "../common/mod.rs"]
mod common;

mod archives;
mod arrays;
mod legacy;
mod others;
mod pickles;
mod safetensors;
mod shards;
mod storages;

use cellway_checkpoint::{Checkpoint, Error, ParseErrorKind, Result, limits};

use common::bytes::*;
use common::cuts::cut_everywhere;
use common::read_all::read_all;
use tempfile::TempDir;

fn open(file: &[u8]) -> Result<Checkpoint> {
    Checkpoint::from_bytes(file.to_vec(), "hostile.pt")
}

/// The file is refused: kind, byte and a part of the message.
#[track_caller]
fn refused_at(file: &[u8], kind: ParseErrorKind, at: usize, says: &str) {
    let offset = refused(file, kind, says);
    assert_eq!(offset, at, "{says}");
}

/// The same where the byte is not of interest; it lies in the file.
#[track_caller]
fn refused(file: &[u8], kind: ParseErrorKind, says: &str) -> usize {
    let error = match open(file) {
        Err(error) => error,
        Ok(checkpoint) => panic!("was accepted: {:?}", checkpoint.tensors()),
    };
    let text = error.to_string();
    let Error::Parse { path, error } = error else {
        panic!("another error: {error:?}");
    };
    assert_eq!(path.to_str(), Some("hostile.pt"));
    assert!(error.message.contains(says), "{text}");
    assert_eq!(error.kind, kind, "{text}");
    assert!(error.offset <= file.len() as u64, "{text}");
    error.offset as usize
}

/// Where some bytes lie in a file, the first time.
#[track_caller]
fn place(file: &[u8], bytes: &[u8]) -> usize {
    let mut windows = file.windows(bytes.len());
    windows.position(|window| window == bytes).expect("there")
}

/// A sound file: `x`, the floats 0 to 3.
fn sound() -> Vec<u8> {
    torch_zip(&one_tensor(4, 0, &[4], &[1]), &[("0", &floats())])
}

fn floats() -> Vec<u8> {
    [0.0f32, 1.0, 2.0, 3.0].map(f32::to_le_bytes).concat()
}

/// A file whose pickle is this value, without any storage.
fn with_value(value: &[u8]) -> Vec<u8> {
    torch_zip(&pickle(value), &[])
}

/// Where the pickle lies in the files above.
const PICKLE: usize = 30 + "archive/data.pkl".len();

/// The members of a sound file; the storage is the third.
fn sound_members() -> Vec<Member> {
    members(&one_tensor(4, 0, &[4], &[1]), &[("0", &floats())])
}

#[test]
fn a_sound_file_is_read() {
    let checkpoint = open(&sound()).unwrap();
    assert_eq!(checkpoint.tensors()[0].shape, [4]);
    assert_eq!(checkpoint.bytes("x").unwrap(), floats());
    let file = legacy(&one_tensor(4, 0, &[4], &[1]), &[("0", 4, &floats())]);
    assert_eq!(open(&file).unwrap().bytes("x").unwrap(), floats());
}

/// An entry of a safetensors header.
fn entry(dtype: &str, shape: &str, start: u64, end: u64) -> String {
    format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}"#)
}
